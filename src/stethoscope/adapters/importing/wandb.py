"""Offline runs of Weights & Biases, read without its package.

A `.wandb` file is a log of LevelDB behind 7 bytes of its own: blocks of 32 KiB, in them pieces (checksum, length, kind,
bytes) of records, each a message of protocol buffers. Sources: LevelDB's doc/log_format.md, and the file
wandb/proto/wandb_internal.proto of its package.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stethoscope.adapters.importing.logged import Logged
from stethoscope.adapters.tfevents import fields_of
from stethoscope.core.errors import BadFile

BEGINNING = b":W&B"
FILE_HEAD, HEAD, BLOCK = 7, 7, 32_768
LAST_PIECES = (1, 4)
"""Kinds of piece that end a record: a whole one, and the last of several."""
HISTORY, CONFIG, RUN = 2, 5, 17
"""Numbers of the records that are read."""
STEPS = ("trainer/global_step", "train/global_step", "global_step", "_step")
"""Names of the step that a row of values belongs to; the first that it has."""
HIDDEN = "_"
"""Names that begin so are its own: `_runtime`, `_timestamp`."""


def read(place: Path) -> list[Logged]:
    """The runs below a folder, or of one `.wandb` file. Raises BadFile."""
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*.wandb") if path.is_file())
    if not files:
        raise BadFile(f"{place} holds no run of Weights & Biases (a folder offline-run-... with a .wandb file)")
    return [_run(file) for file in files]


def _run(file: Path) -> Logged:
    run = Logged(file.parent.name, str(file.absolute()))
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BadFile(f"{file} cannot be read: {error.strerror}") from error
    if not data.startswith(BEGINNING):
        raise BadFile(f"{file} is no file of Weights & Biases: it does not begin with {BEGINNING.decode()}")
    try:
        for record in _records(data):
            _read(record, run)
    except (ValueError, IndexError, struct.error) as error:
        run.damage.append(f"{file.name} is damaged from some point on ({error}); what is before it was read")
    return run


def _records(data: bytes) -> Iterator[bytes]:
    """Whole records; one that is still being written is left out."""
    place, parts = FILE_HEAD, b""
    while place + HEAD <= len(data):
        left = BLOCK - place % BLOCK
        if left < HEAD:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + HEAD])
        if kind == 0:  # the rest of a block was left empty
            place += left
            continue
        piece = data[place + HEAD : place + HEAD + size]
        if len(piece) < size:
            return
        parts += piece
        place += HEAD + size
        if kind in LAST_PIECES:
            yield parts
            parts = b""


def _read(record: bytes, run: Logged) -> None:
    for number, _, value in fields_of(record):
        if not isinstance(value, bytes):
            continue
        if number == HISTORY:
            _row(dict(_items(value, 1)), run)
        elif number == CONFIG:
            _settings(value, run)
        elif number == RUN:
            for part, _, inner in fields_of(value):
                if part == 8 and isinstance(inner, bytes) and inner:
                    run.name = inner.decode("utf-8", "replace")
                elif part == 4 and isinstance(inner, bytes):
                    _settings(inner, run)
                elif part == 17 and isinstance(inner, bytes):
                    run.started = float(next((s for n, _, s in fields_of(inner) if n == 1 and isinstance(s, int)), 0))


def _row(row: dict[str, Any], run: Logged) -> None:
    """The values of one step."""
    step = next((int(row[name]) for name in STEPS if isinstance(row.get(name), int | float)), None)
    when = row.get("_timestamp")
    run.ended = max(run.ended, float(when) if isinstance(when, int | float) else 0.0)
    axes = {f"{name} step" for name in row}  # so stethoscope writes a curve
    for name, value in row.items():
        number = _number(value)
        if step is None or number is None or name.startswith(HIDDEN) or name in STEPS or name in axes:
            continue
        own = row.get(f"{name} step")
        run.series.setdefault(name, []).append((int(own) if isinstance(own, int | float) else step, number))


def _settings(config: bytes, run: Logged) -> None:
    run.settings.update((name, value) for name, value in _items(config, 1) if not name.startswith(HIDDEN))


def _items(message: bytes, place: int) -> Iterator[tuple[str, Any]]:
    """Names and values of the items of a message (`Any`: any JSON value)."""
    for number, _, item in fields_of(message):
        if number != place or not isinstance(item, bytes):
            continue
        key, nested, value = "", [], None
        for part, _, inner in fields_of(item):
            if part == 1 and isinstance(inner, bytes):
                key = inner.decode("utf-8", "replace")
            elif part == 2 and isinstance(inner, bytes):
                nested.append(inner.decode("utf-8", "replace"))
            elif part in (8, 16) and isinstance(inner, bytes):
                value = _json(inner)
            elif part == 5 and isinstance(inner, int):
                value = inner >> 1 ^ -(inner & 1)  # signed, in zigzag
            elif part == 6 and isinstance(inner, bytes):
                value = struct.unpack("<d", inner)[0]
        yield "/".join(nested) or key, value


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.decode("utf-8", "replace")


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else None
