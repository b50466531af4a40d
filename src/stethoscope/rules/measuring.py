"""Findings in source code about what a script measures by itself."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code
from stethoscope.facts.scoring import averaged, columns_with_rows, cut_scores, reduced_over_samples, swapped
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code


def measured_amiss(rule: Rule, file: Code) -> Iterator[Finding]:
    """Accuracies, averages and scores that are certainly not what they are called."""
    yield from _along_samples(rule, file)
    yield from _stretched(rule, file)
    yield from _cut(rule, file)
    yield from _averages(rule, file)
    yield from _other_way_round(rule, file)


def _along_samples(rule: Rule, file: Code) -> Iterator[Finding]:
    for found in reduced_over_samples(file):
        yield rule.finding(
            "answers are taken along axis 0, which holds the samples",
            sureness=Sureness.CERTAIN,
            place=place_in(file, found.call.at),
            evidence=[Evidence(f"axis along which {line_of(file, found.call.at)} takes the largest score", 0, 1,
                               "batches of the loader have their samples on axis 0")],
            cause="For each class this gives the sample with the highest score, and not for each sample its class.",
            fixes=["Take the axis of the classes:\n" + code("predicted = scores.argmax(dim=1)")],
            chain=[Link(place_in(file, found.call.at), "the largest scores are taken"),
                   Link(place_in(file, found.compared), "they are compared with targets")],
        )  # fmt: skip


def _stretched(rule: Rule, file: Code) -> Iterator[Finding]:
    for at, _ in columns_with_rows(file):
        yield rule.finding(
            "a column of answers is compared with a row of targets",
            sureness=Sureness.CERTAIN,
            place=place_in(file, at),
            evidence=[Evidence("axes of the targets, where the answers have 2, of which the second has size 1", 1, 2,
                               "read in the code")],
            cause="The two are stretched against each other, so each answer is compared with every target.",
            fixes=["Take the second axis away:\n" + code("answers = model(x).squeeze(1)")],
            chain=[Link(place_in(file, at), "they are compared")],
        )  # fmt: skip


def _cut(rule: Rule, file: Code) -> Iterator[Finding]:
    for found in cut_scores(file):
        yield rule.finding(
            "raw scores are cut at 0.5, as if they were probabilities",
            sureness=Sureness.CERTAIN,
            place=place_in(file, found.at),
            evidence=[Evidence(f"score above which {line_of(file, found.at)} says yes", 0.5, 0,
                               f"the loss on {line_of(file, found.loss.call.at)} applies the sigmoid itself")],
            cause="A score of 0.5 is a probability of 0.62: answers between 0.5 and 0.62 count as no.",
            fixes=["Cut scores at 0:\n" + code("predicted = scores > 0"),
                   "Or probabilities at 0.5:\n" + code("predicted = torch.sigmoid(scores) > 0.5")],
            chain=[Link(place_in(file, found.at), "the scores are cut"),
                   Link(place_in(file, found.loss.call.at), "the loss takes them for scores")],
        )  # fmt: skip


def _averages(rule: Rule, file: Code) -> Iterator[Finding]:
    for found in averaged(file):
        samples = found.adds == "samples"
        other = "the number of batches" if samples else "the number of samples"
        yield rule.finding(
            fitting(f"`{found.name}` adds up {found.adds}, and is divided by {other}",
                    f"a sum of {found.adds} is divided by {other}"),
            severity=Severity.WARNING,
            sureness=Sureness.CERTAIN,
            place=place_in(file, found.at),
            evidence=[Evidence(f"what `{found.name}` is divided by on {line_of(file, found.at)}",
                               f"`{found.divisor}`: 1 for each {'batch' if samples else 'sample'}",
                               f"1 for each {'sample' if samples else 'batch'}")],
            cause=f"The number is {'higher' if samples else 'lower'} than what it is called by a factor of the batch "
            "size.",
            fixes=["Divide by the number of samples:\n" + code(f"{found.name} / len(loader.dataset)") if samples else
                   "Divide by the number of batches:\n" + code(f"{found.name} / len(loader)")],
            chain=[Link(place_in(file, found.added), f"{found.adds} are added up"),
                   Link(place_in(file, found.at), f"is divided by {other}")],
        )  # fmt: skip


def _other_way_round(rule: Rule, file: Code) -> Iterator[Finding]:
    for call, name in swapped(file):
        first, second = call.arguments[:2]
        answers, targets = quoted(file, first, "the model's answers"), quoted(file, second, "the targets")
        yield rule.finding(
            fitting(f"`{name}` gets {answers} where the targets belong", f"`{name}` gets answers for targets"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, call.at),
            evidence=[Evidence(f"argument 1 of `{name}`", answers, targets,
                               "scikit-learn's measures take the targets first")],
            cause="With its sides exchanged the measure is another one: precision becomes recall, and the reverse.",
            fixes=["Give the targets first:\n" + code(f"{name}({targets.strip('`')}, {answers.strip('`')})")],
        )  # fmt: skip
