"""How a weight began, from a few of its values: whether its units are equal, and whether torch drew them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn, strided

from stethoscope.observe.training.sampling import as_array, coprime_stride

if TYPE_CHECKING:
    from stethoscope.observe.training.models import ParameterEntry

Doubles = NDArray[np.float64]

ROWS = 8
COLUMNS = 64
EQUAL = 1e-6
"""Below this spread units count as equal: what rounding leaves."""

DRAWN = (nn.Linear, nn.modules.conv._ConvNd)
"""Layers whose weights torch draws evenly between plus and minus 1 / sqrt(inputs of a unit)."""
VALUES = 4096
FEWEST_VALUES = 32
FARTHEST = 6.0
"""Standard deviations beyond which no value of a normal draw lies."""
CLOSE = 0.2
"""How far rms and largest value of a few dozen such values may lie from what is expected."""


def looks_drawn(tensor: Tensor) -> bool:
    """Whether a weight's values lie as torch draws them: even, and none beyond the bound."""
    return _is_readable(tensor) and _is_even(_values(tensor) * math.sqrt(tensor[0].numel()))


def looks_fresh(module: nn.Module | None, tensor: Tensor) -> bool:
    """The same of the weights of more kinds of layers: recurrent ones, and embeddings, which are drawn normally."""
    if not _is_readable(tensor):
        return False
    if isinstance(module, nn.RNNBase):
        return _is_even(_values(tensor) * math.sqrt(module.hidden_size))
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        values = _values(tensor)
        return bool(abs(math.sqrt(float(np.mean(values * values))) - 1) <= CLOSE and values.max() <= FARTHEST)
    return isinstance(module, DRAWN) and looks_drawn(tensor)


def _is_even(shares: Doubles) -> bool:
    """Whether such magnitudes fill the range from 0 to 1 evenly."""
    rms = math.sqrt(float(np.mean(shares * shares))) * math.sqrt(3.0)
    return bool(1 - CLOSE <= shares.max() <= 1 + 1e-5 and abs(rms - 1) <= CLOSE)


def _values(tensor: Tensor) -> Doubles:
    """Magnitudes of a few values."""
    few = tensor.detach().reshape(-1)[:: coprime_stride(tensor.numel(), VALUES)]
    return np.abs(as_array(few.float().cpu()).astype(np.float64))


def _is_readable(tensor: Tensor) -> bool:
    return _is_plain(tensor) and tensor.dim() >= 2 and tensor.numel() >= FEWEST_VALUES


def follow_units(entry: ParameterEntry, tensor: Tensor, closely: bool) -> None:
    """Note how much a weight's units differ: once, and at close looks as long as they were equal at first."""
    if entry.unit_spread_start != entry.unit_spread_start:
        if len(entry.shape) >= 2 and entry.shape[0] >= 2:
            entry.unit_spread_start = entry.unit_spread = unit_spread(tensor)
    elif closely and entry.unit_spread_start <= EQUAL:
        entry.unit_spread = unit_spread(tensor)


def unit_spread(tensor: Any) -> float:
    """Deviation of a few rows from their mean / rms of these rows; 0 when all are equal, NaN when it is unreadable."""
    if not _is_plain(tensor):
        return math.nan
    few = tensor.detach()[:: max(1, tensor.shape[0] // ROWS)][:ROWS].flatten(1)
    return spread_of(as_array(few[:, :: coprime_stride(few.shape[1], COLUMNS)].float().cpu()))


def spread_of(rows: NDArray[Any]) -> float:
    """The same of a few rows that were chosen already."""
    values = rows.astype(np.float64)
    size = math.sqrt(float(np.mean(values * values)))
    if not math.isfinite(size):
        return math.nan
    return float(np.std(values, axis=0).max()) / size if size else 0.0


def _is_plain(tensor: Any) -> bool:
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is strided and not tensor.is_complex()
    return bool(plain and not tensor.is_meta and tensor.data_ptr())
