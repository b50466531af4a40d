"""Training that ends while the loss is still falling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import Curve, Doubles, History
from stethoscope.facts.weights import middle, update_ratios, weights_by_depth
from stethoscope.rules.examples import falling, flat, run, with_curve
from stethoscope.rules.learning import small_plot
from stethoscope.rules.sites import code, place_at

NO_PACE = 1e-4
"""Slower weights are a matter of the learning rate, not of the length of the run."""


FASTER, EARLY = 1.3, 0.75
"""A loss that falls ever faster, above this share of where learning begins, is at the beginning of its descent."""


@dataclass(frozen=True)
class Trend:
    """How the loss fell over the three thirds of the run."""

    levels: tuple[float, float, float]
    """Median of each third. Where the second lies below where learning begins, the first is taken as no higher than
    that: what a loss loses above guessing is its outputs finding their scale, and fast."""
    doubt: float
    """Standard error of the last fall."""
    first: float
    """Median of the first third as it is."""

    @property
    def last_fall(self) -> float:
        """From the second third to the last."""
        return self.levels[1] - self.levels[2]

    @property
    def speeds_up(self) -> bool:
        """Whether the last fall is clearly the larger one, with all of the first."""
        return self.last_fall >= FASTER * (self.first - self.levels[1])

    @property
    def kept(self) -> float:
        """The last fall as a share of the one before."""
        before = self.levels[0] - self.levels[1]
        return self.last_fall / before if before > 0 else float("inf")


def _line(start: float, end: float, steps: int = 60, kept: float = 1.0) -> Doubles:
    """A loss that falls from third to third, each time by `kept` of the time before."""
    third = np.arange(steps) * 3 / steps
    shape = third if kept == 1 else (1 - kept**third) / (1 - kept)
    values: Doubles = start - (start - end) * shape / shape[-1] + 0.002 * np.sin(np.arange(steps) * 2.4)
    return values


HARDLY = 0.9
"""A loss that ends above this share of where learning begins has hardly left guessing. One that has learned more may be
a run that was stopped early on purpose, or a task (language) whose loss cannot come near 0: a note."""


class TooFewEpochs(Rule):
    """Training stops while the loss still falls as fast as it did before.

    ## What it sees
    The training loss in thirds of the run: it falls from the second to the last nearly as much as from the first to
    the second, beyond its noise, and ends less than half of the way from guessing to 0. The weights move at a usual
    pace and the schedule has not ended.
    ## Why it hurts
    The network has learned a part of what it could. Comparing it with others, or looking for faults in it, misleads.
    ## How to fix it
    Train several times as long, until the loss no longer falls from one epoch to the next.
    ## When it is not a fault
    A trial run that is meant to be short. A run that has learned most of what there is, or that bends towards its
    level, is not reported.
    ## Sources
    I. Goodfellow, Y. Bengio and A. Courville, "Deep Learning", 2016, 11.3 (training error that still falls).
    """

    severity = Severity.WARNING
    explains = (
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "underfitting",
        "collapsed-predictions",
        "no-gain-over-baseline",
    )
    reads = ("losses", "updates")
    from_curves = True
    to_the_end = True

    fewest_steps = Limit(30, unit="steps", why="thirds of fewer than ten values are too noisy to lay side by side")
    kept = Limit(
        0.5,
        unit="fall into the last third / fall into the second",
        why="a run that bends towards its level falls by a quarter or less of what it fell before",
    )
    moved = Limit(
        0.015,
        unit="fall into the last third / where learning begins",
        why="a slower fall would take more than sixty such thirds; runs of two and three epochs showed 0.019 to 0.12",
    )
    begun = Limit(
        0.006,
        unit="fall into the last third / where learning begins",
        why="of a loss whose fall gains speed, which is soon a fast one; cut off there, runs showed 0.008 to 0.013",
    )
    gained = Limit(
        1.15, unit="fall into the last third / fall into the second", why="a fall at one pace shows 0.9 to 1.1"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Follow the loss through the thirds of the run."""
        progress, curve = progress_of(seen), seen.curve("loss")
        if curve is None or not progress.known or curve.values.size < self.fewest_steps:
            yield self.cannot_tell(f"fewer than {self.fewest_steps:g} values of a training loss were seen")
            return
        if why := _excuse(seen, curve):
            yield self.cannot_tell(why)
            return
        if progress.learns_well or progress.nonfinite_step >= 0 or not progress.reference > 0:
            return
        trend = _trend(curve.values, progress.reference)
        least = self.begun if trend.kept >= self.gained else self.moved
        is_falling = trend.last_fall >= max(least * progress.reference, 3 * trend.doubt)
        if is_falling and trend.kept >= self.kept and progress.best >= progress.end - 2 * progress.noise:
            yield self._report(seen, progress, curve, trend)

    def _report(self, seen: History, progress: Progress, curve: Curve, trend: Trend) -> Finding:
        steps = curve.values.size
        guessing = "guessing" if np.isfinite(progress.chance) and progress.chance <= progress.start else "at the start"
        more = steps * 3 / 3 * progress.end / (3 * trend.last_fall)
        times = int(np.clip(round(1 + more * 3 / steps), 3, 10))
        is_early = progress.end >= (EARLY if trend.speeds_up else HARDLY) * progress.reference
        return self.finding(
            f"training stops after {steps:,} steps while the loss still falls",
            severity=Severity.WARNING if is_early else Severity.NOTE,
            place=place_at(curve.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "training loss, median of each third of the run",
                    ", ".join(f"{level:.4g}" for level in trend.levels),
                    "hardly different in the last two",
                    plot=small_plot(curve, "training loss", (None, 0.5 * progress.reference)),
                ),
                Evidence(
                    "fall into the last third, as a share of the fall before",
                    f"{min(trend.kept, 9.99):.0%}",
                    "25 % or less",
                    "a loss that has settled",
                ),
                Evidence(
                    "training loss, median of its last tenth",
                    f"{progress.end:.4g} ({guessing}: {progress.reference:.4g})",
                    f"below {0.5 * progress.reference:.3g}",
                    "half of the way from there to 0",
                ),
            ],
            cause="The loss goes down steadily and has not begun to level off, so the run ended in the middle of what "
            "the network could learn.",
            fixes=[
                f"Train about {times} times as long, and watch where the loss levels off:\n"
                + code(f"for epoch in range({times} * epochs):"),
            ],
            unless="this was a trial run.",
        )

    bad = Examples(
        lambda: {
            "a third of the way, ever faster": run(_line(2.3, 1.8, kept=1.5), updates=0.002),
            "two epochs": run(_line(2.32, 2.15), updates=0.002),
            "half as fast as before": run(_line(2.32, 2.0, kept=0.5), updates=0.002),
            "thirty steps": run(_line(2.32, 2.1, 30), updates=0.002),
            "a fall next to the limit": run(_line(2.3, 2.2), updates=0.002),
            "a small fall that gains speed": run(_line(2.3, 2.24, kept=1.3), updates=0.002),
            "a fall next to the limit that gains speed": run(_line(2.3, 2.2635, kept=1.3), updates=0.002),
            "a small fall that gains just so much speed": run(_line(2.3, 2.25, kept=1.18), updates=0.002),
            "fast from above guessing, and steadily below it": run(
                [*np.linspace(3.2, 2.3, 20), *_line(2.3, 2.15, 40)], updates=0.002
            ),
        }
    )
    good = Examples(
        lambda: {
            "levels off": run(falling(2.32, 1.9), updates=0.002),
            "nearly half as fast as before": run(_line(2.32, 2.0, kept=0.48), updates=0.002),
            "bends towards a level above guessing": run(_line(4.0, 2.5, kept=0.2), updates=0.002),
            "a fall just below the limit": run(_line(2.3, 2.204), updates=0.002),
            "a fall just below the limit that gains speed": run(_line(2.3, 2.2655, kept=1.3), updates=0.002),
            "a small fall that gains hardly any speed": run(_line(2.3, 2.25, kept=1.15), updates=0.002),
            "29 steps": run(_line(2.32, 2.1, 29), updates=0.002),
            "has learned a lot": run(_line(2.32, 0.6), updates=0.002),
            "stuck": run(flat(2.31), updates=0.002),
            "a rate too low to get anywhere": run(_line(2.32, 2.1), updates=1e-5),
            "ended by hand": replace(run(_line(2.32, 2.1), updates=0.002), ended_by="KeyboardInterrupt"),
            "a schedule that has ended": with_curve(
                run(_line(2.32, 2.1), updates=0.002),
                Curve("learning rate", "learning rate", "training", np.arange(60), np.linspace(0.1, 1e-4, 60)),
            ),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32)
        images = (images - images.mean()) / images.std()
        labels = torch.tensor(data.target)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
        opt = torch.optim.SGD(model.parameters(), lr=0.02)

        for epoch in range(3):  # fix: for epoch in range(20):
            for x, y in loader:
                opt.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                opt.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _excuse(seen: History, curve: Curve) -> str:
    """Why the end of the run says nothing about its length, or an empty string."""
    if seen.ended_by or not seen.finished:
        return "the run did not end by itself"
    if len(seen.loop.backward_sites) > 1 or np.nanmin(curve.values, initial=np.inf) < 0:
        return "several losses are backpropagated, or the loss goes below 0"
    rates = seen.curve("learning rate")
    if rates is not None and rates.values.size and rates.values[-1] < 0.1 * rates.values.max():
        return "the learning rate has come down to less than a tenth of its highest"
    ratios = update_ratios(seen, weights_by_depth(seen))
    pace = float(np.fmax.reduce(middle(ratios), initial=np.nan)) if ratios.size else float("nan")
    return "the weights hardly move" if pace < NO_PACE else ""


def _trend(values: Doubles, reference: float) -> Trend:
    thirds = np.array_split(values[np.isfinite(values)], 3)
    first, second, last = (float(np.median(third)) for third in thirds)
    # The standard error of a median is 1.25 times that of a mean; the noise is what is left round a straight line.
    spread = float(np.mean([np.std(np.diff(third)) / np.sqrt(2) for third in thirds[1:]]))
    doubt = 1.25 * spread * float(np.sqrt(2 / len(thirds[1])))
    return Trend((min(first, reference) if second <= reference else first, second, last), doubt, first)
