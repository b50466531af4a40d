"""Validation inputs that come from another distribution than training inputs, in some of their features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log, sqrt
from typing import Any

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.modes import accuracies_of, losses_of
from stethoscope.facts.progress import progress_of
from stethoscope.facts.samples import HeldOut, Samples
from stethoscope.facts.training import Curve, Doubles, History, Inputs, ValidationPass
from stethoscope.rules.examples import falling, run, with_curve
from stethoscope.rules.feeding import change_between
from stethoscope.rules.sites import at, code, place_at

MOST_NAMED = 3
"""Features that are named one by one."""
OTHER_UNITS = 1.7
"""Where most spreads are apart by this factor the inputs were prepared differently."""

LEARNED = 0.25
"""Share of the way from guessing to 0; small sets of noisy numbers allow hardly more than half."""


@dataclass(frozen=True)
class Shift:
    """How the means of the features moved from training to validation."""

    sizes: Doubles
    """(features,): distance of the means, in spreads (the root mean square of both sides')."""
    sure: Doubles
    """(features,): the same in standard errors, from the different rows on both sides."""
    rows: tuple[int, int]
    """Different rows of training and validation."""


def _inputs(*means: float, rows: int = 300, spread: float = 1.0) -> Inputs:
    count = len(means)
    return Inputs(
        shape=(32, count), dtype="float32", looks=9, rows=rows, mean=0.0, std=1.0, smallest=-3.0, largest=3.0,
        feature_means=np.array(means), feature_stds=np.full(count, spread),
    )  # fmt: skip


def _run(
    *means: float,
    validation: float | None = 0.6,
    accuracy: float | None = None,
    rows: int = 300,
    scored: int = 3,
    **facts: Any,
) -> History:
    """A classifier whose validation inputs have these means, those of training 0; its training loss ends at 0.2."""
    seen = run(falling(2.3, 0.2))
    other = replace(_inputs(*means, rows=rows), **facts)
    seen = replace(
        seen,
        inputs=(_inputs(*np.zeros(len(means)), rows=400),),
        held_out_inputs=(other,),
        samples=(Samples(rows=400),),
        held_out=(HeldOut(0, 40, rows=rows),),
        validation=(ValidationPass(40, 3, 0, distinct_inputs=3, loss_calls=scored),),
    )
    if validation is None:
        return seen
    steps, falls = np.arange(1, 6) * 40, np.linspace(0.5, 0, 5)
    seen = with_curve(seen, Curve("validation loss", "loss", "validation", steps, validation + falls))
    if accuracy is None:
        return seen
    seen = with_curve(seen, Curve("training accuracy", "accuracy", "training", np.arange(200), np.full(200, 0.9)))
    return with_curve(seen, Curve("validation accuracy", "accuracy", "validation", steps, accuracy - falls))


_three = (2.0, 0.1, 0.0)


class DistributionShift(Rule):
    """Some features of the validation inputs lie elsewhere than those of the training inputs.

    ## What it sees
    The mean and spread of each feature of what the model was fed in training, and of what it was fed in passes
    without gradients, for inputs with two axes (rows, features). Some features lie clearly apart, beyond what the
    number of rows allows, and others do not. It is a warning where validation was also worse than training at every
    time, its best pass included.
    ## Why it hurts
    The network is asked about inputs of a kind that it has not met. Its validation score measures that, and not how
    well it learned; choices made by that score are choices for another task.
    ## How to fix it
    Shuffle the rows before they are split. Where the difference is real (a later time, another clinic), train on
    rows of both kinds, or leave the feature out.
    ## When it is not a fault
    Splits by time or by group, made to measure how far the network carries. Then the score answers that question.
    ## Sources
    J. Quionero-Candela et al., "Dataset Shift in Machine Learning", MIT Press 2009, chapter 1 (covariate shift).
    """

    severity = Severity.WARNING
    explains = ("overfitting", "no-gain-over-baseline", "train-eval-mismatch")
    reads = ("losses", "batches", "validation", "samples")

    size = Limit(
        0.5, unit="distance of the means / spread of the feature", why="half a spread is called a medium-sized effect"
    )
    large = Limit(
        1.0, unit="the same distance, for a warning", why="a whole spread: only half of the values still overlap"
    )
    errors = Limit(
        5, unit="standard errors of the difference", why="grows with the logarithm of the number of features, as well"
    )
    worse = Limit(
        1.3, unit="validation loss / training loss at the best pass", why="overfitting begins with both losses equal"
    )
    accuracy = Limit(0.1, unit="accuracy lost at the best pass", why="beyond the noise of a hundred rows")
    most = Limit(0.8, unit="share of the features shifted", why="what moves all features is how they are prepared")
    fewest_rows = Limit(
        30, unit="different rows on each side", why="a mean of fewer rows is off by a fifth of a spread"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare the means, feature by feature."""
        trained = {
            one.model: one for one in seen.inputs if one.feature_stds.size and not one.beside and len(one.shape) == 2
        }
        shifts = []
        for other in seen.held_out_inputs:
            one = trained.get(other.model)
            if one is None or one.feature_stds.size != other.feature_stds.size:
                continue
            shift = _shift(seen, one, other)
            if min(shift.rows) >= self.fewest_rows:
                shifts.append((one, other, shift))
        if not shifts:
            yield self.cannot_tell("too few rows of numbers were seen both in training and in validation")
            return
        for one, other, shift in shifts:
            least = self.size if _scored(seen, other) else self.large
            found = (shift.sizes >= least) & (shift.sure >= self.errors + log(shift.sizes.size) / self.errors)
            change = change_between(one, other)
            if not found.any() or change is None or change.size >= OTHER_UNITS:
                continue
            if np.mean(shift.sizes >= self.size) < self.most:
                yield self._report(seen, one, other, shift, np.flatnonzero(found))
                return

    def _report(self, seen: History, one: Inputs, other: Inputs, shift: Shift, which: Any) -> Finding:
        order = which[np.argsort(-shift.sizes[which])]
        worst = int(order[0])
        lost = self._lost(seen, other)
        harmed = lost is not None and shift.sizes[worst] >= self.large and _learned(seen)
        evidence = [
            Evidence(
                f"mean of feature {i}, validation / training",
                f"{other.feature_means[i]:.3g} / {one.feature_means[i]:.3g}",
                "about equal",
                f"{shift.sizes[i]:.2g} spreads apart",
            )
            for i in order[:MOST_NAMED]
        ]
        evidence.append(
            Evidence(
                f"features at least {self.size:g} spreads apart",
                f"{order.size:,} of {shift.sizes.size:,}",
                0,
                f"{shift.rows[1]:,} and {shift.rows[0]:,} different rows",
            )
        )
        if lost is not None:
            evidence.append(lost)
        names = ", ".join(str(i) for i in order[:MOST_NAMED]) + (", ..." if order.size > MOST_NAMED else "")
        plural = "s" if order.size > 1 else ""
        return self.finding(
            f"validation inputs lie {shift.sizes[worst]:.2g} spreads away in feature {worst}",
            severity=Severity.WARNING if harmed else Severity.NOTE,
            sureness=Sureness.LIKELY if harmed else Sureness.POSSIBLE,
            place=place_at(other.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=f"The rows fed at {at(other.site)} are another kind of rows than those of training: they differ in "
            f"feature{plural} {names} (counted from 0), and not in all, so the scaling is not the reason. Rows that "
            "are sorted and split without a shuffle give this, and so does a split by time or by group.",
            fixes=[
                Fix(
                    "Shuffle the rows before they are split:\n"
                    + code(
                        "order = torch.randperm(len(x))",
                        "x, y = x[order], y[order]",
                        "x_train, x_val = x[:n_train], x[n_train:]",
                    )
                ),
                "With scikit-learn: `train_test_split(x, y, shuffle=True)`.",
                "If the split is meant, train on rows of both kinds, or leave the feature out.",
            ],
            unless="the split is by time or by group on purpose, to measure how far the network carries.",
        )

    def _lost(self, seen: History, other: Inputs) -> Evidence | None:
        """That validation was worse than training even at its best pass; None when it was not, or was not seen."""
        if not _scored(seen, other):
            return None
        if (sides := accuracies_of(seen)) is not None:
            best = int(sides.validation.argmax())
            here, there = float(sides.training[best]), float(sides.validation[best])
            if here - there < self.accuracy:
                return None
            return Evidence("accuracy at the best pass, validation / training", f"{there:.3f} / {here:.3f}", "alike")
        if (sides := losses_of(seen)) is None:
            return None
        best = int(sides.validation.argmin())
        here, there = float(sides.training[best]), float(sides.validation[best])
        if there < self.worse * here:
            return None
        return Evidence("loss at the best pass, validation / training", f"{there:.3g} / {here:.3g}", "near each other")

    bad = Examples(
        lambda: {
            "one of three features": _run(*_three),
            "as many spreads apart as a warning asks for": _run(1.02, 0.0, 0.0),
            "next to a warning": _run(0.98, 0.0, 0.0),
            "next to the limit": _run(0.52, 0.0, 0.0),
            "validation is as good": _run(*_three, validation=0.2),
            "next to worse": _run(*_three, validation=0.265),
            "next to no worse": _run(*_three, validation=0.255),
            "no loss in validation": _run(*_three, validation=None),
            "accuracy next to the limit": _run(*_three, accuracy=0.797),
            "accuracy just above the limit": _run(*_three, accuracy=0.803),
            "not scored, and far": _run(1.02, 0.0, 0.0, scored=0),
            "30 rows": _run(*_three, rows=30),
            "sure next to the limit": _run(0.6, 0.0, 0.0, rows=95),
            "three of four features": _run(2.0, 2.0, 2.0, 0.1),
            "15 of 19 features": _run(*[2.0] * 15, *[0.1] * 4),
        }
    )
    good = Examples(
        lambda: {
            "drawn from the same rows": _run(0.1, 0.1, 0.1),
            "just below the limit": _run(0.48, 0.0, 0.0),
            "not scored, and near": _run(0.9, 0.0, 0.0, scored=0),
            "29 rows": _run(*_three, rows=29),
            "not sure": _run(0.6, 0.0, 0.0, rows=80),
            "all features": _run(2.0, 2.0, 2.0),
            "17 of 21 features": _run(*[2.0] * 17, *[0.1] * 4),
            "in other units": _run(*_three, feature_stds=np.full(3, 5.0)),
            "images": _run(*_three, feature_means=np.zeros(0), feature_stds=np.zeros(0)),
            "another model": _run(*_three, model=1),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_diabetes
        from torch import nn

        torch.manual_seed(SEED)
        data = load_diabetes()
        x = torch.tensor(data.data, dtype=torch.float32)
        y = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)
        order = torch.argsort(x[:, 2])  # fix: order = torch.randperm(len(x))
        train, held_out = order[:300], order[300:]
        x = (x - x[train].mean(0)) / x[train].std(0)
        y = (y - y[train].mean()) / y[train].std()
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(x[train], y[train]), batch_size=32, shuffle=True
        )
        model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(30):
            model.train()
            for features, target in loader:
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(features), target)
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                score = nn.functional.mse_loss(model(x[held_out]), y[held_out]).item()
        print(f"loss {score:.4f}")
        """)


def _scored(seen: History, other: Inputs) -> bool:
    """Whether a loss was computed in those passes; without one they may draw a picture, or compare representations."""
    return any(each.loss_calls and each.model == other.model and each.site == other.site for each in seen.validation)


def _learned(seen: History) -> bool:
    """Whether training itself went well, so that worse validation is worth a word."""
    progress = progress_of(seen)
    return progress.learns_well or progress.gain >= LEARNED


def _shift(seen: History, one: Inputs, other: Inputs) -> Shift:
    """From training to validation. Rows that come again in each epoch are counted once."""
    trained = seen.samples[one.model].rows if one.model < len(seen.samples) else 0
    passes = [each.rows for each in seen.held_out if each.model == other.model and each.site == other.site]
    rows = min(one.rows, trained), min(other.rows, max(passes, default=0))
    variances = np.stack([one.feature_stds, other.feature_stds]) ** 2
    apart = np.abs(other.feature_means - one.feature_means)
    tiny = 1e-6 * np.maximum(1.0, np.abs(one.feature_means))
    spread = np.maximum(np.sqrt(variances.mean(axis=0)), tiny)
    error = np.maximum(np.sqrt(variances[0] / max(rows[0], 1) + variances[1] / max(rows[1], 1)), tiny / sqrt(10))
    return Shift(apart / spread, apart / error, rows)
