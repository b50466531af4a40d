"""How attention spreads its weights: entropies of its rows, read off the graph of a training loss now and then.

A function or a few lines of the user's make attention as often as a layer does, and none of them leaves its weights
in a result; the graph keeps them for the way back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stethoscope.facts.flow import Attention
from stethoscope.observe.training.graph import operation_of

SOFTMAXES = ("softmax", "safe_softmax")
FUSED = "scaled_dot_product"
FEWEST_KEYS = 8
ROWS_READ = 64
SAMPLES_READ = 4
READ_FIRST = 2
"""Attentive steps in the beginning at which graphs are read; after them every so many more."""
READ_EVERY = 4
MOST_READINGS = 100


class AttentionBook:
    """The attention of one process, in the order in which it is called in a step."""

    def __init__(self) -> None:
        self._asked = 0
        self._is_absent = False
        self._keys: dict[int, int] = {}
        self._steps: dict[int, list[int]] = {}
        self._shares: dict[int, list[float]] = {}

    def wants(self) -> bool:
        """Whether the graph at hand should be read; asked once at each attentive backward pass."""
        if self._is_absent:
            return False
        self._asked += 1
        return self._asked <= READ_FIRST or (self._asked % READ_EVERY == 0 and self._asked < READ_EVERY * MOST_READINGS)

    def see(self, nodes: Iterable[Any], step: int) -> None:
        """The nodes of a loss's graph."""
        read = [found for node in nodes if (found := _share_of(node)) is not None]
        if not read:
            self._is_absent = not self._steps and self._asked >= READ_FIRST
            return
        for number, (keys, share) in enumerate(reversed(read)):  # from the input on
            self._keys[number] = keys
            self._steps.setdefault(number, []).append(step)
            self._shares.setdefault(number, []).append(share)

    def facts(self) -> tuple[Attention, ...]:
        """What was read."""
        return tuple(
            Attention(number, self._keys[number], np.array(steps, np.int64), np.array(self._shares[number], np.float64))
            for number, steps in self._steps.items()
        )


def _share_of(node: Any) -> tuple[int, float] | None:
    """Keys, and the entropy of the last query's weights over that of even ones; None for no attention.

    The last query is the one that sees all keys under a causal mask.
    """
    operation = operation_of(node)
    try:
        if operation in SOFTMAXES:
            weights = _kept_weights(node)
        elif operation.startswith(FUSED):
            weights = _fused_weights(node)
        else:
            return None
    except (RuntimeError, AttributeError):  # freed or overwritten since, or kept otherwise in this version of torch
        return None
    if weights is None or weights.shape[-1] < FEWEST_KEYS or not weights.numel():
        return None
    rows = weights.detach().reshape(-1, weights.shape[-1])[:ROWS_READ].double().cpu()
    entropies = torch.special.entr(rows).sum(dim=-1)
    share = float(entropies.median()) / math.log(weights.shape[-1])
    return (int(weights.shape[-1]), share) if math.isfinite(share) else None


def _kept_weights(node: Any) -> Tensor | None:
    result: Tensor = node._saved_result
    axis = int(node._saved_dim)
    axis -= (1 << 64) * (axis >> 63)  # saved as an unsigned number
    is_last = axis in (-1, result.dim() - 1)
    # With three axes it may be answers at each position; attention of one head looks at its own positions.
    if not is_last or not (result.dim() == 4 or (result.dim() == 3 and result.shape[1] == result.shape[2])):
        return None
    return result[:SAMPLES_READ, ..., -1, :]


def _fused_weights(node: Any) -> Tensor | None:
    if getattr(node, "_saved_attn_mask", None) is not None or getattr(node, "_saved_attn_bias", None) is not None:
        return None
    query, key = node._saved_query.detach()[:SAMPLES_READ], node._saved_key.detach()[:SAMPLES_READ]
    if query.dim() != 4 or query.shape[1] != key.shape[1]:
        return None
    scale = getattr(node, "_saved_scale", None) or query.shape[-1] ** -0.5
    scores = (query[..., -1:, :].float() @ key.float().transpose(-1, -2)) * scale
    weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return weights / weights.sum(dim=-1, keepdim=True)
