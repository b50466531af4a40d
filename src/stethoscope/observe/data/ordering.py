"""How the rows lie in a set as it is stored: labels in blocks, columns that drift from the first row to the last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Order, Rows
from stethoscope.facts.statistics import mean_ranks

FEWEST_ROWS = 40
MOST_CLASSES = 100
DRIFTING = 0.3
"""Rank correlation with the place in the set from which on a column is kept; the rule has the limit."""


def order(rows: Rows, target: str, task: str) -> Order | None:
    """How labels and columns lie along the sampled rows; None for too few rows.

    The expected number of runs and its deviation are those of the runs test for more than two classes (Wald and
    Wolfowitz 1940; Mood 1940).
    """
    if rows.count < FEWEST_ROWS:
        return None
    drift = sorted(_drifting(rows, target), key=lambda one: (-abs(one[1]), one[0]))
    runs, expected, spread = 0, float("nan"), float("nan")
    if task == "classification" and target in rows.values:
        runs, expected, spread = _runs(rows.values[target])
    return Order(runs, expected, spread, tuple(drift))


def _runs(values: NDArray[np.float64] | NDArray[np.object_]) -> tuple[int, float, float]:
    texts = np.array(["" if one is None else str(one) for one in values])
    _, codes, counts = np.unique(texts, return_inverse=True, return_counts=True)
    if not 2 <= counts.size <= MOST_CLASSES:
        return 0, float("nan"), float("nan")
    n = float(codes.size)
    runs = 1 + int(np.count_nonzero(np.diff(codes)))
    second, third = float((counts.astype(float) ** 2).sum()), float((counts.astype(float) ** 3).sum())
    expected = (n * (n + 1) - second) / n
    variance = (second * (second + n * (n + 1)) - 2 * n * third - n**3) / (n**2 * (n - 1))
    return runs, expected, float(np.sqrt(max(0.0, variance)))


def _drifting(rows: Rows, target: str) -> list[tuple[str, float]]:
    place = np.arange(rows.count, dtype=np.float64)
    found = []
    for name, values in rows.values.items():
        if values.dtype == object or name == target:
            continue
        numbers = np.asarray(values, np.float64)
        known = np.isfinite(numbers)
        if known.sum() < FEWEST_ROWS:
            continue
        ranks = mean_ranks(numbers[known])
        if ranks.std() > 0:
            related = float(np.corrcoef(ranks, place[known])[0, 1])
            if abs(related) >= DRIFTING:
                found.append((name, related))
    return found
