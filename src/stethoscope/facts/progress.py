"""How well a run is learning: the gate in front of every rule that could alarm on a healthy network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stethoscope.facts.training import Curve, Doubles, History

FEWEST_STEPS = 20
"""Shorter runs say nothing about progress: start and end would overlap in noise."""


@dataclass(frozen=True)
class Progress:
    """How the training loss moved.

    `start`, `end` and `best` are medians over a tenth of the curve (3 to 50 points), so that one batch decides nothing.
    """

    known: bool
    """False when the run was too short, or no loss was seen: then nothing may be concluded."""
    start: float = float("nan")
    end: float = float("nan")
    best: float = float("nan")
    chance: float = float("nan")
    """What a guess that ignores the input would reach; NaN when unknown."""
    noise: float = float("nan")
    """Spread of the loss from one step to the next (robust standard deviation)."""
    nonfinite_step: int = -1
    """First step with a loss that is NaN or infinite; -1 when there is none."""

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
    def learns_well(self) -> bool:
        """Whether the loss has clearly left chance: half of the way, or a fall of many times its noise."""
        if not self.known or not np.isfinite(self.end):
            return False
        if np.isfinite(self.gain) and self.gain >= 0.5:
            return True
        fall = self.reference - self.end
        return bool(fall > 0.2 * abs(self.reference) and fall > 3 * self.noise)

    @property
    def is_stuck(self) -> bool:
        """Whether the loss has not come 10 % below the reference, or has become no number."""
        if self.nonfinite_step >= 0:
            return True
        if not self.known:
            return False
        if np.isfinite(self.gain):
            return bool(self.gain < 0.1)
        return bool(self.start - self.end < max(0.05 * abs(self.start), self.noise))


def progress_of(history: History) -> Progress:
    """The progress of the main training loss."""
    curve = history.curve("loss")
    loss = history.main_loss()
    chance = float("nan")
    if loss is not None and loss.reduction == "mean":
        chance = loss.chance
    return progress_on(curve, chance) if curve is not None else Progress(known=False)


def progress_on(curve: Curve, chance: float = float("nan")) -> Progress:
    """The progress of one loss curve."""
    values = curve.values
    bad = np.flatnonzero(~np.isfinite(values))
    nonfinite_step = int(curve.steps[bad[0]]) if bad.size else -1
    finite: Doubles = values[np.isfinite(values)]
    if finite.size < FEWEST_STEPS:
        return Progress(known=False, nonfinite_step=nonfinite_step)
    width = int(np.clip(finite.size // 10, 3, 50))
    medians = np.median(np.lib.stride_tricks.sliding_window_view(finite, width)[:: max(1, width // 2)], axis=1)
    # The start of a run falls fast: its first few steps stand for it, not its first tenth.
    start = float(np.median(finite[: min(width, 5)]))
    end = float(np.median(finite[-width:]))
    jumps = np.abs(np.diff(finite))
    return Progress(
        known=True,
        start=start,
        end=end,
        best=float(min(medians.min(), end)),
        chance=chance,
        noise=float(1.05 * np.median(jumps)),
        nonfinite_step=nonfinite_step,
    )
