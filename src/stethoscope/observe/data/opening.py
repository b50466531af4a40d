"""Finds out what kind of data it was given, and opens it as a table."""

from __future__ import annotations

from typing import Any

from stethoscope.core.errors import UsageError
from stethoscope.observe.data.tables import Table


def open_table(source: Any, name: str) -> Table:
    """The rows of a path, frame or arrays (`Any`: whatever the user has) as a table.

    Args:
        source: what the user gave.
        name: what it is called where it has no name of its own.

    Raises:
        UsageError: a kind of data that is not known, or an extra that is not installed.
        BadFile: a file that cannot be read.
    """
    try:
        import narwhals as nw
    except ImportError as missing:
        raise UsageError("inspecting tables needs narwhals: pip install 'stethoscope[data]'") from missing
    from stethoscope.observe.data.frames import FrameTable

    frame = nw.from_native(source, eager_only=True, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        return FrameTable(frame, name)
    raise UsageError(f"cannot read data of type {type(source).__name__}")
