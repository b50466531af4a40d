"""Inputs of a second set, or of validation, that are prepared otherwise than those of training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Link, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Code
from stethoscope.facts.data import Data
from stethoscope.facts.loaded import prepared_apart
from stethoscope.facts.progress import progress_of
from stethoscope.facts.samples import HeldOut
from stethoscope.facts.training import Curve, History, Inputs, ValidationPass
from stethoscope.rules import preparing
from stethoscope.rules.chance import validation_beats_guessing
from stethoscope.rules.examples import falling, run, with_curve
from stethoscope.rules.feeding import Change, change_between, in_several_batches, standardized_apart
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import at, code, place_at

WORSE = 1.5
"""A validation loss above this many times the training loss may come from other inputs."""
MUCH_WORSE = 3.0
"""Above this many times, and a tenth of what guessing gives, also where the answers are still about as often right."""


def _inputs(scale: float = 1.0, shift: float = 0.0, rows: int = 400, features: int = 6) -> Inputs:
    stds = np.linspace(0.8, 1.2, features)
    return Inputs(
        shape=(32, features), dtype="float32", looks=9, rows=rows, mean=shift, std=scale, smallest=-3 * scale,
        largest=3 * scale, feature_means=np.full(features, shift), feature_stds=stds * scale,
    )  # fmt: skip


def _run(held_out: Inputs, validation: float | None = 3.0, trained: Inputs | None = None, **facts: Any) -> History:
    """A classifier that learned to a loss of 0.1; with this validation loss when there is one."""
    seen = replace(run(falling(2.3, 0.1)), inputs=(trained or _inputs(),), held_out_inputs=(held_out,), **facts)
    if validation is None:
        return seen
    steps = np.arange(1, 6) * 40
    return with_curve(seen, Curve("validation loss", "loss", "validation", steps, np.full(5, validation)))


def _by_itself(validation: float = 3.0, standardized: int = 9, batches: int = 3, known: int = 0) -> History:
    """Validation batches have mean 0 and spread 1 by themselves; some of their 60 rows are training rows."""
    seen = _run(replace(_inputs(), standardized=standardized), validation)
    passes = (ValidationPass(40, batches, 0, distinct_inputs=batches),)
    return replace(seen, validation=passes, held_out=(HeldOut(0, 40, rows=60, in_training=known),))


class InconsistentPreprocessing(Rule):
    """Training and validation inputs are prepared differently: their scales are apart.

    ## What it sees
    Of two data sets: columns that keep their shape and not their scale (by a factor that no shift gives, by a known
    one such as 255 or 2.54, or most columns at once), columns that have changed places, numbers, dates and missing
    values that are written in another way, pictures whose channels are in another order or that have lost their
    colours.

    In a run: mean and spread of each feature (each channel, for images) of what the model was fed in training, and in
    passes without gradients. Batches with mean 0 and spread 1 to the third digit were standardized by
    themselves.
    In code: the two sides of a data set whose transforms normalize by different numbers, or of which one does not.
    ## Why it hurts
    The network is asked about numbers that it has never met. Its answers there mean nothing, however well it learned.
    ## How to fix it
    Prepare both by the same function with the same numbers: mean and standard deviation of the training set.
    ## When it is not a fault
    A test on other data on purpose. Augmentation moves the spread by a third at most.
    ## Sources
    D. Sculley et al., "Hidden Technical Debt in Machine Learning Systems", NIPS 2015 (training and serving data that
    are prepared apart).
    """

    on_trial = True
    explains = (
        "overfitting", "distribution-shift", "no-gain-over-baseline", "train-eval-mismatch", "out-of-range-values",
        "embedding-shift", "new-categories",
    )  # fmt: skip
    reads = ("losses", "batches", "validation", "samples")

    factor = Limit(
        1.7,
        unit="spread of a feature, the larger of training and validation / the other",
        why="53 healthy programs show up to 1.33; noise or other images mixed in give 1.4; 0.5 as mean and spread 2",
    )
    without_scores = Limit(
        4, unit="the same ratio", why="where no validation loss shows harm, only a change of units is reported"
    )
    changed = Limit(0.8, unit="share of the features", why="preparation changes all features, other data a few")
    shift = Limit(
        0.7,
        unit="distance of the means / spread of a feature in training",
        why="sets drawn from the same rows are apart by a tenth; reported only where validation is no better than "
        "guessing",
    )
    fewest_rows = Limit(30, unit="rows on each side", why="a spread from fewer rows is off by a fifth and more")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Compare how the columns of two sets, or their pictures, were prepared."""
        if seen.test is None:
            yield self.cannot_tell("there is only one data set")
        yield from preparing.differences(self, seen)

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare what each trained model was fed in training and outside of it."""
        trained = {inputs.model: inputs for inputs in seen.inputs if inputs.feature_stds.size and not inputs.beside}
        pairs = [(trained[other.model], other) for other in seen.held_out_inputs if other.model in trained]
        pairs = [
            (one, other)
            for one, other in pairs
            if one.feature_stds.size == other.feature_stds.size and min(one.rows, other.rows) >= self.fewest_rows
        ]
        if not pairs:
            yield self.cannot_tell("too few rows of numbers were seen both in training and in validation")
            return
        for one, other in pairs:
            if (found := self._compare(seen, one, other)) is not None:
                yield found
                return

    def _compare(self, seen: History, one: Inputs, other: Inputs) -> Finding | None:
        change = change_between(one, other)
        if change is None:
            return None
        harmed = _is_harmed(seen)
        if change.size >= self.factor and change.changed >= self.changed:
            if harmed or (harmed is None and change.size >= self.without_scores):
                return self._report(seen, one, other, change)
            return None
        lost = validation_beats_guessing(seen) is False and progress_of(seen).learns_well
        if harmed and standardized_apart(seen, one, other) and (lost or in_several_batches(seen, other)):
            return self._refitted(seen, one, other)
        if lost and change.shift >= self.shift and change.shifted >= self.changed:
            return self._shifted(seen, one, other, change)
        return None

    def _refitted(self, seen: History, one: Inputs, other: Inputs) -> Finding:
        several = in_several_batches(seen, other)
        what = "each validation batch is" if several else "validation inputs are"
        return self.finding(
            f"{what} standardized by its own numbers" if several else f"{what} standardized by their own numbers",
            severity=Severity.ERROR,
            place=place_at(other.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "validation batches with mean 0 and spread 1, to three digits",
                    f"{other.standardized} of {other.looks} looked at",
                    f"{one.standardized} of {one.looks}",
                    "in training",
                ),
                *_losses(seen),
            ],
            cause=f"What the model is fed at {at(other.site)} was standardized with a mean and a spread of its own. "
            "What sets it apart from the training set is gone"
            + (", and one sample is other numbers in each batch." if several else "."),
            fixes=[
                Fix(
                    "Fit the scaler to the training set once, and only apply it elsewhere:\n"
                    + code(
                        "scaler = StandardScaler().fit(x_train)",
                        "x_train = scaler.transform(x_train)",
                        "x_val = scaler.transform(x_val)",
                    )
                )
            ],
            unless="each batch is meant to be seen relative to itself, in training as well.",
        )

    def _shifted(self, seen: History, one: Inputs, other: Inputs, change: Change) -> Finding:
        return self.finding(
            f"validation inputs lie {change.shift:.2g} spreads away from training inputs",
            severity=Severity.ERROR,
            place=place_at(other.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "mean of the input values, validation / training",
                    f"{other.mean:.3g} / {one.mean:.3g}",
                    "about equal",
                    f"{other.rows:,} and {one.rows:,} rows",
                ),
                Evidence(
                    f"features shifted by {change.shift / 2:.2g} spreads and more",
                    f"{change.shifted:.0%} of {one.feature_stds.size:,}",
                    "few",
                ),
                *_losses(seen),
            ],
            cause=f"What the model is fed at {at(other.site)} has another mean than the training inputs: it was "
            "inverted, or something else was subtracted from it, or it is other data.",
            fixes=[
                Fix(
                    "Prepare both by one function with the same numbers:\n"
                    + code("x_train, x_val = prepare(x_train), prepare(x_val)", "print(x_train.mean(), x_val.mean())")
                ),
            ],
            unless="other data is measured there on purpose.",
        )

    def _report(self, seen: History, one: Inputs, other: Inputs, change: Change) -> Finding:
        harmed = _is_harmed(seen)
        evidence = [
            Evidence(
                "spread of the input values, validation / training",
                f"{other.std:.3g} / {one.std:.3g}",
                "about equal",
                f"{other.rows:,} and {one.rows:,} rows",
            ),
            Evidence(
                "range of the input values in validation",
                f"{other.smallest:.3g} to {other.largest:.3g}",
                f"{one.smallest:.3g} to {one.largest:.3g}",
                "in training",
            ),
            Evidence(f"features that are {change.word}", f"{change.changed:.0%} of {one.feature_stds.size:,}", "few"),
        ]
        if harmed:
            evidence += _losses(seen)
        size = f"{change.size:,.0f}" if change.size >= 10 else f"{change.size:.2g}"
        return self.finding(
            f"validation inputs are {size} times {change.word} than training inputs",
            severity=Severity.ERROR if harmed else Severity.WARNING,
            place=place_at(other.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=f"What the model is fed at {at(other.site)} was not brought to scale as the training inputs were.",
            fixes=[
                Fix(
                    "Prepare both with the numbers of the training set:\n"
                    + code(
                        "mean, std = x_train.mean(dim=0), x_train.std(dim=0)",
                        "x_train = (x_train - mean) / std",
                        "x_val = (x_val - mean) / std",
                    )
                ),
                "With torchvision, give both sets the same `transforms.ToTensor` and `transforms.Normalize`.",
            ],
            unless="other data is measured there on purpose.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Compare the transforms of the training and the test side."""
        for apart in prepared_apart(file):
            train, test = (numbers or "nothing" for numbers in apart.numbers)
            one = "one side only" if not all(apart.numbers) else "different numbers"
            yield self.finding(
                f"training and test data are normalized: {one}" if one != "one side only" else
                "training and test data are prepared apart: one is normalized",
                sureness=Sureness.CERTAIN,
                place=place_in(file, apart.test.at),
                evidence=[Evidence(f"what the test data is normalized by on {line_of(file, apart.test.at)}",
                                   _short(test), _short(train), "as the training data")],
                cause="The model learns from numbers of one scale and is asked about numbers of another.",
                fixes=["Normalize both by the numbers of the training set:\n"
                       + code("transforms.Normalize(mean, std)  # the same in both")],
                chain=[Link(place_in(file, apart.train.at), "the training data is prepared"),
                       Link(place_in(file, apart.test.at), "the test data is prepared")],
            )  # fmt: skip

    bad = Examples(
        lambda: {
            "divided by 255 in training only": _run(_inputs(255.0)),
            "divided by 255 in validation only": _run(_inputs(1 / 255)),
            "standardized in training only, no loss in validation": _run(_inputs(5.0), None),
            "a factor next to the limit": _run(_inputs(1.75)),
            "no loss in validation, a factor next to the limit": _run(_inputs(4.1), None),
            "most features": _run(
                replace(_inputs(2.0, features=20), feature_stds=np.array([2.0] * 16 + [1.0] * 4)),
                trained=replace(_inputs(features=20), feature_stds=np.ones(20)),
            ),
            "30 rows": _run(_inputs(255.0, rows=30)),
            "standardized batch by batch": _by_itself(),
            "standardized batch by batch, and better than a guess": _by_itself(0.9),
            "standardized as a whole, and at chance": _by_itself(batches=1),
            "inverted, and at chance": _run(_inputs(shift=1.0)),
            "a shift next to the limit": _run(_inputs(shift=0.72)),
            **preparing.bad(),
        }
    )
    good = Examples(
        lambda: {
            "the same": _run(_inputs(1.02)),
            "an augmented training set": _run(_inputs(0.75)),
            "a factor just below the limit": _run(_inputs(1.65)),
            "no loss in validation, a factor just below the limit": _run(_inputs(3.9), None),
            "wider, and no worse for it": _run(_inputs(5.0), 0.12),
            "some features": _run(
                replace(_inputs(2.0, features=50), feature_stds=np.array([2.0] * 39 + [1.0] * 11)),
                trained=replace(_inputs(features=50), feature_stds=np.ones(50)),
            ),
            "29 rows": _run(_inputs(255.0, rows=29)),
            "standardized batch by batch, and no worse for it": _by_itself(0.12),
            "standardized as a whole, and better than a guess": _by_itself(0.9, batches=1),
            "one batch of them is not": _by_itself(standardized=8),
            "the training set, whole": _by_itself(batches=1, known=60),
            "shifted, and better than a guess": _run(_inputs(shift=1.0), 0.9),
            "a shift just below the limit": _run(_inputs(shift=0.68)),
            "another model": _run(replace(_inputs(255.0), model=1)),
            **preparing.good(),
        }
    )
    bad_code = {
        "one of them is not normalized": """
            from torchvision import datasets, transforms as T

            train = datasets.CIFAR10(
                "data", train=True, transform=T.Compose([T.ToTensor(), T.Normalize((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))])
            )
            test = datasets.CIFAR10("data", train=False, transform=T.Compose([T.ToTensor()]))  # bad
            """,
        "by other numbers": """
            from torch.utils.data import DataLoader
            from torchvision import transforms

            prepare = {
                "train": transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]),
                "val": transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.1307], [0.3081])]),  # bad
            }
            loader = DataLoader(prepare)
            """,
    }
    good_code = {
        "augmented, and normalized alike": """
            from torchvision import datasets, transforms as T

            numbers = T.Normalize((0.5,), (0.2,))
            mixed = T.Compose([T.RandomRotation(5), T.ToTensor(), numbers])
            train = datasets.MNIST("data", train=True, transform=mixed)
            test = datasets.MNIST("data", train=False, transform=T.Compose([T.ToTensor(), T.Normalize((0.5), (0.2))]))
            """,
        "a transform that is not seen": """
            from torchvision import datasets, transforms as T

            def load(mine):
                normal = T.Normalize((0.5,), (0.2,))
                train = datasets.MNIST("data", train=True, transform=T.Compose([T.ToTensor(), normal]))
                test = datasets.MNIST("data", train=False, transform=T.Compose([T.ToTensor(), mine]))
                return train, test
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_breast_cancer
        from torch import nn

        torch.manual_seed(SEED)
        data = load_breast_cancer()
        features = torch.tensor(data.data, dtype=torch.float32)
        labels = torch.tensor(data.target)
        order = torch.randperm(len(features))
        train, held_out = order[:400], order[400:]
        mean, std = features[train].mean(0), features[train].std(0)
        x_train = (features[train] - mean) / std
        x_val = features[held_out]  # fix: x_val = (features[held_out] - mean) / std
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(x_train, labels[train]), batch_size=32, shuffle=True
        )
        model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(12):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                score = nn.functional.cross_entropy(model(x_val), labels[held_out]).item()
        print(f"loss {score:.4f}")
        """)


