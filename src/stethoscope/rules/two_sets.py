"""Two made-up sets beside each other, for the examples of the rules that compare sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

from stethoscope.facts.data import Column, Data, DataSet, Profile
from stethoscope.rules.columns import of_numbers, of_words

Values = Sequence[float] | Mapping[str, int]


@lru_cache(maxsize=16)
def _bell(rows: int) -> tuple[float, ...]:
    return tuple(NormalDist().inv_cdf((i + 0.5) / rows) for i in range(rows))


def bell(rows: int = 1000, mean: float = 0.0, spread: float = 1.0) -> list[float]:
    """As many quantiles of a normal distribution, in an order that does not rise."""
    values = np.array(_bell(rows)) * spread + mean
    order = (np.arange(rows) * 7919) % rows if rows % 7919 else np.arange(rows)
    return [float(one) for one in values[order]]


def column(name: str, values: Values, like: Column | None = None, **facts: Any) -> Column:
    """A column of numbers, or of words with their counts; on the grid of another one."""
    if isinstance(values, Mapping):
        return of_words(name, values, **facts)
    grid = like.numbers.grid if like is not None and like.numbers is not None and like.numbers.count else None
    return replace(of_numbers(name, values, grid=grid), **facts)


def two_sets(columns: Mapping[str, tuple[Values, Values]], **facts: Any) -> Data:
    """Two sets with these columns, each with its values in the first and in the second (`facts`: fields of `Data`)."""
    first = [column(name, values) for name, (values, _) in columns.items()]
    second = [
        column(name, values, like) for (name, (_, values)), like in zip(columns.items(), first, strict=True)
    ]  # fmt: skip
    return beside(first, second, **facts)


def beside(first: Sequence[Column], second: Sequence[Column], **facts: Any) -> Data:
    """Two sets of these columns (`facts`: fields of `Data`)."""
    sets = [
        DataSet(name, Profile(max((each.rows for each in columns), default=0), tuple(columns)))
        for name, columns in (("train.csv", first), ("test.csv", second))
    ]
    return Data(sets[0], sets[1], **facts)


def yes_no(share: float, rows: int = 10_000_000) -> dict[str, int]:
    """Two categories, the first with this share."""
    yes = round(share * rows)
    return {"yes": yes, "no": rows - yes}
