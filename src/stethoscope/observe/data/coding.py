"""Columns of text as the places of their values among the different ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.grids import Grid
from stethoscope.observe.data.tables import Counted
from stethoscope.observe.data.words import counted

Codes = NDArray[np.int32]
Ints = NDArray[np.int64]

BUCKETS = 1 << 16
BLOCK = 1 << 15
FEW = 4096
"""Rows that tell whether most texts are different."""


class Coded:
    """A column of text as the places of its values among the different ones."""

    def __init__(
        self, codes: Codes | Bucketed, different: Sequence[str], types: Sequence[tuple[str, int]] = (),
        counts: Ints | None = None,
    ) -> None:  # fmt: skip
        self._codes = codes
        self.different = different
        self._types = types
        self._counts = counts

    @property
    def codes(self) -> Codes:
        """The place of each row's value, -1 where there is none. Shape: (rows,)."""
        return self._codes if isinstance(self._codes, np.ndarray) else self._codes.codes()

    def counted(self, grid: Grid | None) -> Counted:
        """The values with their counts."""
        counts, rows = self._counts, 0
        if counts is None:
            codes = self.codes
            rows = codes.size
            nulls = int(np.count_nonzero(codes < 0))
            counts = np.bincount(codes[codes >= 0] if nulls else codes, minlength=len(self.different)).astype(np.int64)
        else:
            assert not isinstance(self._codes, np.ndarray)
            rows = self._codes.rows
        present = np.flatnonzero(counts)  # a categorical may have values that do not occur
        all_there = present.size == len(self.different)
        values = self.different if all_there else [self.different[i] for i in present.tolist()]
        counts = counts if all_there else counts[present]
        return counted(values, counts, nulls=rows - int(counts.sum()), grid=grid, types=self._types)


class Bucketed:
    """Rows in buckets by 16 bits of the hash of their text, but for those that share a bucket with another text."""

    def __init__(self, buckets: NDArray[np.uint16], places: Codes, odd: Ints, odd_codes: Codes) -> None:
        self.rows = buckets.size
        self._buckets, self._places, self._odd, self._odd_codes = buckets, places, odd, odd_codes

    def codes(self) -> Codes:
        """The place of each row's value."""
        codes = self._places[self._buckets]
        codes[self._odd] = self._odd_codes
        return codes


def coded(series: nw.Series[Any]) -> Coded:
    """A column of text, in the fastest way that its library has."""
    if series.dtype in (nw.Object, nw.Unknown) or series.dtype.is_nested() or series.dtype == nw.Binary:
        return coded_objects(series.to_list())
    if series.implementation.is_polars() and series.dtype == nw.String and len(series) > FEW:
        bucketed = _bucketed(series)
        if bucketed is not None:
            return bucketed
    try:
        import pyarrow as pa
    except ImportError:
        return coded_objects(series.cast(nw.String).to_list())
    array = series.to_arrow()
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            array = array.cast(pa.large_string())
        array = array.dictionary_encode()
    indices = array.indices.cast(pa.int32())
    if indices.null_count:
        indices = indices.fill_null(-1)
    return Coded(indices.to_numpy(zero_copy_only=False), array.dictionary.cast(pa.large_string()).to_pylist())


def _bucketed(series: nw.Series[Any]) -> Coded | None:
    """A column of Polars by hashes, three times as fast as grouping; None where most texts are different.

    Texts with the same 64 bits are taken for equal: of 100,000 different ones that happens to any two once in four
    thousand million columns.
    """
    native = series.to_native()
    hashes = native.hash().to_numpy()
    some = np.sort(hashes[:: max(1, hashes.size // FEW)])  # `np.unique` of whole numbers is a hundred times as slow
    if np.count_nonzero(some[1:] != some[:-1]) > FEW // 2:
        return None
    buckets = np.ascontiguousarray(hashes).view(np.uint16)[3 if sys.byteorder == "little" else 0 :: 4].copy()
    rows = np.full(BUCKETS, -1, np.int64)
    first = buckets[:BUCKETS]
    rows[first] = np.arange(first.size)  # a text that the first rows do not have is a stray
    meant = hashes[rows]
    meant[rows < 0] = ~hashes[rows[buckets[0]]]
    found: list[Ints] = []
    for start in range(0, hashes.size, BLOCK):
        part = buckets[start : start + BLOCK].astype(np.int64)
        other = np.flatnonzero(meant.take(part, mode="wrap") != hashes[start : start + BLOCK])
        if other.size:
            found.append(other + start)
    strays = np.concatenate(found) if found else np.zeros(0, np.int64)
    if strays.size > hashes.size // 4:
        return None
    counts = np.bincount(buckets, minlength=BUCKETS) - np.bincount(buckets[strays], minlength=BUCKETS)
    used = np.flatnonzero(counts)
    ordered = np.argsort(hashes[strays], kind="stable")
    sorted_hashes = hashes[strays][ordered]
    starts = (
        np.flatnonzero(np.concatenate([[True], sorted_hashes[1:] != sorted_hashes[:-1]])) if strays.size else strays
    )
    texts = native.gather(np.concatenate([rows[used], strays[ordered[starts]]])).to_list()
    every = np.concatenate([counts[used], np.diff(np.append(starts, strays.size))]).astype(np.int64)
    codes = np.arange(len(texts), dtype=np.int32)
    missing = next((place for place, text in enumerate(texts) if text is None), None)
    if missing is not None:
        texts.pop(missing)
        every = np.delete(every, missing)
        codes[missing + 1 :] -= 1
        codes[missing] = -1
    places = np.full(BUCKETS, -1, np.int32)
    places[used] = codes[: used.size]
    stray_codes = np.empty(strays.size, np.int32)
    stray_codes[ordered] = np.repeat(codes[used.size :], np.diff(np.append(starts, strays.size)))
    return Coded(Bucketed(buckets, places, strays, stray_codes), texts, counts=every)


def is_missing(value: object) -> bool:
    """Whether a Python value stands for none: None, NaN, or `pandas.NA` and `NaT`."""
    return (
        value is None or (isinstance(value, float) and value != value) or type(value).__name__ in ("NAType", "NaTType")
    )


def holds_things(values: Sequence[object]) -> bool:
    """Whether the first Python value of a column that is not missing is made of others, or of bytes."""
    first = next((one for one in values if not is_missing(one)), None)
    return isinstance(first, list | tuple | dict | set | np.ndarray | bytes)


def coded_objects(values: Sequence[object]) -> Coded:
    """Python values as their texts, with the names of their classes where they are no texts."""
    types: dict[str, int] = {}
    places: dict[str, int] = {}
    codes = np.empty(len(values), np.int32)
    for row, value in enumerate(values):
        if isinstance(value, str):
            codes[row] = places.setdefault(value, len(places))
        elif is_missing(value):
            codes[row] = -1
        else:
            name = type(value).__name__
            types[name] = types.get(name, 0) + 1
            codes[row] = places.setdefault(str(value), len(places))
    return Coded(codes, list(places), sorted(types.items(), key=lambda pair: -pair[1]))
