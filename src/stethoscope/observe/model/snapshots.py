"""Keeps rows of the first batches, and the weights at some steps, to ask how the network learned these rows.

Within the budget of a run a row is looked at about once. Its history is had another way: weights are copied now and
then, and when the run has ended each row is put through the network as it was at every one of these moments.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stethoscope.observe.model.ingredients import Pass, Step, tensors_in
from stethoscope.observe.training.row_numbers import RowNumbers

MOST_ROWS = 2048
MOST_ROW_BYTES = 4 << 20
MOST_WEIGHT_BYTES = 12 << 20
"""Of all snapshots together, two bytes a weight."""
MOST_TAKEN = 32
FEWEST_TAKEN = 10
"""A model of which no more fit is not followed."""
FIRST = 8
"""Steps before the first snapshot: before them hardly anything is learned."""
GROWTH = 1.25
"""Steps done at a snapshot / at the one before. Where more are taken than are kept, every second one goes, and this
becomes its square."""
ORDINARY = (Tensor, nn.Parameter)
OF_CLASSES = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")
Integers = NDArray[np.int64]

_clock = time.perf_counter


class Snapshots:
    """Rows and weights of one model.

    Args:
        numbers: tells which rows of their data set those of a batch are.
    """

    def __init__(self, numbers: RowNumbers) -> None:
        self.passes: list[Pass] = []
        self.steps: list[int] = []
        """Step of each pass."""
        self.index: list[Integers | None] = []
        """Numbers of each pass's rows in their data set."""
        self.taken: list[tuple[int, Tensor]] = []
        """Steps done, and all weights and buffers in one row, in bfloat16."""
        self.why = ""
        """Why nothing is kept, as a clause."""
        self.due: float = FIRST
        self._numbers = numbers
        self._growth = GROWTH
        self._rows = 0
        self._bytes = 0

    @property
    def wants_rows(self) -> bool:
        """Whether there is room for more."""
        return not self.why and self._rows < MOST_ROWS and self._bytes < MOST_ROW_BYTES

    def see(self, step: Step) -> None:
        """A step was copied, with its batches."""
        for each in step.passes:
            self._keep(step.number, each)

    def _keep(self, number: int, each: Pass) -> None:
        target = each.target
        if each.function not in OF_CLASSES or not isinstance(target, Tensor) or not target.dim() or each.swapped:
            self._stop("the loss compares no classes")
            return
        inputs = [t for _, t in tensors_in((each.args, each.kwargs)) if t.dim() and t.shape[0] == target.shape[0]]
        if not inputs:
            self._stop("there is not one label for each row")
            return
        self.passes.append(each)
        self.steps.append(number)
        self.index.append(self._numbers.of(inputs, target))
        self._rows += target.shape[0]
        self._bytes += each.size

    def _stop(self, why: str) -> None:
        self.why = why
        self.due = math.inf
        self.passes.clear()
        self.taken.clear()

    def take(self, step: int, module: Any) -> float:
        """Copy the weights; gives the seconds that it took.

        Args:
            step: steps done.
            module: whose weights they are; None while it is not known.
        """
        began = _clock()
        self.due = max(step + 1, step * self._growth)
        if module is not None and not self.why and self.passes:
            try:
                self._take(step, weights_of(module))
            except Exception as error:  # a model may hold anything; training goes on
                self._stop(f"its weights could not be copied ({type(error).__name__})")
        return _clock() - began

    def _take(self, step: int, tensors: list[Tensor]) -> None:
        if any(type(t) not in ORDINARY or t.is_complex() for t in tensors):  # parts of several processes may wait there
            self._stop("its weights are no ordinary tensors of real numbers")
            return
        if 2 * FEWEST_TAKEN * sum(t.numel() for t in tensors) > MOST_WEIGHT_BYTES:
            self._stop("the model is too large to keep its weights at several steps")
            return
        self.taken.append((step, torch.cat([t.detach().reshape(-1).to("cpu", torch.bfloat16) for t in tensors])))
        if len(self.taken) > MOST_TAKEN or 2 * sum(row.numel() for _, row in self.taken) > MOST_WEIGHT_BYTES:
            del self.taken[-2::-2]  # the newest stays
            self._growth *= self._growth


def weights_of(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers that are numbers, in an order that a copy has, too."""
    return [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point() or t.is_complex()]


def put_back(module: nn.Module, row: Tensor) -> None:
    """Give a copy the weights of a snapshot."""
    start = 0
    for tensor in weights_of(module):
        end = start + tensor.numel()
        tensor.data.copy_(row[start:end].reshape(tensor.shape))
        start = end
