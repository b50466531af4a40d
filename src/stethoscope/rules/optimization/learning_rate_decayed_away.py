"""A schedule that has taken the learning rate to nothing too early."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import HoldLearningRate
from stethoscope.facts.code import Site
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import Curve, History, Loop, Schedule
from stethoscope.rules.examples import falling, flat, run, with_curve
from stethoscope.rules.learning import loss_evidence, small_plot
from stethoscope.rules.sites import at, code, place_at

HALF = 0.5
"""A training loss half of the way down: the network learned what it was to learn, or nearly."""


@dataclass(frozen=True)
class Decay:
    """How the rate fell, and what the loss did meanwhile."""

    highest: float
    last: float
    died_at: int
    """First step from which on the rate stays below the limit."""
    wasted: float
    """Share of the run after that."""
    fall_before: float
    """Loss at the start minus loss where the rate died."""
    loss_there: float
    late_fall: float
    """Share of the whole fall of the loss that came in the second half of all learning (of the summed rate): near 0
    where the loss had settled before the rate was gone."""


def _decaying(loss: ArrayLike, rates: ArrayLike, kind: str = "ExponentialLR") -> History:
    values = np.asarray(rates, np.float64)
    site = Site("train.py", 24, "", "schedule.step()")
    schedule = Schedule(kind, site, {"gamma": 0.1}, calls=8, first_calls=(25, 50, 75, 100), last_call=200)
    made = with_curve(
        run(loss, updates=0.001),
        Curve("learning rate", "learning rate", "training", np.arange(values.size), values),
    )
    return replace(made, loop=Loop(schedules=(schedule,), scheduler_site=site, scheduler_kinds=(kind,)))


def _rates(dies_at: int, to: float = 1e-6, steps: int = 200) -> ArrayLike:
    return np.where(np.arange(steps) < dies_at, 0.1, 0.1 * to)


def _cut_off(late: float, end: float = 1.4) -> History:
    """The rate dies at step 50 of 200; this share of the fall came in the second half of the steps before that."""
    middle = end + late * (2.31 - end)
    fall = np.interp(np.arange(50), [0, 4, 16, 34, 49], [2.31, 2.31, middle, middle, end])
    return _decaying([*fall, *flat(end, 150)], _rates(50))


class LearningRateDecayedAway(Rule):
    """The schedule has taken the learning rate to almost nothing while the loss was still falling.

    ## What it sees
    The learning rate over the run: from some step on it stays below a hundredth of its highest value, long before
    the end. Until then the loss fell; since then it stands still, far from where a trained network would be.
    ## Why it hurts
    All steps after that cost as much as the others and change nothing.
    ## How to fix it
    Stretch the schedule over the whole run: a smaller decay per epoch, or `T_max`, `total_steps` or `step_size` in
    the unit in which the schedule is stepped.
    ## When it is not a fault
    A rate that comes down at the end, once the loss has settled, as every schedule does. A run that came half of the
    way to 0 is not reported, nor one that left chance and had settled before the rate was gone.
    ## Sources
    PyTorch documentation, `torch.optim.lr_scheduler`. I. Loshchilov and F. Hutter, SGDR, ICLR 2017.
    """

    treatments = (HoldLearningRate(),)
    explains = (
        "learning-rate-too-low",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "too-few-epochs",
        "frozen-parameters",
        "collapsed-predictions",
        "no-gain-over-baseline",
    )
    reads = ("losses",)
    from_curves = True
    to_the_end = True

    nothing = Limit(
        0.01,
        unit="learning rate / its highest value",
        why="a hundredth is the second of the usual three cuts by 10; there a network no longer learns anything new",
    )
    wasted = Limit(0.4, unit="share of the steps", why="usual schedules spend the last 10 to 30 % of a run down there")
    late_fall = Limit(
        0.25,
        unit="share of the loss's fall in the second half of the summed rate",
        why="a loss that settles makes next to none of its way there; one that is cut off a third to a half",
    )
    early = Limit(
        0.9,
        unit="share of the steps",
        why="a loss that had so little time cannot show whether the rate is what holds it",
    )
    fewest_steps = Limit(50, unit="steps", why="a shorter run says little about a schedule")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Look where the rate died, and what the loss did before and after."""
        progress, rates = progress_of(seen), seen.curve("learning rate")
        if rates is None or rates.values.size < 2:
            yield self.cannot_tell("the learning rate did not change")
            return
        if not progress.known or seen.steps < self.fewest_steps:
            yield self.cannot_tell(f"the run was shorter than {self.fewest_steps:g} steps, or no loss was seen")
            return
        if progress.ended_nonfinite or (progress.learns_well and not progress.gain < HALF):
            return
        decay = _decay(seen, rates, progress, self.nothing)
        if decay is None or decay.wasted < self.wasted:
            return
        if progress.learns_well and (progress.is_good or not decay.late_fall >= self.late_fall):
            return
        # The loss must have moved while there was a rate, or the rate is not what holds it.
        had_moved = decay.fall_before > max(progress.noise, 0.01 * abs(progress.start))
        if had_moved or decay.wasted >= self.early:
            yield self._report(seen, rates, decay, progress, Sureness.LIKELY if had_moved else Sureness.SUSPECTED)

    def _report(self, seen: History, rates: Curve, decay: Decay, progress: Progress, sureness: Sureness) -> Finding:
        schedule = next(iter(seen.loop.schedules), None)
        named = f"`{schedule.kind}`" if schedule else "the schedule"
        return self.finding(
            f"the learning rate is all but gone after {decay.died_at:,} of {seen.steps:,} steps",
            severity=Severity.ERROR if progress.is_stuck else Severity.WARNING,
            sureness=sureness,
            place=place_at(seen.loop.scheduler_site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "learning rate, last / highest",
                    f"{decay.last:.2g} / {decay.highest:.2g}",
                    f"above {self.nothing:g} of the highest until the last tenth or so",
                    plot=small_plot(rates, "learning rate", log=True),
                ),
                Evidence(
                    f"training loss when the rate died (step {decay.died_at:,})",
                    f"{decay.loss_there:.4g} (at the start: {progress.start:.4g})",
                    "no longer falling",
                ),
                loss_evidence(seen, progress),
            ],
            cause=f"{named} at {at(schedule.site if schedule else None)} cut the rate while the loss was still "
            f"falling; the {decay.wasted:.0%} of the steps after that change next to nothing.",
            fixes=[_fix(schedule, seen.steps)],
            unless="the run was meant to end there.",
        )

    bad = Examples(
        lambda: {
            "cut by ten each epoch": _decaying([*falling(2.31, 2.1, 50), *flat(2.1, 150)], _rates(50)),
            "a rate just below the limit": _decaying([*falling(2.31, 2.0, 50), *flat(2.0, 150)], _rates(50, 0.0097)),
            "down for four tenths of the run": _decaying([*falling(2.31, 2.0, 118), *flat(2.0, 82)], _rates(118)),
            "fifty steps": _decaying([*falling(2.31, 2.1, 20), *flat(2.1, 30)], _rates(20, steps=50)),
            "left chance, and was cut off in the fall": _cut_off(0.5),
            "cut off, next to the limit": _cut_off(0.2505),
            "gone before anything could be learned": _decaying(flat(2.31), _rates(19)),
            "learned a little before": _decaying([*falling(2.31, 1.9, 60), *flat(1.9, 140)], _rates(60), "LambdaLR"),
        }
    )
    good = Examples(
        lambda: {
            "learns well all the same": _decaying(falling(2.31, 0.2), _rates(50)),
            "down only at the end": _decaying([*falling(2.31, 2.0, 121), *flat(2.0, 79)], _rates(121)),
            "stuck from the beginning": _decaying(flat(2.31), _rates(21)),
            "a rate that falls a little": _decaying([*falling(2.31, 2.0, 50), *flat(2.0, 150)], _rates(50, 0.0103)),
            "a rate that never changes": run([*falling(2.31, 2.1, 50), *flat(2.1, 150)]),
            "left chance, and had nearly settled": _cut_off(0.2475),
            "cut off in the fall, and learned well": _cut_off(0.5, end=0.9),
            "49 steps": _decaying([*falling(2.31, 2.1, 20), *flat(2.1, 29)], _rates(20, steps=49)),
            "a cosine that comes up again": _decaying(
                [*falling(2.31, 2.1, 50), *flat(2.1, 150)], 0.05 * (1 + np.cos(np.arange(200) / 5))
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
        opt = torch.optim.SGD(model.parameters(), lr=0.05)
        decay = 0.1  # fix: decay = 0.95
        schedule = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=decay)

        for epoch in range(10):
            for x, y in loader:
                opt.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                opt.step()
            schedule.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _decay(seen: History, rates: Curve, progress: Progress, nothing: float) -> Decay | None:
    """Where the rate died for good; None when it is alive."""
    highest, last = float(np.nanmax(rates.values)), float(rates.values[-1])
    alive = np.flatnonzero(rates.values > (1 + 1e-6) * nothing * highest)
    if not highest > 0 or not alive.size or alive[-1] + 1 >= rates.values.size:
        return None
    died_at = int(rates.steps[alive[-1] + 1])
    loss = seen.curve("loss")
    if loss is None:
        return None
    before = loss.values[(loss.steps < died_at) & np.isfinite(loss.values)]
    if before.size < 5:
        return None
    loss_there = float(np.median(before[-max(5, before.size // 5) :]))
    fall = progress.start - loss_there
    half = _half_way(rates, died_at)
    near = (np.abs(loss.steps - half) <= max(2, half // 4)) & (loss.steps < died_at) & np.isfinite(loss.values)
    whole = progress.start - progress.end
    late = (float(np.median(loss.values[near])) - progress.end) / whole if near.any() and whole > 0 else float("nan")
    return Decay(highest, last, died_at, 1 - died_at / seen.steps, fall, loss_there, late)


def _half_way(rates: Curve, until: int) -> int:
    """The step by which half of the learning was done: half of the sum of the rates up to a step."""
    held = rates.values[np.searchsorted(rates.steps, np.arange(until), side="right").clip(1) - 1]
    done = np.cumsum(held)
    return int(np.searchsorted(done, done[-1] / 2))


def _fix(schedule: Schedule | None, steps: int) -> str:
    """Advice in the unit in which the schedule is stepped."""
    if schedule is None or not schedule.calls:
        return f"Let the rate fall over all {steps:,} steps, and set `lr` to what the last tenth of them should have."
    calls = schedule.calls
    return f"It is stepped {calls:,} times in the run: let it come down over all of them.\n" + code(
        f"schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max={calls})"
    )
