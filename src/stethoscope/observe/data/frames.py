"""Frames in memory, of pandas, Polars, PyArrow or anything else that Narwhals knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Numbers, Rows
from stethoscope.facts.grids import Grid
from stethoscope.observe.data import keys
from stethoscope.observe.data.arrays import numbers_of
from stethoscope.observe.data.coding import Coded, coded, holds_things, is_missing
from stethoscope.observe.data.hashing import Room
from stethoscope.observe.data.tables import MOST_KEYED, Counted, Field, Keys

Doubles = NDArray[np.float64]

REMEMBERED = 5_000_000
"""Rows of a table whose coded texts are kept for finding equal rows: 4 bytes for each text."""
EXACT = 2.0**53
"""Up to which doubles tell all whole numbers apart."""


class FrameTable:
    """A frame in memory."""

    def __init__(self, frame: nw.DataFrame[Any], name: str) -> None:
        self.name = name
        self._frame = frame
        self._coded: dict[str, Coded] = {}
        self._fields = tuple(Field(name, self._kind(name, dtype), str(dtype)) for name, dtype in frame.schema.items())

    def _kind(self, name: str, dtype: Any) -> str:
        if dtype in (nw.Object, nw.Unknown):
            return "nested" if holds_things(self._frame[name].head(1000).to_list()) else "words"
        return kind_of(dtype)

    def fields(self) -> tuple[Field, ...]:
        """The columns, in order."""
        return self._fields

    def rows(self) -> int:
        """How many rows."""
        return len(self._frame)

    def numbers(self, names: Sequence[str], grids: Mapping[str, Grid]) -> dict[str, tuple[int, Numbers]]:
        """Nulls and statistics of each."""
        return {name: numbers_of(doubles(self._frame[name]), grids.get(name)) for name in names}

    def words(self, names: Sequence[str], grids: Mapping[str, Grid]) -> dict[str, Counted]:
        """Values with their counts."""
        room = Room()
        return {name: self._code(name, room).counted(grids.get(name)) for name in names}

    def sample(self, most: int) -> Rows:
        """Rows at even distances."""
        rows = self.rows()
        index = evenly(rows, most)
        part = self._frame[index.tolist()] if rows else self._frame
        values: dict[str, NDArray[np.float64] | NDArray[np.object_]] = {}
        for field in self.fields():
            if field.name in self._coded:
                made = self._coded[field.name]
                values[field.name] = np.array([*made.different, None], object)[made.codes[index]]  # -1 is the last one
            elif field.kind == "words":
                values[field.name] = _texts(part[field.name])
            elif field.kind != "nested":
                values[field.name] = doubles(part[field.name])
        return Rows(index, values)

    def keys(self, names: Sequence[str]) -> Keys | None:
        """A key for each row."""
        if self.rows() > MOST_KEYED:
            return None
        kinds = {field.name: field.kind for field in self.fields()}
        total = np.zeros(self.rows(), np.uint64)
        for name in names:
            if kinds[name] in ("words", "nested"):
                made = self._code(name)
                keys.add_words(total, name, made.codes, made.different)
            else:
                self._add_numbers(total, name)
        return total

    def _add_numbers(self, total: Keys, name: str) -> None:
        series = self._frame[name]
        values = doubles(series)
        if (
            series.dtype.is_integer()
            and values.size
            and np.nanmax(np.abs(values)) > EXACT
            and not series.is_null().any()
        ):
            keys.add_integers(total, name, np.ascontiguousarray(series.to_numpy()).astype(np.uint64, copy=False))
        else:
            keys.add_numbers(total, name, values)

    def _code(self, name: str, room: Room | None = None) -> Coded:
        if name in self._coded:
            return self._coded[name]
        made = coded(self._frame[name], room)
        if self.rows() <= REMEMBERED:
            self._coded[name] = made
        return made


def evenly(rows: int, most: int) -> NDArray[np.int64]:
    """At most so many places of rows, at even distances: those where `place * most // rows` grows."""
    most = min(most, rows)
    return (np.arange(1, most + 1) * rows - 1) // most if rows else np.zeros(0, np.int64)


def kind_of(dtype: Any) -> str:
    """The kind of a column, from what Narwhals calls its type (`Any`: classes and instances of them)."""
    if dtype == nw.Boolean:
        return "truth"
    if dtype.is_numeric() or dtype == nw.Duration:
        return "number"
    if dtype.is_temporal():
        return "date" if dtype in (nw.Date, nw.Datetime) or isinstance(dtype, nw.Datetime) else "words"
    return "nested" if dtype.is_nested() or dtype in (nw.Binary, nw.Unknown) else "words"


def doubles(series: nw.Series[Any]) -> Doubles:
    """Numbers, truths as 0 and 1, dates as seconds since 1970, durations as seconds; NaN where null."""
    dtype = series.dtype
    if dtype == nw.Duration:
        return np.ascontiguousarray(series.dt.total_microseconds().cast(nw.Float64).to_numpy(), np.float64) / 1e6
    if dtype.is_temporal():
        stamped = series.cast(nw.Datetime("us")) if dtype == nw.Date else series
        missing = np.asarray(series.is_null().to_numpy(), bool)
        stamps = np.array(stamped.dt.timestamp("us").cast(nw.Float64).to_numpy(), np.float64) / 1e6
        stamps[missing] = np.nan
        return stamps
    if dtype == nw.Boolean or dtype.is_decimal():
        series = series.cast(nw.Float64)
    if series.implementation.is_polars():  # its own memory for the whole is given back, and paid for again each time
        parts = [np.asarray(part.to_numpy(), np.float64) for part in series.to_native().get_chunks()]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    return np.ascontiguousarray(series.to_numpy(), np.float64)


def _texts(series: nw.Series[Any]) -> NDArray[np.object_]:
    texts = np.empty(len(series), object)
    texts[:] = [None if is_missing(one) else str(one) for one in series.to_list()]
    return texts
