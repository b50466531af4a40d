"""How a network learned some of its training rows, as a run has shown."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


def _no_values() -> Doubles:
    return np.zeros(0, np.float64)


def _no_numbers() -> Integers:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Learning:
    """What the network said of rows of its first batches, with the weights that it had at some steps of the run.

    The rows are asked about when the run has ended, in eval mode: each by the weights of every snapshot, however seldom
    it was trained on. Steps of snapshots grow by a factor, so that each doubling of the steps counts the same.
    """

    why: str = ""
    """Why there is none, as a clause."""
    steps: Integers = field(default_factory=_no_numbers)
    """(snapshots,): steps of the run that were done by then."""
    right: Doubles = field(default_factory=_no_values)
    """(snapshots,): share of the rows (0..1) that the network gave the label they have."""
    classes: int = 0
    majority: float = float("nan")
    """Share of the most frequent label among the rows."""
    named: float = float("nan")
    """Share of the rows that it gave their label before it knew them by heart: by the mean of its probabilities."""
    surest: int = 0
    """Rows in the half of which it was the surest then."""
    contradicted: int = 0
    """Those of them that have another label."""
    step: Integers = field(default_factory=_no_numbers)
    """(rows,): at which step the row was seen."""
    place: Integers = field(default_factory=_no_numbers)
    """(rows,): its place in the batch, from 0."""
    index: Integers = field(default_factory=_no_numbers)
    """(rows,): its place in the data set that the loader reads, from 0; -1 where that is not known."""
    given: Integers = field(default_factory=_no_numbers)
    """(rows,): its label."""
    told: Integers = field(default_factory=_no_numbers)
    """(rows,): the label that the network gave it then."""
    probability: Doubles = field(default_factory=_no_values)
    """(rows,): mean probability of that, 0..1."""
    margin: Doubles = field(default_factory=_no_values)
    """(rows,): the given label's logit less the greatest other one, mean of the snapshots ("area under the margin")."""
    confidence: Doubles = field(default_factory=_no_values)
    """(rows,): probability of the given label, 0..1, mean of the snapshots."""
    variability: Doubles = field(default_factory=_no_values)
    """(rows,): standard deviation of that."""
    forgotten: Integers = field(default_factory=_no_numbers)
    """(rows,): how often it was right and, a snapshot later, wrong; -1 where it was never right."""
    by_heart: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """(rows,): whether the last snapshot gives the row its label."""

    @property
    def rows(self) -> int:
        """Rows that were asked about."""
        return int(self.given.size)
