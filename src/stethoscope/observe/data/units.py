"""Numbers in two units: a part of a column that is the rest again, larger by a factor between two units.

On the scale of logarithms a unit is a distance. A column of positive numbers is parted in two, where the middles of the
parts are as far apart as two units are; then both parts must have the same shape, and hardly anything may lie between.
That is asked of the column by itself, and of what the other columns do not explain of it, where pounds stand apart from
kilograms that they overlap with otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.comparable import is_counter
from stethoscope.facts.data import DataSet
from stethoscope.facts.units import Mixture

Doubles = NDArray[np.float64]

FACTORS = (10.0, 100.0, 1000.0, 2.20462, 2.54, 3.28084, 1.60934, 12.0, 25.4, 39.3701, 28.3495, 60.0, 3600.0, 3.78541)
"""Slips of the point and metric prefixes; pounds in a kilogram, centimetres in an inch, feet in a metre, kilometres in
a mile, inches in a foot, millimetres in an inch, inches in a metre, grams in an ounce, minutes and seconds in an hour,
litres in a gallon."""
MOST_ROWS = 2000
FEWEST_ROWS = 100
FEWEST = 10
"""Rows in the rarer unit."""
DIFFERENT = 30
"""Values from which on a column holds measurements, and no steps of a dose."""
POSITIVE = 0.95
"""Share of the numbers that must be positive."""
STARTS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Shares of the rows, from either end, from which a border is looked for."""
ALIKE = 1.63
"""Distance of the shapes of both parts in its standard error: the 99 % point of Kolmogorov and Smirnov."""
BROADER = 1.5
"""Times as wide may one part be as the other, in the middle half."""
NARROW = 0.5
"""Width of the middle half over the distance of the parts, beyond which they are no two parts."""
EXPLAINED = 0.2
"""Share of the variance from which on it is asked what the other columns do not explain."""
RIDGE = 1e-6
MOST_COLUMNS = 500
"""Of more, each is looked at by itself: what 2,000 others explain takes a second, and what 5,000 do half a minute."""
MOST_EXAMPLES = 20


def mixtures(one: DataSet, others: tuple[str, ...] = ()) -> tuple[Mixture, ...]:
    """Columns of the sample that may be in two units.

    Args:
        one: the set, with its sample.
        others: columns that explain nothing, such as predictions.
    """
    rows = one.sample
    chosen = np.unique(np.linspace(0, max(rows.count - 1, 0), min(MOST_ROWS, rows.count)).astype(np.int64))
    if chosen.size < FEWEST_ROWS:
        return ()
    names, table = [], []
    for column in one.profile.columns:
        values = rows.values.get(column.name)
        if column.kind != "number" or column.name in others or values is None or values.dtype == object:
            continue
        numbers = np.asarray(values, np.float64)[chosen]
        if np.isfinite(numbers).sum() >= FEWEST_ROWS and not is_counter((column, column), (rows, rows)):
            names.append(column.name)
            table.append(numbers)
    if not table:
        return ()
    raw = np.stack(table, 1)
    logs, positive = _logs(raw)
    scaled = _scaled(logs)
    left = _unexplained(scaled)
    found = []
    for place in np.flatnonzero(positive):
        parted = _of(raw, logs, scaled, left, int(place))
        if parted is not None:
            index = rows.index[chosen[list(parted.examples)]].tolist()
            found.append(replace(parted, column=names[place], examples=tuple(index)))
    return tuple(found)


def _logs(raw: Doubles) -> tuple[Doubles, NDArray[np.bool_]]:
    """Logarithms of the columns that are positive, the others as they are; and which are. NaN where missing."""
    known = np.isfinite(raw)
    above = (known & (raw > 0)).sum(0) >= POSITIVE * known.sum(0)
    with np.errstate(all="ignore"):
        logs = np.where(above & (raw > 0), np.log(raw), np.where(above, np.nan, raw))
    logs[~np.isfinite(logs)] = np.nan
    return logs, above


def _scaled(logs: Doubles) -> Doubles:
    """Columns with mean 0 and variance 1, their ends drawn in; 0 where missing."""
    with np.errstate(all="ignore"):
        low, middle, high = np.nanquantile(logs, [0.005, 0.5, 0.995], axis=0)
        drawn = np.nan_to_num(np.clip(logs, low, high) - middle)
        spread = drawn.std(0)
        return np.where(spread > 0, (drawn - drawn.mean(0)) / np.where(spread > 0, spread, 1), 0.0)


def _unexplained(scaled: Doubles) -> Doubles:
    """(rows, columns): what a linear model of all other columns leaves of each, in standard deviations of it."""
    if scaled.shape[1] > MOST_COLUMNS:
        return scaled
    alike = scaled.T @ scaled / len(scaled)
    inverse = np.linalg.inv(alike + RIDGE * np.eye(len(alike)) + np.diag((np.diag(alike) == 0) * 1.0))
    left: Doubles = scaled @ inverse / np.diag(inverse)
    return left


