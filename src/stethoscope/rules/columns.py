"""Words about columns, and profiles made of a few values: what the rules for data sets and their examples share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stethoscope.facts.data import Column, Data, DataSet, Numbers, Profile, Rows, Words
from stethoscope.facts.grids import Grid

LONGEST_NAME = 24
LONGEST_CELL = 200
LAST_DATE = 1e11
"""Seconds since 1970 of the year 5138; what is beyond is no date that anyone wrote."""
FEWEST_AGREEING = 10
"""Repeated rows with one label, from which on it is known how often labels of equal rows differ."""
AS_BY_CHANCE = 0.5
"""Share of the labels that differ between any two rows, from which on those of equal rows differ as by chance."""
MOST_CELLS = 12
"""Columns of a row that are shown."""


def named(name: str) -> str:
    """The name of a column in a sentence, not too long for a title."""
    short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    return f"`{short.replace('`', '')}`"


def taken(seen: Data, name: str) -> str:
    """The values of a column in code: of a frame, or of the inputs that a network is fed."""
    return f"inputs[:, {name.removeprefix('feature ')}]" if seen.is_fed else f"frame[{name!r}]"


def listed(names: Iterable[str]) -> str:
    """Names as the items of a Python list."""
    return ", ".join(repr(name) for name in names)


def numbers_of(values: Iterable[float], grid: Grid | None = None) -> Numbers:
    """The statistics of a few numbers."""
    array = np.array([float(one) for one in values], np.float64)
    finite = array[np.isfinite(array)]
    if not finite.size:
        return Numbers()
    least, greatest = float(finite.min()), float(finite.max())
    grid = grid or Grid.around(float(finite.mean()), float(finite.std()), least, greatest)
    distance = finite - finite.mean()
    different, counts = np.unique(finite, return_counts=True)
    frequent = sorted(((float(v), int(c)) for v, c in zip(different, counts, strict=True)), key=lambda one: -one[1])
    return Numbers(
        count=finite.size, infinite=int(np.isinf(array).sum()), least=least, greatest=greatest,
        mean=float(finite.mean()), squares=float((distance**2).sum()), cubes=float((distance**3).sum()),
        fourths=float((distance**4).sum()), zeros=int((finite == 0).sum()), negative=int((finite < 0).sum()),
        whole=int((np.floor(finite) == finite).sum()), grid=grid, counts=grid.counts(finite),
        spikes=tuple(one for one in frequent[:20] if one[1] >= max(2, 0.01 * finite.size)), distinct=different.size,
        values=tuple(sorted(frequent)) if different.size <= 100 else (),
    )  # fmt: skip


def of_numbers(name: str, values: Iterable[float], *, kind: str = "number", grid: Grid | None = None) -> Column:
    """A column of numbers; NaN is missing."""
    array = [float(one) for one in values]
    numbers = numbers_of(array, grid)
    return Column(name, kind, "float64", len(array), int(np.isnan(array).sum()), numbers=numbers)


def days(name: str, odd: Iterable[str], year: int, rows: int) -> Column:
    """A column of dates: so many days from the first one of a year, every 37th, and some others before them."""
    seconds = [datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() for day in odd]
    first = datetime(year, 1, 1, tzinfo=UTC).timestamp()
    return of_numbers(name, [*seconds, *(first + 37 * 86_400 * i for i in range(rows))], kind="date")


def of_words(name: str, counts: Mapping[str, int], *, nulls: int = 0, kind: str = "category", **facts: Any) -> Column:
    """A column of categories with their counts (`facts`: further fields of `Words`)."""
    top = tuple(sorted(counts.items(), key=lambda one: (-one[1], one[0])))
    total = sum(counts.values())
    words = replace(Words(count=total, distinct=len(top), top=top[:1000]), **facts)
    return Column(name, kind if counts else "empty", "str", total + nulls, nulls, words=words)


def a_set(*columns: Column, name: str = "train.csv", **facts: Any) -> DataSet:
    """A data set of these columns (`facts`: further fields of `DataSet`)."""
    return DataSet(name, Profile(max((column.rows for column in columns), default=0), columns), **facts)


def one_set(*columns: Column, target: str = "", task: str = "", **facts: Any) -> Data:
    """One data set alone (`facts`: further fields of `DataSet`)."""
    return Data(a_set(*columns, **facts), target=target, task=task)


def classes_of(column: Column | None) -> tuple[tuple[str, int], ...]:
    """The values of a column with their counts, most frequent first; empty where they are not all known."""
    if column is None:
        return ()
    if column.words is not None and column.words.is_complete:
        return tuple(pair for pair in column.words.top if pair not in column.words.missing)
    if column.numbers is not None and column.numbers.values:
        pairs = ((f"{value:g}", count) for value, count in column.numbers.values)
        return tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))
    return ()


def decided_by_chance(seen: Data, one: DataSet | None = None) -> bool:
    """Whether rows of a set (the first, by default) with equal inputs differ in their labels as often as any two do.

    Then they are different cases that look the same in these columns, and no copies: copies have one label.
    """
    one = one or seen.train
    repeats = one.repeats
    counts = [count for _, count in classes_of(one.profile.column(seen.target))]
    if repeats is None or not repeats.conflicting or repeats.exact < FEWEST_AGREEING or len(counts) < 2:
        return False
    total = sum(counts)
    chance = 1 - sum((count / total) ** 2 for count in counts)
    return repeats.conflicting / (repeats.exact + repeats.conflicting) >= AS_BY_CHANCE * chance


def row_of(sample: Rows, row: int, first: str = "") -> tuple[tuple[str, str], ...]:
    """The columns of a sampled row with their values as text, one of them first; empty where it was not sampled."""
    place = int(np.searchsorted(sample.index, row))
    if place >= sample.count or sample.index[place] != row:
        return ()
    names = [*([first] if first in sample.values else ()), *(name for name in sample.values if name != first)]
    return tuple((name, _cell(sample.values[name][place], name in sample.dates)) for name in names[:MOST_CELLS])


def _cell(value: object, is_date: bool = False) -> str:
    if value is None or value != value:
        return ""
    if is_date and isinstance(value, float) and abs(value) < LAST_DATE:
        return str(np.datetime64(round(value), "s")).replace("T", " ").removesuffix(" 00:00:00")
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:LONGEST_CELL]
