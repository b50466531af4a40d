"""Adds profiles of parts of a table up to the profile of the whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from stethoscope.core.errors import UsageError
from stethoscope.facts.data import Column, Numbers, Profile, Spelling, Words
from stethoscope.facts.grids import BINS, Grid
from stethoscope.observe.data import spelling
from stethoscope.observe.data.arrays import MOST_KNOWN, MOST_SPIKES, SPIKE, Doubles, Frequent
from stethoscope.observe.data.profiling import kind_of_words
from stethoscope.observe.data.tables import MOST_VALUES


def merge(first: Profile, second: Profile) -> Profile:
    """The profile of the rows of both.

    Exact are: counts of rows, nulls, zeros, negative, whole and infinite numbers, least and greatest, moments (up to
    rounding), the histogram where both were counted on one grid (`profile(part, like=first)`), and texts and single
    values with their counts where both know all of them. Else the histogram on the finer grid is moved onto the other
    one bin by bin, the counts of frequent values are at least what they say, and so is the number of different ones.

    Raises: UsageError for profiles of another version, or a column that holds numbers in one and words in the other.
    """
    if first.version != second.version:
        raise UsageError(f"profiles of versions {first.version} and {second.version} do not add up: make both anew")
    names = list(dict.fromkeys(column.name for profile in (first, second) for column in profile.columns))
    columns = []
    for name in names:
        one = first.column(name) or Column(name, "empty", rows=first.rows, nulls=first.rows)
        other = second.column(name) or Column(name, "empty", rows=second.rows, nulls=second.rows)
        columns.append(_column(one, other))
    return Profile(first.rows + second.rows, tuple(columns), first.version)


def onto(profile: Profile, like: Profile) -> Profile:
    """A profile with its histograms on the grids of another one, so that the two can be compared."""
    columns = []
    for column in profile.columns:
        known = like.column(column.name)
        if column.numbers and known and known.numbers and known.numbers.count and column.numbers.count:
            grid = known.numbers.grid
            if grid != column.numbers.grid:
                numbers = replace(column.numbers, grid=grid, counts=moved(column.numbers, grid))
                column = replace(column, numbers=numbers)
        columns.append(column)
    return replace(profile, columns=tuple(columns))


def _column(one: Column, other: Column) -> Column:
    rows, nulls = one.rows + other.rows, one.nulls + other.nulls
    if "empty" in (one.kind, other.kind):
        full = other if one.kind == "empty" else one
        words = merge_words(one.words, other.words) if one.words and other.words else full.words
        kind = kind_of_words(words) if words and full.kind in ("category", "text") else full.kind
        return replace(full, kind=kind, rows=rows, nulls=nulls, words=words)
    numbers = merge_numbers(one.numbers, other.numbers) if one.numbers and other.numbers else None
    words = merge_words(one.words, other.words) if one.words and other.words else None
    if numbers is None and words is None and one.kind != "nested":
        raise UsageError(f"column {one.name!r} holds {_plural(one)} in one part and {_plural(other)} in the other")
    kind = one.kind if one.kind == other.kind else ("number" if words is None else "category")
    if words is not None and kind in ("category", "text"):
        kind, numbers = kind_of_words(words), None
    return replace(one, kind=kind, rows=rows, nulls=nulls, numbers=numbers, words=words)


def _plural(column: Column) -> str:
    return "numbers" if column.numbers else "words"


def merge_numbers(one: Numbers, other: Numbers) -> Numbers:
    """The statistics of the numbers of both."""
    if not one.count or not other.count:
        full = one if one.count else other
        return replace(full, infinite=one.infinite + other.infinite)
    count = one.count + other.count
    mean, squares, cubes, fourths = _moments(one, other)
    single = _single(one, other, count)
    grid = one.grid if one.grid.octave >= other.grid.octave else other.grid
    return Numbers(
        count=count,
        infinite=one.infinite + other.infinite,
        least=min(one.least, other.least),
        greatest=max(one.greatest, other.greatest),
        mean=mean,
        squares=squares,
        cubes=cubes,
        fourths=fourths,
        zeros=one.zeros + other.zeros,
        negative=one.negative + other.negative,
        whole=one.whole + other.whole,
        grid=grid,
        counts=moved(one, grid) + moved(other, grid),
        spikes=single.spikes,
        values=single.values,
        distinct=single.distinct,
        distinct_is_exact=single.is_exact,
    )


def _moments(one: Numbers, other: Numbers) -> tuple[float, float, float, float]:
    """Mean and central sums of powers 2 to 4 of both together.

    Source: P. Pébay, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical
    moments", SAND2008-6212, equations 2.1 and 3.1.
    """
    a, b, n = float(one.count), float(other.count), float(one.count + other.count)
    with np.errstate(over="ignore", invalid="ignore"):
        gap = np.float64(other.mean) - one.mean
        mean = one.mean + gap * b / n
        squares = one.squares + other.squares + gap**2 * a * b / n
        cubes = one.cubes + other.cubes + gap**3 * a * b * (a - b) / n**2
        cubes += 3 * gap * (a * other.squares - b * one.squares) / n
        fourths = one.fourths + other.fourths + gap**4 * a * b * (a * a - a * b + b * b) / n**3
        fourths += 6 * gap**2 * (a * a * other.squares + b * b * one.squares) / n**2
        fourths += 4 * gap * (a * other.cubes - b * one.cubes) / n
    return float(mean), float(squares), float(cubes), float(fourths)


def moved(numbers: Numbers, grid: Grid) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The histogram on another grid: each bin as a whole to where its middle lies. Shape: (BINS,)."""
    if numbers.grid == grid:
        return numbers.counts
    edges = np.concatenate([[numbers.least], numbers.grid.edges(), [numbers.greatest]])
    edges = np.clip(edges, numbers.least, numbers.greatest)
    middles: Doubles = np.ascontiguousarray(edges[:-1] + (edges[1:] - edges[:-1]) / 2)
    return np.bincount(grid.bins(middles), numbers.counts, BINS).astype(np.int64)


