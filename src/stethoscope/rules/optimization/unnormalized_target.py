"""A regression target on a scale far from that of the network's output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.text import number
from stethoscope.core.treatment import StandardizeTargets
from stethoscope.facts.data import Data
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.columns import named as one_name
from stethoscope.rules.columns import of_numbers, one_set
from stethoscope.rules.examples import checked, falling, flat, run
from stethoscope.rules.learning import loss_evidence, outcome, times
from stethoscope.rules.sites import code, place_at

NO_BETTER = 0.9
"""At this share of the loss of guessing nothing has been learned from the inputs."""
FAR = 5.0
"""Beyond this a smooth absolute error is an absolute error, but for half a unit."""
REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


def _regression(loss: ArrayLike, mean: float = 152.0, variance: float = 5900.0, **facts: Any) -> History:
    made = run(loss, chance=variance)
    values = np.asarray(loss, np.float64)
    usual: dict[str, Any] = {
        "training_calls": 50,
        "target_mean": mean,
        "target_variance": variance,
        "target_min": mean - 2 * variance**0.5,
        "target_max": mean + 2 * variance**0.5,
        "first_value": float(values[0]),
        "chance": variance,
    }
    return replace(made, losses=(LossCall(**({"function": "mse_loss"} | usual | facts)),))


def _stored(values: list[float]) -> Data:
    """A table with this target."""
    return one_set(of_numbers("y", values), target="y", task="regression")


class UnnormalizedTarget(Rule):
    """The regression target is on a scale that the network can hardly reach.

    ## What it sees
    Mean and spread of the target, in a run with a regression loss that ends above what the mean of the target alone
    would give, or that is no longer a number; or, as a note, of the column to be predicted of a file. Of several
    numbers to predict for a sample, the spread of each.
    ## Why it hurts
    The output of a new network lies near 0 and is about 1 wide. A target in the hundreds makes the loss, and with it
    every gradient, tens of thousands of times larger than learning rates are made for: steps by gradient size blow
    up, and steps of fixed size (Adam) need thousands of them to get there.
    ## How to fix it
    Subtract the target's mean and divide by its standard deviation, both of the training set, and undo it where
    predictions are shown.
    ## When it is not a fault
    A run that learns well all the same is not reported.
    ## Sources
    Y. LeCun et al., "Efficient BackProp", 1998. C. Bishop, "Neural Networks for Pattern Recognition", 1995, 8.2.
    """

    treatments = (StandardizeTargets(),)
    explains = (
        "dying-relu",
        "exploding-gradients",
        "learning-rate-too-high",
        "learning-rate-too-low",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "loss-not-finite",
        "loss-oscillating",
        "loss-spike",
        "numerical-instability",
        "too-few-epochs",
        "collapsed-predictions",
        "no-gain-over-baseline",
        "momentum-too-high",
        "unclipped-gradients",
        "gradient-clipping-too-tight",
    )
    reads = ("losses",)

    size = Limit(
        10,
        unit="root mean square of the target",
        why="outputs of a new network are about 1 wide; targets of 1 to 5 were learned at usual rates",
    )

    smallest = Limit(
        0.01,
        unit="root mean square of the target",
        why="an output near 0 is off by some 0.01 from step to step at usual rates",
    )
    large = Limit(
        50.0, unit="root mean square of a target in a file", why="temperatures and percentages reach some tens"
    )
    narrow = Limit(
        0.005, unit="spread of a target in a file", why="shares of a few percent are learned, of some thousandths not"
    )
    left = Limit(
        0.1,
        unit="loss at the end / loss of guessing the mean",
        why="a run that learned less is suspected, and reported when a scaled target is learned far better on a copy",
    )
    apart = Limit(
        100,
        unit="widest / narrowest of the numbers to predict",
        why="a squared error then has ten thousandth parts left for the narrowest",
    )

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the target's size."""
        column = seen.train.profile.column(seen.target)
        numbers = column.numbers if column is not None else None
        if seen.task != "regression" or numbers is None or not numbers.std > 0:
            yield self.cannot_tell("there is no target that is a number")
            return
        size = (numbers.mean**2 + numbers.std**2) ** 0.5
        if size < self.large and numbers.std >= self.narrow:
            return
        log = numbers.least > 0 and numbers.skewness > 1
        name = seen.target
        yield self.finding(
            f"the target {one_name(name)} has a mean of {number(numbers.mean)}, a spread of {number(numbers.std)}"[:72],
            severity=Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=Place(file=seen.train.name, columns=(name,)),
            evidence=[
                Evidence(f"mean of {one_name(name)}", number(numbers.mean), "about 0, as a network gets it"),
                Evidence(f"spread of {one_name(name)}", number(numbers.std), "about 1"),
            ],
            cause="A fresh network answers numbers of about unit size; the loss and its gradient grow with the square "
            "of the target's size.",
            fixes=[
                ("Take its logarithm, which has no long tail" if log else "Scale it with the training set's mean and "
                 "spread") + ", and undo that on the answers:\n"
                + code(f"y = numpy.log(frame[{name!r}])" if log else
                       f"y = (frame[{name!r}] - {numbers.mean:.4g}) / {numbers.std:.4g}")
            ],
            unless="it is scaled later, or the model does not learn by gradients.",
        )  # fmt: skip

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the target of the main loss."""
        loss, progress = seen.main_loss(), progress_of(seen)
        if loss is None or loss.computes not in REGRESSION or not np.isfinite(loss.target_variance):
            yield self.cannot_tell("the training loss is no regression loss of torch's")
            return
        if not (progress.known or progress.ended_nonfinite):
            yield self.cannot_tell("the run was too short, or no loss was seen")
            return
        size = float(np.hypot(loss.target_mean, np.sqrt(loss.target_variance)))
        guessing = _guessing(loss, progress)
        is_no_better = progress.known and progress.end >= NO_BETTER * guessing
        has_failed = progress.ended_nonfinite or progress.is_stuck or is_no_better
        # Small outputs are easy to give; that the noise of the steps drowns them shows in a loss above guessing.
        is_drowned = 0 < size <= self.smallest and progress.known and progress.end > guessing
        if has_failed and (size >= self.size or is_drowned):
            yield self._report(seen, loss, progress, Sureness.LIKELY)
        elif size >= self.size and progress.end >= self.left * guessing:
            yield self._report(seen, loss, progress, Sureness.SUSPECTED)
        elif _ratio(loss) >= self.apart:
            yield self._report_columns(seen, loss)

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the target by its size; said where a scaled one does better on a copy."""
        loss, progress = seen.main_loss(), progress_of(seen)
        if loss is None or loss.computes not in REGRESSION or not np.isfinite(loss.target_variance):
            yield self.cannot_tell("the training loss is no regression loss of torch's")
        elif not progress.known and np.hypot(loss.target_mean, np.sqrt(loss.target_variance)) >= self.size:
            yield self._report(seen, loss, progress, Sureness.SUSPECTED)  # a run tells better how much it hurts

    def _report(self, seen: History, loss: LossCall, progress: Progress, sureness: Sureness) -> Finding:
        spread = float(np.sqrt(loss.target_variance))
        evidence = [
            Evidence("target, mean", f"{loss.target_mean:.3g}", "about 0"),
            Evidence(
                "target, standard deviation",
                f"{spread:.3g} (from {loss.target_min:.4g} to {loss.target_max:.4g})",
                "about 1",
                "width of a new network's output",
            ),
        ]
        if np.isfinite(loss.first_value):
            after = {"mse_loss": "1"}.get(loss.computes, "about 1")
            evidence.append(
                Evidence("loss of the first batch", f"{loss.first_value:.4g}", f"{after}, of a target so scaled")
            )
        if progress.known or progress.ended_nonfinite:
            evidence.append(loss_evidence(seen, progress))
        is_above = progress.known and not progress.ended_nonfinite and progress.end > _guessing(loss, progress)
        became = (
            "the loss is still above what the mean of the target alone gives"
            if is_above
            else f"the loss {outcome(progress) if progress.known or progress.ended_nonfinite else 'starts far away'}"
        )
        return self.finding(
            f"the target is about {loss.target_mean:.3g} +- {spread:.2g}, far from a network's output",
            severity=Severity.ERROR if sureness is Sureness.LIKELY else Severity.WARNING,
            sureness=sureness,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=(
                "Loss and gradients are as large as the target is, and the output has a long way to go from 0"
                if np.hypot(loss.target_mean, spread) >= 1
                else "The whole target is smaller than what each step adds to the output, in either direction"
            )
            + f"; {became}.",
            fixes=[
                "Bring the target to mean 0 and standard deviation 1, with the numbers of the training set:\n"
                + code(f"target = (target - {loss.target_mean:.4g}) / {spread:.3g}")
                + "\nand turn predictions back where they are shown:\n"
                + code(f"shown = prediction * {spread:.3g} + {loss.target_mean:.4g}")
            ],
        )

    def _report_columns(self, seen: History, loss: LossCall) -> Finding:
        spreads = np.array(loss.target_stds)
        widest, narrowest = int(spreads.argmax()), int(spreads.argmin())
        share = 2 if loss.computes == "mse_loss" else 1
        return self.finding(
            f"target {widest} spreads {times(spreads.max() / spreads.min())} times as far as target {narrowest}",
            severity=Severity.WARNING,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "standard deviation of each number to predict",
                    ", ".join(f"{spread:.3g}" for spread in spreads),
                    "about 1 each",
                ),
                Evidence(
                    f"share of target {narrowest} in the loss of guessing",
                    f"{spreads.min() ** share / np.sum(spreads**share):.1e}",
                    f"{1 / spreads.size:.2g}",
                ),
            ],
            cause=f"The loss adds up the errors of all {spreads.size} as they are, so it and its gradient speak of "
            f"number {widest} only (counted from 0); number {narrowest} is hardly trained.",
            fixes=[
                "Bring each to mean 0 and standard deviation 1, with the numbers of the training set:\n"
                + code("mean, std = y_train.mean(dim=0), y_train.std(dim=0)", "y_train = (y_train - mean) / std")
            ],
            unless="only the widest is wanted.",
        )

    bad = Examples(
        lambda: {
            "prices in a file": _stored([1000 * 1.02**i for i in range(99)]),
            "fifty in a file": _stored([45, 55.2]),
            "thousandths in a file": _stored([0.5, 0.5097]),
            "Adam on its way to 152": _regression(flat(25000.0)),
            "152, before training": checked(_regression(flat(25000.0, 5))),
            "no number after the first steps": _regression([29000.0, 5e9, *[np.nan] * 100]),
            "a size next to the limit": _regression(flat(110.0), mean=10.2, variance=1.0),
            "stuck at the mean": _regression(flat(5900.0)),
            "an absolute error, half way to the mean": _regression(
                falling(900.0, 600.0), mean=900.0, variance=6e4, function="l1_loss", chance=np.nan
            ),
            "a target drowned by the steps": _regression(falling(1e-2, 5e-6), mean=0.0, variance=1e-8),
            "a small size next to the limit": _regression(flat(2e-4), mean=0.0, variance=0.0098**2),
            "one wide and one narrow": _regression(falling(1.0, 0.1), variance=1.0, mean=0.0, target_stds=(1.02, 0.01)),
            "learns, and could do better": _regression(falling(29000.0, 600.0)),
            "an absolute error": _regression(flat(150.0), function="l1_loss", chance=np.nan),
        }
    )
    good = Examples(
        lambda: {
            "unit size in a file": _stored([-1.5, 0.5, 1.0]),
            "below fifty in a file": _stored([44, 54.2]),
            "not so narrow in a file": _stored([0.5, 0.5103]),
            "a scaled target, before training": checked(_regression(flat(1.0, 5), mean=0.0, variance=1.0)),
            "a scaled target": _regression(flat(1.0), mean=0.0, variance=1.0),
            "learns all the same": _regression(falling(29000.0, 580.0)),
            "a size just below the limit": _regression(flat(98.0), mean=9.75, variance=1.0),
            "a size just above the small ones": _regression(flat(2e-4), mean=0.0, variance=0.0102**2),
            "small, and at its mean": _regression(flat(0.9e-4), mean=0.0, variance=1e-4),
            "one a little less narrow": _regression(
                falling(1.0, 0.1), variance=1.0, mean=0.0, target_stds=(0.98, 0.01)
            ),
            "classes": run(flat(2.3)),
            "too short to say": _regression(flat(25000.0, 10)),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_diabetes
        from torch import nn

        torch.manual_seed(SEED)
        data = load_diabetes()
        x = torch.tensor(data.data, dtype=torch.float32)
        x = (x - x.mean(0)) / x.std(0)
        y = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)
        # add: y = (y - y.mean()) / y.std()
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32, shuffle=True)
        model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
        opt = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(20):
            for features, target in loader:
                opt.zero_grad()
                loss = nn.functional.mse_loss(model(features), target)
                loss.backward()
                opt.step()
        print(f"explained {1 - nn.functional.mse_loss(model(x), y).item() / y.var().item():.3f}")
        """)


def _guessing(loss: LossCall, progress: Progress) -> float:
    """What the best answer that ignores the input would reach; NaN when unknown."""
    if np.isfinite(progress.chance) or loss.computes == "mse_loss":
        return progress.chance
    # Of a normal distribution the mean distance from the middle is 0.8 standard deviations.
    distance = 0.8 * float(np.sqrt(loss.target_variance))
    is_linear = loss.computes == "l1_loss" or (loss.computes == "smooth_l1_loss" and distance >= FAR)
    starts_so = abs(progress.start - loss.first_value) <= 0.5 * loss.first_value
    return distance if is_linear and starts_so and loss.reduction == "mean" else float("nan")


def _ratio(loss: LossCall) -> float:
    spreads = loss.target_stds
    return max(spreads) / min(spreads) if spreads and min(spreads) > 0 and loss.reduction == "mean" else 1.0
