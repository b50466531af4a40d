"""What one process heard, as an SQLite file of packed little-endian arrays.

    points  series, block     -> 512 steps and values at most: only a series' last block is ever written again
    looks   step              -> (layers, statistics) and (parameters, statistics) of one look
    facts   field of History  -> its JSON, newest only
    meta    key               -> its JSON: schema, statistics, process

Packed rows because one row for each number costs 45 times as much to write and 80 times as much to read
(measured on 1,000,000 scalars). Writing uses the write-ahead log: readers never wait for the writer nor the
writer for them, and what was committed survives the death of the process. It needs memory shared between
processes, so on a network drive the rollback journal takes its place.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.training import LAYER_STATISTICS, PARAMETER_STATISTICS
from stethoscope.store.packing import pack
from stethoscope.store.process import Process

SCHEMA = 1
BLOCK = 512
"""Points in a block. 1,000,000 points are 2,000 rows, and rewriting the last one costs at most 8 KiB."""
BUSY_S = 5.0
"""How long to wait for a lock; without the write-ahead log a reader can hold the writer up."""
NETWORK = """
nfs nfs4 cifs smb3 smbfs afs ceph lustre gpfs beegfs glusterfs 9p prl_fs vboxsf
fuse.sshfs fuse.glusterfs fuse.ceph fuse.s3fs fuse.gcsfuse fuse.rclone
"""
"""File systems on which processes of two machines do not share memory, as Linux names them in its mounts."""

TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS points (
    series INTEGER NOT NULL, block INTEGER NOT NULL, steps BLOB NOT NULL, amounts BLOB NOT NULL,
    PRIMARY KEY (series, block));
CREATE TABLE IF NOT EXISTS looks (
    id INTEGER PRIMARY KEY, step INTEGER NOT NULL,
    num_layers INTEGER NOT NULL, num_parameters INTEGER NOT NULL,
    layers BLOB NOT NULL, parameters BLOB NOT NULL);
"""


@dataclass(frozen=True)
class Points:
    """New points of a series."""

    series: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """One look at all layers and parameters."""

    step: int
    layers: NDArray[np.float32]
    """(layers, statistics)"""
    parameters: NDArray[np.float32]
    """(parameters, statistics)"""


@dataclass(frozen=True)
class _Tail:
    """The end of a series, from its last open block on."""

    key: int
    block: int = 0
    steps: bytes = b""
    amounts: bytes = b""

    def extended(self, points: Points) -> _Tail:
        steps, amounts = points.steps.astype("<i8").tobytes(), points.values.astype("<f8").tobytes()
        return replace(self, steps=self.steps + steps, amounts=self.amounts + amounts)

    def rows(self) -> list[tuple[int, int, bytes, bytes]]:
        spans = [slice(start, start + BLOCK * 8) for start in range(0, len(self.steps), BLOCK * 8)]
        return [(self.key, self.block + i, self.steps[s], self.amounts[s]) for i, s in enumerate(spans)]

    def opened(self) -> _Tail:
        """Without its full blocks, which are written for good."""
        full = len(self.steps) // (BLOCK * 8)
        cut = full * BLOCK * 8
        return _Tail(self.key, self.block + full, self.steps[cut:], self.amounts[cut:])


class Database:
    """The writing end. All methods raise sqlite3.Error or OSError."""

    def __init__(self, path: Path, *, wal: bool | None = None) -> None:
        self._tails: dict[str, _Tail] = {}
        self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            self._prepare(wal if wal is not None else file_system_of(path) not in NETWORK.split())
        except sqlite3.Error:
            self._connection.close()
            raise

    def _prepare(self, wal: bool) -> None:
        if wal:
            # Where SQLite finds no shared memory it refuses, and the rollback journal stays.
            with suppress(sqlite3.OperationalError):
                self._connection.execute("PRAGMA journal_mode = wal")
        self._connection.execute("PRAGMA synchronous = normal")
        meta = {
            "schema": SCHEMA,
            "layer statistics": LAYER_STATISTICS,
            "parameter statistics": PARAMETER_STATISTICS,
            "process": Process.current(),
        }
        with self._transaction():
            for statement in TABLES.strip().split(";\n"):
                self._connection.execute(statement)
            rows = [(key, json.dumps(pack(value))) for key, value in meta.items()]
            self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def write(self, points: Iterable[Points], looks: Iterable[Look], facts: Mapping[str, str]) -> None:
        """Write all of it, or nothing: what comes next goes on as if the rest had never been there."""
        tails: dict[str, _Tail] = {}
        for entry in points:
            name = entry.series
            new = _Tail(key=len(self._tails.keys() | tails.keys()) + 1)
            tails[name] = (tails.get(name) or self._tails.get(name) or new).extended(entry)
        with self._transaction():
            run = self._connection.executemany
            keys = [(tail.key, name) for name, tail in tails.items()]
            run("INSERT OR IGNORE INTO series VALUES (?, ?)", keys)
            rows = [row for tail in tails.values() for row in tail.rows()]
            run("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?)", rows)
            run("INSERT INTO looks VALUES (NULL, ?, ?, ?, ?, ?)", map(_look_row, looks))
            run("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())
        self._tails.update({name: tail.opened() for name, tail in tails.items()})

    def close(self) -> None:
        """Leave a single plain file, which can be read from a read-only disk too."""
        with suppress(sqlite3.Error):  # a reader has it open, or the disk is full: the log stays
            self._connection.execute("PRAGMA journal_mode = delete")
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk has rolled it back already
                self._connection.execute("ROLLBACK")
            raise


def _look_row(look: Look) -> tuple[int, int, int, bytes, bytes]:
    layers, parameters = look.layers.astype("<f4"), look.parameters.astype("<f4")
    return look.step, len(layers), len(parameters), layers.tobytes(), parameters.tobytes()


def file_system_of(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Kind of the file system that holds a path, as the system names it; empty where it does not say."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    place, best, kind = path.resolve(), -1, ""
    for line in lines:
        _, point, name, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if place.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), name
    return kind
