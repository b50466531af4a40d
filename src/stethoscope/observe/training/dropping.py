"""Dropout in a graph, whoever asked for it: a function leaves no layer behind, but its mask is kept for the way."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from stethoscope.observe.training.graph import operation_of

VALUES_READ = 4096
FEWEST_VALUES = 64
DEVIATIONS = 5.0


def dropped_by(node: Any) -> float:
    """The probability with which this node drops values; 0 for one that does not."""
    operation = operation_of(node)
    if operation == "native_dropout":
        return float(node._saved_p)
    if operation != "mul":
        return 0.0
    for name in ("_saved_other", "_saved_self"):
        try:
            mask = getattr(node, name, None)
        except RuntimeError:  # freed or overwritten since
            continue
        if isinstance(mask, Tensor) and not mask.requires_grad and mask.is_floating_point():
            probability = _probability(mask.detach())
            if probability > 0:
                return probability
    return 0.0


def _probability(mask: Tensor) -> float:
    """Of a mask of zeros and 1 / (1 - p), with about as many zeros as p says; 0 for other values."""
    values = mask.reshape(-1)[:VALUES_READ].float()
    if values.numel() < FEWEST_VALUES:
        return 0.0
    top = float(values.max())
    zeros = values == 0
    if top <= 1 or not bool((zeros | (values == top)).all()):
        return 0.0
    probability = 1 - 1 / top
    spread = math.sqrt(probability * (1 - probability) / values.numel())
    off = abs(float(zeros.float().mean()) - probability)
    return round(probability, 4) if off <= DEVIATIONS * spread else 0.0
