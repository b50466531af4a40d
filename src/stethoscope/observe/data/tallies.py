"""Counts of small whole numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

FEW = 32
"""Different numbers up to which pairs of them are counted: a count that was just written has to be waited for, and
among few numbers the same one comes again at once. Two thirds of the time for up to 20, as much for 60."""
LEAST = 4096
"""Rows below which it does not pay."""


def tallied(codes: Ints, bins: int) -> Ints:
    """How often each of the numbers below `bins` occurs. Shape: (n,) to (bins,)."""
    if bins > FEW or codes.size < LEAST:
        return np.bincount(codes, minlength=bins)
    half = codes.size // 2
    pairs = codes[:half] * bins
    pairs += codes[half : 2 * half]
    counts = np.bincount(pairs, minlength=bins * bins).reshape(bins, bins)
    total: Ints = counts.sum(0) + counts.sum(1)
    if codes.size % 2:
        total[codes[-1]] += 1
    return total
