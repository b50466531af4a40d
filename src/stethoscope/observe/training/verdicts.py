"""When to judge a run that goes on: soon, then ever more seldom, and for a small share of the time."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_STEP = 60
"""By then the loop has been watched in full for 50 steps."""
LAST_OPENING_STEP = 1000
"""Up to here a verdict is given each time the steps have doubled, whatever it costs: at 60, 120, 240, 480, 960."""
SHARE = 0.002
"""Share of the time that verdicts may take after that, 0..1: a fifth of the usual budget."""

_clock = time.perf_counter


class Verdicts:
    """Gives verdicts when they are due."""

    def __init__(self, give: Callable[[], None]) -> None:
        self._give = give
        self.due_at = FIRST_STEP
        """The step after which the next one may be given."""
        self._given = _clock()
        self._price = 0.0

    @staticmethod
    def is_opening(step: int) -> bool:
        """Whether a verdict at this step is given whatever it costs."""
        return step <= LAST_OPENING_STEP

    def give(self, step: int) -> float:
        """Give one after this many steps, if the time allows it; says how many seconds that took."""
        began = _clock()
        if not self.is_opening(step) and (began - self._given) * SHARE < self._price:
            self.due_at = int(1.1 * step) + 1
            return 0.0
        self._give()
        self._given = _clock()
        self._price = self._given - began
        self.due_at = 2 * step
        return self._price
