"""Whether columns have shifted only because the classes have other shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.finding import Evidence
from stethoscope.facts.data import Data
from stethoscope.rules.columns import named
from stethoscope.rules.shifting import Shift, percent

HALF = 0.5
"""Share of a gap that is left once the classes have the same shares, up to which it follows from them."""
FEWEST = 50
"""Sampled rows of each set."""
MOST_CLASSES = 50
MOST_ASKED = 5

Values = NDArray[np.float64] | NDArray[np.object_]


def by_labels(seen: Data, shifts: Sequence[Shift]) -> Evidence | None:
    """That the most shifted columns, each of them, hardly differ once the classes have the same shares.

    The rows of the first sample are weighted by how frequent their class is in the second; the gap that is left is what
    the classes do not account for.
    """
    weights = _weights(seen)
    if weights is None or seen.test is None:
        return None
    left = []
    for shift in shifts[:MOST_ASKED]:
        one, other = (each.sample.values.get(shift.name) for each in seen.sets)
        if one is None or other is None or one.dtype != other.dtype:
            return None
        before, after = _gap(one, other, np.ones(one.size)), _gap(one, other, weights)
        if after > HALF * before:
            return None
        left.append((shift.name, before, after))
    name, before, after = left[0]
    return Evidence(
        f"rows of {named(name)} that lie elsewhere, once the classes have the same shares", percent(after),
        "less, if the labels are the reason", f"{percent(before)} as they are; in the sampled rows",
    )  # fmt: skip


def _weights(seen: Data) -> NDArray[np.float64] | None:
    """Of each sampled row of the first set; None where there are no classes, or too few rows."""
    assert seen.test is not None
    if seen.task != "classification":
        return None
    labels = [each.sample.values.get(seen.target) for each in seen.sets]
    if any(each is None or each.size < FEWEST for each in labels):
        return None
    one, other = (np.array([str(label) for label in each]) for each in labels if each is not None)
    classes, which, counts = np.unique(one, return_inverse=True, return_counts=True)
    if classes.size > MOST_CLASSES:
        return None
    later = np.array([np.count_nonzero(other == each) for each in classes], np.float64)
    weights: NDArray[np.float64] = (later / counts)[which]
    return weights if weights.sum() > 0 else None


def _gap(one: Values, other: Values, weights: NDArray[np.float64]) -> float:
    """The largest difference in the share of rows below a value, or in any group of values; missing ones left out."""
    if one.dtype == object:
        values, places = np.unique(np.array([str(value) for value in (*one, *other)]), return_inverse=True)
        shares = (
            np.bincount(places[: one.size], weights, values.size),
            np.bincount(places[one.size :], None, values.size),
        )
        return float(np.abs(shares[0] / shares[0].sum() - shares[1] / shares[1].sum()).sum() / 2)
    first, second = one.astype(np.float64), np.sort(other.astype(np.float64))
    known = np.isfinite(first)
    first, weights, second = first[known], weights[known], second[np.isfinite(second)]
    if not weights.sum() > 0 or not second.size:
        return 0.0
    order = np.argsort(first, kind="stable")
    cumulated = np.concatenate([[0.0], np.cumsum(weights[order])]) / weights.sum()
    every = np.concatenate([first, second])
    below = cumulated[np.searchsorted(first[order], every, "right")]
    return float(np.abs(below - np.searchsorted(second, every, "right") / second.size).max())
