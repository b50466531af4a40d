"""What batch normalization did in training mode: how much data its statistics came from, and what evaluation gets."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


def _no_steps() -> Integers:
    return np.zeros(0, np.int64)


def _no_values() -> Doubles:
    return np.zeros(0, np.float64)


@dataclass(frozen=True)
class BatchNorm:
    """A batch normalization layer at the looks that found it in train mode.

    A *gap* compares two sets of statistics by what they do to a layer's input: the root mean square, over channels,
    of how far the normalized values (whose own rms is 1) differ. 0 when they agree, about 1 when one is useless.
    """

    layer: int
    """Index into `History.layers`."""
    momentum: float = float("nan")
    """Share (0..1) of each batch in the new running statistics; NaN when all batches count alike."""
    keeps_statistics: bool = True
    """Whether there are running statistics, which evaluation uses."""
    steps: Integers = field(default_factory=_no_steps)
    """(looks,): the steps at which it was in train mode."""
    rows: Integers = field(default_factory=_no_steps)
    """(looks,): values that each channel's statistics came from: samples times positions."""
    gaps: Doubles = field(default_factory=_no_values)
    """(looks,): gap between running statistics and those of the batch, with the batch's own noise taken off."""
    frozen_looks: int = 0
    """Looks, the last ones in a row, at which none of its own parameters was trainable."""
    drift: float = float("nan")
    """Gap between the running statistics at the last of these looks and at the first; of a layer that was frozen on
    the way, at the first after that."""
