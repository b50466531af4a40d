"""Inputs of a second set, or of validation, that come from another distribution than those of training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log, sqrt
from typing import Any

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Place, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.data import Data, JointShift
from stethoscope.facts.images import PROPERTIES
from stethoscope.facts.modes import accuracies_of, losses_of
from stethoscope.facts.progress import progress_of
from stethoscope.facts.samples import HeldOut, Samples
from stethoscope.facts.training import Curve, Doubles, History, Inputs, ValidationPass
from stethoscope.rules.budget import SHARES
from stethoscope.rules.columns import listed, named
from stethoscope.rules.examples import falling, run, with_curve
from stethoscope.rules.feeding import change_between
from stethoscope.rules.newcomers import new_values
from stethoscope.rules.picture_shifts import changed_pictures
from stethoscope.rules.recolouring import recoloured
from stethoscope.rules.reweighing import by_labels
from stethoscope.rules.scaling import rescaled
from stethoscope.rules.shifting import Shift as Moved
from stethoscope.rules.shifting import evidence_of, judged, pairs_of, percent, unjudged
from stethoscope.rules.sites import at, code, place_at
from stethoscope.rules.two_sets import bell, two_sets, yes_no
from stethoscope.rules.vectors import vectors

MOST_NAMED = 3
"""Features that are named one by one."""
MOST_PLOTTED = 5
"""Columns that have evidence of their own."""
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


def _apart_by(low: float) -> JointShift:
    return JointShift(low + 0.03, low, 2000, (("a", 0.8),))


class DistributionShift(Rule):
    """Some inputs of the validation or test set lie elsewhere than those of the training set.

    ## What it sees
    Of two data sets: how many rows of each column lie elsewhere, as the largest difference in the share of rows below
    a value (or in a group of categories), with the band that chance allows, for all columns together. What is within
    the tolerance is no shift, however many rows show it, and of a set that is too small nothing is said. Pictures and
    texts are compared by their properties. A classifier that tells the rows of the two sets apart shows a shift that
    no column shows alone. What is gone once the classes have the same shares follows from the labels. Columns that
    count or name the rows, and dates, are left out.

    In a run: the mean and spread of each feature of what the model was fed in training, and in passes without
    gradients, for inputs with two axes (rows, features). Some features lie clearly apart, beyond what the
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
    F. Wei and R. M. Dudley, "Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities", 2012 (the band).
    D. Lopez-Paz and M. Oquab, "Revisiting classifier two-sample tests", ICLR 2017 (the joint shift).
    """

    severity = Severity.WARNING
    explains = ("overfitting", "no-gain-over-baseline", "train-eval-mismatch", "out-of-range-values", "embedding-shift")
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
    tolerance = Limit(
        0.05, unit="share of the rows that lie elsewhere", why="an eighth of a standard deviation, which costs little"
    )
    clear = Limit(
        0.08, unit="the same share, for a warning", why="a fifth of a standard deviation: a small effect by custom"
    )
    told_apart = Limit(
        0.05, unit="AUC above 0.5 of a classifier of the sets", why="the tolerance of one column, for all together"
    )

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Compare all input columns, those whose units have changed left out, and then the rows as a whole."""
        if seen.test is None:
            yield self.cannot_tell("there is only one data set")
            return
        rate = SHARES[self.name]
        in_other_units = rescaled(seen)
        colours = recoloured(seen)
        told = {*in_other_units, *(colours.columns if colours is not None else ())}
        pairs = [(one, other) for one, other in pairs_of(seen) if one.name not in told]
        shifts = judged(pairs, rate, self.tolerance)
        found = [shift for shift in shifts if shift.verdict == "shift"]
        joint = seen.joint
        if joint is None or joint.low < 0.5 + self.told_apart or in_other_units:
            joint = None
        numbered = {name for names in vectors(one for one, _ in pairs) for name in names}
        kinds = {shift.name: (shift.name in numbered, self._is_of_new_values(shift)) for shift in found}
        for kind in ((False, False), (True, False), (False, True)):
            if some := [shift for shift in found if kinds[shift.name] == kind]:
                yield self._moved(seen, some, len(shifts), joint)
                joint = None
        if joint is not None:
            yield self._told_apart(seen, joint)
        if why := unjudged(shifts, rate, self.tolerance):
            yield self.cannot_tell(why)

    def _is_of_new_values(self, shift: Moved) -> bool:
        """Whether rows lie elsewhere in this column because they have values that the first set lacks: hardly more do.

        They have a finding of their own, which new-categories explains where it names these values.
        """
        one, other = shift.one, shift.other
        if one.words is None or other.words is None or one.numbers is not None:
            return False
        new = new_values(shift.name, one.words, other.words)
        return new is not None and bool(new.values) and shift.effect - new.share < self.tolerance

    def _moved(self, seen: Data, found: list[Moved], of: int, joint: JointShift | None) -> Finding:
        assert seen.test is not None
        names = [shift.name for shift in found]
        worst = f"{named(names[0])} ({percent(found[0].gap.size)} of rows)"
        is_clear = found[0].effect >= self.clear
        evidence = [evidence_of(shift, self.tolerance) for shift in found[:MOST_PLOTTED]]
        evidence.append(Evidence("columns that shifted", f"{len(found):,} of {of:,}", 0))
        if joint is not None:
            evidence.append(_apart(joint, self.told_apart))
        if (labels := by_labels(seen, found)) is not None:
            evidence.append(labels)
        has_pictures = seen.train.images is not None
        pictures = has_pictures and len(seen.train.profile.columns) <= 1
        title, change = f"{len(found)} columns shifted, first {worst}" if len(found) > 1 else f"{worst} has shifted", ""
        of_pictures = [shift for shift in found if shift.name in PROPERTIES]
        if has_pictures and of_pictures and (pictures or found[0].name in PROPERTIES):
            title, change = changed_pictures(of_pictures)
        fixes: list[Fix | str] = [
            Fix(
                "Where the sets were cut from one table, shuffle it first:\n"
                + code("train, test = train_test_split(frame, shuffle=True, random_state=0)")
            ),
            Fix(
                "Look at what has moved:\n"
                + code(
                    f"columns = [{listed(names[:5])}]",
                    "print(train[columns].describe())",
                    "print(test[columns].describe())",
                )
            ),
            "Where the difference is real, train on rows of both kinds, weight them, or leave the column out.",
        ]
        if pictures:
            fixes = [
                "Where the sets were cut from one folder, shuffle the files before they are cut.",
                "Where the difference is real, train on pictures of both kinds, or vary them as much:\n"
                + code("transforms.ColorJitter(brightness=0.6, contrast=0.4)  # GaussianBlur, RandomResizedCrop, ..."),
            ]
        return self.finding(
            title,
            severity=Severity.WARNING if is_clear and labels is None else Severity.NOTE,
            place=Place(file=seen.test.name, columns=tuple(names)),
            evidence=evidence,
            cause=f"Rows of {seen.test.name} are another kind of rows than those of {seen.train.name}: they lie "
            f"elsewhere in {', '.join(named(name) for name in names[:5])}{', ...' if len(names) > 5 else ''}, by more "
            "than the tolerance and chance allow. Sets cut from a sorted table give this, and so does another time, "
            "place or instrument."
            + change
            + (" Here it follows from the labels, whose shares differ." if labels else ""),
            fixes=fixes,
            unless="the second set is of a later time or of another group on purpose.",
        )  # fmt: skip

    def _told_apart(self, seen: Data, joint: JointShift) -> Finding:
        assert seen.test is not None
        names = [name for name, _ in joint.columns[:5]]
        return self.finding(
            f"a classifier tells the sets apart (AUC {joint.auc:.2f}), no column alone does",
            place=Place(file=seen.test.name, columns=tuple(name for name, _ in joint.columns)),
            evidence=[_apart(joint, self.told_apart)],
            cause="Each column by itself is as it was, but they go together in another way: how they depend on each "
            "other has changed. A join on another key, rows that were sorted in one column, and a change of units in "
            "a part of the rows give this.",
            fixes=[
                Fix(
                    "Compare how the columns depend on each other:\n"
                    + code(f"columns = [{listed(names)}]", "print(train[columns].corr() - test[columns].corr())")
                )
            ],
            unless="the second set is of another kind on purpose.",
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
            "half a standard deviation": two_sets({"a": (bell(), bell(mean=0.5)), "b": (bell(), bell())}),
            "wider": two_sets({"a": (bell(3000), bell(3000, spread=1.6))}),
            "a category": two_sets({"a": ({"x": 500, "y": 500}, {"x": 300, "y": 700})}),
            "next to the tolerance": two_sets({"a": (yes_no(0.5), yes_no(0.5515))}),
            "next to a clear shift": two_sets({"a": (yes_no(0.5), yes_no(0.582))}),
            "next to no clear shift": two_sets({"a": (yes_no(0.5), yes_no(0.578))}),
            "together only": two_sets({"a": (bell(), bell())}, joint=_apart_by(0.551)),
            "alone and together": two_sets({"a": (bell(), bell(mean=0.5))}, joint=_apart_by(0.7)),
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
            "the same rows": two_sets({"a": (bell(), bell()), "b": (yes_no(0.3), yes_no(0.3))}),
            "just within the tolerance": two_sets({"a": (yes_no(0.5), yes_no(0.5485))}),
            "too few rows": two_sets({"a": (bell(100), bell(100, mean=0.5))}),
            "the number of the row": two_sets({"a": (range(1000), range(1000, 1500))}),
            "times a hundred": two_sets({"a": (bell(mean=4), bell(mean=400, spread=100))}),
            "hardly told apart": two_sets({"a": (bell(), bell())}, joint=_apart_by(0.549)),
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


def _apart(joint: JointShift, tolerance: float) -> Evidence:
    """How well a classifier tells the sets apart, and by what."""
    return Evidence(
        "AUC of a classifier that is asked which set a row is from",
        f"{joint.auc:.2f} ({joint.low:.2f} at least)",
        f"0.5, at most {0.5 + tolerance:.2f}",
        "by " + ", ".join(f"{named(name)} ({percent(share)})" for name, share in joint.columns[:3])
        if joint.columns
        else f"{joint.rows:,} rows held out",
    )


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
