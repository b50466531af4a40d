"""Values that the other columns of their row contradict, though by themselves they are like others: 45 kg at 1.90 m.

Each column is put on the scale of normal quantiles by its ranks, and predicted from all others by a line; what is left
is judged like a column of its own: a few values beyond a gap that the tail of the others would not reach. Ranks follow
any relation that rises or falls; of others nothing is told, and nothing wrong.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import DataSet, Rows, Suspect

Doubles = NDArray[np.float64]

MOST_ROWS = 4000
FEWEST_ROWS = 200
MOST_COLUMNS = 500
"""Two thousand take a second or more, five thousand half a minute."""
ROWS_OF_A_COLUMN = 4
"""For each column: with fewer, a line through the others explains any column by chance."""
FEWEST_VALUES = 30
"""Different values below which a column has steps, beyond which gaps are usual."""
TIED = 0.25
"""Share of one value from which on it has a place where all lies together."""
EXPLAINED = 0.3
"""Share of the variance that the other columns must explain: else nothing contradicts."""
RIDGE = 1e-3
FEW = 0.01
"""Share of the rows that may lie beyond the gap."""
TAIL, END = 0.1, 0.02
"""Shares of the rows that the tail, and its end, is judged by."""
HEAVIER = 1.2
"""Mean of what lies beyond the end's border over that beyond the tail's, from which on it thins out like a power: 0.8
of a normal column, 1 of an exponential one, and 2 of Student's with 3 degrees of freedom."""
LARGE = 1.0
"""Distance in standard deviations of the column itself: where others tell it nearly wholly, less is no news."""
FAR = 4.0
"""Distance in standard deviations of what is left, robustly measured, from which on a value is told."""
CHANCE = 1e-4
"""Of such a gap, were the tail to go on as it does; a note needs no more."""
MOST = 20


def contradicted(one: DataSet, others: tuple[str, ...] = ()) -> tuple[Suspect, ...]:
    """Rows with a value that their other columns contradict, furthest first.

    Args:
        one: the set, with its sample.
        others: columns that are no inputs.
    """
    rows = one.sample
    if rows.count < FEWEST_ROWS:
        return ()
    chosen = np.unique(np.linspace(0, rows.count - 1, min(MOST_ROWS, rows.count)).astype(np.int64))
    names, scores = _scores(one, rows, chosen, others)
    if not 2 <= len(names) <= min(MOST_COLUMNS, chosen.size // ROWS_OF_A_COLUMN):
        return ()
    table = np.stack(scores, 1)
    spread = table.std(0)
    table = table / np.where(spread > 0, spread, 1)
    inverse = np.linalg.inv(table.T @ table / len(table) + RIDGE * np.eye(len(names)))
    left = table @ inverse / np.diag(inverse)
    found: dict[int, tuple[float, int]] = {}
    for place in np.flatnonzero(left.var(0) <= 1 - EXPLAINED):
        times = np.where(np.abs(left[:, place]) >= LARGE, _beyond(left[:, place]), 0.0)
        for row in np.flatnonzero(times > 0).tolist():
            if times[row] > found.get(row, (0.0, 0))[0]:
                found[row] = float(times[row]), int(place)
    order = sorted(found, key=lambda row: -found[row][0])[:MOST]
    return tuple(
        _suspect(rows, int(chosen[row]), names[found[row][1]], table[row] - left[row], found[row], chosen)
        for row in order
    )


def _scores(
    one: DataSet, rows: Rows, chosen: NDArray[np.int64], others: tuple[str, ...]
) -> tuple[list[str], list[Doubles]]:
    """The columns of measurements as normal quantiles of their ranks; 0 where missing."""
    names, scores = [], []
    for column in one.profile.columns:
        values = rows.values.get(column.name)
        if column.kind != "number" or column.name in others or values is None or values.dtype == object:
            continue
        numbers = np.asarray(values, np.float64)[chosen]
        known = np.isfinite(numbers)
        _, codes, counts = np.unique(numbers[known], return_inverse=True, return_counts=True)
        if counts.size < FEWEST_VALUES or counts.max() >= TIED * known.sum() or known.mean() < 0.5:
            continue
        last = np.cumsum(counts)
        scored = np.zeros(numbers.size)
        scored[known] = _normal((last - counts / 2) / last[-1])[codes]
        names.append(column.name)
        scores.append(scored)
    return names, scores


_GRID = np.linspace(0, 1, 4097)
_QUANTILES = np.array([NormalDist().inv_cdf(min(max(share, 1e-5), 1 - 1e-5)) for share in _GRID])


def _normal(shares: Doubles) -> Doubles:
    scores: Doubles = np.interp(shares, _GRID, _QUANTILES)
    return scores


def _beyond(left: Doubles) -> Doubles:
    """Of what lies beyond a gap at an end, or at both, its distance in spreads; 0 for all else. Shape: (rows,)."""
    spread = float(np.quantile(np.abs(left), 0.683))
    times = np.zeros(left.size)
    if not spread > 0:
        return times
    for sizes in (left / spread, -left / spread, np.abs(left) / spread):
        order = np.argsort(-sizes)[: max(40, int(TAIL * left.size))]
        tail = sizes[order]
        for count in range(max(1, int(FEW * left.size)), 0, -1):
            if tail[count - 1] >= FAR and _chance(tail[count:], float(tail[count - 1]), count) <= CHANCE:
                times[order[:count]] = np.maximum(times[order[:count]], tail[:count])
                break
    return times


def _chance(tail: Doubles, nearest: float, count: int) -> float:
    """That so many lie beyond the last of a falling tail by as much, if it goes on as it does.

    An exponential tail, which is longer than a normal one; where the tail itself is longer still, a power (Hill 1975).
    Both rates are two standard errors low.
    """
    tail = tail[tail > 0]
    end = tail[: max(10, int(END / TAIL * tail.size))]
    excess, last = float((tail - tail[-1]).mean()), float((end - end[-1]).mean())
    sure = max(0.0, 1 - 2 / float(np.sqrt(tail.size)))
    if last > HEAVIER * excess:
        slope = sure / max(1e-9, float(np.log(tail / tail[-1]).mean()))
        return float(np.exp(-slope * count * np.log(nearest / tail[0])))
    return float(np.exp(-sure * count * (nearest - tail[0]) / max(excess, 1e-9)))


def _suspect(
    rows: Rows, row: int, name: str, told: Doubles, found: tuple[float, int], chosen: NDArray[np.int64]
) -> Suspect:
    """The row, its value, and what the other columns say of it."""
    times, place = found
    values = np.asarray(rows.values[name], np.float64)
    known = np.sort(values[chosen][np.isfinite(values[chosen])])
    share = NormalDist().cdf(float(told[place]))
    usual = float(np.quantile(known, min(max(share, 0.0), 1.0)))
    return Suspect(int(rows.index[row]), 1 / (1 + times), f"{name} {values[row]:.4g}", f"about {usual:.4g}")
