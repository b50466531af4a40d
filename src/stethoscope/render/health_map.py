"""The health map's numbers: layers in execution order down, looks across, one byte for each cell.

All scales are fixed, so that layers, runs and reports can be compared by eye.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.finding import Diagnosis, Finding, Place
from stethoscope.facts.training import Doubles, History

MISSING, ZERO, NONFINITE, LOWEST = 0, 1, 2, 4
"""Codes of the cells that are no number on the scale, and of the scale's lower end (255 is the upper one)."""
MOST_CELLS = 120_000
"""160 KB as text: half of the 300 KB that a page may take. More looks than fit are merged, worst first."""
FEWEST_COLUMNS = 30

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Field:
    """Values of one statistic, (looks, layers), and where they are not finite."""

    values: Doubles
    nonfinite: Flags
    shown: tuple[int, ...]
    """Indexes of the layers that have this statistic at all."""


@dataclass(frozen=True)
class Statistic:
    """One choice of what the colours mean."""

    key: str
    label: str
    about: str
    low: float
    high: float
    log: bool
    ramp: str
    part: str
    """What the collector must have gathered for it, one of `stethoscope.facts.training.PARTS`."""
    field: Callable[[History, list[int]], Field]


def _of_layers(name: str) -> Callable[[History, list[int]], Field]:
    def field(history: History, order: list[int]) -> Field:
        values = history.telemetry.layer(name)[:, order].astype(np.float64)
        broken = history.telemetry.layer("nonfinite_share")[:, order] > 0
        shown = tuple(
            index for index in range(len(order)) if not np.isnan(values[:, index]).all() or broken[:, index].any()
        )
        return Field(values, broken | np.isinf(values), shown)

    return field


def _of_parameters(above: str, below: str = "") -> Callable[[History, list[int]], Field]:
    """Root mean square over all of a layer's parameters; divided by that of another statistic if given."""

    def field(history: History, order: list[int]) -> Field:
        looks = history.telemetry.steps.size
        values = np.full((looks, len(order)), np.nan)
        broken = np.zeros((looks, len(order)), bool)
        shown: list[int] = []
        if history.telemetry.parameters.shape[:2] != (looks, len(history.parameters)):
            return Field(values, broken, ())
        for row, layer in enumerate(order):
            held = list(history.layers[layer].parameters)
            if not held:
                continue
            shown.append(row)
            counts = np.array([history.parameters[index].count for index in held], np.float64)
            top = _pooled(history.telemetry.parameter(above)[:, held], counts)
            values[:, row] = top / _pooled(history.telemetry.parameter(below)[:, held], counts) if below else top
            shares = history.telemetry.parameter("gradient_nonfinite_share")[:, held]
            broken[:, row] = (shares > 0).any(1) | np.isinf(values[:, row])
        return Field(values, broken, tuple(shown))

    return field


def _pooled(values: NDArray[np.float32], counts: Doubles) -> Doubles:
    """Root mean square over parameters of different sizes; NaN where none is known."""
    squares = values.astype(np.float64) ** 2
    weights = np.where(np.isnan(squares), 0.0, counts)
    total = weights.sum(1)
    sums = (np.nan_to_num(squares, nan=0.0, posinf=np.inf) * weights).sum(1)
    pooled: Doubles = np.sqrt(np.divide(sums, total, where=total > 0, out=np.full(total.shape, np.nan)))
    return pooled


GRADIENT = Statistic(
    key="gradient",
    label="Gradient",
    about="root mean square of the gradient of a layer's parameters",
    low=1e-9,
    high=1e2,
    log=True,
    ramp="viridis",
    part="gradients",
    field=_of_parameters("gradient_rms"),
)
SPREAD = Statistic(
    key="spread",
    label="Activation spread",
    about="standard deviation of a layer's output",
    low=1e-5,
    high=1e5,
    log=True,
    ramp="viridis",
    part="activations",
    field=_of_layers("std"),
)
ZEROS = Statistic(
    key="zeros",
    label="Dead share",
    about="share of a layer's outputs that are exactly zero",
    low=0.0,
    high=1.0,
    log=False,
    ramp="cividis",
    part="activations",
    field=_of_layers("zero_share"),
)
UPDATE = Statistic(
    key="update",
    label="Update ratio",
    about="size of one step's change over that of the weights; about 0.001 is usual",
    low=1e-6,
    high=1e0,
    log=True,
    ramp="balance",
    part="updates",
    field=_of_parameters("update_rms", "weight_rms"),
)
STATISTICS = (GRADIENT, SPREAD, ZEROS, UPDATE)


