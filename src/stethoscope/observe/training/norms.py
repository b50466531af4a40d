"""Looks at batch normalization: how many rows its statistics come from, and how far the running ones are off."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from stethoscope.facts.norms import BatchNorm
from stethoscope.observe.training.sampling import as_array, sampled_rows

VALUES_FOR_STATISTICS = 4096
MOST_LOOKS = 400
NORMS = (nn.modules.batchnorm._BatchNorm,)

Values = NDArray[np.float64]


@dataclass(eq=False)
class NormEntry:
    """A layer while the run goes on; becomes a `facts.norms.BatchNorm`."""

    momentum: float
    keeps_statistics: bool
    steps: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    first: tuple[Values, Values] | None = None
    frozen_looks: int = 0
    drift: float = math.nan


class KerasNorm:
    """A batch normalization of Keras's in the words of torch's."""

    def __init__(self, layer: Any) -> None:
        self.momentum = 1.0 - float(layer.momentum)
        self.running_mean: Tensor = layer.moving_mean.value
        self.running_var: Tensor = layer.moving_variance.value
        self.eps = float(layer.epsilon)
        self._axis = int(layer.axis)
        self._own = [variable.value for variable in layer._trainable_variables if layer.trainable]

    def parameters(self, recurse: bool = True) -> list[Tensor]:
        """Its scale and shift, unless they are frozen."""
        return self._own

    def channels_second(self, tensor: Tensor) -> Tensor:
        """Its input as torch lays it out."""
        return tensor.movedim(self._axis, 1) if tensor.dim() > 1 else tensor


class NormBook:
    """All batch normalization layers that were looked at in train mode."""

    def __init__(self) -> None:
        self._entries: dict[int, NormEntry] = {}

    def see(self, step: int, index: int, module: Any, tensor: Tensor, *, compare: bool) -> None:
        """Take in one training call: the layer has updated its running statistics with this input already.

        Args:
            index: of the layer.
            tensor: what went in.
            compare: its statistics with the running ones, which costs as much as all the rest of a close look. Those of
                a frozen layer are compared always.
        """
        if tensor.dim() < 2 or not tensor.numel() or not tensor.is_floating_point():
            return
        keeps = module.running_mean is not None and module.running_var is not None
        entry = self._entries.get(index)
        if entry is None:
            momentum = math.nan if module.momentum is None else float(module.momentum)
            entry = self._entries[index] = NormEntry(momentum, keeps)
        if len(entry.steps) >= MOST_LOOKS:
            for series in (entry.steps, entry.rows, entry.gaps):
                del series[MOST_LOOKS // 4 : MOST_LOOKS * 3 // 4 : 2]
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            if not entry.frozen_looks:  # what moved before was trained
                entry.first = None
            entry.frozen_looks += 1
        else:
            entry.frozen_looks = 0
        entry.steps.append(step)
        entry.rows.append(tensor.numel() // tensor.shape[1])
        entry.gaps.append(self._gap(entry, module, tensor) if keeps and (compare or entry.frozen_looks) else math.nan)

    def _gap(self, entry: NormEntry, module: Any, tensor: Tensor) -> float:
        running = (_wide(module.running_mean), _wide(module.running_var))
        if entry.first is None:
            entry.first = (running[0].copy(), running[1].copy())
        entry.drift = gap(*entry.first, *running, module.eps)
        # Channels are the second axis, of three-dimensional inputs, too.
        rows = sampled_rows(tensor.transpose(1, 2) if tensor.dim() == 3 else tensor, VALUES_FOR_STATISTICS)
        if rows.shape[0] < 2 or rows.shape[1] != running[0].size:
            return math.nan
        values = rows.astype(np.float64)
        seen = gap(*running, values.mean(axis=0), values.var(axis=0), module.eps)
        # Mean and deviation of so few rows are off by 1/n and 1/2n (squared, in deviations) by chance alone.
        return math.sqrt(max(0.0, seen * seen - 1.5 / rows.shape[0]))

    def facts(self) -> tuple[BatchNorm, ...]:
        """The frozen forms, in the order in which they were first seen."""
        return tuple(
            BatchNorm(
                layer=index,
                momentum=entry.momentum,
                keeps_statistics=entry.keeps_statistics,
                steps=np.array(entry.steps, np.int64),
                rows=np.array(entry.rows, np.int64),
                gaps=np.array(entry.gaps, np.float64),
                frozen_looks=entry.frozen_looks,
                drift=entry.drift,
            )
            for index, entry in self._entries.items()
        )


def gap(mean: Values, variance: Values, other_mean: Values, other_variance: Values, eps: float) -> float:
    """How far values of the second statistics, normalized with the first, are from mean 0 and deviation 1.

    Root mean square over channels; see `facts.norms`. A channel counts 10 at most, so that one that was dead does
    not outweigh all others.
    """
    with np.errstate(all="ignore"):
        width = np.sqrt(variance + eps)
        shift = (other_mean - mean) / width
        scale = np.sqrt(other_variance + eps) / width
        squares = np.minimum(shift * shift + (scale - 1) ** 2, 100.0)
    return float(np.sqrt(squares.mean())) if squares.size else math.nan


def _wide(tensor: Tensor) -> Values:
    wide: Values = as_array(tensor.detach().float().cpu()).astype(np.float64)
    return wide
