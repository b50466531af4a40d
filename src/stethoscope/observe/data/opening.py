"""Finds out what kind of data it was given, and opens it as a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stethoscope.core.errors import MissingPiece, UsageError
from stethoscope.observe.data.tables import Table

KNOWN = (
    "a path, a frame (pandas, Polars, PyArrow, DuckDB, Dask, PySpark, Ibis), a dict of columns, a list of dicts, an "
    "array, a Hugging Face data set, or a torch data set or loader"
)


def open_table(source: Any, name: str) -> Table:
    """The rows of a path, frame or arrays (`Any`: whatever the user has) as a table.

    Args:
        source: what the user gave.
        name: what it is called where it has no name of its own.

    Raises:
        UsageError: a kind of data that is not known.
        MissingPiece: an extra that is not installed.
        BadFile: a file that cannot be read.
    """
    if isinstance(source, str | bytes | os.PathLike):
        _need_narwhals()
        from stethoscope.observe.data.files import open_files

        return open_files(os.fsdecode(source))
    _need_narwhals()
    if type(source).__module__.split(".")[0] == "datasets":
        return _hugging_face(source, name)
    python = _from_python(source, name)
    return python if python is not None else _from_library(source, name)


def _from_python(source: Any, name: str) -> Table | None:
    """What needs no library but NumPy."""
    from stethoscope.observe.data import collected

    if isinstance(source, np.ndarray):
        return collected.from_array(source, name)
    if isinstance(source, Mapping):
        return collected.from_columns(source, name)
    if isinstance(source, list | tuple) and source and all(isinstance(one, Mapping) for one in source):
        return collected.from_records(source, name)
    if isinstance(source, tuple) and len(source) == 2 and all(hasattr(one, "__len__") for one in source):
        return collected.from_columns({"x": source[0], "y": source[1]}, name)
    if isinstance(source, list) and source and isinstance(source[0], int | float | list | tuple):
        return collected.from_array(collected.as_array(source), name)
    if hasattr(source, "detach") and hasattr(source, "ndim"):
        return collected.from_array(collected.as_array(source), name)
    return None


def _from_library(source: Any, name: str) -> Table:
    import narwhals as nw

    from stethoscope.observe.data.frames import FrameTable

    module = type(source).__module__.split(".")[0]
    if module in ("duckdb", "_duckdb"):
        from stethoscope.observe.data.duck import DuckTable

        return DuckTable(source, name)
    frame = nw.from_native(_with_own_names(source), pass_through=True)
    if isinstance(frame, nw.DataFrame):
        return FrameTable(frame, name)
    if isinstance(frame, nw.LazyFrame):
        from stethoscope.observe.data.queries import LazyTable

        return LazyTable(frame, name)
    if (hasattr(source, "__getitem__") and hasattr(source, "__len__")) or hasattr(source, "__iter__"):
        from stethoscope.observe.data.collected import from_samples

        if not isinstance(source, Sequence) or len(source):
            return from_samples(source, name)
    raise UsageError(f"cannot read {name}, {_described(source)}; expected {KNOWN}")


def _hugging_face(source: Any, name: str) -> Table:
    if isinstance(source, Mapping) or hasattr(source, "keys"):
        parts = ", ".join(map(str, source))
        raise UsageError(f"{name} holds several data sets ({parts}): give one of them, and another one as test")
    if hasattr(source, "with_format") and hasattr(source, "data"):
        import narwhals as nw

        from stethoscope.observe.data.frames import FrameTable

        return FrameTable(nw.from_native(source.with_format("arrow")[:], eager_only=True), name)
    from itertools import islice

    from stethoscope.observe.data.collected import MOST_SAMPLES, from_records

    return from_records(list(islice(source, MOST_SAMPLES)), name)


def _with_own_names(source: Any) -> Any:
    """A pandas or Arrow frame with texts as names, and none twice; anything else as it is."""
    module = type(source).__module__.split(".")[0]
    if module == "pandas" and hasattr(source, "columns"):
        names = [str(one) for one in source.columns]
        if len(set(names)) < len(names) or names != list(source.columns):
            source = source.copy(deep=False)
            source.columns = _told_apart(names)
    elif len(set(getattr(source, "column_names", ()))) < len(getattr(source, "column_names", ())):
        return source.rename_columns(_told_apart(list(source.column_names)))
    return source


def _told_apart(names: Sequence[str]) -> list[str]:
    """Names with a number behind those that occur before."""
    seen: dict[str, int] = {}
    told = []
    for one in names:
        seen[one] = seen.get(one, 0) + 1
        told.append(one if seen[one] == 1 else f"{one} ({seen[one]})")
    return told


def _described(source: Any) -> str:
    kind = type(source)
    if source is None:
        return "which is None"
    if isinstance(source, list | tuple | set) and not source:
        return f"an empty {kind.__name__}"
    where = "" if kind.__module__ == "builtins" else f"{kind.__module__.split('.')[0]}."
    return f"which is a {where}{kind.__name__}"


def _need_narwhals() -> None:
    try:
        import narwhals  # noqa: F401
    except ImportError as missing:
        raise MissingPiece("inspecting data needs narwhals: pip install 'stethoscope[data]'") from missing
