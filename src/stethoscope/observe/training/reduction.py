"""Reduces what one or several looks gathered to tables of statistics, each in a few calls of numpy.

A slot is a layer or parameter of one look: look x `SLOTS` + index.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stethoscope.facts.training import LAYER_STATISTICS, PARAMETER_STATISTICS, Floats, Integers
from stethoscope.observe.training.gathering import Gathered, moments, root_mean_squares
from stethoscope.observe.training.models import LayerEntry, ParameterEntry

SLOTS = 4096
"""More than there can be layers or parameters."""

_SATURATION = {"sigmoid": (-4.6, 4.6), "tanh": (-2.65, 2.65), "Sigmoid": (0.01, 0.99), "Tanh": (-0.99, 0.99)}
"""Outside of these a sigmoid is within 0.01 of its limits, a tanh within 0.01: its slope is below 2 % of the steepest.
Lower-case names stand for layers whose output goes into that function."""


class Look(NamedTuple):
    """The statistics of one look: (layers, statistics) and (parameters, statistics), NaN where nothing was seen."""

    step: int
    layers: Floats
    parameters: Floats


def layer_table(layers: Sequence[LayerEntry], outputs: Gathered, gradients: Gathered, looks: int) -> Floats:
    """(looks, layers, statistics), columns as in `LAYER_STATISTICS`."""
    table = np.full((looks * len(layers), len(LAYER_STATISTICS)), np.nan, np.float32)
    if outputs.slots:
        rows = _rows(outputs.slots, len(layers))
        found = moments(outputs)
        columns = (found.mean, found.std, found.rms, found.largest, found.zero_share, found.nonfinite_share)
        table[rows, :6] = np.array(columns, np.float32).T
        ends = [*outputs.starts[1:], outputs.values.size]
        for row, slot, start, end in zip(rows, outputs.slots, outputs.starts, ends, strict=True):
            layer = layers[slot % SLOTS]
            bounds = _SATURATION.get(layer.kind) or _SATURATION.get(layer.applies.capitalize() or layer.feeds)
            if bounds is not None:
                part = outputs.values[start:end]
                table[row, 6] = np.count_nonzero((part < bounds[0]) | (part > bounds[1])) / part.size
    if gradients.slots:
        found = moments(gradients)
        table[_rows(gradients.slots, len(layers)), 7:] = np.array(
            (found.rms, found.zero_share, found.nonfinite_share), np.float32
        ).T
    return table.reshape(looks, len(layers), len(LAYER_STATISTICS))


def parameter_table(
    parameters: Sequence[ParameterEntry], before: Gathered, after: Gathered, gradients: Gathered, looks: int
) -> Floats:
    """(looks, parameters, statistics), columns as in `PARAMETER_STATISTICS`."""
    table = np.full((looks * len(parameters), len(PARAMETER_STATISTICS)), np.nan, np.float32)
    gradient_rows = _rows(gradients.slots, len(parameters))
    if gradients.slots:
        found = moments(gradients)
        columns = (found.rms, found.largest, found.zero_share, found.nonfinite_share)
        table[gradient_rows, 1:5] = np.array(columns, np.float32).T
    if before.slots:
        rows = _rows(before.slots, len(parameters))
        weight = table[rows, 0] = root_mean_squares(before)
        if before.slots == after.slots:
            # A difference of infinities is no number, and says so: that is the reading.
            with np.errstate(invalid="ignore", over="ignore"):
                change = after.values - before.values
                update = np.sqrt(before.total(change * change) / before.counts)
                table[rows, 5] = update
                table[rows, 6] = update / np.maximum(weight, 1e-12)
                if gradients.slots:
                    table[gradient_rows, 7] = _descent(parameters, before, gradients, change)
    return table.reshape(looks, len(parameters), len(PARAMETER_STATISTICS))


def _descent(
    parameters: Sequence[ParameterEntry], before: Gathered, gradients: Gathered, change: Floats
) -> Floats | float:
    """(slots of the gradients,): minus gradient times update, scaled up from the sample to the whole parameter."""
    if gradients.slots != before.slots:  # some have no gradient
        kept = np.isin(before.slots, gradients.slots)
        change = change[np.repeat(kept, before.counts.astype(np.int64))]
    if change.size != gradients.values.size:
        return float("nan")
    sizes = np.array([parameters[slot % SLOTS].count for slot in gradients.slots])
    promised = -gradients.total(gradients.values * change) * (sizes / gradients.counts)
    return promised.astype(np.float32)


def gradient_norm(look: Look, parameters: Sequence[ParameterEntry]) -> float:
    """Euclidean norm of all gradients of a look, estimated from their root mean squares."""
    squares: float = 0.0
    for entry, rms in zip(parameters, look.parameters[:, 1].tolist(), strict=False):
        if rms == rms:
            squares += entry.count * rms * rms
    return math.sqrt(squares)


def _rows(slots: Sequence[int], size: int) -> Integers:
    numbers = np.array(slots, np.int64)
    return numbers // SLOTS * size + numbers % SLOTS
