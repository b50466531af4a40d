"""Inputs and labels that have lost their pairing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Place, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.text import only
from stethoscope.facts.data import Data, LabelSuspects
from stethoscope.facts.model import Experiment, InputUse, Preflight, Yardstick
from stethoscope.facts.progress import progress_of
from stethoscope.facts.samples import Samples
from stethoscope.facts.training import Batches, Curve, Doubles, History, LossCall
from stethoscope.rules.chance import guess, validation_beats_guessing
from stethoscope.rules.columns import named, of_numbers, of_words, one_set
from stethoscope.rules.examples import falling, flat, run, with_curve
from stethoscope.rules.learning import loss_evidence
from stethoscope.rules.sites import code, place_at

ALL_KNOWN = 0.9
"""Share of familiar rows from which a data set is taken as seen from end to end."""
FEWEST_FIRST_STEPS = 5
"""Steps of a first pass through the data below which its losses say nothing."""

HELD_OUT = 4
"""Every fourth row is held out from the models of a check."""
FIXES = (
    Fix(
        "Reorder inputs and labels by the same indices:\n"
        + code("order = torch.randperm(len(inputs))", "inputs, labels = inputs[order], labels[order]")
    ),
    Fix("Look at some pairs, right before training:\n" + code("print(inputs[:5], labels[:5])")),
)

_lost = Samples(
    rows=1437, familiar=1.0, features=64, shape=(32, 64), tested=600, classes=10, majority=0.12,
    neighbours=0.1, neighbours_chance=0.1, linear=0.11, linear_chance=0.1, relation=0.8,
)  # fmt: skip


def _run(loss: Doubles, samples: Samples = _lost, accuracy: float | None = None, counted: int = 40) -> History:
    """A classifier of ten classes that saw these samples; with this accuracy in validation when there was one."""
    call = LossCall("cross_entropy", training_calls=50, chance=2.3, output_shape=(32, 10))
    held_out = LossCall("cross_entropy", evaluation_calls=5, evaluation_class_counts=(counted,) * 10)
    batches = Batches(steps=np.arange(20), sizes=np.full(20, 32))
    seen = replace(run(loss, chance=2.3), samples=(samples,), losses=(call, held_out), batches=batches)
    if accuracy is None:
        return seen
    steps = np.arange(1, 6) * 45
    return with_curve(seen, Curve("validation accuracy", "accuracy", "validation", steps, np.full(5, accuracy)))


def _memorised(first: float) -> Doubles:
    """A loss of 500 steps that stands still for the first pass of 45 and falls slowly from then on."""
    return np.concatenate([flat(first, 45), falling(first, 1.0, 455)])


def _table(relation: float, rows: int = 4000) -> Data:
    """A table, and what models said of its labels."""
    labels = LabelSuspects("some models", rows=rows, accuracy=0.5, chance=0.5, relation=relation)
    columns = of_numbers("a", range(100)), of_words("y", {"cat": 50, "dog": 50})
    return one_set(*columns, target="y", task="classification", labels=labels)


def _checked(
    unchanged: float = 2.29,
    one_hidden: float = 0.11,
    samples: Samples = _lost,
    classes: bool = True,
    guess: float = 0.11,
) -> History:
    """A check whose copies reached this loss (2.3 with labels in random order), and simple models so many right."""
    simple = Yardstick(600, classes, guess if classes else 0.0, 0.1, 0.1, one_hidden)
    made = (Experiment("input_use", "blank the input"),)
    use = InputUse(True, 64, blanked=2.31, permuted=2.3, unchanged=unchanged, steps=48)
    seen = _run(flat(2.3, 40), replace(samples, familiar=0.0))
    return replace(seen, preflight=Preflight(is_check=True, experiments=made, input_use=use, yardstick=simple))


def _simple_models(samples: Samples) -> list[Evidence]:
    """What simple models made of single rows."""
    what = "answers named rightly" if samples.classes else "correlation with the target"
    source = f"{samples.tested:,} rows, each left out in turn"
    return [
        Evidence(
            f"{what} by {name}",
            f"{right:.2f}",
            f"well above {by_chance:.2f}",
            f"{by_chance:.2f} with the targets in random order; {source}",
        )
        for name, right, by_chance in (
            ("the 5 nearest neighbours", samples.neighbours, samples.neighbours_chance),
            ("a linear model", samples.linear, samples.linear_chance),
        )
    ]


class LabelsUnrelatedToInputs(Rule):
    """The labels do not follow from the inputs: the two have lost their pairing.

    ## What it sees
    Some hundred training rows with their labels, and what three simple models make of them without having seen them:
    nearest neighbours, a linear model, and single features. All three do no better than with the same labels in
    random order. Beside that, the network itself: at chance in validation, or, where nothing was validated, at chance
    for the whole of its first pass through the data. Before training (`check`): a copy of it that learns the labels no
    faster than the same labels in random order, and a model with one hidden layer that gets no more of held out rows
    right than chance; a note, since a weak relation looks the same in a few hundred rows.
    In a table: models that were not trained on a row do no better for its target than chance, in a thousand rows or
    more. That is a note, since the column that tells the target may only be missing.
    ## Why it hurts
    What can be learned is the training set by heart. The training loss may fall, but nothing carries over to new
    samples.
    ## How to fix it
    Apply every shuffle, sort, filter and merge to inputs and labels together, and look at a few pairs by eye.
    ## When it is not a fault
    Labels that follow from the inputs by a rule that no simple model sees, such as the parity of many bits or
    arithmetic on tokens. Training on random labels on purpose.
    ## Sources
    C. Zhang et al., "Understanding deep learning requires rethinking generalization", ICLR 2017: networks fit random
    labels, more slowly than true ones.
    """

    explains = (
        "overfitting",
        "learning-rate-too-low",
        "learning-rate-too-high",
        "no-gain-over-baseline",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "collapsed-predictions",
        "train-eval-mismatch",
        "loss-oscillating",
        "too-few-epochs",
    )
    reads = ("losses", "batches", "validation", "samples")
    to_the_end = True

    relation = Limit(
        3.5,
        unit="standard deviations above random order",
        why="true labels of six data sets show 14 and more; random labels of them stay below in 439 of 440 tries",
    )
    fewest_rows = Limit(200, unit="rows with a label", why="a weak relation does not show in fewer")
    fewest_others = Limit(
        40,
        unit="rows outside of the most frequent class",
        why="where nearly all rows have one label, a dozen of others show a relation no better than none",
    )
    first_pass = Limit(
        0.97,
        unit="loss over the first pass / what guessing gives",
        why="a network that finds anything common to the samples gets below it before it meets them again",
    )

    no_better = Limit(
        0.98,
        unit="loss of a copy on the labels / on the same in random order, before training",
        why="0.98 to 1.03 with shuffled labels of digits, cancers and diabetes; 0.45 to 0.85 with their own",
    )
    luck = Limit(
        2.5,
        unit="standard errors above guessing",
        why="of rows held out by a model with one hidden layer: chance alone",
    )
    enough_rows = Limit(1000, unit="rows of a table", why="a weak but useful relation does not show in fewer")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge what models said of rows that they were not trained on."""
        labels = seen.train.labels
        if labels is None or labels.why:
            yield self.cannot_tell(labels.why if labels is not None else "there is no target")
            return
        if labels.rows < self.enough_rows:
            yield self.cannot_tell(f"there {only(labels.rows, 'row')} with a target")
            return
        if not labels.relation < self.relation:
            return
        yield self.finding(
            f"no column tells {named(seen.target)}: models do no better than guessing",
            severity=Severity.NOTE,
            sureness=Sureness.POSSIBLE,
            place=Place(file=seen.train.name, columns=(seen.target,)),
            evidence=[
                Evidence(
                    "how far predictions are from knowing nothing, in standard errors",
                    f"{labels.relation:.1f}",
                    f"{self.relation:g} or more",
                    f"{labels.method}, {labels.rows:,} rows",
                )
            ],
            cause="Rows that resemble each other have targets as different as any two rows: the target and the other "
            "columns were put together from rows that do not belong together, or what decides is not in the table.",
            fixes=[
                "Join target and inputs by a key, not by their order:\n"
                + code(f"frame = inputs.merge(targets[['id', {seen.target!r}]], on='id', validate='one_to_one')"),
                "Look at some rows by eye, and ask what a person would need to know to tell the target.",
            ],
            unless="the target follows by a rule that no simple model sees.",
        )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the samples first: where a simple model finds a relation, there is one."""
        samples = max(seen.samples, key=lambda each: each.tested, default=Samples())
        if why := self._too_few(samples):
            yield self.cannot_tell(why)
            return
        if not samples.relation < self.relation:
            return
        beats = validation_beats_guessing(seen)
        if beats is not None:
            if not beats:
                yield self._report(seen, samples, validated=True)
            return
        start = self._first_pass(seen, samples)
        if start is None:
            yield self.cannot_tell("no validation loss was seen, nor one full pass through the data")
        elif start >= self.first_pass:
            yield self._report(seen, samples, validated=False)

    def _too_few(self, samples: Samples) -> str:
        """Why the rows say nothing, as a clause; empty when they do."""
        if samples.tested < self.fewest_rows:
            return "too few training rows were seen with one target each"
        if samples.classes and samples.tested * (1 - samples.majority) < self.fewest_others:
            return "too few training rows were seen outside of the most frequent class"
        return ""

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge what copies learned from the labels as they are, beside the same labels in random order."""
        use, simple = seen.preflight.input_use, seen.preflight.yardstick
        samples = max(seen.samples, key=lambda each: each.tested, default=Samples())
        if not seen.preflight.is_check:
            return
        if why := self._too_few(samples):
            yield self.cannot_tell(why)
        elif not samples.relation < self.relation:
            return
        elif use is None or simple is None or not use.permuted > 0 or not np.isfinite(use.unchanged):
            yield self.cannot_tell("copies could not be trained with the labels in random order")
        elif len(samples.shape) == 3:
            yield self.cannot_tell("its inputs are sequences, of which simple models see little")
        elif use.unchanged >= self.no_better * use.permuted and simple.one_hidden <= self._by_luck(simple, samples):
            yield self._untrained(seen, samples)

    def _by_luck(self, simple: Yardstick, samples: Samples) -> float:
        """What a model with one hidden layer may reach on rows held out without any relation: the class that is the
        most frequent elsewhere may be rare among them, and any other answer is right as often as one of all classes.
        """
        if not simple.classes:
            return float(self.luck / np.sqrt(simple.rows / HELD_OUT))
        chance = max(simple.guess, 1 / max(1, samples.classes))
        return float(chance + self.luck * np.sqrt(chance * (1 - chance) / (simple.rows / HELD_OUT)))

    def _untrained(self, seen: History, samples: Samples) -> Finding:
        use, simple = seen.preflight.input_use, seen.preflight.yardstick
        assert use is not None
        assert simple is not None
        loss = seen.main_loss()
        return self.finding(
            f"labels do not follow from inputs in {samples.tested} training rows",
            sureness=Sureness.POSSIBLE,
            severity=Severity.NOTE,
            place=place_at(loss.site if loss else None),
            evidence=[
                *_simple_models(samples),
                Evidence(
                    "rows held out that one hidden layer gets right" if simple.classes else "variance that it explains",
                    f"{simple.one_hidden:.2f}",
                    f"well above {max(simple.guess, 0.0):.2f}",
                    f"trained on three quarters of {simple.rows:,} rows",
                ),
                Evidence(
                    f"loss of a copy after {use.steps} steps / with the same labels in random order",
                    f"{use.unchanged / use.permuted:.3f}",
                    f"below {self.no_better:g}",
                ),
            ],
            cause="Rows that resemble each other have labels as different as any two rows, and the network learns "
            "them as slowly as labels in random order: inputs and labels were probably reordered apart or shifted.",
            fixes=FIXES,
            unless="the labels follow by a rule that no simple model sees, such as parity.",
        )

    def _first_pass(self, seen: History, samples: Samples) -> float | None:
        """Loss over the second half of the first pass through the data / what guessing gives; None when unknown."""
        curve, chance = seen.curve("loss"), progress_of(seen).chance
        if curve is None or not np.isfinite(chance) or not samples.familiar >= ALL_KNOWN or not seen.batches.sizes.size:
            return None
        steps = int(samples.rows // max(1, np.median(seen.batches.sizes)))
        if steps < FEWEST_FIRST_STEPS or len(samples.shape) == 3:
            return None
        return float(np.median(curve.values[steps // 2 : steps]) / chance)

    def _report(self, seen: History, samples: Samples, *, validated: bool) -> Finding:
        progress = progress_of(seen)
        loss = seen.main_loss()
        evidence = _simple_models(samples)
        accuracy = seen.curve("accuracy", "validation")
        if validated and accuracy is not None:
            evidence.append(
                Evidence(
                    "validation accuracy of the network",
                    f"{np.median(accuracy.values[-3:]):.3f}",
                    f"well above {guess(seen):.3f}",
                    "the most frequent class",
                )
            )
        if progress.known:
            evidence.append(loss_evidence(seen, progress))
        found = "in validation it is no better than a guess" if validated else "it was at chance until rows came again"
        return self.finding(
            f"labels do not follow from inputs in {samples.tested} training rows",
            place=place_at(loss.site if loss else None, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause="Rows that resemble each other have labels as different as any two rows, so inputs and labels were "
            f"probably reordered apart or shifted. The network can learn them by heart only: {found}.",
            fixes=FIXES,
            unless="the labels follow by a rule that no simple model sees, such as parity.",
        )

    bad = Examples(
        lambda: {
            "memorised, and at chance in validation": _run(falling(2.3, 0.2, 900), accuracy=0.1),
            "stuck, and at chance in validation": _run(flat(2.3), accuracy=0.11),
            "memorised, and nothing validated": _run(_memorised(2.31)),
            "stuck, and nothing validated": _run(flat(2.3, 500)),
            "a relation next to the limit": _run(flat(2.3), replace(_lost, relation=3.4), accuracy=0.1),
            "as few rows as can tell": _run(flat(2.3), replace(_lost, tested=200), accuracy=0.1),
            "a first pass next to the limit": _run(_memorised(2.28)),
            "41 rows of other classes": _run(flat(2.3), replace(_lost, majority=1 - 41 / 600), accuracy=0.1),
            "numbers": _run(flat(2.3, 500), replace(_lost, classes=0, neighbours=0.02, neighbours_chance=0.0)),
            "before training": _checked(),
            "before training, and hardly better": _checked(2.26),
            "before training, and a little luck": _checked(one_hidden=0.172),
            "before training, and the frequent class is rare there": _checked(one_hidden=0.15, guess=0.06),
            "before training, numbers": _checked(one_hidden=0.1, classes=False, samples=replace(_lost, classes=0)),
            "a table": _table(0.3),
            "a table of as few rows as can tell": _table(0.3, 1000),
            "a table and a relation next to the limit": _table(3.4),
        }
    )
    good = Examples(
        lambda: {
            "simple models find a relation": _run(
                flat(2.3), replace(_lost, relation=90.0, neighbours=0.95), accuracy=0.1
            ),
            "a relation just above the limit": _run(flat(2.3), replace(_lost, relation=3.6), accuracy=0.1),
            "the network finds what simple models do not": _run(falling(2.3, 0.1), accuracy=0.8),
            "the network finds a little": _run(falling(2.3, 0.1), accuracy=0.3),
            "39 rows of other classes": _run(flat(2.3), replace(_lost, majority=1 - 39 / 600), accuracy=0.1),
            "199 rows": _run(flat(2.3), replace(_lost, tested=199), accuracy=0.1),
            "learned within the first pass": _run(falling(2.3, 0.5)),
            "a first pass just below the limit": _run(_memorised(2.17)),
            "rows that never come again": _run(flat(2.3, 500), replace(_lost, familiar=0.0)),
            "all rows in one batch": _run(flat(2.3, 500), replace(_lost, rows=32)),
            "before training, and a network that finds a relation": _checked(2.24),
            "before training, and a hidden layer that finds one": _checked(one_hidden=0.1765),
            "before training, and simple models that find one": _checked(samples=replace(_lost, relation=3.6)),
            "before training, sequences": _checked(samples=replace(_lost, shape=(32, 20, 3))),
            "a table with a relation": _table(3.6),
            "a table of 999 rows": _table(0.3, 999),
            "sequences": _run(flat(2.3, 500), replace(_lost, shape=(32, 20, 3))),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) / 16
        labels = torch.tensor(data.target)
        order = torch.randperm(len(images))
        images = images[order]
        labels = labels[torch.randperm(len(labels))]  # fix: labels = labels[order]
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images[:1400], labels[:1400]), batch_size=32, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            right = (model(images[1400:]).argmax(dim=1) == labels[1400:]).float().mean().item()
        print(f"held out accuracy {right:.4f}")
        """)
