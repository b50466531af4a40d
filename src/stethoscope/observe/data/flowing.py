"""What training was fed, as a table: the rows of the steps that were copied for experiments.

Nothing is drawn and nothing is read again: the copies are there anyway. Rows that came in several epochs count once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Column, Data, DataSet, Profile, Repeats
from stethoscope.observe.data.arrays import numbers_of

Doubles = NDArray[np.float64]

MOST_COLUMNS = 40
"""Features, of a table; more are pictures that were laid flat, and profiles that would fill the run's folder."""
MOST_ROWS = 20_000
FEWEST_ROWS = 100
CONTINUOUS = 0.5
"""Different values / rows of a column, from which on two rows that agree in it are the same sample."""
MOST_CLASSES = 50
TARGET = "target"


def fed_of(steps: Iterable[Any]) -> Data | None:
    """The rows of captured steps, where these are rows of numbers with a target each; None for all else.

    Args:
        steps: with passes, each with `args` and `target` (`Any`: tensors, read as NumPy reads them).
    """
    parts: list[Doubles] = []
    rows = 0
    for step in steps:
        for each in step.passes:
            part = _part(each)
            if part is None or (parts and part.shape[1] != parts[0].shape[1]):
                return None
            parts.append(part)
            rows += len(part)
        if rows >= MOST_ROWS:
            break
    if not parts:
        return None
    table = np.concatenate(parts)
    table = table[np.sort(np.unique(table, axis=0, return_index=True)[1])]
    if len(table) < FEWEST_ROWS:
        return None
    return _data(table)


def _part(each: Any) -> Doubles | None:
    """(rows, features + 1): inputs and target of a forward pass; None where they are no table."""
    if not each.args or not hasattr(each.args[0], "detach") or not hasattr(each.target, "detach"):
        return None
    inputs, target = each.args[0].detach(), each.target.detach()
    if inputs.ndim != 2 or not inputs.is_floating_point() or not 1 < inputs.shape[1] <= MOST_COLUMNS:
        return None
    if target.ndim not in (1, 2) or target.numel() != inputs.shape[0]:
        return None
    columns = inputs.double().cpu().numpy(), target.double().cpu().numpy().reshape(-1, 1)
    return np.concatenate(columns, axis=1)


def _data(table: Doubles) -> Data:
    names = [*(f"feature {place}" for place in range(table.shape[1] - 1)), TARGET]
    columns = [_column(name, np.ascontiguousarray(values)) for name, values in zip(names, table.T, strict=True)]
    truth = columns[-1].numbers
    is_class = truth is not None and truth.whole == truth.count and 2 <= len(truth.values) <= MOST_CLASSES
    task = "classification" if is_class else "regression"
    repeats = _repeats(table, columns[:-1]) if is_class else Repeats()
    profile = Profile(len(table), tuple(columns))
    return Data(DataSet("the training batches", profile, repeats=repeats), target=TARGET, task=task, is_fed=True)


def _column(name: str, values: Doubles) -> Column:
    nulls, numbers = numbers_of(values)
    return Column(name, "number", "float64", values.size, nulls, numbers=numbers)


def _repeats(table: Doubles, columns: Sequence[Column]) -> Repeats:
    """Rows with equal inputs and different labels, where a column is so fine that equal rows are one sample."""
    if not any(len(np.unique(table[:, place])) >= CONTINUOUS * len(table) for place in range(len(columns))):
        return Repeats()
    _, back, counts = np.unique(table[:, :-1], axis=0, return_inverse=True, return_counts=True)
    return Repeats(conflicting=int((counts[back.reshape(-1)] > 1).sum()))  # rows that are equal in all are one by now
