"""Numbers that stand for nothing, such as -999 among ages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stethoscope.facts.data import Column, Numbers

SENTINELS = (-1.0, -9.0, -99.0, -999.0, -9999.0, -99999.0, 99.0, 999.0, 9999.0, 99999.0, 999999.0)
"""Numbers that people write where they have none."""
SHARE = 0.01
"""Of a column, from which on one of them is typical of it."""
APART = 3.0
"""Distance from the next value over the range of the others."""
FEWEST_OTHERS = 2
"""Other values that a column has: of two values alone, as in labels of -1 and 1, neither stands for nothing."""


@dataclass(frozen=True)
class Sentinel:
    """A number that stands for nothing in a column."""

    value: float
    rows: int
    least: float
    """Of the other numbers; to within a bin where not all values are known."""
    greatest: float


def sentinel_of(column: Column, share: float = SHARE, apart: float = APART) -> Sentinel | None:
    """The number that stands for nothing in a column; None where there is none."""
    numbers = column.numbers
    if numbers is None or column.kind != "number":
        return None
    found = None
    for value in {numbers.least, numbers.greatest} & set(SENTINELS):
        place = int(numbers.grid.bins(np.array([value]))[0])
        rows = int(numbers.counts[place])
        rest = _others(numbers, value, place)
        if rows < share * column.rows or rest is None:
            continue
        low, high = rest
        gap = low - value if value < low else value - high
        if gap >= apart * max(high - low, 1e-300):
            found = Sentinel(value, rows, low, high)
    return found


def _others(numbers: Numbers, value: float, place: int) -> tuple[float, float] | None:
    """The range of all other numbers; None where they are too few."""
    if numbers.values:
        rest = [one for one, _ in numbers.values if one != value]
        return (rest[0], rest[-1]) if len(rest) >= FEWEST_OTHERS else None
    others = numbers.counts.nonzero()[0]
    others = others[others != place]
    if others.size < FEWEST_OTHERS:
        return None
    edges = numbers.grid.edges()
    return float(edges[max(0, int(others[0]) - 1)]), float(edges[min(edges.size - 1, int(others[-1]))])
