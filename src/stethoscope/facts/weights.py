"""The weight matrices of a run in the order of depth, and how fast they move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.training import History

Numbers = NDArray[np.float64]

OPENING_LOOKS = 10
"""Looks at the start that show the pace of a run before it has learned anything."""
NO_WEIGHT = 1e-6
"""Below this rms a weight still stands at a start of zero, and a ratio to it means nothing."""
RECURRENT = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell", "SimpleRNN")
"""Kinds of layers that apply one weight many times in a row."""
NOT_BY_DEPTH = ("Embedding", "EmbeddingBag")
"""Their gradients are zero for all rows that a batch does not use, so their rms is not comparable."""


def weights_by_depth(history: History, optimizer: int | None = None) -> list[int]:
    """Indexes of the trained matrices and kernels (two axes or more), nearest the input first.

    Args:
        optimizer: only those that this optimizer holds.
    """
    found = []
    for index, parameter in enumerate(history.parameters):
        held = parameter.optimizer == optimizer if optimizer is not None else True
        if len(parameter.shape) >= 2 and parameter.trainable and held:
            order = history.layers[parameter.layer].order if 0 <= parameter.layer < len(history.layers) else -1
            found.append((order, index))
    return [index for _, index in sorted(found)]


def update_ratios(history: History, weights: list[int]) -> Numbers:
    """(looks, weights): size of each update as a share of the weight's size; NaN where it was not measured."""
    telemetry = history.telemetry
    if not telemetry.steps.size or not weights or max(weights) >= telemetry.parameters.shape[1]:
        return np.full((0, len(weights)), np.nan)  # parameters that were found after the last look were not measured
    ratios = telemetry.parameter("update_ratio")[:, weights].astype(np.float64)
    sizes = telemetry.parameter("weight_rms")[:, weights]
    return np.where(sizes > NO_WEIGHT, ratios, np.nan)


def middle(values: Numbers, axis: int = 0) -> Numbers:
    """The median of what was measured along an axis; NaN, without a warning, where nothing was."""
    ordered = np.sort(values, axis=axis)  # puts NaN last
    counts = np.count_nonzero(~np.isnan(values), axis=axis, keepdims=True)
    if not values.shape[axis]:
        return np.full(values.shape[:axis] + values.shape[axis + 1 :], np.nan)
    low = np.take_along_axis(ordered, np.maximum(counts - 1, 0) // 2, axis)
    high = np.take_along_axis(ordered, counts // 2, axis)
    return np.asarray((low + high) / 2).squeeze(axis)


def gradients_by_depth(history: History) -> tuple[list[int], Numbers]:
    """Weights nearest the input first, and the median over the looks of each one's gradient (rms).

    Only weights of layers that were seen to run, and that had a gradient at some look.
    """
    telemetry = history.telemetry
    weights = [
        index
        for index in weights_by_depth(history)
        if 0 <= history.parameters[index].layer < len(history.layers)
        and history.layers[history.parameters[index].layer].order >= 0
        and history.layers[history.parameters[index].layer].kind not in NOT_BY_DEPTH
    ]
    if not telemetry.steps.size or not weights:
        return [], np.zeros(0)
    sizes = middle(telemetry.parameter("gradient_rms")[:, weights].astype(np.float64), axis=0)
    seen = np.flatnonzero(np.isfinite(sizes))
    return [weights[i] for i in seen], sizes[seen]