def _of(raw: Doubles, logs: Doubles, scaled: Doubles, left: Doubles, place: int) -> Mixture | None:
    """What is found in one column; its examples are places among the rows that were looked at."""
    use = np.flatnonzero(np.isfinite(logs[:, place]))
    values = logs[use, place]
    if use.size < FEWEST_ROWS or np.unique(values).size < DIFFERENT:
        return None
    spread = float(np.nanstd(np.clip(values, *np.quantile(values, [0.005, 0.995]))))
    explained = 1 - float(left[:, place].var())
    ways = [values]
    if explained >= EXPLAINED:
        middle = float(np.median(values))
        ways.append(values - middle - spread * (scaled[use, place] - left[use, place]))
    parted = [(one, way, each) for way, each in enumerate(ways) if (one := _parted(np.sort(each))) is not None]
    if not parted:
        return None
    (factor, border, between), way, each = min(parted, key=lambda one: one[0][2])
    larger = each > border
    is_larger = bool(2 * larger.sum() <= larger.size)
    at = (factor, float(np.exp(border)) if way == 0 else float("nan"), between)
    return _told(raw[use, place], values, scaled[use], place, larger if is_larger else ~larger, is_larger, at, use)


def _parted(ordered: Doubles) -> tuple[float, float, float] | None:
    """Factor, border, and how much lies between, of sorted numbers that fall in two parts; None for all others."""
    best: tuple[float, float, float] | None = None
    least, steps = np.inf, np.log(FACTORS)
    for share in STARTS:
        for cut in {int(share * ordered.size), ordered.size - int(share * ordered.size)}:
            for _ in range(3):
                if not FEWEST <= cut <= ordered.size - FEWEST:
                    break
                middles = ordered[cut // 2], ordered[(cut + ordered.size) // 2]
                cut = int(np.searchsorted(ordered, (middles[0] + middles[1]) / 2))
            if not FEWEST <= cut <= ordered.size - FEWEST:
                continue
            low, high = ordered[:cut], ordered[cut:]
            middles = float(np.median(low)), float(np.median(high))
            apart = middles[1] - middles[0]
            step = int(np.abs(steps - apart).argmin())
            mismatch = _mismatch(low - middles[0], high - middles[1], apart - float(steps[step]))
            if mismatch < least:
                window, border = apart / 8, (middles[0] + middles[1]) / 2
                fewer = middles[0] if low.size < high.size else middles[1]
                between = _within(ordered, border, window) / max(1, _within(ordered, fewer, window))
                least, best = mismatch, (FACTORS[step], border, between)
    return best


def _mismatch(low: Doubles, high: Doubles, off: float) -> float:
    """How badly two sorted parts, around their middles, fit each other; infinite where they are not alike."""
    widths = [float(each[3 * each.size // 4] - each[each.size // 4]) for each in (low, high)]
    distance = abs(off)
    error = 1.25 / 1.35 * float(np.hypot(widths[0] / low.size**0.5, widths[1] / high.size**0.5))
    if min(widths) <= 0 or max(widths) > BROADER * min(widths) or distance > 0.01 + 3 * error:
        return float("inf")
    every = np.concatenate([low, high])
    gap = np.abs(
        np.searchsorted(low, every, "right") / low.size - np.searchsorted(high, every, "right") / high.size
    ).max()
    distance = float(gap) * float(np.sqrt(low.size * high.size / (low.size + high.size)))
    return distance if distance <= ALIKE else float("inf")


def _within(ordered: Doubles, middle: float, window: float) -> int:
    low, high = np.searchsorted(ordered, [middle - window, middle + window])
    return int(high - low)


def _told(
    raw: Doubles, values: Doubles, scaled: Doubles, place: int, fewer: Any, is_larger: bool,
    parted: tuple[float, float, float], use: NDArray[np.int64],
) -> Mixture:  # fmt: skip
    """The facts of a column, its rows and the others' parted (`fewer`: truths)."""
    factor, border, between = parted
    beside = np.delete(scaled, place, axis=1)
    one = values - np.log(factor) * (fewer if is_larger else ~fewer)
    larger = fewer if is_larger else ~fewer
    return Mixture(
        column="", factor=factor, rows=int(use.size), fewer=int(fewer.sum()), fewer_are_larger=is_larger,
        medians=(float(np.median(raw[~larger])), float(np.median(raw[larger]))), between=between, border=border,
        others=_association(beside, fewer), explained=(_share(beside, values), _share(beside, one)),
        examples=tuple(use[np.flatnonzero(fewer)[:MOST_EXAMPLES]].tolist()),
    )  # fmt: skip


def _association(beside: Doubles, fewer: Any) -> float:
    """How far the best of the other columns ranks some rows (`fewer`: truths) apart from the others, beyond chance."""
    most = 0.0
    inside, outside = int(fewer.sum()), int((~fewer).sum())
    chance = 3 * float(np.sqrt((inside + outside + 1) / (3 * inside * outside)))
    for column in beside.T:
        _, codes, counts = np.unique(column, return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - (counts - 1) / 2)[codes]
        above = (float(ranks[fewer].sum()) - inside * (inside + 1) / 2) / (inside * outside)
        most = max(most, abs(2 * above - 1) - chance)
    return most


def _share(beside: Doubles, values: Doubles) -> float:
    """Share of the variance that a linear model of other columns explains, less what it would explain by chance."""
    if not 0 < beside.shape[1] <= MOST_COLUMNS:
        return 0.0
    inputs = np.column_stack([beside, np.ones(len(beside))])
    fitted = inputs @ np.linalg.lstsq(inputs, values, rcond=None)[0]
    left = float((values - fitted).var() / max(float(values.var()), 1e-300))
    return 1 - left * float((len(values) - 1) / max(1, len(values) - beside.shape[1] - 1))
