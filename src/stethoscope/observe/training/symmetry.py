"""Whether the units of a layer are equal, from a few rows of its weight."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor, nn, strided

from stethoscope.observe.training.models import ParameterEntry
from stethoscope.observe.training.sampling import as_array, coprime_stride

ROWS = 8
COLUMNS = 64
EQUAL = 1e-6
"""Below this spread units count as equal: what rounding leaves."""


def follow_units(entry: ParameterEntry, tensor: Tensor, closely: bool) -> None:
    """Note how much a weight's units differ: once, and at close looks as long as they were equal at first."""
    if entry.unit_spread_start != entry.unit_spread_start:
        if len(entry.shape) >= 2 and entry.shape[0] >= 2:
            entry.unit_spread_start = entry.unit_spread = unit_spread(tensor)
    elif closely and entry.unit_spread_start <= EQUAL:
        entry.unit_spread = unit_spread(tensor)


def unit_spread(tensor: Any) -> float:
    """Deviation of a few rows from their mean / rms of these rows; 0 when all are equal, NaN when it is unreadable."""
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is strided and not tensor.is_complex()
    if not plain or tensor.is_meta or not tensor.data_ptr():
        return math.nan
    few = tensor.detach()[:: max(1, tensor.shape[0] // ROWS)][:ROWS].flatten(1)
    few = few[:, :: coprime_stride(few.shape[1], COLUMNS)]
    values = as_array(few.float().cpu()).astype(np.float64)
    size = math.sqrt(float(np.mean(values * values)))
    if not math.isfinite(size):
        return math.nan
    return float(np.std(values, axis=0).max()) / size if size else 0.0