def health_map(history: History, diagnosis: Diagnosis) -> dict[str, Any]:
    """Layers, steps, cells and pins as JSON values; empty when no layer was measured."""
    layers = history.layers
    called = [index for index, layer in enumerate(layers) if layer.order >= 0]
    order = sorted(called, key=lambda index: layers[index].order)
    telemetry = history.telemetry
    if not order or telemetry.layers.shape[:2] != (telemetry.steps.size, len(layers)) or not telemetry.steps.size:
        return {}
    with np.errstate(all="ignore"):
        heard = [statistic for statistic in STATISTICS if statistic.part in history.parts]
        fields = [(statistic, statistic.field(history, order)) for statistic in heard]
    fields = [(statistic, field) for statistic, field in fields if field.shown]
    rows = sum(len(field.shown) for _, field in fields)
    columns = max(FEWEST_COLUMNS, MOST_CELLS // max(1, rows))
    groups = np.array_split(np.arange(telemetry.steps.size), min(columns, telemetry.steps.size))
    return {
        "layers": [
            {
                "name": layers[index].name,
                "kind": layers[index].kind,
                "shape": list(layers[index].output_shape),
            }
            for index in order
        ],
        "steps": [int(telemetry.steps[group[0]]) for group in groups],
        "end": max(history.steps - 1, int(telemetry.steps[-1])),
        "merged": telemetry.steps.size > len(groups),
        "statistics": [_packed(statistic, field, groups) for statistic, field in fields],
        "pins": pins(history, diagnosis, order),
    }


def _packed(statistic: Statistic, field: Field, groups: list[NDArray[np.intp]]) -> dict[str, Any]:
    shown = list(field.shown)
    with np.errstate(all="ignore"):
        cells = merged(coded(statistic, field.values[:, shown], field.nonfinite[:, shown]), groups)
    return {
        "key": statistic.key, "label": statistic.label, "about": statistic.about, "low": statistic.low,
        "high": statistic.high, "log": statistic.log, "ramp": statistic.ramp, "rows": shown,
        "cells": base64.b64encode(cells.T.tobytes()).decode(),
    }  # fmt: skip


def coded(statistic: Statistic, values: Doubles, nonfinite: Flags) -> Bytes:
    """Each value as a byte: reserved codes, or its place on the fixed scale, held at the ends."""
    low, high, place = statistic.low, statistic.high, values
    if statistic.log:
        low, high, place = np.log10(low), np.log10(high), np.log10(values)
    share = np.clip(np.nan_to_num((place - low) / (high - low), nan=0.0), 0.0, 1.0)
    codes = (LOWEST + np.round(share * (255 - LOWEST))).astype(np.uint8)
    # Black means that nothing comes through: a gradient of 0, or a layer whose outputs are all 0.
    nothing = values == (0.0 if statistic.log else 1.0)
    codes[nothing] = ZERO
    codes[np.isnan(values)] = MISSING
    codes[nonfinite] = NONFINITE
    return codes


def merged(codes: Bytes, groups: list[NDArray[np.intp]]) -> Bytes:
    """(groups, layers): of each group of looks what is not finite, or farthest from the layer's median."""
    if len(groups) == codes.shape[0]:
        return codes
    heights = codes.astype(np.float64)
    heights[codes == MISSING] = np.nan
    middle = np.nan_to_num(np.nanmedian(heights, axis=0))
    distance = np.nan_to_num(np.abs(heights - middle), nan=-1.0)
    distance[codes == NONFINITE] = np.inf
    picked = [group[distance[group].argmax(0)] for group in groups]
    chosen: Bytes = np.stack([codes[rows, np.arange(codes.shape[1])] for rows in picked])
    return chosen


def pins(history: History, diagnosis: Diagnosis, order: list[int]) -> list[dict[str, Any]]:
    """Where the findings lie, rows and steps; what follows from one and lies in layers carries its number."""
    found = []
    for number, finding in enumerate(diagnosis.findings, start=1):
        for part in (finding, *finding.follows):
            rows = [row for row, index in enumerate(order) if _holds(history, part.place, index)]
            if rows or (part is finding and part.place.steps):
                found.append(_pin(number, part, rows))
    return found


def _pin(number: int, finding: Finding, rows: list[int]) -> dict[str, Any]:
    return {
        "number": number,
        "severity": finding.severity.value,
        "title": finding.title.replace("`", ""),
        "rows": rows,
        "steps": list(finding.place.steps) if finding.place.steps else None,
    }


def _holds(history: History, place: Place, index: int) -> bool:
    """Whether the place names this layer, a module around it, or one of its parameters."""
    layer = history.layers[index]
    if place.parameter:
        return any(history.parameters[held].name == place.parameter for held in layer.parameters)
    return bool(place.module) and (layer.name == place.module or layer.name.startswith(f"{place.module}."))
