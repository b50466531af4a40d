"""Event files of TensorBoard, written and read without TensorBoard: scalars, texts, histograms.

A file is a row of records (length, checksum, bytes, checksum), each an `Event` in the wire format of protocol buffers.
Only the fields that are named here are written; all others are skipped when reading. Sources: TensorFlow's
core/util/event.proto, framework/summary.proto, lib/io/record_writer.cc; CRC-32C of RFC 3720 with the mask of that file.
"""

from __future__ import annotations

import os
import struct
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.errors import BadFile

Doubles = NDArray[np.float64]
_MASK = 0xA282EAD8
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5
LARGEST_RECORD = 1 << 28
"""A length beyond this is damage, and no record."""


def _table() -> tuple[int, ...]:
    """Of CRC-32C (Castagnoli), reflected."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x82F63B78 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC = _table()


def _masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


class EventWriter:
    """Writes one event file into a folder. Raises OSError."""

    def __init__(self, folder: Path, *, started: float | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._time = time.time() if started is None else started
        self.path = folder / f"events.out.tfevents.{int(self._time)}.stethoscope.{os.getpid()}"
        self._file = self.path.open("wb")
        self._record(_double(1, self._time) + _bytes(3, b"brain.Event:2"))

    def scalar(self, tag: str, step: int, value: float) -> None:
        """A point of a curve."""
        self._value(step, _bytes(1, tag.encode()) + _float(2, value))

    def text(self, tag: str, step: int, markdown: str) -> None:
        """A text of the plugin `text`: a tensor of one string."""
        metadata = _bytes(9, _bytes(1, _bytes(1, b"text")))
        tensor = _varint_field(1, 7) + _bytes(2, b"") + _bytes(8, markdown.encode())  # DT_STRING, scalar shape
        self._value(step, _bytes(1, f"{tag}/text_summary".encode()) + metadata + _bytes(8, tensor))

    def histogram(self, tag: str, step: int, limits: Sequence[float], counts: Sequence[float]) -> None:
        """Counts in buckets; `limits` are their upper edges."""
        edges, heights = np.asarray(limits, np.float64), np.asarray(counts, np.float64)
        middles = np.concatenate([edges[:1], (edges[1:] + edges[:-1]) / 2])
        filled = np.flatnonzero(heights)
        low, high = (edges[max(filled[0] - 1, 0)], edges[filled[-1]]) if filled.size else (0.0, 0.0)
        packed = (
            _double(1, low) + _double(2, high) + _double(3, heights.sum()) + _double(4, float(heights @ middles))
            + _double(5, float(heights @ middles**2)) + _bytes(6, edges.tobytes()) + _bytes(7, heights.tobytes())
        )  # fmt: skip
        self._value(step, _bytes(1, tag.encode()) + _bytes(5, packed))

    def close(self) -> None:
        """Write what is left."""
        self._file.close()

    def _value(self, step: int, value: bytes) -> None:
        self._record(_double(1, self._time) + _varint_field(2, step) + _bytes(5, _bytes(1, value)))

    def _record(self, data: bytes) -> None:
        length = struct.pack("<Q", len(data))
        self._file.write(length + struct.pack("<I", _masked_crc(length)))
        self._file.write(data + struct.pack("<I", _masked_crc(data)))


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _varint_field(place: int, number: int) -> bytes:
    return _varint(place << 3 | _VARINT) + _varint(number)


def _double(place: int, number: float) -> bytes:
    return _varint(place << 3 | _DOUBLE) + struct.pack("<d", number)


def _float(place: int, number: float) -> bytes:
    return _varint(place << 3 | _FLOAT) + struct.pack("<f", number)


def _bytes(place: int, data: bytes) -> bytes:
    return _varint(place << 3 | _BYTES) + _varint(len(data)) + data


@dataclass
class Events:
    """What the event files of a folder hold."""

    scalars: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    """Tag to (step, value), in the order in which they were written."""
    histograms: dict[str, list[tuple[int, Doubles, Doubles]]] = field(default_factory=lambda: defaultdict(list))
    """Tag to (step, upper edges, counts)."""
    first: float = 0.0
    """Time of the first event, in seconds since 1970."""
    last: float = 0.0
    damage: list[str] = field(default_factory=list)
    """What could not be read and why, a sentence each."""


def read_events(folder: Path) -> Events:
    """All event files of a folder, those of its subfolders with their names before the tags.

    Raises: BadFile, when there is none.
    """
    files = (
        [folder] if folder.is_file() else sorted(folder.rglob("*tfevents*"), key=lambda path: (path.parent, path.name))
    )
    files = [path for path in files if path.is_file()]
    if not files:
        raise BadFile(f"{folder} holds no event files of TensorBoard (their names contain tfevents)")
    events = Events()
    for file in files:
        below = "" if folder.is_file() else file.parent.relative_to(folder).as_posix()
        prefix = "" if below in ("", ".") else f"{below}/"
        try:
            for record in _records(file):
                _read_event(record, prefix, events)
        except (ValueError, struct.error, IndexError) as error:
            events.damage.append(f"{file} is damaged from some point on ({error}); what is before it was read")
        except OSError as error:
            events.damage.append(f"{file} cannot be read: {error.strerror}")
    return events


def _records(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while len(head := stream.read(12)) == 12:
            length, checksum = struct.unpack("<QI", head)
            if _masked_crc(head[:8]) != checksum or length > LARGEST_RECORD:
                raise ValueError("a length that does not fit its checksum")
            data, tail = stream.read(length), stream.read(4)
            if len(data) < length or len(tail) < 4:
                return  # still being written
            yield data


def fields_of(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, kind and value of each field of a message."""
    place = 0
    while place < len(data):
        key, place = _read_varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _read_varint(data, place)
            yield number, kind, value
        elif kind in (_DOUBLE, _FLOAT):
            size = 8 if kind == _DOUBLE else 4
            if place + size > len(data):
                raise ValueError("a field that ends too early")
            yield number, kind, data[place : place + size]
            place += size
        elif kind == _BYTES:
            size, place = _read_varint(data, place)
            if place + size > len(data):
                raise ValueError("a field that ends too early")
            yield number, kind, data[place : place + size]
            place += size
        else:
            raise ValueError(f"a field of kind {kind}")


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7
        if shift > 63:
            raise ValueError("a number that is too long")


