"""Decides when to look, so that listening costs what the user allowed.

The price of a look is the larger of the time spent in our own code and (step looked at - ordinary step): own time
alone misses 40 % of it on models of many small layers (dispatch, Python hooks called by autograd, cold caches).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from statistics import fmean, median

DEFAULT_BUDGET = 0.01
DENSE_START = 16
"""Every one of the first steps is looked at: most faults are there to be seen at once."""
GROWTH = 1.15
"""After that the gap between looks grows by this factor while the budget alone would give fewer; so a run of
n steps has at least 16 + 7 ln(n / 16) looks, whose share of the time goes to nothing."""
LAST_OPENING_STEP = 1000
WATCHED_STEPS = 50
"""The loop's protocol is watched in full for this many steps, and at looks after that."""
SHARE_FOR_LOOKS = 0.4
"""Share of the budget that looks are given; verdicts, snapshots and what cannot be timed take the rest: steps that are
looked at were seen to last longer by half as much again as our own time in them."""
PRICED_LOOKS = 9
"""Looks by which the next one is priced: those of the opening are cheaper, and soon forgotten."""
ANOMALY_LOOKS = 5
"""Looks in a row after an anomaly."""
MOST_ANOMALY_LOOKS = 100
FEWEST_TIMED_STEPS = 8
UNSEEN_SHARE = 1.5
"""The price of a look by the time spent in our own code: 1.1 (transformer) to 1.85 (MLP) were measured."""
GUARD_CALLS = 3
"""Calls of ours in an ordinary step: backward, before and after the optimizer's step."""
COLD_CALL = 48
"""What a call costs in the middle of a training step, whose kernels have emptied the caches, by what it costs in a
loop of its own: 9 microseconds were measured for three calls of 0.06 (1 to 18, as memory happens to lie)."""


class Budget:
    """When to look next, and what looking costs.

    Args:
        share: of the ordinary step time that listening may take, 0..1.
        every: look at every N-th step instead, when above 0.
    """

    def __init__(self, share: float = DEFAULT_BUDGET, every: int = 0) -> None:
        self.share = share
        self.every = every
        self.looks = 0
        self.burst_looks = 0
        self._anomaly_looks_left = 0
        self._anomaly_looks = 0
        self._next = 0
        self._ordinary: deque[float] = deque(maxlen=101)
        # Where each step is looked at, one look in many is a close one.
        self._looked: deque[float] = deque(maxlen=101 if every else PRICED_LOOKS)
        self._own: deque[float] = deque(maxlen=101 if every else PRICED_LOOKS)
        self.guard_seconds = GUARD_CALLS * COLD_CALL * price_of_a_call()
        """Estimated time of the guard in an ordinary step."""
        self.opening_seconds = 0.0
        """Time outside the budget: looks of the opening and at anomalies, first verdicts."""
        self._spent = 0.0
        self._steps_after_opening = 0

    def wants(self, step: int) -> bool:
        """Whether to look at this step."""
        if self.every:
            return step % self.every == 0
        if step < DENSE_START or self._anomaly_looks_left:
            return True
        return step >= self._next

    def next_look(self, step: int) -> int:
        """The first step from this one on that is to be looked at, unless an anomaly calls for one before."""
        if self.every:
            return -(-step // self.every) * self.every
        return step if self._anomaly_looks_left else max(step, self._next)

    def anomaly(self) -> bool:
        """Something jumped: look closely for a few steps, outside the budget; False when that was done often enough."""
        if self.every or self._anomaly_looks >= MOST_ANOMALY_LOOKS:
            return False
        self._anomaly_looks_left = max(self._anomaly_looks_left, ANOMALY_LOOKS)
        return True

    @property
    def is_dense(self) -> bool:
        """Whether looks come at intervals that the user chose, and so may follow each other closely."""
        return self.every > 0

    def ordinary_steps(self, seconds: Sequence[float]) -> None:
        """Steps that were not looked at took this long each, our guard's part of it included."""
        self._ordinary.extend(seconds[-self._ordinary.maxlen :] if self._ordinary.maxlen else seconds)
        self._steps_after_opening += len(seconds)

    def spent(self, seconds: float, *, opening: bool = False) -> None:
        """Time that went into something else than a look, such as handing facts to the store."""
        if opening:
            self.opening_seconds += seconds
        else:
            self._spent += seconds

    def looked_step(self, step: int, seconds: float, own_seconds: float) -> None:
        """A step that was looked at took this long, our own code's part of it included."""
        self.looks += 1
        if self.every and step - self.every < WATCHED_STEPS <= step:
            # The looks that end here were dearer than all that follow will be.
            self._looked.clear()
            self._own.clear()
        if step > 2:  # the first steps of a run warm caches up
            self._looked.append(seconds)
            self._own.append(own_seconds)
        gap = self._affordable_gap(step)
        opening_gap = int(step * (GROWTH - 1)) + 1
        if self.every:
            if step < WATCHED_STEPS:
                self._count_burst()
            else:
                self._charge_look()
        elif self._anomaly_looks_left:
            self._anomaly_looks_left -= 1
            self._anomaly_looks += 1
            self._count_burst()
        elif step < DENSE_START or (step < LAST_OPENING_STEP and opening_gap < gap):
            gap = opening_gap
            self._count_burst()
        else:
            self._charge_look()
        self._next = step + gap

    def _count_burst(self) -> None:
        self.burst_looks += 1
        self.opening_seconds += self.look_seconds

    def _charge_look(self) -> None:
        self._spent += self.look_seconds
        self._steps_after_opening += 1

    def _affordable_gap(self, step: int) -> int:
        ordinary = self.step_seconds
        if not ordinary:
            return 1
        left = max(SHARE_FOR_LOOKS * self.share - self.guard_seconds / ordinary, self.share / 4)
        return max(1, math.ceil(self.look_seconds / (left * ordinary)))

    @property
    def step_seconds(self) -> float:
        """Median time of an ordinary step without our guard; 0 while unknown."""
        if len(self._ordinary) >= FEWEST_TIMED_STEPS:
            return max(1e-9, median(self._ordinary) - self.guard_seconds)
        if self._looked:  # nothing but looks so far: what is left of them is ordinary
            return max(1e-9, median(self._looked) - self.look_seconds - self.guard_seconds)
        return 0.0

    @property
    def look_seconds(self) -> float:
        """What a look adds to a step."""
        if not self._own:
            return 0.0
        # A mean: dense looks are reduced in groups, and one in many attends to everything.
        own = fmean(self._own)
        if len(self._ordinary) < FEWEST_TIMED_STEPS:
            return UNSEEN_SHARE * own
        extra = median(self._looked) - median(self._ordinary)
        # A difference of two noisy times is believed up to three times what we can account for.
        return min(max(own, extra), 3 * own)

    @property
    def estimated_cost(self) -> float:
        """Cost of listening as a share of the time without it, the opening and anomalies left out; 0 while unknown."""
        ordinary = self.step_seconds
        if not ordinary or not self._steps_after_opening:
            return 0.0
        return self.guard_seconds / ordinary + self._spent / (self._steps_after_opening * ordinary)


def price_of_a_call() -> float:
    """Seconds that a call of an empty Python function takes here, in a loop of its own."""

    def empty(*args: object, **kwargs: object) -> None:
        return None

    best = 1.0
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(100):
            empty(1, key=2)
        best = min(best, (time.perf_counter() - began) / 100)
    return best