def _losses(seen: History) -> list[Evidence]:
    """Both losses at the end, where validation had one."""
    loss = seen.curve("loss", "validation")
    if loss is None or not loss.values.size:
        return []
    last = f"{np.median(loss.values[-3:]):.3g}"
    return [
        Evidence(
            "validation loss / training loss, at the end", f"{last} / {progress_of(seen).end:.3g}", "near each other"
        )
    ]


def _is_harmed(seen: History) -> bool | None:
    """Whether validation is much worse than training; None when that was not seen."""
    loss, progress = seen.curve("loss", "validation"), progress_of(seen)
    accuracy, trained = seen.curve("accuracy", "validation"), seen.curve("accuracy")
    last = float(np.median(loss.values[-3:])) if loss is not None and loss.values.size else float("nan")
    if accuracy is not None and trained is not None and accuracy.values.size and trained.values.size:
        lost = np.median(trained.values[-5:]) - np.median(accuracy.values[-3:]) > 0.05
        return bool(lost or last > max(MUCH_WORSE * progress.end, 0.1 * progress.reference))
    if np.isnan(last) or not progress.known:
        return None
    if validation_beats_guessing(seen) is False:
        return True
    return last > WORSE * progress.end


def _short(numbers: str) -> str:
    """Numbers as evidence."""
    return numbers if len(numbers) <= 60 else numbers[:57] + "..."
