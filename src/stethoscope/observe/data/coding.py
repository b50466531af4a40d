"""Columns of text as the places of their values among the different ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.grids import Grid
from stethoscope.observe.data.hashing import BLOCK, Buckets, Hashes, Ints, Places, Room, hashes_of
from stethoscope.observe.data.tables import Counted
from stethoscope.observe.data.tallies import tallied
from stethoscope.observe.data.words import counted

Codes = NDArray[np.int32]

FEW = 4096
"""Rows up to which it does not matter how they are counted."""


class Coded:
    """A column of text as the places of its values among the different ones."""

    def __init__(
        self,
        numbers: Places,
        different: Sequence[str],
        types: Sequence[tuple[str, int]] = (),
        counts: Ints | None = None,
    ) -> None:
        self._numbers = numbers
        self.different = different
        self._types = types
        self._counts = counts

    @property
    def codes(self) -> Codes:
        """The place of each row's value, -1 where there is none. Shape: (rows,)."""
        return np.subtract(self._numbers, 1, dtype=np.int32)

    def counted(self, grid: Grid | None) -> Counted:
        """The values with their counts."""
        counts = self._counts
        if counts is None:
            counts = np.bincount(self._numbers, minlength=len(self.different) + 1)[1:].astype(np.int64)
        present = np.flatnonzero(counts)  # a categorical may have values that do not occur
        all_there = present.size == len(self.different)
        values = self.different if all_there else [self.different[i] for i in present.tolist()]
        counts = counts if all_there else counts[present]
        return counted(values, counts, nulls=self._numbers.size - int(counts.sum()), grid=grid, types=self._types)


def coded(series: nw.Series[Any], room: Room | None = None) -> Coded:
    """A column of text, in the fastest way that its library has."""
    if series.dtype in (nw.Object, nw.Unknown) or series.dtype.is_nested() or series.dtype == nw.Binary:
        return coded_objects(series.to_list())
    if series.implementation.is_polars() and series.dtype == nw.String and len(series) > FEW:
        native = series.to_native()
        every = native.hash().to_numpy()
        hashes = (every[start : start + BLOCK] for start in range(0, every.size, BLOCK))
        made = by_hash(every.size, hashes, lambda rows: native.gather(rows).to_list(), room or Room())
        if made is not None:
            return made
    if series.implementation.is_polars() and series.dtype in (nw.Categorical, nw.Enum) and len(series) > FEW:
        made = _of_polars_codes(series.to_native())
        if made is not None:
            return made
    try:
        import pyarrow as pa
    except ImportError:
        return coded_objects(series.cast(nw.String).to_list())
    array = series.to_arrow()
    is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    if is_text and len(array) > FEW:
        made = _of_arrow(array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array]), room or Room())
        if made is not None:
            return made
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        array = (array if is_text else array.cast(pa.large_string())).dictionary_encode()
    indices = array.indices.cast(pa.int32())
    if indices.null_count:
        indices = indices.fill_null(-1)
    numbers = indices.to_numpy(zero_copy_only=False) + np.int32(1)
    return Coded(numbers, array.dictionary.cast(pa.large_string()).to_pylist())


def _of_polars_codes(column: Any) -> Coded | None:
    """A categorical column of Polars by its own codes, whose values it tells only row by row (`Any`: no types here).

    None where the codes, which all columns of a program may share, reach far beyond the rows.
    """
    physical = column.to_physical()
    greatest = physical.max()
    if greatest is None or greatest >= len(column):
        return None
    bins = greatest + 2  # the first is that of missing ones
    given = (physical.cast(int).fill_null(-1) if physical.null_count() else physical).to_numpy()
    numbers = np.empty(given.size, np.uint16 if bins <= 1 << 16 else np.int32)
    counts, rows, keys = np.zeros(bins, np.int64), np.full(bins, -1), np.empty(BLOCK, np.int64)
    for start in range(0, given.size, BLOCK):
        block = keys[: min(BLOCK, given.size - start)]
        np.add(given[start : start + BLOCK], 1, out=block, dtype=np.int64)
        numbers[start : start + BLOCK] = block
        found = tallied(block, bins)
        if (found[rows < 0] > 0).any():
            rows[block] = np.arange(start, start + block.size)  # any row that has it
        counts += found
    told = np.flatnonzero(counts[1:])
    different = np.full(bins - 1, "", object)
    different[told] = column.gather(rows[told + 1]).to_list()
    return Coded(numbers, different.tolist(), counts=counts[1:])


def _of_arrow(column: Any, room: Room) -> Coded | None:
    """A chunked column (`Any`: PyArrow has no types); None where another way is better."""
    hashes = hashes_of(column, room)
    if hashes is None:
        return None
    starts = np.cumsum([0, *map(len, column.chunks)])

    def texts_at(rows: Ints) -> list[str | None]:
        within = np.searchsorted(starts, rows, side="right") - 1
        texts: list[str | None] = [None] * rows.size
        for chunk in np.unique(within).tolist():  # taken from all at once, they would be put together first
            chosen = np.flatnonzero(within == chunk)
            some = column.chunk(chunk).take(rows[chosen] - starts[chunk]).to_pylist()
            for place, text in zip(chosen.tolist(), some, strict=True):
                texts[place] = text
        return texts

    return by_hash(len(column), hashes, texts_at, room)


def by_hash(
    rows: int, hashes: Iterable[Hashes], texts_at: Callable[[Ints], list[str | None]], room: Room
) -> Coded | None:
    """A column by hashes of its texts, twice as fast as grouping; None where many texts are different.

    Texts with the same 64 bits are taken for equal: of 100,000 different ones that happens to any two once in four
    thousand million columns.

    Args:
        rows: how many.
        hashes: in blocks, equal where texts are, those of missing ones among them.
        texts_at: the texts of some rows, None where there is none.
        room: to work in.
    """
    buckets = Buckets(rows, room)
    if not all(buckets.add(block) for block in hashes):
        return None
    numbers, counts, firsts = buckets.told()
    told = texts_at(firsts)
    if None in told:
        missing = told.index(None)
        counts = np.delete(counts, missing)
        moved = np.arange(len(told) + 1)
        moved[missing + 1 :] -= 1
        moved[missing + 1] = 0
        numbers = moved.astype(np.uint16)[numbers] if numbers.dtype == np.uint16 else moved.astype(np.int32)[numbers]
    return Coded(numbers, [text for text in told if text is not None], counts=counts)


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
    numbers = np.empty(len(values), np.int32)
    for row, value in enumerate(values):
        if isinstance(value, str):
            numbers[row] = places.setdefault(value, len(places) + 1)
        elif is_missing(value):
            numbers[row] = 0
        else:
            name = type(value).__name__
            types[name] = types.get(name, 0) + 1
            numbers[row] = places.setdefault(str(value), len(places) + 1)
    return Coded(numbers, list(places), sorted(types.items(), key=lambda pair: -pair[1]))
