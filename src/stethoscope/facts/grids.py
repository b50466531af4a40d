"""Histograms of numbers on a grid that suits any distribution, is the same in every engine, and adds up.

A grid has a centre, and bins on either side of it that double in width with each octave, `2**BITS` of them in an
octave: fine where most values lie, and never out of range. The bin of a value is read off the bits of its distance
from the centre (sign, exponent, first bits of the mantissa), or computed as

    octave = floor(log2(|x - centre|)),    bin = octave * 2**BITS + floor(|x - centre| / 2**octave * 2**BITS)

which is the same bin where `log2` rounds to the next octave, so that NumPy and SQL agree. Two sets that are compared
share the grid of the first one; then their cumulative counts at the edges are exact, and so is their sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BITS = 5
"""Of the mantissa: 32 bins in an octave, so that a bin is at most 3 % of the distance from the centre wide."""
OCTAVES = 24
"""That are told apart on either side; what lies nearer to the centre, or further away, is in the first or last bin."""
SIDE = OCTAVES << BITS
"""Bins on a side."""
BINS = 2 * SIDE
MANTISSA = 52 - BITS
LOWEST = -1022
"""The least octave: what is smaller is subnormal, and has no exponent of its own."""

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Grid:
    """Where bins lie: `SIDE` of them below the centre and as many above."""

    centre: float = 0.0
    octave: int = 0
    """Exponent of the first octave that is told apart: `2**octave` from the centre."""

    @staticmethod
    def around(mean: float, spread: float, least: float, greatest: float) -> Grid:
        """The grid for values with this mean, standard deviation and range.

        The largest distance is in the last octave, unless the tail is so long that the bulk would be in too few bins:
        then the octaves reach from a 4096th of the spread upwards, and the far tail shares the last bin.
        """
        centre = _rounded(mean, spread)
        reach = max(greatest - centre, centre - least)
        if not np.isfinite(reach) or reach <= 0:
            return Grid(centre, -OCTAVES)
        lowest = int(np.frexp(reach)[1]) - OCTAVES
        if spread > 0:
            lowest = min(lowest, int(np.frexp(spread)[1]) - 12)
        return Grid(centre, max(lowest, LOWEST))

    def counts(self, values: Doubles) -> Counts:
        """How many finite values lie in each bin. Shape: (n,) to (BINS,)."""
        total = np.zeros(BINS, np.int64)
        for start in range(0, values.size, 1 << 15):
            total += np.bincount(self.bins(values[start : start + (1 << 15)]), minlength=BINS)
        return total

    def bins(self, values: Doubles) -> Counts:
        """The bin of each finite value, 0 to BINS - 1, growing with the value. Shape: (n,) to (n,)."""
        distance = values - self.centre
        bits = distance.view(np.int64)
        first = (bits & 0x7FFF_FFFF_FFFF_FFFF) >> MANTISSA
        level = np.clip(first - ((self.octave + 1023) << BITS), 0, SIDE - 1)
        bins: Counts = np.where((bits < 0) & (first > 0), SIDE - 1 - level, SIDE + level)  # -0 is 0
        return bins

    def places(self) -> Counts:
        """The bin for each value of sign, exponent and first bits of the mantissa of the distance from the centre.

        Looking bins up is four times as fast as computing them. Shape: (2 ** (12 + BITS),).
        """
        places: Counts = _places(self.octave)
        return places

    def edges(self) -> Doubles:
        """The upper edge of each bin but the last. Shape: (BINS - 1,), not to be written to."""
        edges: Doubles = _edges(self)
        return edges


@lru_cache(maxsize=256)
def _edges(grid: Grid) -> Doubles:
    levels = np.arange(1, SIDE)
    fraction = 1 + (levels & ((1 << BITS) - 1)) / (1 << BITS)
    distances = np.ldexp(fraction, grid.octave + (levels >> BITS))
    edges = np.concatenate([grid.centre - distances[::-1], [grid.centre], grid.centre + distances])
    edges.flags.writeable = False
    return edges


@lru_cache(maxsize=16)
def _places(octave: int) -> Counts:
    level = np.clip(np.arange(1 << (11 + BITS)) - ((octave + 1023) << BITS), 0, SIDE - 1)
    places = np.concatenate([SIDE + level, SIDE - 1 - level])
    places[1 << (11 + BITS)] = SIDE  # -0 is 0
    return places


def _rounded(mean: float, spread: float) -> float:
    """The mean with no more digits than the spread makes sense of: a quarter of it, as a power of two."""
    if not (np.isfinite(mean) and np.isfinite(spread)) or spread <= 0:
        return float(mean) if np.isfinite(mean) else 0.0
    step = float(np.ldexp(1.0, int(np.frexp(spread)[1]) - 3))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        rounded = float(np.round(mean / step) * step)
    return rounded if np.isfinite(rounded) else float(mean)