def _single(one: Numbers, other: Numbers, count: int) -> Frequent:
    """Frequent single values of both, how many different ones there are at least, and whether that is exact."""
    known = [_known(numbers) for numbers in (one, other)]
    complete = all(sum(values.values()) == numbers.count for values, numbers in zip(known, (one, other), strict=True))
    counts: Counter[float] = Counter()
    for values in known:
        counts.update(values)
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_SPIKES]
    spikes = tuple(pair for pair in ordered if pair[1] >= max(2, SPIKE * count))
    if not complete:
        return Frequent(spikes, (), max(one.distinct, other.distinct), False)
    return Frequent(spikes, tuple(sorted(counts.items())) if len(counts) <= MOST_KNOWN else (), len(counts), True)


def _known(numbers: Numbers) -> dict[float, int]:
    """Single values with their counts: all, or those that stand out."""
    return dict(numbers.values or numbers.spikes)


def merge_words(one: Words, other: Words) -> Words:
    """The statistics of the texts of both."""
    complete = one.is_complete and other.is_complete
    counts: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    examples: dict[str, tuple[str, ...]] = {}
    for words in (one, other):
        counts.update(dict(words.top))
        missing.update(dict(words.missing))
        for form in words.spellings:
            rows[form.kind] += form.rows
            examples[form.kind] = (examples.get(form.kind, ()) + tuple(
                text for text in form.examples if text not in examples.get(form.kind, ())
            ))[:3]  # fmt: skip
    top = tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
    present = [pair for pair in top if not spelling.is_missing(pair[0])]
    is_all = complete and len(top) <= MOST_VALUES
    return Words(
        count=one.count + other.count,
        distinct=len(top) if complete else max(one.distinct, other.distinct, len(top)),
        distinct_is_exact=complete,
        top=top[:MOST_VALUES],
        missing=tuple(missing.most_common()),
        spellings=tuple(Spelling(kind, number, examples[kind]) for kind, number in rows.most_common()),
        variants=spelling.variants(present) if is_all else _joined(one.variants, other.variants),
        lengths=merge_numbers(one.lengths, other.lengths),
        damaged=one.damaged + other.damaged,
    )


def _joined(one: tuple[tuple[str, ...], ...], other: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(dict.fromkeys((*one, *other)))
