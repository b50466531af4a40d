"""Writes a run while it trains: the training thread only appends to memory, another one writes."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import History
from stethoscope.store.changes import FactsPacker
from stethoscope.store.database import SCHEMA, Database, Look, Points
from stethoscope.store.folder import (
    RECORD,
    database_name,
    make_folder,
    replace_atomically,
    share_folder,
    write_atomically,
)
from stethoscope.store.forking import ForkLock
from stethoscope.store.packing import pack
from stethoscope.store.process import Process
from stethoscope.store.trouble import sentence

P = ParamSpec("P")
T = TypeVar("T")
Method: TypeAlias = Callable[Concatenate["RunWriter", P], None]

PAUSE_S = 1.0
"""Time between two writes: what is older than this survives the sudden death of the process."""
MOST_PENDING_BYTES = 64 * 2**20
"""Memory for what waits to be written: a hundred times what a second of training usually brings."""
FACTS_SHARE = 0.02
"""Packing the facts holds the interpreter: this share of the time at most, so less often for large models."""


def _never_raises(method: Method[P]) -> Method[P]:
    """Make a method harmless: it does nothing in a forked child, and its failure becomes `trouble`."""

    @functools.wraps(method)
    def harmless(self: RunWriter, *args: P.args, **kwargs: P.kwargs) -> None:
        if os.getpid() != self._owner or self._closed:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self._report(error)

    return cast(Method[P], harmless)


class RunWriter:
    """The folder of a run, while it is being written.

    No method ever raises. Whatever cannot be written is dropped, `trouble` says so in one sentence, and
    training goes on. Arrays are copied. A forked child (a loader's worker) writes nothing.

    Cost: a few microseconds a call; the writing thread needs 1 to 10 ms a second.
    """

    def __init__(self, path: Path | None, record: RunRecord, *, rank: int = 0, trouble: str = "") -> None:
        self.path = path
        """The run's folder; None when it could not be made."""
        self.rank = rank
        self.trouble = trouble
        """What went wrong first: what, where, and what to do; empty while all is well."""
        self._owner = os.getpid()
        self._closed = path is None
        self._stopping = False
        self._wake = threading.Event()
        self._writing = ForkLock()
        # A deque's append and popleft are atomic: the training thread takes no lock.
        self._points: deque[Points] = deque()
        self._looks: deque[Look] = deque()
        self._facts: deque[History] = deque(maxlen=1)
        self._first = record
        self._record: deque[RunRecord] = deque([record], maxlen=1)
        self._texts: deque[tuple[str, str]] = deque()
        self._files: deque[tuple[str, Callable[[Path], None]]] = deque()
        self._waiting: deque[threading.Event] = deque()
        self._bytes_in = 0  # only the training thread counts up here,
        self._bytes_out = 0  # and only the writing thread here
        self._looks_seen = 0
        self._packer = FactsPacker()
        self._facts_due = 0.0
        self._thread = threading.Thread(target=self._work, name="stethoscope-writer", daemon=True)

    @classmethod
    def create(
        cls, store: Path, record: RunRecord, *, rank: int = 0, world_size: int = 1, group: str = ""
    ) -> RunWriter:
        """Make the folder of a new run and begin to write.

        Args:
            store: the folder of all runs; made when missing.
            record: what is known of the run so far; `id`, `world_size` and an empty `started` are filled in.
            rank: which process of the launch this is; only 0 writes `run.json`.
            world_size: number of processes that share the folder.
            group: a text that is equal in all processes of one launch; without it each has its own folder.

        Never raises: when the folder cannot be made, `path` is None and `trouble` says why.
        """
        try:
            if world_size > 1 and group:
                path = share_folder(Path(store), group, rank, world_size)
            else:
                path = make_folder(Path(store))
            started = record.started or datetime.now().astimezone().isoformat(timespec="seconds")
            record = replace(record, id=path.name, started=started, world_size=world_size)
            writer = cls(path.resolve(), record, rank=rank)
            writer._write_record()
            writer._thread.start()
        except Exception as error:
            trouble = sentence("No run folder can be made", Path(store), error)
            return cls(None, record, rank=rank, trouble=trouble)
        atexit.register(writer.close)
        return writer

    @property
    def id(self) -> str:
        """The folder's name; empty when there is none."""
        return self.path.name if self.path else ""

    @_never_raises
    def points(self, series: str, steps: ArrayLike, values: ArrayLike) -> None:
        """Add (n,) steps and (n,) values, or one of each, to a series. A curve's series has its name."""
        entry = Points(series, np.array(steps, np.int64, ndmin=1), np.array(values, np.float64, ndmin=1))
        if entry.steps.shape != entry.values.shape or entry.steps.ndim != 1:
            raise ValueError(f"{entry.steps.shape} steps with {entry.values.shape} values of `{series}`")
        if self._room(entry.steps.nbytes * 2 + 200, MOST_PENDING_BYTES):
            self._points.append(entry)

    @_never_raises
    def look(self, step: int, layers: ArrayLike, parameters: ArrayLike) -> None:
        """Add a look: (layers, statistics) and (parameters, statistics), rows in the order of the history."""
        self._looks_seen += 1
        float32 = np.float32
        entry = Look(int(step), np.array(layers, float32, ndmin=2), np.array(parameters, float32, ndmin=2))
        # From a quarter of the memory on every second look is left out, from half of it all of them.
        limit = MOST_PENDING_BYTES // (2 if self._looks_seen % 2 else 4)
        if self._room(entry.layers.nbytes + entry.parameters.nbytes + 300, limit):
            self._looks.append(entry)

    @_never_raises
    def facts(self, history: History) -> None:
        """Keep this as the newest state of everything but telemetry and the points of curves.

        A field that is the very object of last time costs nothing, so hand over unchanged tuples as they are.
        """
        self._facts.append(history)

    @_never_raises
    def record(self, record: RunRecord) -> None:
        """Replace what `run.json` says. The id, and an empty start, are kept from the beginning."""
        self._record.append(record)

    @_never_raises
    def text(self, name: str, content: str) -> None:
        """Write a whole file into the folder, such as `findings.json`."""
        if Path(name).name != name:
            raise ValueError(f"`{name}` is no plain file name")
        self._texts.append((name, content))

    @_never_raises
    def file(self, name: str, write: Callable[[Path], None]) -> None:
        """Let a function write a file of the folder, after all else: what fails there costs this file alone."""
        self._files.append((name, write))

    def flush(self, wait_s: float = 0.0) -> bool:
        """Write at once, and wait at most `wait_s` seconds for it. Returns whether it was done by then."""
        if self._closed or os.getpid() != self._owner:
            return False
        done = threading.Event()
        self._waiting.append(done)
        self._wake.set()
        return wait_s > 0 and done.wait(wait_s)

    def close(self, wait_s: float = 10.0) -> None:
        """Write what is left and end. Waits at most `wait_s` seconds; a second call does nothing."""
        if self._closed or os.getpid() != self._owner:
            return
        self._stopping = True
        self._wake.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(wait_s)
        self._closed = True
        atexit.unregister(self.close)
        if self._thread.is_alive():
            self._say(f"The disk under {self.path} hangs: the end of the run is not recorded.")

    def _room(self, num_bytes: int, limit: int) -> bool:
        """Whether this may wait in memory too; says so when it may not."""
        if self._bytes_in - self._bytes_out + num_bytes > limit:
            self._say(f"The disk under {self.path} is slower than the run: the record leaves out some looks.")
            return False
        self._bytes_in += num_bytes
        return True

    def _work(self) -> None:
        """The writing thread: once a second, or when woken."""
        # The connection lives in this frame alone. A forked child has the frame's memory, but never unwinds
        # it, so it never closes the connection, which could hang there or touch the parent's files.
        database: Database | None = None
        while True:
            self._wake.wait(PAUSE_S)
            self._wake.clear()
            stopping, waiting = self._stopping, _drain(self._waiting)
            database = self._write_telemetry(database, hurry=stopping or bool(waiting))
            self._write_texts()
            self._write_files()
            for done in waiting:
                done.set()
            if stopping:
                break
        if database is not None:
            with self._writing:
                database.close()

    def _write_telemetry(self, database: Database | None, hurry: bool) -> Database | None:
        points, looks = _drain(self._points), _drain(self._looks)
        self._bytes_out += sum(entry.steps.nbytes * 2 + 200 for entry in points)
        self._bytes_out += sum(look.layers.nbytes + look.parameters.nbytes + 300 for look in looks)
        try:
            facts = self._pack_facts(hurry)
            if not (points or looks or facts):
                return database
            path = self._folder() / database_name(self.rank)
            with self._writing:
                database = database or Database(path)
                database.write(points, looks, facts)
        except Exception as error:  # a full disk, or a mistake of ours: neither may end the thread
            self._packer.forget()
            self._report(error)
        return database

    def _pack_facts(self, hurry: bool) -> dict[str, str]:
        """JSON of the fields that have changed, when it is time for them."""
        now = time.monotonic()
        if not self._facts or (now < self._facts_due and not hurry):
            return {}
        cpu = time.thread_time()
        changed = self._packer.changed(self._facts.popleft())
        self._facts_due = now + (time.thread_time() - cpu) / FACTS_SHARE
        return changed

    def _write_texts(self) -> None:
        for name, content in _drain(self._texts):
            try:
                write_atomically(self._folder() / name, content)
            except Exception as error:
                self._report(error)
        try:
            self._write_record()
        except Exception as error:
            self._report(error)

    def _write_files(self) -> None:
        for name, write in _drain(self._files):
            try:
                path = self._folder() / name
                replace_atomically(path, write)
                shutil.copymode(path.with_name(RECORD), path)
            except Exception as error:
                self._say(sentence(f"`{name}` cannot be kept", self.path, error))

    def _write_record(self) -> None:
        records = _drain(self._record)
        if records and self.rank == 0:
            first = self._first
            started = records[-1].started or first.started
            record = replace(records[-1], id=first.id, started=started, world_size=first.world_size)
            body = {"schema": SCHEMA, **vars(record), "process": Process.current()}
            write_atomically(self._folder() / RECORD, json.dumps(pack(body), indent=1) + "\n")

    def _folder(self) -> Path:
        # An open database goes on quietly when its folder is deleted, so that is looked at.
        if self.path is None or not self.path.is_dir():
            raise FileNotFoundError(f"{self.path} was deleted")
        return self.path

    def _report(self, error: Exception) -> None:
        self._say(sentence("The run can no longer be recorded", self.path, error))

    def _say(self, sentence: str) -> None:
        self.trouble = self.trouble or sentence


def _drain(queue: deque[T]) -> list[T]:
    """Everything that waits in a queue to which another thread appends."""
    return [queue.popleft() for _ in range(len(queue))]


def amend_record(folder: Path, **changes: str) -> None:
    """Write other values of plain texts into the record of a run that has ended. Raises OSError, ValueError."""
    file = folder / RECORD
    body = json.loads(file.read_text(encoding="utf-8"))
    write_atomically(file, json.dumps(body | changes, indent=1) + "\n")
