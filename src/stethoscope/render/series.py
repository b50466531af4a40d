"""A long series made short for drawing: spikes, dips and values that are no numbers are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stethoscope.facts.training import Doubles


@dataclass(frozen=True)
class Trace:
    """A series to draw; NaN among the values is a gap in the line."""

    steps: Doubles
    values: Doubles
    smooth_steps: Doubles
    smooth: Doubles
    """Running median; empty for a short series."""
    bad: tuple[tuple[float, float], ...]
    """First and last step of each stretch that is NaN or infinite."""


def traced(steps: ArrayLike, values: ArrayLike, columns: int = 300, fewest: int = 60) -> Trace:
    """At most three points a part: smallest, largest, one gap; a median line from `fewest` values on."""
    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    finite = np.isfinite(y)
    kept = np.arange(y.size) if y.size <= 2 * columns else _extremes(y, finite, columns)
    none = np.zeros(0)
    smooth = _medians(x, y, finite, columns // 2) if y.size >= fewest else (none, none)
    return Trace(x[kept], np.where(finite[kept], y[kept], np.nan), *smooth, bad=_stretches(x, finite))


def _extremes(y: Doubles, finite: NDArray[np.bool_], columns: int) -> NDArray[np.intp]:
    """Indexes of the smallest and largest value of each part, and of its first gap, in order."""
    kept: list[int] = []
    for part in np.array_split(np.arange(y.size), columns):
        good = part[finite[part]]
        points = {int(good[y[good].argmin()]), int(good[y[good].argmax()])} if good.size else set()
        if good.size < part.size:
            points.add(int(part[~finite[part]][0]))
        kept += sorted(points)
    return np.array(kept, np.intp)


def _medians(x: Doubles, y: Doubles, finite: NDArray[np.bool_], columns: int) -> tuple[Doubles, Doubles]:
    """Medians over five neighbouring parts: one spike moves none of them, and none lags behind."""
    parts = np.array_split(np.arange(y.size), min(columns, max(5, y.size // 4)))
    middle, medians = [], []
    for index, part in enumerate(parts):
        near = np.concatenate(parts[max(0, index - 2) : index + 3])
        near = near[finite[near]]
        middle.append(float(x[part].mean()))
        medians.append(float(np.median(y[near])) if finite[part].any() else np.nan)
    return np.array(middle), np.array(medians)


def _stretches(x: Doubles, finite: NDArray[np.bool_], most: int = 200) -> tuple[tuple[float, float], ...]:
    """Where the series is no number; from `most` stretches on, the rest is one."""
    edges = np.flatnonzero(np.diff(np.concatenate(([True], finite, [True])).astype(np.int8)))
    pairs = [(float(x[first]), float(x[last - 1])) for first, last in zip(edges[::2], edges[1::2], strict=True)]
    if len(pairs) > most:
        pairs = [*pairs[: most - 1], (pairs[most - 1][0], pairs[-1][1])]
    return tuple(pairs)
