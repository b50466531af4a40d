"""Statistics of texts from the different ones and how often each occurs."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Numbers
from stethoscope.facts.grids import Grid
from stethoscope.observe.data import spelling
from stethoscope.observe.data.arrays import numbers_of_counted
from stethoscope.observe.data.parsing import reading_of
from stethoscope.observe.data.tables import MOST_VALUES, Counted

Ints = NDArray[np.int64]

LENGTHS = Grid(0.5, -1)
"""On which lengths of texts are counted, always: those up to 32 in bins of their own."""


def counted(
    values: Sequence[str],
    counts: Ints,
    *,
    nulls: int = 0,
    grid: Grid | None = None,
    types: Sequence[tuple[str, int]] = (),
) -> Counted:
    """What is known of a column of text.

    Args:
        values: the different texts.
        counts: how often each occurs. Shape: (len(values),).
        nulls: rows without any.
        grid: where to count the numbers that the texts may be; chosen when None.
        types: of values that are no texts.
    """
    lengths = np.fromiter(map(len, values), np.float64, len(values))
    top = most_frequent(values, counts)
    read_as, numbers = numbers_in(values, counts, top, grid)
    return Counted(
        nulls=nulls, count=int(counts.sum()), distinct=len(values), top=top,
        lengths=numbers_of_counted(lengths, counts, LENGTHS)[1], types=tuple(types), read_as=read_as, numbers=numbers,
    )  # fmt: skip


def counted_there(
    top: Sequence[tuple[str, int]],
    lengths: Sequence[tuple[int, int]],
    distinct: int,
    count: int,
    rows: int,
    grid: Grid | None,
) -> Counted:
    """The same of more different texts than are fetched: numbers among them are those of the most frequent texts.

    Args:
        top: the most frequent ones with their counts.
        lengths: of the texts, each with its rows.
        distinct: different texts.
        count: rows with a text.
        rows: all rows.
        grid: where to count numbers.
    """
    frequent = np.array([number for _, number in top], np.int64)
    read_as, numbers = numbers_in([text for text, _ in top], frequent, top, grid)
    return Counted(
        nulls=rows - count, count=count, distinct=distinct, top=tuple(top),
        lengths=numbers_of_counted(
            np.array([length for length, _ in lengths], np.float64),
            np.array([int(number) for _, number in lengths], np.int64),
            LENGTHS,
        )[1],
        read_as=read_as, numbers=numbers,
    )  # fmt: skip


def most_frequent(values: Sequence[str], counts: Ints) -> tuple[tuple[str, int], ...]:
    """At most MOST_VALUES of them with their counts, most frequent first, ties by text."""
    if len(values) <= MOST_VALUES:
        chosen = [(value, int(count)) for value, count in zip(values, counts, strict=True)]
        return tuple(sorted(chosen, key=lambda pair: (-pair[1], pair[0])))
    least = int(np.partition(counts, -MOST_VALUES)[-MOST_VALUES])
    above = [(values[i], int(counts[i])) for i in np.flatnonzero(counts > least).tolist()]
    level = heapq.nsmallest(MOST_VALUES - len(above), (values[i] for i in np.flatnonzero(counts == least).tolist()))
    return tuple(sorted(above, key=lambda pair: (-pair[1], pair[0]))) + tuple((value, least) for value in level)


def numbers_in(
    values: Sequence[str], counts: Ints, top: Sequence[tuple[str, int]], grid: Grid | None
) -> tuple[str, Numbers | None]:
    """What kind of thing nearly all the texts are, and what they say; empty where they are words."""
    reading = reading_of([pair for pair in top if not spelling.is_missing(pair[0])])
    if reading is None:
        return "", None
    parsed = np.fromiter(map(reading.parse, values), np.float64, len(values))
    missing = sum(count for text, count in top if spelling.is_missing(text))
    read = int(counts[~np.isnan(parsed)].sum())
    if read < reading.least_share * (int(counts.sum()) - missing):
        return "", None
    return reading.kind, numbers_of_counted(parsed, counts, grid)[1]
