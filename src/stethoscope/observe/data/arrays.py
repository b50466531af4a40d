"""Statistics of arrays in memory: a block at a time, so that each is read from memory once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Numbers
from stethoscope.facts.grids import BINS, MANTISSA, Grid
from stethoscope.facts.statistics import central
from stethoscope.observe.data.tallies import tallied

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK = 1 << 15
"""Numbers that stay in the second cache while they are counted: 256 KB. Twice as many cost eight times as much, since
memory for what is computed of them is then fetched from the system each time."""
FEW_SAMPLED = 4096
"""Numbers among which frequent single values and the count of different ones are looked for."""
MOST_SPIKES = 20
SPIKE = 0.01
"""Least share of the numbers that makes a single value frequent."""
MOST_KNOWN = 100
"""Different values that are all kept with their counts."""
MOST_WATCHED = 32
"""Different numbers that are each counted, where there seem to be no more."""
WIDEST = 4096
"""Whole numbers within a range of this width are counted one by one: that is faster, and says how many there are."""


@dataclass(frozen=True)
class Survey:
    """What has to be known of a column before it is counted: read by everything that chooses a grid."""

    count: int
    """Finite numbers."""
    nans: int
    infinite: int
    least: float
    greatest: float
    mean: float
    spread: float
    sampled: Doubles
    """Some finite ones, evenly, or all of them."""

    def grid(self) -> Grid:
        """The grid that suits the column."""
        return Grid.around(self.mean, self.spread, self.least, self.greatest)

    def watched(self) -> Doubles:
        """Values that are counted one by one: those that may be frequent, or all where there seem to be few."""
        different, counts = np.unique(self.sampled, return_counts=True)
        if different.size <= MOST_WATCHED:
            return different
        order = np.lexsort((different, -counts))[:MOST_SPIKES]
        return different[order[counts[order] >= max(2, SPIKE / 2 * self.sampled.size)]]


def numbers_of(values: Doubles, grid: Grid | None = None) -> tuple[int, Numbers]:
    """NaNs, and the statistics of the others. Shape: (n,).

    Args:
        values: the numbers; NaN where there is none.
        grid: where to count them; chosen from the numbers when None.
    """
    survey, finite = survey_of(values)
    if not survey.count:
        return survey.nans, Numbers(infinite=survey.infinite)
    tally = Tally(survey, grid)
    tally.add(finite)
    return survey.nans, tally.numbers()


def numbers_of_counted(values: Doubles, counts: Ints, grid: Grid | None = None) -> tuple[int, Numbers]:
    """The same, of different values that occur so many times each. Shapes: (n,), (n,)."""
    nans = int(counts[np.isnan(values)].sum())
    infinite = int(counts[np.isinf(values)].sum())
    use = np.isfinite(values)
    different, inverse = np.unique(values[use], return_inverse=True)
    if not different.size:
        return nans, Numbers(infinite=infinite)
    weights = np.bincount(inverse, counts[use], different.size)
    total = int(weights.sum())
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(weights @ different / total)
        spread = float(np.sqrt(weights @ (different - mean) ** 2 / total))
    survey = Survey(total, nans, infinite, float(different[0]), float(different[-1]), mean, spread, different)
    tally = Tally(survey, grid, weighed=True)
    tally.add_counted(different, weights.astype(np.int64))
    return nans, tally.numbers()


def survey_of(values: Doubles) -> tuple[Survey, Doubles]:
    """What has to be known before counting, and the finite ones. Shape: (n,)."""
    least, greatest, total, squared = np.inf, -np.inf, 0.0, 0.0
    nans = infinite = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, values.size, BLOCK):
            block = values[start : start + BLOCK]
            summed = float(np.add.reduce(block))
            if not isfinite(summed):
                finite = block[np.isfinite(block)]
                missing = int(np.count_nonzero(np.isnan(block)))
                nans, infinite = nans + missing, infinite + block.size - finite.size - missing
                block, summed = finite, float(finite.sum())
            if block.size:
                least = min(least, float(np.minimum.reduce(block)))
                greatest = max(greatest, float(np.maximum.reduce(block)))
                total, squared = total + summed, squared + float(block.dot(block))
        finite = values[np.isfinite(values)] if nans or infinite else values
        count = finite.size
        if not count:
            return Survey(0, nans, infinite, np.nan, np.nan, np.nan, np.nan, finite), finite
        mean = total / count
        if not np.isfinite(mean):
            mean = float((finite / count).sum())
        variance = squared / count - mean * mean
        if not variance > 1e-6 * mean * mean:  # too few digits are left, or none
            variance = float(np.square(finite - mean).mean())
    spread = float(np.sqrt(variance)) if np.isfinite(variance) else greatest - least
    every = -(-count // FEW_SAMPLED)
    sampled = finite[:: every if every == 1 else every | 1]  # odd, so that rows which alternate are all seen
    return Survey(count, nans, infinite, least, greatest, mean, spread, sampled), finite


class Tally:
    """Counts a column of numbers that comes in parts.

    Whole numbers within a narrow range are counted one by one, the others on the grid; sums of powers are taken around
    the centre of the grid, so that no digits are lost where the mean is far from 0.
    """

    def __init__(self, survey: Survey, grid: Grid | None = None, *, weighed: bool = False) -> None:
        self._survey = survey
        self._grid = grid if grid is not None else survey.grid()
        self._places = self._grid.places()
        self._counts = np.zeros(BINS, np.int64)
        self._sums = np.zeros(4)
        self._zeros = self._negative = self._whole = self._count = 0
        narrow = survey.greatest - survey.least < WIDEST and float(survey.least).is_integer()
        self._table = np.zeros(int(survey.greatest - survey.least) + 1 if narrow else 0, np.int64)
        is_all = not weighed and survey.sampled.size == survey.count
        self._watched = np.zeros(0) if weighed or is_all else survey.watched()
        self._seen = np.zeros(self._watched.size, np.int64)
        self._known: tuple[Doubles, Ints] | None = None
        if is_all:
            values, counts = np.unique(survey.sampled, return_counts=True)
            self._known = values.astype(np.float64), counts.astype(np.int64)
        self._distance, self._squared = np.empty(BLOCK), np.empty(BLOCK)
        self._keys, self._bins = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)

    def add(self, values: Doubles) -> None:
        """Count some more finite numbers. Shape: (n,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, values.size, BLOCK):
                self._add_block(values[start : start + BLOCK])

    def _add_block(self, block: Doubles) -> None:
        size = block.size
        distance, squared, keys, bins = (
            self._distance[:size],
            self._squared[:size],
            self._keys[:size],
            self._bins[:size],
        )
        np.floor(block, out=distance)
        whole = int(np.count_nonzero(distance == block))
        if self._table.size and whole == size:
            np.subtract(block, self._survey.least, out=distance)
            np.copyto(keys, distance, casting="unsafe")
            self._table += tallied(keys, self._table.size)
            return
        self._count += size
        self._whole += whole
        np.subtract(block, self._grid.centre, out=distance)
        np.right_shift(distance.view(np.uint64), MANTISSA, out=keys.view(np.uint64))
        self._places.take(keys, out=bins, mode="wrap")
        self._counts += np.bincount(bins, minlength=BINS)
        np.multiply(distance, distance, out=squared)
        sums = self._sums
        sums[0] += np.add.reduce(distance)
        sums[1] += distance.dot(distance)
        sums[2] += distance.dot(squared)
        sums[3] += squared.dot(squared)
        if self._survey.least <= 0 <= self._survey.greatest:
            self._zeros += int(np.count_nonzero(block == 0))
        if self._survey.least < 0:
            self._negative += int(np.count_nonzero(block < 0))
        for place, value in enumerate(self._watched):
            self._seen[place] += np.count_nonzero(block == value)

    def add_counted(self, values: Doubles, counts: Ints) -> None:
        """Count different finite values that occur so many times each: all of them at once. Shapes: (n,), (n,)."""
        self._known = (values, counts)
        self._fold(values, counts)

    def numbers(self) -> Numbers:
        """The statistics of all that was added."""
        if self._table.any():
            taken = np.flatnonzero(self._table)
            values, counts = np.asarray(self._survey.least + taken, np.float64), self._table[taken]
            for place, value in enumerate(self._watched):
                self._seen[place] += int(counts[values == value].sum())
            if not self._count:
                self._known = (values, counts)
            self._fold(values, counts)
            self._table[:] = 0
        mean, squares, cubes, fourths = central(self._count, self._sums)
        known = self._known
        frequent = frequent_of(self._survey, self._count, known or (self._watched, self._seen), known is not None)
        return Numbers(
            count=self._count, infinite=self._survey.infinite, least=self._survey.least,
            greatest=self._survey.greatest, mean=self._grid.centre + mean, squares=squares, cubes=cubes,
            fourths=fourths, zeros=self._zeros, negative=self._negative, whole=self._whole, grid=self._grid,
            counts=self._counts, spikes=frequent.spikes, values=frequent.values, distinct=frequent.distinct,
            distinct_is_exact=frequent.is_exact,
        )  # fmt: skip

    def _fold(self, values: Doubles, counts: Ints) -> None:
        """Add different values with their counts to the sums."""
        with np.errstate(over="ignore", invalid="ignore"):
            distance = values - self._grid.centre
            squared = distance * distance
            self._sums += [
                float(counts @ power) for power in (distance, squared, distance * squared, squared * squared)
            ]
        self._counts += np.bincount(self._grid.bins(values), counts, BINS).astype(np.int64)
        self._count += int(counts.sum())
        self._zeros += int(counts[values == 0].sum())
        self._negative += int(counts[values < 0].sum())
        self._whole += int(counts[np.floor(values) == values].sum())


