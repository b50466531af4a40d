"""Frames in memory, of pandas, Polars, PyArrow or anything else that Narwhals knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Numbers, Rows
from stethoscope.facts.grids import Grid
from stethoscope.observe.data.arrays import numbers_of
from stethoscope.observe.data.tables import MOST_VALUES, Counted, Field


class FrameTable:
    """A frame in memory."""

    def __init__(self, frame: nw.DataFrame[Any], name: str) -> None:
        self.name = name
        self._frame = frame

    def fields(self) -> tuple[Field, ...]:
        """The columns, in order."""
        return tuple(Field(name, _kind(dtype), str(dtype)) for name, dtype in self._frame.schema.items())

    def rows(self) -> int:
        """How many rows."""
        return len(self._frame)

    def numbers(self, names: Sequence[str], grids: Mapping[str, Grid]) -> dict[str, tuple[int, Numbers]]:
        """Nulls and statistics of each."""
        return {name: numbers_of(_doubles(self._frame[name]), grids.get(name)) for name in names}

    def words(self, names: Sequence[str]) -> dict[str, Counted]:
        """Values with their counts."""
        return {name: _counted(self._frame[name]) for name in names}

    def sample(self, most: int) -> Rows:
        """Rows at even distances."""
        rows = self.rows()
        index = np.unique(np.linspace(0, rows - 1, min(most, rows)).astype(np.int64)) if rows else np.zeros(0, np.int64)
        part = self._frame[index.tolist()] if rows else self._frame
        values: dict[str, NDArray[np.float64] | NDArray[np.object_]] = {}
        for field in self.fields():
            if field.kind == "words":
                values[field.name] = _texts(part[field.name])
            elif field.kind != "nested":
                values[field.name] = _doubles(part[field.name])
        return Rows(index, values)


def _kind(dtype: Any) -> str:
    if dtype == nw.Boolean:
        return "truth"
    if dtype.is_numeric():
        return "number"
    if dtype.is_temporal():
        return "date" if dtype in (nw.Date, nw.Datetime) or isinstance(dtype, nw.Datetime) else "words"
    return "nested" if dtype.is_nested() else "words"


def _doubles(series: nw.Series[Any]) -> NDArray[np.float64]:
    """Numbers, truths as 0 and 1, dates as seconds since 1970; NaN where null."""
    if series.dtype.is_temporal():
        stamps = series.cast(nw.Datetime("us")).dt.timestamp("us")
        return np.asarray(stamps.cast(nw.Float64).to_numpy(), np.float64) / 1e6
    if series.dtype == nw.Boolean or series.dtype.is_decimal():
        series = series.cast(nw.Float64)
    return np.ascontiguousarray(series.to_numpy(), np.float64)


def _texts(series: nw.Series[Any]) -> NDArray[np.object_]:
    return np.array([None if _is_missing(one) else str(one) for one in series.to_list()], dtype=object)


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _counted(series: nw.Series[Any]) -> Counted:
    types: dict[str, int] = {}
    if series.dtype == nw.Object:
        values = series.to_list()
        for one in values:
            if not _is_missing(one) and not isinstance(one, str):
                types[type(one).__name__] = types.get(type(one).__name__, 0) + 1
        series = nw.new_series(
            series.name, [None if _is_missing(one) else str(one) for one in values], nw.String,
            backend=series.implementation,
        )  # fmt: skip
    else:
        series = series.cast(nw.String)
    nulls = int(series.is_null().sum())
    present = series.drop_nulls()
    counts = present.value_counts(name="count").to_dict(as_series=False)
    pairs = sorted(zip(counts[series.name], counts["count"], strict=True), key=lambda pair: (-pair[1], pair[0]))
    lengths = (
        np.repeat([float(len(text)) for text, _ in pairs], [count for _, count in pairs]) if pairs else np.zeros(0)
    )
    return Counted(
        nulls=nulls, count=len(present), distinct=len(pairs),
        top=tuple((str(text), int(count)) for text, count in pairs[:MOST_VALUES]),
        lengths=numbers_of(lengths)[1], types=tuple(sorted(types.items(), key=lambda pair: -pair[1])),
    )  # fmt: skip
