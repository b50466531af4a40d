"""Reads what one process heard, from the file that it writes or has written. Never changes it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from stethoscope.facts.training import (
    LAYER_STATISTICS,
    PARAMETER_STATISTICS,
    Doubles,
    Floats,
    History,
    Integers,
    Telemetry,
)
from stethoscope.store.database import BUSY_S
from stethoscope.store.folder import database_name
from stethoscope.store.packing import unpack
from stethoscope.store.process import Process

LookRow = tuple[int, int, int, bytes, bytes]  # step, layers, parameters, and their packed statistics


class Series(NamedTuple):
    """Steps and values of one curve."""

    steps: Integers
    """(points,)"""
    values: Doubles
    """(points,)"""


@dataclass(frozen=True)
class Heard:
    """What one process of a run recorded."""

    history: History
    curves: dict[str, Series]
    process: Process
    damage: tuple[str, ...] = ()


def read_process(folder: Path, rank: int) -> Heard:
    """What one process of a run recorded; a torn file is read as far as it goes. Raises BadFile."""
    file = folder / database_name(rank)
    torn: list[str] = []
    with _opened(file) as connection:
        meta = dict(_rows(connection, "SELECT key, body FROM meta", torn))
        facts = dict(_rows(connection, "SELECT name, body FROM facts", torn))
        curves = _read_series(connection, torn)
        telemetry = _read_telemetry(connection, {key: json.loads(body) for key, body in meta.items()}, torn)
    hints = get_type_hints(History)
    known = {name: unpack(hints[name], json.loads(body)) for name, body in facts.items() if name in hints}
    known.setdefault("finished", False)
    history = replace(History(**known), telemetry=telemetry)
    with_points = [replace(c, **curves[c.name]._asdict()) if c.name in curves else c for c in history.curves]
    process = unpack(Process, json.loads(meta.get("process", "{}")))
    damage = (f"{file} is damaged ({torn[0]}): what could still be read is shown",) if torn else ()
    return Heard(replace(history, curves=tuple(with_points)), curves, process, damage)


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads. Where SQLite would have to repair the file first, a copy of it is repaired."""
    connection = _connect(file.resolve().as_uri() + "?mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchall()
    except sqlite3.DatabaseError:
        connection.close()
    else:
        with closing(connection):
            yield connection
        return
    with tempfile.TemporaryDirectory() as place:
        for name in (file.name, f"{file.name}-wal", f"{file.name}-journal"):
            if file.with_name(name).exists():
                shutil.copy(file.with_name(name), place)
        with closing(_connect((Path(place) / file.name).as_uri())) as connection:
            # Without it SQLite refuses a file that is shorter than it should be, though its beginning is whole.
            connection.execute("PRAGMA writable_schema = on")
            yield connection


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)


def _rows(connection: sqlite3.Connection, query: str, torn: list[str]) -> Iterator[Any]:
    """Rows until the first one that cannot be read; that is noted in `torn`."""
    try:
        yield from connection.execute(query)
    except sqlite3.DatabaseError as error:
        if "no such table" not in str(error):  # a file of a moment ago has no tables yet
            torn.append(str(error))


def _read_series(connection: sqlite3.Connection, torn: list[str]) -> dict[str, Series]:
    names = dict(_rows(connection, "SELECT id, name FROM series ORDER BY id", torn))
    steps: dict[int, list[bytes]] = {key: [] for key in names}
    values: dict[int, list[bytes]] = {key: [] for key in names}
    query = "SELECT series, steps, amounts FROM points ORDER BY series, block"
    for key, some_steps, some_values in _rows(connection, query, torn):
        if key in names:
            steps[key].append(some_steps)
            values[key].append(some_values)
    return {
        name: Series(
            np.frombuffer(b"".join(steps[key]), "<i8").astype(np.int64),
            np.frombuffer(b"".join(values[key]), "<f8").astype(np.float64),
        )
        for key, name in names.items()
    }


def _read_telemetry(connection: sqlite3.Connection, meta: dict[str, Any], torn: list[str]) -> Telemetry:
    query = "SELECT step, num_layers, num_parameters, layers, parameters FROM looks ORDER BY id"
    rows: list[LookRow] = list(_rows(connection, query, torn))
    layer_names = tuple(meta.get("layer statistics", LAYER_STATISTICS))
    parameter_names = tuple(meta.get("parameter statistics", PARAMETER_STATISTICS))
    return Telemetry(
        np.array([row[0] for row in rows], np.int64),
        _stacked([(row[1], row[3]) for row in rows], layer_names, LAYER_STATISTICS),
        _stacked([(row[2], row[4]) for row in rows], parameter_names, PARAMETER_STATISTICS),
    )


def _stacked(looks: list[tuple[int, bytes]], stored: tuple[str, ...], wanted: tuple[str, ...]) -> Floats:
    """(looks, rows, statistics) in today's order of statistics; NaN where a look had fewer of either."""
    most = max((count for count, _ in looks), default=0)
    found = np.full((len(looks), most, len(stored)), np.nan, np.float32)
    for place, (count, packed) in zip(found, looks, strict=True):
        if count:
            matrix = np.frombuffer(packed, "<f4").reshape(count, -1)
            place[:count, : matrix.shape[1]] = matrix[:, : len(stored)]
    if stored == wanted:
        return found
    result = np.full((len(looks), most, len(wanted)), np.nan, np.float32)
    for column, name in enumerate(wanted):
        if name in stored:
            result[:, :, column] = found[:, :, stored.index(name)]
    return result
