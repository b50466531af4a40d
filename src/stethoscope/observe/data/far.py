"""Rows that lie far from all others, among the columns of numbers of the sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Rows, Suspect

MOST_ROWS = 4000
NEIGHBOURS = 10
FEWEST_ROWS = 100
FEWEST_COLUMNS = 3
"""In fewer the ends of every column are far from all else; `Numbers` tells of those."""
FAR = 4.0
"""Times the usual distance to a neighbour from which on a row is told."""
BEYOND = 2.0
"""And times the distance that 1 % of the rows exceed: in long tails some rows are always far."""
MOST = 50
EQUAL = 1e-5
"""Share of the squared distance from the middle, below which two rows are the same in single precision."""
BLOCK = 250


def far_rows(rows: Rows, others: tuple[str, ...] = ()) -> tuple[Suspect, ...]:
    """Rows whose distance to their tenth neighbour is many times the usual one, furthest first.

    Each column is put on a scale of its own: its middle value is 0 and its quartiles are 1 apart, and what is beyond 10
    counts as 10, so that a single wild value does not hide the others. The neighbour's distance as a score of
    outlyingness is that of S. Ramaswamy, R. Rastogi and K. Shim (SIGMOD 2000).

    Args:
        rows: the sample.
        others: columns that are no inputs.
    """
    names = [name for name, values in rows.values.items() if values.dtype != object and name not in others]
    if not names or rows.count < FEWEST_ROWS:
        return ()
    chosen = np.unique(np.linspace(0, rows.count - 1, min(MOST_ROWS, rows.count)).astype(np.int64))
    table = _scaled(np.stack([np.asarray(rows.values[name], np.float64)[chosen] for name in names], 1))
    if table.shape[1] < FEWEST_COLUMNS:
        return ()
    distances = _to_neighbour(table)
    usual = float(np.median(distances[distances > 0])) if (distances > 0).any() else 0.0
    if usual <= 0:
        return ()
    times = distances / max(usual, BEYOND / FAR * float(np.quantile(distances, 0.99)))
    order = [int(place) for place in np.argsort(-times)[:MOST] if times[place] >= FAR]
    return tuple(Suspect(int(rows.index[chosen[place]]), 1 / (1 + float(times[place]))) for place in order)


def _scaled(table: NDArray[np.float64]) -> NDArray[np.float64]:
    table = table[:, np.isfinite(table).any(axis=0)]
    if not table.shape[1]:
        return table
    with np.errstate(all="ignore"):
        low, middle, high = np.nanquantile(np.where(np.isfinite(table), table, np.nan), [0.25, 0.5, 0.75], axis=0)
    varies = high > low
    table = (table[:, varies] - middle[varies]) / (high - low)[varies]
    return np.clip(np.nan_to_num(table, nan=0.0, posinf=10.0, neginf=-10.0), -10, 10)


def _to_neighbour(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows,): the distance of each row to its tenth neighbour; in single precision, which is twice as fast."""
    points = table.astype(np.float32)
    squares = (points**2).sum(1)
    found = np.empty(len(table))
    for start in range(0, len(table), BLOCK):
        between = points[start : start + BLOCK] @ points.T
        between *= -2
        between += squares
        between.partition(NEIGHBOURS, axis=1)
        found[start : start + BLOCK] = between[:, NEIGHBOURS] + squares[start : start + BLOCK]
    return np.sqrt(np.where(found > EQUAL * squares, found, 0))
