"""What fills up shorter rows: a token, zeros, other numbers, or the last ones again; at their ends or at their starts.

Zeros need not be meant: what counts is that one and the same thing fills rows from some position on, to the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FREQUENT = 0.25
"""Share of the rows that end with the same thing, for it to be padding."""
FEWEST = 0.05
"""Share of a batch's positions that must be filled before it is told what fills them."""


@dataclass(frozen=True, eq=False)
class Filler:
    """What stands at padded positions."""

    value: Tensor | None
    """A token, or the numbers of a position; None where each row's last numbers are repeated."""
    words: str = ""

    def told(self, inputs: Tensor, first: bool) -> Tensor:
        """(rows, positions): where it stands, in padding or elsewhere.

        Args:
            inputs: (rows, positions), or (rows, positions, numbers).
            first: whether padding stands at the starts of rows.
        """
        rows = _with_numbers(inputs)
        if self.value is not None:
            return (rows == self.value).all(dim=2)
        same = (rows[:, 1:] == rows[:, :-1]).all(dim=2)
        edge = same.new_zeros(len(same), 1)
        return torch.cat([edge, same], 1) | torch.cat([same, edge], 1)


@dataclass(frozen=True, eq=False)
class Way:
    """How a batch is padded."""

    filler: Filler
    time_first: bool
    """Whether the first axis counts positions."""
    first: bool
    """Whether padding stands at the starts of rows."""


def turned(tensor: Tensor, time_first: bool) -> Tensor:
    """Rows first, positions second."""
    return tensor.transpose(0, 1) if time_first else tensor


def runs(told: Tensor, first: bool) -> Tensor:
    """(rows, positions): where a filler stands from there to the end of its row, or from the start to there."""
    ordered = told if first else told.flip(1)
    filled = ordered.long().cumprod(dim=1).bool()
    return filled if first else filled.flip(1)


def way_of(inputs: Tensor, axes: tuple[bool, ...] = (False, True)) -> Way | None:
    """How a batch is padded, read off where most is filled; None when next to nothing is.

    Args:
        inputs: (rows, positions), or (rows, positions, numbers), or with the first two axes swapped.
        axes: values of `time_first` to try.
    """
    best: tuple[int, Way] | None = None
    for time_first in axes:
        rows = turned(inputs, time_first)
        for first in (False, True):
            for filler in _candidates(rows, first):
                filled = int(runs(filler.told(rows, first), first).sum())
                if filled >= FEWEST * rows.shape[0] * rows.shape[1] and (best is None or filled > best[0]):
                    best = filled, Way(filler, time_first, first)
    return None if best is None else best[1]


def _candidates(rows: Tensor, first: bool) -> list[Filler]:
    """What may fill these rows, the plainest first."""
    positions = _with_numbers(rows)
    end, before = (positions[:, 0], positions[:, 1]) if first else (positions[:, -1], positions[:, -2])
    if not rows.is_floating_point():
        token = end.flatten().mode().values
        return [Filler(token)] if int((end == token).sum()) >= FREQUENT * len(rows) else []
    if bool((end == 0).all(dim=1).any()):
        return [Filler(torch.zeros_like(end[0]), "zeros")]
    still = end[(end == before).all(dim=1)]
    if len(still) < max(2, FREQUENT * len(rows)):
        return []
    if bool((still == still[0]).all()):
        return [Filler(still[0].clone(), "the same numbers")]
    # Of rows of single numbers, which need not be series, the last two may well be equal.
    return [Filler(None, "the last numbers again")] if rows.dim() == 3 else []


def _with_numbers(inputs: Tensor) -> Tensor:
    """(rows, positions, numbers)."""
    return inputs if inputs.dim() == 3 else inputs.unsqueeze(2)
