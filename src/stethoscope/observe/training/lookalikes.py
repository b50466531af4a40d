"""Rows that are nearly the same: by nature, or because they were copied before the data was split."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.statistics import FORTIETH, NEAR, TENTH, nearer_by_chance

FEW_VALUES = 2
"""Values that two rows that are nearly equal may differ in; one place of a one-hot code makes two."""
MOST_COMPARED = 64
"""Values of a row that are compared."""
FEWEST_ROWS = 100
MOST_COLUMNS = 40
"""Values of a row of a table, whose columns have scales of their own; more are pictures and the like."""
Numbers = NDArray[np.float64]


class Lookalikes(NamedTuple):
    """What distances between two sets of rows say."""

    compared: int = 0
    near: int = 0
    expected: float = float("nan")
    """So many of them by chance."""


def nearly_equal(rows: Any) -> tuple[int, int]:
    """How many pairs of rows (n, values) there are, and how many differ in one or two values."""
    varying = np.flatnonzero((rows != rows[:1]).any(0))
    if len(varying) <= 2 * FEW_VALUES or len(rows) < 2:  # of so few values any two rows share some
        return 0, 0
    columns = varying[np.unique(np.linspace(0, len(varying) - 1, MOST_COMPARED).astype(int))]
    differ = np.zeros((len(rows), len(rows)), np.uint8)
    for column in columns:
        values = rows[:, column]
        differ += values[:, None] != values
    pairs = len(rows) * (len(rows) - 1) // 2
    return pairs, int(((differ > 0) & (differ <= FEW_VALUES)).sum()) // 2


def lookalikes(training: Any, others: Any) -> Lookalikes:
    """Which rows have one training row that is far nearer than the tenth nearest is.

    How many would by chance is told by `nearer_by_chance`. Each row is asked for itself: some rows may lie on a line,
    as short texts or sensors that are off do, and others fill the space.

    Args:
        training: (rows, values), different from one another.
        others: (rows, values), none of them equal to one of those.
    """
    finite = np.isfinite(training).all(0) if training.shape[1:] == others.shape[1:] else np.zeros(0, bool)
    if not finite.any():
        return Lookalikes()
    training, others = training[:, finite].astype(np.float64), others[:, finite].astype(np.float64)
    others = others[np.isfinite(others).all(1)]
    if len(training) < FEWEST_ROWS or len(others) < 1:
        return Lookalikes()
    middle, spread = training.mean(0), training.std(0)
    varying = spread > 1e-7 * np.maximum(1.0, np.abs(middle))
    scale = spread if training.shape[1] <= MOST_COLUMNS else np.ones_like(spread)
    known, asked = (((part - middle) / np.where(varying, scale, 1.0))[:, varying] for part in (training, others))
    squares = (asked**2).sum(1)[:, None] + (known**2).sum(1) - 2 * asked @ known.T
    nearest = np.sqrt(np.maximum(np.partition(squares, (0, TENTH, FORTIETH), axis=1), 0))
    nearest = nearest[nearest[:, TENTH] > 0]
    first, tenth, fortieth = nearest[:, 0], nearest[:, TENTH], nearest[:, FORTIETH]
    if not len(first):
        return Lookalikes()
    by_chance = nearer_by_chance(tenth, fortieth)
    return Lookalikes(len(first), int((first <= NEAR * tenth).sum()), float(by_chance.sum()))
