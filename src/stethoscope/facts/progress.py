"""How well a run is learning: the gate in front of every rule that could alarm on a healthy network."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace

import numpy as np

from stethoscope.facts.training import Curve, Doubles, History

FEWEST_STEPS = 20
"""Shorter runs say nothing about progress: start and end would overlap in noise."""
SAME_LOSS = 0.01
"""A curve whose first value is within 1 % of what a loss function returned is the curve of that loss alone."""
SAME_ACCURACY = 0.1
"""An accuracy within 10 % of one in so many is that of guessing among them, if the loss is too."""
JUMP = 3.0
"""A loss that trebles within five steps rose; where it began is its first value."""


@dataclass(frozen=True)
class Progress:
    """How the training loss moved.

    `end` and `best` are medians over a tenth of the curve (3 to 50 points) and `start` over its first five
    points, so that one batch decides nothing.
    """

    known: bool
    """False when the run was too short, or no loss was seen: then nothing may be concluded."""
    start: float = float("nan")
    end: float = float("nan")
    best: float = float("nan")
    highest: float = float("nan")
    """The largest single finite value."""
    chance: float = float("nan")
    """What a guess that ignores the input would reach; NaN when unknown."""
    noise: float = float("nan")
    """Spread of the loss from one step to the next (robust standard deviation)."""
    nonfinite_step: int = -1
    """First step with a loss that is NaN or infinite; -1 when there is none."""
    ended_nonfinite: bool = False
    """Whether the loss was NaN or infinite at the end: a single such value that training survived does not count."""

    @property
    def reference(self) -> float:
        """Where learning begins: the chance level, or the start where that is unknown or lower.

        The start is taken when it lies below chance: such a run began with a trained network.
        """
        return min(self.start, self.chance) if np.isfinite(self.chance) else self.start

    @property
    def gain(self) -> float:
        """Share of the way from the reference down to 0 that was made; negative when the loss rose.

        NaN for losses that go below 0 (log-likelihoods, rewards), for which there is no such way.
        """
        if not self.known or not self.reference > 0 or self.best < 0:
            return float("nan")
        return float((self.reference - self.end) / self.reference)

    @property
    def is_good(self) -> bool:
        """Whether the loss ended at less than half of what guessing gives, wherever it began."""
        return bool(self.known and not self.ended_nonfinite and self.end < 0.5 * self.chance)

    @property
    def learns_well(self) -> bool:
        """Whether the loss has clearly left chance: half of the way, or a fall of many times its noise."""
        if not self.known or self.ended_nonfinite:
            return False
        if self.is_good or (np.isfinite(self.gain) and self.gain >= 0.5):
            return True
        fall = self.reference - self.end
        return bool(fall > 0.2 * abs(self.reference) and fall > 3 * self.noise)

    @property
    def is_stuck(self) -> bool:
        """Whether the loss has not come 10 % below the reference, or has become no number."""
        if self.ended_nonfinite:
            return True
        if not self.known or self.is_good:
            return False
        if np.isfinite(self.gain):
            return bool(self.gain < 0.1)
        return bool(self.start - self.end < max(0.05 * abs(self.start), self.noise))


_asked_last: list[tuple[weakref.ref[History], Progress]] = []
"""A history is frozen, and thirty rules ask about the same one."""


def progress_of(history: History) -> Progress:
    """The progress of the main training loss."""
    for known, progress in _asked_last:
        if known() is history:
            return progress
    progress = _progress_of(history)
    _asked_last[:] = [(weakref.ref(history), progress)]
    return progress


def _progress_of(history: History) -> Progress:
    curve = history.curve("loss")
    if curve is None:
        return Progress(known=False)
    if not history.imported:
        return progress_on(curve, _chance(curve, history))
    progress = progress_on(curve)
    # A log has a point for many steps, or for an epoch: the first five of them are no longer the beginning.
    start = float(np.fmax(progress.start, curve.values[0]))
    return replace(progress, start=start, chance=_guessing(history, progress.end))


def _guessing(history: History, end: float) -> float:
    """The loss of a guess among equally frequent classes, where a log shows that the network does no better; or NaN."""
    for curve in (history.curve("accuracy", "validation"), history.curve("accuracy")):
        late = float(np.median(curve.values[curve.values.size // 2 :])) if curve is not None else 0.0
        classes = round(1 / late) if late > 0 else 0
        if classes > 1 and abs(late * classes - 1) < SAME_ACCURACY and abs(end / np.log(classes) - 1) < SAME_LOSS:
            return float(np.log(classes))
    return float("nan")


def _chance(curve: Curve, history: History) -> float:
    """The chance level of the loss, where the curve shows that loss and nothing else, or its share of an accumulation.

    A loss that is weighted, or with other terms added, begins at another value than the loss function returned; its
    chance level is unknown. One that is divided by the number of batches of a step begins at that share of it.
    """
    loss = history.main_loss()
    if loss is None or loss.reduction != "mean" or not curve.values.size:
        return float("nan")
    first = float(curve.values[0])
    parts = max(1, round(history.loop.backward_calls / history.steps)) if history.steps else 1
    for share in (1, parts):
        if not np.isfinite(loss.first_value) or abs(share * first - loss.first_value) <= SAME_LOSS * abs(
            loss.first_value
        ):
            return loss.chance / share
    return float("nan")


def progress_on(curve: Curve, chance: float = float("nan")) -> Progress:
    """The progress of one loss curve."""
    values = curve.values
    bad = np.flatnonzero(~np.isfinite(values))
    nonfinite_step = int(curve.steps[bad[0]]) if bad.size else -1
    finite: Doubles = values[np.isfinite(values)]
    tail = values[-max(3, values.size // 10) :]
    ended_nonfinite = bool(np.count_nonzero(~np.isfinite(tail)) * 2 > tail.size)
    if finite.size < FEWEST_STEPS:
        return Progress(known=False, chance=chance, nonfinite_step=nonfinite_step, ended_nonfinite=ended_nonfinite)
    width = int(np.clip(finite.size // 10, 3, 50))
    medians = np.median(np.lib.stride_tricks.sliding_window_view(finite, width)[:: max(1, width // 2)], axis=1)
    end = float(np.median(finite[-width:]))
    return Progress(
        known=True,
        start=_start(finite, width),
        end=end,
        best=float(min(medians.min(), end)),
        highest=float(finite.max()),
        chance=chance,
        noise=float(1.05 * np.median(np.abs(np.diff(finite)))),
        nonfinite_step=nonfinite_step,
        ended_nonfinite=ended_nonfinite,
    )


def _start(finite: Doubles, width: int) -> float:
    """Where the loss began. A run falls fast, so its first few steps stand for it, not its first tenth."""
    start = float(np.median(finite[: min(width, 5)]))
    first = float(finite[0])
    # A run that diverges at once did not begin where it was thrown to.
    return first if start > JUMP * first > 0 else start
