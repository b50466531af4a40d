"""A classifier that is asked which of two sets a row is from: what moved together and not alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.comparable import comparable
from stethoscope.facts.data import Column, Data, JointShift
from stethoscope.facts.statistics import normal_quantile

Doubles = NDArray[np.float64]
Values = NDArray[np.float64] | NDArray[np.object_]

FEWEST_ROWS = 100
"""Of the smaller set."""
MOST_ROWS = 4000
"""Of each set: as many as half a second allows."""
MOST_COLUMNS = 200
FOLDS = 2
MOST_CATEGORIES = 100
"""Of a column that are told apart, the most frequent ones."""
WORTH_ASKING = 0.55
"""Lower end of the AUC's interval from which on it is asked which columns it rests on."""
MOST_NAMED = 5
MISSING = 0.02
"""Difference of the shares of missing values from which on a column is left out, and share of the second set's rows
with a category that the first one lacks: both are told by themselves."""
SEED = 0


def joint_shift(data: Data) -> JointShift | None:
    """How well the rows of two sets are told apart; None without two samples of enough rows, or without scikit-learn.

    Each row is scored by a model that was fitted on the other half of the rows; equal rows are in the same half.
    """
    if data.test is None:
        return None
    samples = data.train.sample.values, data.test.sample.values
    columns = [
        one.name
        for one, other in comparable(data)
        if abs(_lacking(one) - _lacking(other)) <= MISSING and _unknown(one, other) <= MISSING
    ]
    names = [name for name in columns if all(name in each for each in samples)][:MOST_COLUMNS]
    rows = min(data.train.sample.count, data.test.sample.count, MOST_ROWS)
    if len(names) < 2 or rows < FEWEST_ROWS:
        return None
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier  # a second of imports, where there is enough to ask
    except ImportError:
        return None
    table = _table(samples, names, rows)
    side = np.repeat([0, 1], rows)
    fold = _folds(table)
    # A column without any number in a half of the rows cannot be binned.
    filled = np.all([np.isfinite(table[fold == place]).any(axis=0) for place in range(FOLDS)], axis=0)
    names, table = [name for name, is_filled in zip(names, filled, strict=True) if is_filled], table[:, filled]
    if len(names) < 2:
        return None
    scores, models = np.zeros(side.size), []
    for place in range(FOLDS):
        inside = fold == place
        if len(set(side[~inside].tolist())) < 2 or len(set(side[inside].tolist())) < 2:
            return None
        model = HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, early_stopping=False, random_state=SEED
        ).fit(table[~inside], side[~inside])
        models.append(model)
        scores[inside] = model.predict_proba(table[inside])[:, 1]
    auc, error = _judged(scores, side, fold)
    low = max(0.0, auc - normal_quantile(0.995) * error)
    used = _used(models, table, side, fold, names, auc) if low >= WORTH_ASKING else ()
    return JointShift(auc, low, 2 * rows, used)


def _lacking(column: Column) -> float:
    """The share of the rows without a value."""
    return column.missing / max(1, column.rows)


def _unknown(one: Column, other: Column) -> float:
    """The share of the second set's rows with a category that the first one lacks; 0 where not all are known."""
    if one.words is None or other.words is None or not one.words.is_complete or not other.words.count:
        return 0.0
    known = {text for text, _ in one.words.top}
    return sum(count for text, count in other.words.top if text not in known) / other.words.count


def _table(samples: Sequence[Mapping[str, Values]], names: Sequence[str], rows: int) -> Doubles:
    """Both samples as numbers, one below the other; categories by their rank. Shape: (2 * rows, columns)."""
    columns = []
    for name in names:
        parts = [each[name][np.linspace(0, len(each[name]) - 1, rows).astype(np.int64)] for each in samples]
        if any(part.dtype == object for part in parts):
            parts = _ranks(parts)
        columns.append(np.concatenate([np.asarray(part, np.float64) for part in parts]))
    table = np.stack(columns, axis=1)
    table[~np.isfinite(table)] = np.nan
    return table


def _ranks(parts: Sequence[Values]) -> list[Any]:
    counts = Counter(value for part in parts for value in part.tolist() if value is not None)
    ranks: dict[object, float] = {
        value: min(float(rank), float(MOST_CATEGORIES))
        for rank, (value, _) in enumerate(sorted(counts.items(), key=lambda one: (-one[1], str(one[0]))))
    }
    return [np.array([ranks.get(value, math.nan) for value in part.tolist()]) for part in parts]


def _folds(table: Doubles) -> NDArray[np.int64]:
    """A fold for each row; equal rows, which would be remembered, are in the same one."""
    _, group = np.unique(table, axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.random.default_rng(SEED).permutation(int(group.max()) + 1)
    return np.asarray(order[group] % FOLDS, np.int64)


def _judged(scores: Doubles, side: NDArray[np.int64], fold: NDArray[np.int64]) -> tuple[float, float]:
    """The mean AUC of the folds and its standard error."""
    each = [
        _auc(scores[(fold == place) & (side == 0)], scores[(fold == place) & (side == 1)]) for place in range(FOLDS)
    ]
    mean = sum(auc for auc, _ in each) / FOLDS
    return mean, math.sqrt(sum(error**2 for _, error in each)) / FOLDS


def _auc(first: Doubles, second: Doubles) -> tuple[float, float]:
    """The chance that a row of the second set has the higher score, and its standard error.

    E. R. DeLong et al., "Comparing the areas under two or more correlated receiver operating characteristic curves",
    Biometrics 44, 1988.
    """
    above = _shares_below(second, first)
    below = _shares_below(first, second)
    auc = float(above.mean())
    spread = float(above.var()) / max(above.size - 1, 1) + float(below.var()) / max(below.size - 1, 1)
    return auc, math.sqrt(spread)


def _shares_below(values: Doubles, others: Doubles) -> Doubles:
    """Share of the others that lie below each value, equal ones counted half."""
    ordered = np.sort(others)
    low, high = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.asarray((low + high) / 2 / ordered.size, np.float64)


def _used(
    models: Sequence[Any],
    table: Doubles,
    side: NDArray[np.int64],
    fold: NDArray[np.int64],
    names: Sequence[str],
    auc: float,
) -> tuple[tuple[str, float], ...]:
    """Columns without which the sets are told apart less well, with the share of the AUC above 0.5 that is lost."""
    random = np.random.default_rng(SEED)
    lost = []
    for place, name in enumerate(names):
        scores = np.zeros(side.size)
        for number, model in enumerate(models):
            inside = np.flatnonzero(fold == number)
            shuffled = table[inside]
            shuffled[:, place] = shuffled[random.permutation(inside.size), place]
            scores[inside] = model.predict_proba(shuffled)[:, 1]
        lost.append((name, (auc - _judged(scores, side, fold)[0]) / (auc - 0.5)))
    lost.sort(key=lambda one: -one[1])
    return tuple((name, float(min(1.0, share))) for name, share in lost[:MOST_NAMED] if share > 0.02)
