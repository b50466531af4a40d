"""Inputs and labels that have lost their pairing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Place, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.data import Data, LabelSuspects
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


class LabelsUnrelatedToInputs(Rule):
    """The labels do not follow from the inputs: the two have lost their pairing.

    ## What it sees
    Some hundred training rows with their labels, and what three simple models make of them without having seen them:
    nearest neighbours, a linear model, and single features. All three do no better than with the same labels in
    random order. Beside that, the network itself: at chance in validation, or, where nothing was validated, at chance
    for the whole of its first pass through the data.
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
        why="34 healthy programs show 6 and more, all but one 23 and more; random labels stay below in 197 of 200 "
        "tries",
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

    enough_rows = Limit(1000, unit="rows of a table", why="a weak but useful relation does not show in fewer")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge what models said of rows that they were not trained on."""
        labels = seen.train.labels
        if labels is None or labels.why:
            yield self.cannot_tell(labels.why if labels is not None else "there is no target")
            return
        if labels.rows < self.enough_rows:
            yield self.cannot_tell(f"there are only {labels.rows} rows with a target")
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
        if samples.tested < self.fewest_rows:
            yield self.cannot_tell("too few training rows were seen with one target each")
            return
        if samples.classes and samples.tested * (1 - samples.majority) < self.fewest_others:
            yield self.cannot_tell("too few training rows were seen outside of the most frequent class")
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
        what = "answers named rightly" if samples.classes else "correlation with the target"
        source = f"{samples.tested:,} rows, each left out in turn"
        evidence = [
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
            fixes=[
                Fix(
                    "Reorder inputs and labels by the same indices:\n"
                    + code("order = torch.randperm(len(inputs))", "inputs, labels = inputs[order], labels[order]")
                ),
                Fix("Look at some pairs, right before training:\n" + code("print(inputs[:5], labels[:5])")),
            ],
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
