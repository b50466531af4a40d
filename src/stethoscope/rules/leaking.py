"""Findings about what learned from data that it should not have seen: the words that several rules share."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from stethoscope.core.finding import Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code
from stethoscope.facts.fitted_twice import fitted_again, fitted_by_name, fitted_for_scores
from stethoscope.facts.splits import (
    ENCODING,
    LISTING,
    SCALING,
    SELECTING,
    Fit,
    fitted_in,
    holds_all_rows,
    splits_of,
)
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code

LEARNING = SCALING | SELECTING | LISTING


def before_splits(file: Code, names: Collection[str]) -> Iterator[tuple[Fit, Call]]:
    """What of these classes learned from all rows, each with the split that came after; each once."""
    told = set()
    for split in splits_of(file):
        for data in split.call.arguments:
            for fit in fitted_in(file, data, split.call.number):
                if fit.name in names and fit.call.number not in told and holds_all_rows(file, fit):
                    told.add(fit.call.number)
                    yield fit, split.call


def first_and_then(file: Code, fit: Call, does: str, later: Call, then: str) -> tuple[Link, ...]:
    """Two lines in the order in which they run."""
    return Link(place_in(file, fit.at), does), Link(place_in(file, later.at), then)


def seen_by(file: Code, fit: Call, what: str, healthy: str) -> Evidence:
    """What something learned from, as evidence."""
    return Evidence(f"what `{what}` on {line_of(file, fit.at)} learns from", "all rows: 100 %", healthy)


def scaled_before(rule: Rule, file: Code) -> Iterator[Finding]:
    """What learned numbers of all rows before they were split."""
    for fit, split in before_splits(file, SCALING):
        yield rule.finding(
            fitting(f"`{fit.name}` learns from all rows, before the split", "a fit comes before the split"),
            severity=Severity.WARNING,
            sureness=Sureness.CERTAIN,
            place=place_in(file, fit.call.at),
            evidence=[seen_by(file, fit.call, fit.name, "the training part")],
            cause=f"The rows are split on {line_of(file, split.at)}, so the test part has had a say in what "
            f"`{fit.name}` does to all of them.",
            fixes=[
                "Split first, and let it learn from the training part:\n"
                + code(
                    "X_train, X_test, y_train, y_test = train_test_split(X, y)",
                    f"transformer = {fit.name}().fit(X_train)",
                    "X_train, X_test = transformer.transform(X_train), transformer.transform(X_test)",
                )
            ],
            chain=first_and_then(file, fit.call, f"`{fit.name}` learns from all rows", split, "they are split"),
        )


def chosen_before(rule: Rule, file: Code) -> Iterator[Finding]:
    """What learned from the labels of all rows before they were split."""
    for fit, split in before_splits(file, SELECTING):
        yield rule.finding(
            fitting(f"`{fit.name}` learns from all labels, and the split comes later", "a choice before the split"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, fit.call.at),
            evidence=[seen_by(file, fit.call, fit.name, "the training part")],
            cause=f"The rows are split on {line_of(file, split.at)}, so the labels of the test part have had a "
            "say in which features there are.",
            fixes=[
                "Split first, and choose with the training part:\n"
                + code(
                    "X_train, X_test, y_train, y_test = train_test_split(X, y)",
                    f"model = make_pipeline({fit.name}(), classifier).fit(X_train, y_train)",
                )
            ],
            chain=first_and_then(file, fit.call, f"`{fit.name}` learns from all rows", split, "they are split"),
        )


def scaled_again(rule: Rule, file: Code) -> Iterator[Finding]:
    """What learned from the training part, and once more from the test part."""
    told = set()
    sure = (*fitted_again(file, LEARNING), *fitted_for_scores(file, LEARNING))
    for place, (first, again) in enumerate((*sure, *fitted_by_name(file, LEARNING))):
        if again.call.number in told:
            continue
        told.add(again.call.number)
        data = quoted(file, again.data, "test rows")
        yield rule.finding(
            fitting(f"`{again.name}` learns from the test part {data} again", f"`{again.name}` fits test rows"),
            sureness=Sureness.CERTAIN if place < len(sure) else Sureness.LIKELY,
            place=place_in(file, again.call.at),
            evidence=[_fits(again)],
            cause=f"What was learned on {line_of(file, first.call.at)} is not what the test rows are transformed "
            "with, so the model meets other numbers, or other columns, than those it learned from.",
            fixes=["Apply what the training part has taught:\n" + code(f"transformer.transform({data.strip('`')})")],
            chain=first_and_then(file, first.call, "learns from the training part", again.call, "learns again"),
        )


def numbered_apart(rule: Rule, file: Code) -> Iterator[Finding]:
    """Categories that the test part gives numbers of its own."""
    for first, again in fitted_again(file, ENCODING):
        data = quoted(file, again.data, "test rows")
        yield rule.finding(
            fitting(f"`{again.name}` numbers the test part {data} anew", f"`{again.name}` numbers test rows anew"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, again.call.at),
            evidence=[_fits(again)],
            cause=f"Categories got their numbers on {line_of(file, first.call.at)}, and get others where a part "
            "lacks one of them.",
            fixes=["Use the numbers of the training part:\n" + code(f"encoder.transform({data.strip('`')})")],
            unless="both parts hold the same categories.",
            chain=first_and_then(file, first.call, "the training part", again.call, "the test part"),
        )


def _fits(again: Fit) -> Evidence:
    """How often something learned."""
    return Evidence(
        f"fits of `{again.name}` on the two parts of one split", 2, "1, on the training part",
        "followed through the code",
    )  # fmt: skip
