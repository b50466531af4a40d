"""How far apart one column lies in two sets: as an effect in units that people know, with what chance alone gives.

The effect is the largest difference in the share of rows: below a value, for numbers (the Kolmogorov-Smirnov
distance), or in any group of values, for categories (the total variation distance). 0.05 means that 5 rows of 100
lie elsewhere. From histograms on one grid and from counts; nothing is sorted, and nothing needs the rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import NAN, Column, Numbers, Words
from stethoscope.facts.statistics import bounded_band, chi_square_above, effective, gap_band, gap_chance, rank_chance

Doubles = NDArray[np.float64]

SURENESS = 0.05
"""Chance that the true gap of a column lies outside of its interval."""
LEAST_EXPECTED = 5.0
"""Categories of which fewer are expected in the smaller set are pooled: W. G. Cochran, "Some methods for strengthening
the common chi-square tests", Biometrics 10, 1954."""
NULL_GAP = 0.869
"""Mean of the Kolmogorov distribution: the gap of an unchanged continuous column, times the root of its rows."""
MOST_NULL_GAP = 1.224
"""What nine of ten such gaps stay below."""
POINTS = 64
"""Of a picture."""


@dataclass(frozen=True)
class Gap:
    """How far apart a column lies in two sets."""

    size: float
    """As seen, 0..1."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    by_chance: float
    """What rows of the same kind would show on average."""
    rows: tuple[int, int]
    needed: int
    """Rows in each set that would show nine times of ten of an unchanged column that it is, within the tolerance."""
    chance: float
    """That a column within the tolerance shows so much."""
    above: float = NAN
    """Of numbers: chance that one of the second set is larger than one of the first, ties counted half."""
    wasserstein: float = NAN
    """Of numbers: how far a row has to be moved on average, in standard deviations of the first set."""
    places: Doubles = field(default_factory=lambda: np.zeros(0))
    """(points,): values of numbers, ..."""
    rises: Doubles = field(default_factory=lambda: np.zeros(0))
    """(points,): ... and the share of rows below each in the second set less that in the first."""
    moved: tuple[tuple[str, float, float], ...] = ()
    """Of categories: value, and its shares in the first and second set; most changed first."""

    def verdict(self, tolerance: float, shifted: bool) -> str:
        """`shift`, `none beyond tolerance`, or `cannot tell`."""
        if shifted:
            return "shift"
        return "none beyond tolerance" if self.high <= tolerance else "cannot tell"


def gap_of(one: Column, other: Column, tolerance: float = 0.0) -> Gap | None:
    """The gap between two profiles of a column; None where they cannot be compared.

    Args:
        one: of the first set.
        other: of the second, counted on the grid of the first.
        tolerance: a gap that does no harm, for `chance`.
    """
    if one.numbers is not None and other.numbers is not None and one.kind == other.kind:
        return numbers_gap(one.numbers, other.numbers, tolerance)
    if one.words is not None and other.words is not None and one.numbers is None and other.numbers is None:
        return words_gap(one.words, other.words, tolerance)
    return None


def numbers_gap(one: Numbers, other: Numbers, tolerance: float = 0.0) -> Gap | None:
    """The gap between numbers that were counted on one grid, infinite ones left out.

    The chance is the smaller one of two, doubled: of the gap itself, and of the rank sum, which sees a column that has
    moved as a whole in half as many rows. A rank sum that is off by the tolerance needs a gap at least as large.
    """
    if not one.count or not other.count or one.grid != other.grid:
        return None
    if one.counts.size != other.counts.size:
        return None
    first, second = np.cumsum(one.counts)[:-1] / one.count, np.cumsum(other.counts)[:-1] / other.count
    rises = second - first
    size = float(np.abs(rises).max(initial=0.0))
    band = gap_band(SURENESS, one.count, other.count)
    edges = one.grid.edges()
    below = np.cumsum(one.counts) - one.counts / 2
    above = float(np.dot(other.counts, below)) / (float(one.count) * other.count)
    chances = (
        gap_chance(size - tolerance, one.count, other.count),
        rank_chance(abs(above - 0.5) - tolerance, one.count, other.count),
    )
    # Where something happens: at even shares of both sets together.
    shown = np.unique(np.searchsorted((first + second) / 2, np.linspace(0.002, 0.998, POINTS)).clip(0, edges.size - 1))
    return Gap(
        size=size,
        low=max(0.0, size - band),
        high=min(1.0, size + band),
        by_chance=min(1.0, NULL_GAP / math.sqrt(effective(one.count, other.count))),
        rows=(one.count, other.count),
        needed=_needed(MOST_NULL_GAP + math.sqrt((1 - math.log(SURENESS)) / 2), tolerance),
        chance=min(1.0, 2 * min(chances)),
        above=above,
        wasserstein=_moved(one, other, edges, rises),
        places=edges[shown],
        rises=rises[shown],
    )


def _needed(band: float, tolerance: float) -> int:
    """Rows in each set for a band that shrinks with the root of their effective number."""
    return math.ceil(2 * (band / tolerance) ** 2) if tolerance > 0 else 0


def _moved(one: Numbers, other: Numbers, edges: Doubles, rises: Doubles) -> float:
    """The Wasserstein distance in standard deviations of the first set: the area between the two curves."""
    if not one.std > 0:
        return NAN
    least, greatest = min(one.least, other.least), max(one.greatest, other.greatest)
    inside = np.clip(edges, least, greatest)
    heights = np.abs((rises[1:] + rises[:-1]) / 2)
    return float(np.dot(np.diff(inside), heights) / one.std)


def words_gap(one: Words, other: Words, tolerance: float = 0.0) -> Gap | None:
    """The gap between categories; None where there are no two that are frequent enough.

    Rare ones are pooled. The chance is that of a chi-square that is non-central by the tolerance: a gap of 0.05 is a
    chi-square distance of 0.1 at least (Cauchy-Schwarz). The interval is by bounded differences, with the gap that
    chance alone gives taken off.
    """
    values, first, second = pooled(one, other)
    if len(values) < 2:
        return None
    rows = float(first.sum()), float(second.sum())
    scale = rows[0] * rows[1] / (rows[0] + rows[1])
    shares, others = first / rows[0], second / rows[1]
    both = (first + second) / (rows[0] + rows[1])
    square = scale * float(((others - shares) ** 2 / both).sum())
    size = float(np.abs(others - shares).sum() / 2)
    roots = float(np.sqrt(both * (1 - both)).sum()) / math.sqrt(2 * math.pi)
    noise = min(1.0, roots / math.sqrt(scale))
    counted = round(rows[0]), round(rows[1])
    band = bounded_band(SURENESS / 2, *counted)
    order = np.argsort(-np.abs(others - shares), kind="stable")
    return Gap(
        size=size,
        low=max(0.0, size - noise - band),
        high=min(1.0, size + band),
        by_chance=noise,
        rows=counted,
        needed=_needed(roots + 0.5 + math.sqrt(-math.log(SURENESS / 2) / 2), tolerance),
        chance=chi_square_above(square, len(values) - 1, scale * (2 * tolerance) ** 2),
        moved=tuple((values[i], float(shares[i]), float(others[i])) for i in order),
    )


OTHERS = "all others"


def pooled(one: Words, other: Words) -> tuple[list[str], Doubles, Doubles]:
    """The categories that are frequent enough to be compared, and their counts in both; the last one is the rest.

    Where only the most frequent values were kept, one that is missing from the other's list is given the count there
    that makes the smallest difference.
    """
    first: dict[str, float] = dict(one.top)
    second: dict[str, float] = dict(other.top)
    ratio = other.count / one.count if one.count else 0.0
    least, least_other = _unlisted(one), _unlisted(other)
    for value in second.keys() - first.keys():
        first[value] = min(second[value] / ratio, least) if ratio else 0.0
    for value in first.keys() - second.keys():
        second[value] = min(first[value] * ratio, least_other)
    smaller = min(one.count, other.count) / max(one.count + other.count, 1)
    kept = sorted(value for value, count in first.items() if (count + second[value]) * smaller >= LEAST_EXPECTED)
    kept.sort(key=lambda value: -(first[value] + second[value]))
    counts = [np.array([each[value] for value in kept], np.float64) for each in (first, second)]
    rests = [max(0.0, total - count.sum()) for total, count in zip((one.count, other.count), counts, strict=True)]
    if sum(rests) * smaller < LEAST_EXPECTED:
        return kept, counts[0], counts[1]
    return [*kept, OTHERS], np.append(counts[0], rests[0]), np.append(counts[1], rests[1])


def _unlisted(words: Words) -> float:
    """The most rows that a value which is not listed can have."""
    return 0.0 if words.is_complete or not words.top else float(words.top[-1][1])
