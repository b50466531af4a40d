"""Statistics of arrays in memory: a block at a time, so that each is read from memory once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Numbers
from stethoscope.facts.grids import BINS, Grid

Doubles = NDArray[np.float64]

BLOCK = 1 << 16
"""Numbers that stay in the second cache while they are counted: 512 KB."""
FEW_SAMPLED = 4096
"""Numbers among which frequent single values and the count of different ones are looked for."""
MOST_SPIKES = 20
MOST_KNOWN = 100
"""Different values that are all kept with their counts."""
NARROW = 4096
"""Whole numbers within a range of this width are counted one by one."""
SPIKE = 0.01
"""Least share of the sampled numbers that makes a single value frequent."""


def numbers_of(values: Doubles, grid: Grid | None = None) -> tuple[int, Numbers]:
    """NaNs, and the statistics of the others. Shape: (n,).

    Sums of powers are taken around the centre of the grid, so that no digits are lost where the mean is far from 0.
    """
    finite = values[np.isfinite(values)] if not np.isfinite(values.sum()) else values
    nans = int(np.isnan(values).sum()) if finite.size < values.size else 0
    infinite = values.size - finite.size - nans
    if not finite.size:
        return nans, Numbers(infinite=infinite)
    least, greatest = float(finite.min()), float(finite.max())
    if grid is None:
        with np.errstate(over="ignore", invalid="ignore"):
            grid = Grid.around(float(finite.mean()), float(finite.std()), least, greatest)
    counts = np.zeros(BINS, np.int64)
    sums = np.zeros(4)
    zeros = negative = whole = 0
    for start in range(0, finite.size, BLOCK):
        block = finite[start : start + BLOCK]
        counts += np.bincount(grid.bins(block), minlength=BINS)
        with np.errstate(over="ignore", invalid="ignore"):
            distance = block - grid.centre
            squared = distance * distance
            sums += (distance.sum(), squared.sum(), np.dot(distance, squared), np.dot(squared, squared))
            whole += int(np.count_nonzero(np.floor(block) == block))
        zeros += int(np.count_nonzero(block == 0))
        negative += int(np.count_nonzero(block < 0)) if least < 0 else 0
    spikes, distinct, is_exact = _frequent(finite)
    known: tuple[tuple[float, int], ...] = ()
    if whole == finite.size and greatest - least < NARROW:
        different, times = np.unique(finite, return_counts=True)
        distinct, is_exact = int(different.size), True
        if distinct <= MOST_KNOWN:
            known = tuple((float(one), int(count)) for one, count in zip(different, times, strict=True))
    mean, squares, cubes, fourths = central(finite.size, sums)
    return nans, Numbers(
        count=finite.size, infinite=infinite, least=least, greatest=greatest,
        mean=grid.centre + mean, squares=squares, cubes=cubes, fourths=fourths,
        zeros=zeros, negative=negative, whole=whole, grid=grid, counts=counts,
        spikes=spikes, values=known, distinct=distinct, distinct_is_exact=is_exact,
    )  # fmt: skip


def central(count: int, sums: Doubles) -> tuple[float, float, float, float]:
    """Mean and central sums of powers 2 to 4, from sums of powers 1 to 4 around some centre; the mean is from there."""
    with np.errstate(over="ignore", invalid="ignore"):
        first, second, third, fourth = sums
        mean = first / count
        squares = max(0.0, second - count * mean**2)
        cubes = third - 3 * mean * second + 2 * count * mean**3
        fourths = max(0.0, fourth - 4 * mean * third + 6 * mean**2 * second - 3 * count * mean**4)
    return float(mean), float(squares), float(cubes), float(fourths)


def _frequent(values: Doubles) -> tuple[tuple[tuple[float, int], ...], int, bool]:
    """Values that stand out by their count, how many different ones there are, and whether that is all of them."""
    every = -(-values.size // FEW_SAMPLED)
    sampled = values[::every]
    different, counts = np.unique(sampled, return_counts=True)
    order = np.lexsort((different, -counts))[:MOST_SPIKES]
    least = max(2, SPIKE * sampled.size)
    spikes = tuple(
        (float(different[i]), int(np.count_nonzero(values == different[i]))) for i in order if counts[i] >= least
    )
    return spikes, int(different.size), every == 1