@dataclass(frozen=True)
class Frequent:
    """The single values of a column."""

    spikes: tuple[tuple[float, int], ...]
    """Those that stand out by their count, most frequent first."""
    values: tuple[tuple[float, int], ...]
    """All of them, ascending, where there are few."""
    distinct: int
    """How many different ones there are, at least."""
    is_exact: bool
    """Whether there are no more."""


def frequent_of(survey: Survey, total: int, counted: tuple[Doubles, Ints], is_all: bool) -> Frequent:
    """What is known of the single values of a column.

    Args:
        survey: of the column.
        total: finite numbers.
        counted: values that were counted one by one, and their counts.
        is_all: whether these are known to be all.
    """
    values, counts = counted
    is_exact = is_all or int(counts.sum()) == total
    distinct = int(np.count_nonzero(counts)) if is_exact else int(np.unique(survey.sampled).size)
    order = np.lexsort((values, -counts))[:MOST_SPIKES]
    least = max(2, SPIKE * total)
    spikes = tuple((float(values[i]), int(counts[i])) for i in order if counts[i] >= least)
    few = is_exact and distinct <= MOST_KNOWN
    known = sorted((float(values[i]), int(counts[i])) for i in np.flatnonzero(counts)) if few else []
    return Frequent(spikes, tuple(known), distinct, is_exact)


