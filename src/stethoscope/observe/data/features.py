"""The inputs of some rows as one matrix of numbers, for models that are trained to judge the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Rows

Doubles = NDArray[np.float64]

FURTHEST = 5.0
"""Spreads from the middle beyond which a number counts as this far: a slip of the point must not hide all else."""
WILDEST = 1e6
"""The same where it is not bounded: a line through more has no digits left."""
MOST_VALUES = 30
"""Most frequent values of a column of words that get a column of their own."""
MOST_FEATURES = 200
"""From which on no further column is used."""
LEAST_REPEATED = 0.5
"""Columns of words with more different values than this share of the rows are names, or texts."""
TEXT_WORDS = 3.0
"""Words in the mean value from which on a column of words holds texts."""
FEW_MISSING = 0.01


@dataclass(frozen=True)
class Inputs:
    """The inputs of some rows in the two forms that models take."""

    wide: Doubles
    """(rows, features): numbers in spreads from their middle, words as columns of 0 and 1, missing values as such."""
    narrow: Doubles
    """(rows, features): words as one column, by their rank among the most frequent ones; trees need no more."""
    far: Doubles
    """(rows, features): the wide form, numbers as far from their middle as they are."""


def matrix(rows: Rows, names: Sequence[str]) -> Doubles:
    """(rows, features): the wide form."""
    return inputs_of(rows, names).wide


def inputs_of(rows: Rows, names: Sequence[str]) -> Inputs:
    """The columns as numbers.

    Args:
        rows: the sample.
        names: the columns to use; those of names and texts give no feature.
    """
    far: list[Doubles] = []
    narrow: list[Doubles] = []
    for name in names:
        if len(far) >= MOST_FEATURES:
            break
        values = rows.values[name]
        if values.dtype == object:
            columns, ranks = _of_words(values)
        else:
            columns = _of_numbers(np.asarray(values, np.float64))
            ranks = [np.clip(one, -FURTHEST, FURTHEST) for one in columns]
        far += columns
        narrow += ranks
    if not far:
        return Inputs(*(np.zeros((rows.count, 0)) for _ in range(3)))
    stacked = np.stack(far, 1)
    return Inputs(np.clip(stacked, -FURTHEST, FURTHEST), np.stack(narrow, 1), stacked)


def _of_numbers(values: Doubles) -> list[Doubles]:
    known = np.isfinite(values)
    if known.sum() < 2:
        return []
    low, middle, high = np.quantile(values[known], [0.25, 0.5, 0.75])
    spread = (high - low) / 1.35 or float(values[known].std())
    if not (spread > 0 and np.isfinite(spread)):
        return []
    with np.errstate(over="ignore"):
        scaled = np.clip((np.where(known, values, middle) - middle) / spread, -WILDEST, WILDEST)
    return [scaled, (~known).astype(np.float64)] if (~known).mean() > FEW_MISSING else [scaled]


def _of_words(values: NDArray[Any]) -> tuple[list[Doubles], list[Doubles]]:  # texts and None
    different, codes, counts = np.unique(
        np.array(["" if one is None else str(one) for one in values]), return_inverse=True, return_counts=True
    )
    if different.size < 2 or different.size > LEAST_REPEATED * values.size:
        return [], []
    order = np.argsort(-counts, kind="stable")
    ranks = np.empty(different.size)
    ranks[order] = np.arange(different.size)
    chosen = order[1:] if different.size == 2 else order[:MOST_VALUES]
    return [(codes == one).astype(np.float64) for one in chosen], [ranks[codes]]


def texts(rows: Rows, names: Sequence[str]) -> list[str]:
    """All texts of each row, joined; empty where no column holds texts.

    Args:
        rows: the sample.
        names: the columns to look at.
    """
    found = [name for name in names if rows.values[name].dtype == object and _is_text(rows.values[name])]
    if not found:
        return []
    columns = [rows.values[name] for name in found]
    return [" ".join(str(one) for one in row if one is not None) for row in zip(*columns, strict=True)]


def _is_text(values: NDArray[Any]) -> bool:
    """Whether most are different, and of several words."""
    known = [str(one) for one in values if one is not None]
    if not known or len(set(known)) <= LEAST_REPEATED * len(known):
        return False
    return sum(text.count(" ") + 1 for text in known) / len(known) >= TEXT_WORDS
