"""Series that grow while the run goes on, kept as compact arrays; values on an accelerator are read in blocks."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from stethoscope.facts.training import Curve, Doubles, Integers
from stethoscope.observe.training.sites import Spot, site_of

BLOCK = 32
"""Values that wait on an accelerator before one transfer brings them over."""


@dataclass(eq=False)
class GrowingCurve:
    """A series; becomes a `facts.training.Curve`."""

    name: str
    kind: str
    phase: str
    place: Spot | None = None
    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    sent: int = 0
    """Points that the store has already."""
    _waiting: list[Tensor] = field(default_factory=list)

    def add(self, step: int, value: float) -> None:
        """Append a point."""
        self.steps.append(step)
        self.values.append(value)

    def add_later(self, step: int, value: Tensor) -> None:
        """Append a point whose value is on an accelerator; it is read with the next block."""
        self.steps.append(step)
        self._waiting.append(value)
        if len(self._waiting) >= BLOCK:
            self.settle()

    @property
    def is_remote(self) -> bool:
        """Whether values are still on an accelerator."""
        return bool(self._waiting)

    def settle(self) -> None:
        """Read what is waiting."""
        if self._waiting:
            self.values.extend(torch.stack([v.detach().double().reshape(()) for v in self._waiting]).cpu().tolist())
            self._waiting.clear()

    def unsent(self) -> tuple[Integers, Doubles]:
        """Points since the last call."""
        end = len(self.values)
        steps = np.array(self.steps[self.sent : end], np.int64)
        values = np.array(self.values[self.sent : end], np.float64)
        self.sent = end
        return steps, values

    def fact(self) -> Curve:
        """The frozen form."""
        self.settle()
        return Curve(
            self.name, self.kind, self.phase, np.array(self.steps, np.int64), np.array(self.values, np.float64),
            site_of(self.place),
        )  # fmt: skip


MEAN_STEPS = 20
"""Steps whose mean loss is the first yardstick for a jump."""
FLOOR_SHARE = 0.01
"""A jump from a millionth of the first loss to ten millionths is noise; to a hundredth of it, it is none."""


class SpikeGuard:
    """Notices a loss that jumps or stops being a number.

    A jump is a value above `factor` times a slow running mean; the mean follows with a memory of about 50 steps.
    A loss that has all but vanished flickers by more than that, and says nothing: the mean counts as at least
    `FLOOR_SHARE` of what it was at the start.
    """

    def __init__(self, factor: float = 4.0) -> None:
        self._factor = factor
        self._mean = math.nan
        self._floor = 0.0
        self._seen = 0

    @property
    def limit(self) -> float:
        """Losses below this size are in line; 0 while too few have been seen."""
        return self._factor * max(self._mean, self._floor) if self._seen > MEAN_STEPS else 0.0

    def jumps(self, value: float) -> bool:
        """Take in a value; True when it is out of line."""
        if value - value != 0.0:
            return True
        self._seen += 1
        size = abs(value)
        if self._seen == 1:
            self._mean = size
            return False
        jumped = self._seen > MEAN_STEPS and size > self.limit
        if self._seen == MEAN_STEPS:
            self._floor = FLOOR_SHARE * self._mean
        self._mean += (size - self._mean) * 0.02 if self._seen > 50 else (size - self._mean) / self._seen
        return jumped
