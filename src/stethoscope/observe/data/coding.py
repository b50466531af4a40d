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
        self, codes: Codes | Bucketed, different: Sequence[str], types: Sequence[tuple[str, int]] = ()
    ) -> None:
        self._codes = codes
        self.different = different
        self._types = types

    @property
    def codes(self) -> Codes:
        """The place of each row's value, -1 where there is none. Shape: (rows,)."""
        return self._codes.codes() if isinstance(self._codes, Bucketed) else self._codes

    def counted(self, grid: Grid | None) -> Counted:
        """The values with their counts."""
        if isinstance(self._codes, Bucketed):
            counts, rows = self._codes.counts, self._codes.rows
        else:
            codes, rows = self._codes, self._codes.size
            given = codes[codes >= 0] if np.count_nonzero(codes < 0) else codes
            counts = np.bincount(given, minlength=len(self.different)).astype(np.int64)
        present = np.flatnonzero(counts)  # a categorical may have values that do not occur
        all_there = present.size == len(self.different)
        values = self.different if all_there else [self.different[i] for i in present.tolist()]
        counts = counts if all_there else counts[present]
        return counted(values, counts, nulls=rows - int(counts.sum()), grid=grid, types=self._types)


class Bucketed:
    """Rows in buckets by 16 bits of the hash of their text, but for those that share a bucket with another text."""

    def __init__(self, buckets: NDArray[np.uint16], places: Codes, odd: Ints, odd_codes: Codes, counts: Ints) -> None:
        self.rows = buckets.size
        self.counts = counts
        """Rows of each different text."""
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
    strays = _strays(hashes, buckets, rows)
    if strays.size > hashes.size // 4:
        return None
    counts = np.bincount(buckets, minlength=BUCKETS) - np.bincount(buckets[strays], minlength=BUCKETS)
    used = np.flatnonzero(counts)
    order, starts, sizes = _runs(hashes[strays])
    texts = native.gather(np.concatenate([rows[used], strays[order[starts]]])).to_list()
    every = np.concatenate([counts[used], sizes]).astype(np.int64)
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
    stray_codes[order] = np.repeat(codes[used.size :], sizes)
    return Coded(Bucketed(buckets, places, strays, stray_codes, every), texts)


def _strays(hashes: NDArray[np.uint64], buckets: NDArray[np.uint16], rows: Ints) -> Ints:
    """Rows whose text is not that of the row which stands for their bucket (-1: none does)."""
    meant = hashes[rows]
    empty = np.flatnonzero(rows < 0)
    meant[empty] = (empty ^ 1).astype(np.uint64) << np.uint64(48)  # which no hash of that bucket is
    found: list[Ints] = [np.zeros(0, np.int64)]
    for start in range(0, hashes.size, BLOCK):
        part = buckets[start : start + BLOCK].astype(np.int64)
        found.append(start + np.flatnonzero(meant.take(part, mode="wrap") != hashes[start : start + BLOCK]))
    return np.concatenate(found)


def _runs(hashes: NDArray[np.uint64]) -> tuple[Ints, Ints, Ints]:
    """An order in which equal hashes are neighbours; where each run of them starts in it, and its size."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: hashes.size])
    return order, starts, np.diff(np.append(starts, hashes.size))


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
