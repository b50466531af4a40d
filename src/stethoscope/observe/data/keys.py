"""64 bits for each row, by which equal rows are found.

The key of a row is the sum of the keys of its values, each mixed with the name of its column. Keys of texts rest on
Python's `hash`, so they are the same within one process only and are never stored. Two rows of ten million that differ
have the same key in one set of 370,000.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stethoscope.observe.data.tables import Keys

MISSING = np.uint64(0x7FF8_0000_0000_0000)
"""Bits of a value that is missing: those of NaN, so that a text that is null equals a number that is null."""
BLOCK = 1 << 15
_FIRST, _SECOND = np.uint64(0x9E37_79B9_7F4A_7C15), np.uint64(0xBF58_476D_1CE4_E5B9)
_HALF = np.uint64(32)


def add_numbers(total: Keys, name: str, values: NDArray[np.float64]) -> None:
    """Add the keys of a column of doubles; NaN is missing. Shapes: (n,), (n,)."""
    salt = _salt(name)
    for start in range(0, values.size, BLOCK):
        block = values[start : start + BLOCK] + 0.0  # which makes 0 of -0
        block[np.isnan(block)] = np.nan
        total[start : start + BLOCK] += _mixed(block.view(np.uint64), salt)


def add_integers(total: Keys, name: str, values: NDArray[np.int64] | NDArray[np.uint64]) -> None:
    """Add the keys of whole numbers beyond 2**53, which doubles do not tell apart. Shapes: (n,), (n,)."""
    total += _mixed(values.view(np.uint64).copy(), _salt(name))


def add_words(total: Keys, name: str, codes: NDArray[np.integer], different: Iterable[str | None]) -> None:
    """Add the keys of texts: the place of each row's text among the different ones, -1 where it is missing."""
    hashed = np.fromiter(
        (MISSING if text is None else hash(text) & 0xFFFF_FFFF_FFFF_FFFF for text in different), np.uint64
    )
    mixed = _mixed(np.append(hashed, MISSING), _salt(name))
    for start in range(0, codes.size, BLOCK):
        total[start : start + BLOCK] += mixed[codes[start : start + BLOCK]]  # -1 is the last one


def _salt(name: str) -> np.uint64:
    return np.uint64(hash(name) & 0xFFFF_FFFF_FFFF_FFFF)


def _mixed(bits: Keys, salt: np.uint64) -> Keys:
    """Bits that depend on all bits. Changes its argument."""
    bits ^= salt
    bits *= _FIRST
    bits ^= bits >> _HALF
    bits *= _SECOND
    bits ^= bits >> _HALF
    return bits