def numbers_of_sums(
    survey: Survey, grid: Grid, counts: Mapping[int, int], totals: Sequence[float], watched: Mapping[float, int]
) -> Numbers:
    """The statistics of a column that an engine counted.

    Args:
        survey: what was asked first.
        grid: the grid that was counted on.
        counts: rows in each bin that has any.
        totals: sums of powers 1 to 4 of the distance from the centre; zeros, negative and whole numbers.
        watched: counts of the survey's watched values.
    """
    every = np.zeros(BINS, np.int64)
    every[list(counts)] = list(counts.values())
    mean, squares, cubes, fourths = central(survey.count, np.array(totals[:4], np.float64))
    seen = (np.array(list(watched), np.float64), np.array(list(watched.values()), np.int64))
    frequent = frequent_of(survey, survey.count, seen, False)
    return Numbers(
        count=survey.count, infinite=survey.infinite, least=survey.least, greatest=survey.greatest,
        mean=grid.centre + mean, squares=squares, cubes=cubes, fourths=fourths, zeros=int(totals[4]),
        negative=int(totals[5]), whole=int(totals[6]), grid=grid, counts=every, spikes=frequent.spikes,
        values=frequent.values, distinct=frequent.distinct,
        distinct_is_exact=frequent.is_exact,
    )  # fmt: skip
