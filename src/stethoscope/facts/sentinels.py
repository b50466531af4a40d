"""Numbers that stand for nothing, such as -999 among ages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stethoscope.facts.data import NAN, Column, Numbers
from stethoscope.facts.statistics import central

SENTINELS = (-1.0, -9.0, -99.0, -999.0, -9999.0, -99999.0, 99.0, 999.0, 9999.0, 99999.0, 999999.0)
"""Numbers that people write where they have none."""
SHARE = 0.01
"""Of a column, from which on one of them is typical of it."""
APART = 3.0
"""Distance from the next value over the range of the others."""
MOST_LOST = 1e10
"""What is taken from a sum over what is left of it, beyond which fewer than six digits of that are known."""
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

    def is_apart(self, apart: float, least: float, greatest: float) -> bool:
        """Whether it lies so many ranges of all others (these among them) beyond them."""
        low, high = min(self.least, least), max(self.greatest, greatest)
        gap = low - self.value if self.value < low else self.value - high
        return gap >= apart * max(high - low, 1e-300)


def sentinel_of(column: Column, share: float = SHARE, apart: float = APART) -> Sentinel | None:
    """The number that stands for nothing in a column; None where there is none."""
    numbers = column.numbers
    if numbers is None or column.kind != "number":
        return None
    found = None
    for value in {numbers.least, numbers.greatest} & set(SENTINELS):
        one = _written(numbers, value)
        if one is not None and one.rows >= share * column.rows and one.is_apart(apart, one.least, one.greatest):
            found = one
    return found


def sentinel_beside(one: Column, other: Column, share: float = SHARE, apart: float = APART) -> Sentinel | None:
    """The same of the second set's column, where the first set does not have it: it is apart from both sets' values."""
    found = sentinel_of(other, share, apart)
    own = sentinel_of(one, share, apart)
    if found is None or (own is not None and own.value == found.value):
        return None
    first = as_missing(one, own).numbers if own is not None else one.numbers
    if first is None or not first.count:
        return found
    return found if found.is_apart(apart, first.least, first.greatest) else None


def without_own(column: Column) -> Column:
    """A column, with the number that stands for nothing in it taken for missing."""
    own = sentinel_of(column)
    return column if own is None else as_missing(column, own)


def missing_in(one: Column, other: Column) -> tuple[int, int]:
    """Rows of both sets without a value of a column, in all spellings that the first set has."""
    own = sentinel_of(one)
    if own is None:
        return one.missing, other.missing
    same = _written(other.numbers, own.value) if other.numbers is not None else None
    return one.missing + own.rows, other.missing + (same.rows if same is not None else 0)


def without_sentinels(one: Column, other: Column) -> tuple[Column, Column]:
    """A column in two sets, with the numbers that stand for nothing in either of them taken for missing."""
    own, new = sentinel_of(one), sentinel_beside(one, other)
    if own is not None:
        same = _written(other.numbers, own.value) if other.numbers is not None else None
        one = as_missing(one, own)
        other = as_missing(other, same) if same is not None else other
    return one, other if new is None else as_missing(other, new)


def known_as_missing(column: Column, values: Sequence[float]) -> Column:
    """The column, the rows with numbers that are known to stand for nothing among those without a value.

    However few other values it has. Of a number between the others it must be known how often it occurs.
    """
    for value in values:
        numbers = column.numbers
        if numbers is None or not numbers.least <= value <= numbers.greatest:
            continue
        if numbers.least == numbers.greatest:
            column = replace(column, nulls=column.nulls + numbers.count, numbers=Numbers(infinite=numbers.infinite))
            continue
        one = _written(numbers, value, fewest=1)
        rows = dict(numbers.values or numbers.spikes).get(value)
        if one is None and rows is not None:
            one = Sentinel(value, rows, numbers.least, numbers.greatest)
        column = column if one is None else as_missing(column, one)
    return column


def as_missing(column: Column, sentinel: Sentinel) -> Column:
    """The column, the rows with this number among those without a value."""
    numbers = column.numbers
    if numbers is None or sentinel.rows >= numbers.count:
        return column
    count, away = numbers.count - sentinel.rows, sentinel.value - numbers.mean
    sums = np.array([0.0, numbers.squares, numbers.cubes, numbers.fourths])
    mean, squares, cubes, fourths = central(count, sums - sentinel.rows * away ** np.arange(1.0, 5.0))
    if sentinel.rows * away**4 > MOST_LOST * fourths:  # too few digits are left of what the others add
        cubes = fourths = NAN
    counts = numbers.counts.copy()
    counts[_place(numbers, sentinel.value)] -= sentinel.rows
    left = replace(
        numbers, count=count, least=sentinel.least, greatest=sentinel.greatest, mean=numbers.mean + mean,
        squares=squares, cubes=cubes, fourths=fourths, counts=counts,
        negative=numbers.negative - (sentinel.rows if sentinel.value < 0 else 0), whole=numbers.whole - sentinel.rows,
        spikes=tuple(pair for pair in numbers.spikes if pair[0] != sentinel.value),
        values=tuple(pair for pair in numbers.values if pair[0] != sentinel.value), distinct=numbers.distinct - 1,
    )  # fmt: skip
    return replace(column, nulls=column.nulls + sentinel.rows, numbers=left)


def _written(numbers: Numbers, value: float, fewest: int = FEWEST_OTHERS) -> Sentinel | None:
    """A number as one that may stand for nothing; None where it is not at an end of the column, or is all of it."""
    if value not in (numbers.least, numbers.greatest):
        return None
    place = _place(numbers, value)
    rest = _others(numbers, value, place, fewest)
    return None if rest is None else Sentinel(value, int(numbers.counts[place]), *rest)


def _place(numbers: Numbers, value: float) -> int:
    """The bin of a value."""
    return int(numbers.grid.bins(np.array([value]))[0])


def _others(numbers: Numbers, value: float, place: int, fewest: int) -> tuple[float, float] | None:
    """The range of all other numbers; None where they are too few."""
    if numbers.values:
        rest = [one for one, _ in numbers.values if one != value]
        return (rest[0], rest[-1]) if len(rest) >= fewest else None
    others = numbers.counts.nonzero()[0]
    others = others[others != place]
    if others.size < fewest:
        return None
    edges = numbers.grid.edges()
    return float(edges[max(0, int(others[0]) - 1)]), float(edges[min(edges.size - 1, int(others[-1]))])