def _read_event(record: bytes, prefix: str, events: Events) -> None:
    step, when, values = 0, 0.0, []
    for number, _, value in fields_of(record):
        if number == 1 and isinstance(value, bytes):
            when = float(struct.unpack("<d", value)[0])
        elif number == 2 and isinstance(value, int):
            step = value - (1 << 64) if value >> 63 else value
        elif number == 5 and isinstance(value, bytes):
            values += [inner for place, _, inner in fields_of(value) if place == 1 and isinstance(inner, bytes)]
    events.first = min(events.first or when, when)
    events.last = max(events.last, when)
    for one in values:
        _read_value(one, step, prefix, events)


def _read_value(data: bytes, step: int, prefix: str, events: Events) -> None:
    tag, plugin = "", ""
    for number, _, value in fields_of(data):
        if number == 1 and isinstance(value, bytes):
            tag = prefix + value.decode("utf-8", "replace")
        elif number == 9 and isinstance(value, bytes):
            plugin = _plugin(value)
        elif number == 2 and isinstance(value, bytes):
            events.scalars[tag].append((step, float(struct.unpack("<f", value)[0])))
        elif number == 5 and isinstance(value, bytes):
            parts = {place: inner for place, _, inner in fields_of(value) if isinstance(inner, bytes)}
            edges, counts = (np.frombuffer(parts.get(place, b""), "<f8") for place in (6, 7))
            if edges.size == counts.size:
                events.histograms[tag].append((step, edges, counts))
        elif number == 8 and isinstance(value, bytes) and plugin in ("", "scalars"):
            number_read = _scalar_tensor(value)
            if number_read is not None:
                events.scalars[tag].append((step, number_read))


def _plugin(metadata: bytes) -> str:
    for number, _, value in fields_of(metadata):
        if number == 1 and isinstance(value, bytes):
            for place, _, inner in fields_of(value):
                if place == 1 and isinstance(inner, bytes):
                    return inner.decode("utf-8", "replace")
    return ""


def _scalar_tensor(tensor: bytes) -> float | None:
    """The number of a tensor that holds one: as its content, or as a list of floats or doubles."""
    kind, found = 0, None
    for number, _, value in fields_of(tensor):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number in (4, 5, 6) and isinstance(value, bytes):
            width = {1: ("<f", 4), 2: ("<d", 8)}.get(kind)
            if width is not None and len(value) == width[1]:
                found = float(struct.unpack(width[0], value)[0])
    return found
