"""What every table can be asked, whatever engine holds its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Numbers, Rows
from stethoscope.facts.grids import Grid

MOST_VALUES = 1000
"""Most frequent values of a column of text that are kept with their counts."""
MOST_KEYED = 50_000_000
"""Rows whose keys are held in memory: 400 MB."""

Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class Field:
    """A column as its engine has it."""

    name: str
    kind: str
    """`number`, `truth`, `date`, `words` or `nested`."""
    dtype: str
    """As the engine calls it."""


@dataclass(frozen=True)
class Counted:
    """The values of a column of text, as counted."""

    nulls: int = 0
    count: int = 0
    """Rows that are not null."""
    distinct: int = 0
    distinct_is_exact: bool = True
    top: tuple[tuple[str, int], ...] = ()
    """At most MOST_VALUES, most frequent first, ties by text."""
    lengths: Numbers = field(default_factory=Numbers)
    types: tuple[tuple[str, int], ...] = ()
    """Of values that are no texts (a column of Python objects): name of the class, rows."""
    read_as: str = ""
    """`number` or `date`, where that is what nearly all of the texts are; else empty."""
    numbers: Numbers | None = None
    """Of what the texts say, where they are numbers or dates."""


class Table(Protocol):
    """Rows in some engine. Every method but `sample` gives the same answer in all engines.

    Raises (all methods): BadFile when the rows cannot be read.
    """

    name: str

    def fields(self) -> tuple[Field, ...]:
        """The columns, in order."""
        ...

    def rows(self) -> int:
        """How many rows."""
        ...

    def numbers(self, names: Sequence[str], grids: Mapping[str, Grid]) -> dict[str, tuple[int, Numbers]]:
        """Nulls (NaN among them) and statistics of columns of numbers, truths (0, 1) and dates (seconds since 1970).

        Args:
            names: the columns.
            grids: the grid to count on, where the set is compared with another one; else one is chosen.
        """
        ...

    def words(self, names: Sequence[str], grids: Mapping[str, Grid]) -> dict[str, Counted]:
        """Values of columns of text with their counts; `grids` for those whose texts are numbers or dates."""
        ...

    def sample(self, most: int) -> Rows:
        """At most this many rows, evenly from all of the set, or all of them; the same ones each time."""
        ...

    def keys(self, names: Sequence[str]) -> Keys | None:
        """64 bits for each row, equal where the values of these columns are; None where there are too many rows.

        They are sums of one key for each column (see `keys.py`), the same in every engine within one process, so that
        rows of different sets can be compared. Shape: (rows,).
        """
        ...
