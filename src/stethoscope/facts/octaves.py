"""Octave histograms: how many of a tensor's sampled values lie between one power of two and the next, of either sign.

Bins are the same for every tensor, step and run, so that histograms can be compared and added. They are read off a
value's bits:

    0 .. 63     negative, the largest magnitudes first
    64          zero, and what is smaller than 2**-40
    65 .. 128   positive, the smallest first; what is 2**23 or more is in the last
    129         NaN and infinities
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from stethoscope.facts.training import History

LOWEST = -40
SIDE = 64
"""Octaves of one sign."""
ZERO, BROKEN, BINS = SIDE, 2 * SIDE + 1, 2 * SIDE + 2
KINDS = ("output", "output gradient", "weight", "gradient")
"""What is counted: of layers their outputs and the gradients of these, of parameters themselves and their gradients."""


@dataclass(frozen=True)
class OctaveLook:
    """The histograms of one look at everything, as the bins that hold something."""

    step: int
    layers: int
    """Layers known then; a row for each, in the order of `History.layers`. So with parameters."""
    parameters: int
    cells: NDArray[np.uint32]
    """(filled,): row x `BINS` + bin; rows are the layers' outputs, their gradients, the parameters, their gradients."""
    counts: NDArray[np.uint16]
    """(filled,): sampled values in each."""

    def of(self, kind: str, index: int) -> NDArray[np.int64]:
        """(BINS,): the histogram of a layer or parameter; all zero where nothing was seen."""
        first = self.first_rows[KINDS.index(kind)] + index
        low, high = np.searchsorted(self.cells, (first * BINS, (first + 1) * BINS))
        found = np.zeros(BINS, np.int64)
        found[self.cells[low:high] - first * BINS] = self.counts[low:high]
        return found

    @property
    def first_rows(self) -> tuple[int, int, int, int]:
        """The first row of each kind."""
        return 0, self.layers, 2 * self.layers, 2 * self.layers + self.parameters


def octaves(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin of each value. Shape: (values,)."""
    bits = values.view(np.int32)
    exponents = (bits >> 23 & 0xFF) - 127
    steps = np.clip(exponents - LOWEST, 0, SIDE - 1)
    bins = np.where(bits < 0, ZERO - 1 - steps, ZERO + 1 + steps)
    bins[exponents < LOWEST] = ZERO
    bins[exponents == 128] = BROKEN
    found: NDArray[np.int64] = bins.astype(np.int64)
    return found


def edges() -> NDArray[np.float64]:
    """Of the bins of finite values, ascending. Shape: (BINS,)."""
    powers = 2.0 ** np.arange(LOWEST, LOWEST + SIDE + 1)
    return np.concatenate([-powers[::-1], powers])


def histograms_of(
    history: History, modules: Sequence[str], parameters: Sequence[str]
) -> Iterator[tuple[str, int, NDArray[np.float64], NDArray[np.int64]]]:
    """Of these layers with their parameters, and of these parameters: name, step, edges, counts between them.

    Only the range that holds something, and nothing where no value was finite.
    """
    wanted: dict[str, tuple[str, int]] = {}
    for index, layer in enumerate(history.layers):
        if layer.name in modules:
            wanted[f"layers/{layer.name}/output"] = ("output", index)
            wanted[f"layers/{layer.name}/output_gradient"] = ("output gradient", index)
    for index, parameter in enumerate(history.parameters):
        if parameter.name in parameters or parameter.name.rpartition(".")[0] in modules:
            wanted[f"parameters/{parameter.name}/weight"] = ("weight", index)
            wanted[f"parameters/{parameter.name}/gradient"] = ("gradient", index)
    limits = edges()
    for name, (kind, index) in wanted.items():
        for look in history.octaves:
            if index >= (look.layers if kind.startswith("output") else look.parameters):
                continue
            counts = look.of(kind, index)[:BROKEN]
            filled = np.flatnonzero(counts)
            if filled.size:
                low, high = filled[0], filled[-1] + 1
                yield name, look.step, limits[low : high + 1], counts[low:high]


def middles(limits: NDArray[Any]) -> NDArray[np.float64]:
    """A value for each bin. Shape: (edges - 1,)."""
    found: NDArray[np.float64] = (limits[1:] + limits[:-1]) / 2
    return found
