"""When in a step what happens: the data arrives, the backward pass begins, the step ends. Read at looks only."""

from __future__ import annotations

import math
import time
from collections import deque

import numpy as np

from stethoscope.facts.ranks import StepTimes

MOST_KEPT = 400
_clock = time.perf_counter


class StepClock:
    """Seconds from the end of the step before, at the last steps that were looked at."""

    def __init__(self) -> None:
        self._fed = self._backward = math.nan
        self._rows: deque[tuple[int, float, float, float]] = deque(maxlen=MOST_KEPT)

    def forward_begins(self) -> None:
        """A model is given its batch; the first time in a step counts."""
        if self._fed != self._fed:
            self._fed = _clock()

    def backward_begins(self) -> None:
        """Likewise for the backward pass."""
        if self._backward != self._backward:
            self._backward = _clock()

    def step_ended(self, step: int, began: float, now: float) -> None:
        """A step is over that was looked at."""
        if began <= self._fed <= self._backward:  # what is left of a step that was heard in part is older
            self._rows.append((step, self._fed - began, self._backward - began, now - began))
        self.start_over()

    def start_over(self) -> None:
        """The next step begins."""
        self._fed = self._backward = math.nan

    def facts(self) -> StepTimes:
        """The frozen form."""
        table = np.array(self._rows, np.float64).reshape(-1, 4)
        return StepTimes(table[:, 0].astype(np.int64), table[:, 1], table[:, 2], table[:, 3])
