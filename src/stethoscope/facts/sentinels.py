"""Numbers and dates that stand for nothing, such as -999 among ages and 1900-01-01 among days of birth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from stethoscope.facts.data import NAN, Column, Numbers
from stethoscope.facts.statistics import central

SENTINELS = (-1.0, -9.0, -99.0, -999.0, -9999.0, -99999.0, 99.0, 999.0, 9999.0, 99999.0, 999999.0)
"""Numbers that people write where they have none."""
SENTINEL_DATES = {
    datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp(): day
    for day in (
        "0001-01-01", "1111-11-11", "1753-01-01", "1800-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "1901-01-01",
        "1970-01-01", "2099-12-31", "2999-12-31", "9999-12-31",
    )
}  # fmt: skip
"""Days that programs write where they have none (the first or last one that they know), by their seconds since 1970."""
DIFFERENT = 10
"""Other values from which on a column holds amounts, and no names of categories."""
SPACINGS = 5.0
"""Usual distances between two neighbouring values, from which on a number lies by itself."""
MOST_LOST = 1e10
"""What is taken from a sum over what is left of it, beyond which fewer than six digits of that are known."""
FEWEST_OTHERS = 2
"""Other values that a column has: of two values alone, as in labels of -1 and 1, neither stands for nothing."""


@dataclass(frozen=True)
class Tells:
    """By what a number is told to stand for nothing."""

    share: float = 0.01
    """Of a column, from which on it is typical of it."""
    apart: float = 3.0
    """Distance from the next value over the range of the others, from which on nothing else is asked."""
    fewest: float = 10
    """Rows of a number that is nearer."""
    gap: float = 0.25
    """Distance from the next value over the range of the others, for one that is nearer."""
    spike: float = 3.0
    """Rows of the only negative number over those of the next value."""
    often: float = 10.0
    """Rows of a date over those of the next most frequent one."""


@dataclass(frozen=True)
class Sentinel:
    """A number that stands for nothing in a column."""

    value: float
    rows: int
    least: float
    """Of the other numbers; to within a bin where not all values are known."""
    greatest: float
    is_near: bool = False
    """Whether it is told by its rows, and not by its distance from all others."""

    @property
    def written(self) -> str:
        """As a person writes it."""
        return SENTINEL_DATES.get(self.value, f"{self.value:g}")

    def is_apart(self, apart: float, least: float, greatest: float) -> bool:
        """Whether it lies so many ranges of all others (these among them) beyond them."""
        low, high = min(self.least, least), max(self.greatest, greatest)
        gap = low - self.value if self.value < low else self.value - high
        return gap >= apart * max(high - low, 1e-300)


def sentinel_of(column: Column, tells: Tells = Tells()) -> Sentinel | None:
    """The number, or the date, that stands for nothing in a column; None where there is none."""
    numbers = column.numbers
    if numbers is None or column.kind not in ("number", "date"):
        return None
    if column.kind == "date":
        return _date_of(column, numbers, tells)
    found: Sentinel | None = None
    for value in {numbers.least, numbers.greatest} & set(SENTINELS):
        one = _written(numbers, value)
        if one is None or one.rows < tells.share * column.rows:
            continue
        if one.is_apart(tells.apart, one.least, one.greatest):
            return one
        found = _near(column, numbers, one, tells) or found
    return found


def sentinel_beside(one: Column, other: Column, tells: Tells = Tells()) -> Sentinel | None:
    """The same of the second set's column, where the first set does not have it: it is apart from both sets' values."""
    found = sentinel_of(other, tells)
    own = sentinel_of(one, tells)
    if found is None or (own is not None and own.value == found.value):
        return None
    first = as_missing(one, own).numbers if own is not None else one.numbers
    if first is None or not first.count:
        return found
    if found.is_near:
        return found if not first.least <= found.value <= first.greatest else None
    return found if found.is_apart(tells.apart, first.least, first.greatest) else None


def _near(column: Column, numbers: Numbers, one: Sentinel, tells: Tells) -> Sentinel | None:
    """A number at an end, not far from the others, that so many rows have that it stands for nothing.

    Either nothing lies between it and the others over a part of their range that is wider than any other gap; or it is
    the only negative number, and has a gap to the next value, or many more rows.
    """
    rows = dict(numbers.values or numbers.spikes).get(one.value, 0)
    if rows < max(tells.fewest, tells.share * column.rows) or numbers.distinct <= DIFFERENT:
        return None
    is_only_negative = one.value < 0 and numbers.negative == rows
    least = max(one.least, 0.0) if is_only_negative else one.least
    near = replace(one, rows=rows, least=least, is_near=True)
    gap = least - one.value if one.value < least else one.value - one.greatest
    width = max(one.greatest - least, 1e-300)
    if gap >= tells.gap * width and gap >= 2 * _widest_gap(numbers, one.value):
        return near
    spacing = width / max(1, numbers.distinct - 2)
    usual = numbers.zeros or (numbers.count - rows) / max(1, numbers.distinct - 1)
    if is_only_negative and (rows >= tells.spike * usual or gap >= SPACINGS * max(spacing, -one.value)):
        return near
    return None


def _widest_gap(numbers: Numbers, without: float) -> float:
    """Between two neighbouring values, one of them left out; to within a bin where not all are known."""
    if numbers.values:
        others = np.array([value for value, _ in numbers.values if value != without])
        return float(np.diff(others).max(initial=0.0))
    place, edges = _place(numbers, without), numbers.grid.edges()
    filled = numbers.counts.nonzero()[0]
    filled = filled[filled != place]
    below, above = edges[np.minimum(filled[:-1], edges.size - 1)], edges[np.maximum(filled[1:] - 1, 0)]
    return float((above - below).max(initial=0.0))


def _date_of(column: Column, numbers: Numbers, tells: Tells) -> Sentinel | None:
    """A date that is no date: apart from all others, or far more frequent than each of them."""
    counts = dict(numbers.values or numbers.spikes)
    for value in sorted(set(counts) & set(SENTINEL_DATES)):
        rows = counts[value]
        if rows < max(tells.fewest, tells.share * column.rows):
            continue
        usual = max((count for day, count in counts.items() if day != value), default=0)
        often = max(usual, (numbers.count - rows) / max(1, numbers.distinct - 1))
        one = _written(numbers, value)
        within = one is None and numbers.least < value < numbers.greatest
        if rows >= tells.often * often and (one is not None or within):
            ends = (numbers.least, numbers.greatest) if one is None else (one.least, one.greatest)
            return Sentinel(value, rows, *ends, is_near=True)
        if one is not None and one.is_apart(tells.gap, one.least, one.greatest):
            return replace(one, rows=rows, is_near=True)
    return None


@dataclass(frozen=True)
class Zero:
    """A 0 that many rows have, and that lies by itself below all other values."""

    rows: int
    least: float
    """Of the others; to within a bin where not all values are known."""
    width: float
    """Of the middle half of the others."""
    span: float
    """Of all others."""


def zero_of(column: Column, tells: Tells = Tells()) -> Zero | None:
    """A 0 among amounts that never come near it, such as weights; None where there is none."""
    numbers = column.numbers
    if numbers is None or column.kind != "number" or numbers.least != 0 or numbers.distinct <= DIFFERENT:
        return None
    if numbers.zeros < max(tells.fewest, tells.share * column.rows) or 2 * numbers.zeros > numbers.count:
        return None
    one = _written(numbers, 0.0)
    if one is None or not one.least > 0:
        return None
    others = as_missing(column, replace(one, rows=numbers.zeros)).numbers
    if others is None:
        return None
    width = others.quantile(0.75) - others.quantile(0.25)
    return Zero(numbers.zeros, one.least, width, one.greatest - one.least) if width > 0 else None


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
