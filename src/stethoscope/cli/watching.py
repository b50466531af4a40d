"""Doing something again whenever files change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

SHORTEST = 0.5
"""Seconds between two looks."""
SHARE = 0.1
"""Of the time that looking may take."""


def changes(stamps: Callable[[], object], wait: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Once at first, and again after each change of what `stamps` gives."""
    before = None
    while True:
        began = time.perf_counter()
        now = stamps()
        took = time.perf_counter() - began
        if now != before:
            before = now
            yield
        wait(max(SHORTEST, took / SHARE))
