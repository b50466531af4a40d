"""Texts as codes by their hashes, a block of rows at a time: half the cost of grouping them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stethoscope.observe.data.tallies import tallied

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]
Places = NDArray[np.uint16] | NDArray[np.int32]

BUCKETS = 1 << 16
BLOCK = 1 << 15
"""Rows that stay in the second cache while they are looked at."""
SHORT = 12
"""Bytes in the mean text up to which hashes are made here: eight of them are read at a time."""
MIX = np.uint64(0x9E37_79B9_7F4A_7C15)
"""An odd number whose bits are evenly spread: 2**64 by the golden ratio."""
SIZE = np.uint64(0xD6E8_FEB8_6659_FD93)
"""What a text's length is multiplied with: `a` and `a` before a byte of 0 are different."""
NULL = np.uint64(0x5851_F42D_4C95_7F2D)
"""Of rows without a text."""
NOTHING = np.uint64(0x1405_7B7E_F767_814F)
"""Stands where no hash is known."""
VIEWED = 1 << 17
"""Rows whose views are written at a time: 2 MB."""
INLINE = 12
"""Bytes of a text up to which its view holds all of it."""
FEW = 1 << 12
"""Different texts that are worth it in any case."""


class Room:
    """Memory for a block, used for one column after another: to ask the system for it costs more than to count."""

    def __init__(self) -> None:
        self.places, self.sizes, self.codes = (np.empty(BLOCK, np.int64) for _ in range(3))
        self.hashes, self.shifts, self.back, self.second = (np.empty(BLOCK, np.uint64) for _ in range(4))
        self.differs = np.empty(BLOCK, np.bool_)
        self.known = np.empty(BUCKETS, np.int64)


class Buckets:
    """Rows as the number of their hash among the different ones, by 16 bits of it.

    Hashes that share these bits with one that was there before are strays, and numbered at the end.
    """

    def __init__(self, rows: int, room: Room) -> None:
        self._numbers = np.empty(rows, np.uint16)
        self._room = room
        self._known = room.known
        """The number that each bucket stands for; 0 is of those that are empty."""
        self._known.fill(0)
        self._meant = np.full(1, NOTHING)
        """The hash of each number."""
        self._firsts = np.zeros(1, np.int64)
        """The row that each number was first met at."""
        self._counts = np.zeros(1, np.int64)
        self._strays: list[Ints] = []
        self._stray_hashes: list[Hashes] = []
        self._done = self._astray = 0

    def add(self, hashes: Hashes) -> bool:
        """The next rows, at most BLOCK; False where most of their texts are different: then another way is faster."""
        rows = hashes.size
        bucket, code, meant = self._room.places[:rows], self._room.codes[:rows], self._room.second[:rows]
        differs = self._room.differs[:rows]
        np.right_shift(hashes, np.uint64(48), out=bucket.view(np.uint64))
        np.take(self._known, bucket, out=code, mode="wrap")
        np.take(self._meant, code, out=meant, mode="wrap")
        if np.count_nonzero(np.not_equal(meant, hashes, out=differs)):
            other = np.flatnonzero(differs)
            if np.count_nonzero(code[other] == 0):
                other = self._learned(hashes, bucket, other)
                np.take(self._known, bucket, out=code, mode="wrap")
            code[other] = 0
            self._strays.append(other + self._done)
            self._stray_hashes.append(hashes[other])
            self._astray += other.size
        self._counts += tallied(code, self._counts.size)
        self._numbers[self._done : self._done + rows] = code
        self._done += rows
        most = min(max(FEW, self._done // 2), BUCKETS - 1)
        return self._counts.size <= most and self._astray <= self._done // 4

    def _learned(self, hashes: Hashes, bucket: Ints, other: Ints) -> Ints:
        """Number the buckets that were empty; which of these rows are strays."""
        fresh = other[self._known[bucket[other]] == 0]
        if fresh.size:
            self._known[bucket[fresh]] = fresh  # the last of the rows in a bucket stands for it
            chosen = fresh[self._known[bucket[fresh]] == fresh]
            self._known[bucket[chosen]] = np.arange(self._meant.size, self._meant.size + chosen.size)
            self._meant = np.append(self._meant, hashes[chosen])
            self._firsts = np.append(self._firsts, chosen + self._done)
            self._counts = np.append(self._counts, np.zeros(chosen.size, np.int64))
        strays: Ints = other[self._meant[self._known[bucket[other]]] != hashes[other]]
        return strays

    def told(self) -> tuple[Places, Ints, Ints]:
        """The number of each row, from 1, and of each number: how often it occurs, and a row in which it does."""
        numbers: Places = self._numbers
        counts, firsts = self._counts[1:], self._firsts[1:]
        if not self._astray:
            return numbers, counts, firsts
        strays, hashes = np.concatenate(self._strays), np.concatenate(self._stray_hashes)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        sizes = np.diff(np.append(starts, hashes.size))
        if counts.size + starts.size >= BUCKETS:
            numbers = numbers.astype(np.int32)
        numbers[strays[order]] = np.repeat(np.arange(counts.size + 1, counts.size + 1 + starts.size), sizes)
        return numbers, np.concatenate([counts, sizes]), np.concatenate([firsts, strays[order[starts]]])


def hashes_of(column: Any, room: Room) -> Iterator[Hashes] | None:
    """64 bits for each row of a chunked column of texts of Arrow (`Any`: it has no types), equal where the texts are.

    Returns:
        Blocks of rows, each of them valid until the next one; None where another way is better: for long texts, or
        bytes in the other order.
    """
    if sys.byteorder != "little" or column.nbytes > (SHORT + 8) * len(column):
        return None
    return _hashed(column.chunks, room)


def _hashed(chunks: Any, room: Room) -> Iterator[Hashes]:
    reader = Reader(room)
    by_views = _has_views()
    for chunk in chunks:
        missing = chunk.is_null().to_numpy(zero_copy_only=False) if chunk.null_count else None
        start = 0
        for made in _by_views(chunk, room) if by_views and chunk.buffers()[2] is not None else _by_words(chunk, reader):
            if missing is not None:
                made[missing[start : start + made.size]] = NULL
            start += made.size
            yield made


def _has_views() -> bool:
    """Whether this PyArrow writes texts as views: 16 bytes for each, with its size and its first 12 bytes or all."""
    import pyarrow as pa

    try:
        return len(pa.array(["a"], pa.large_string()).cast(pa.string_view())) == 1
    except (AttributeError, pa.ArrowException):
        return False


def _ends(chunk: Any) -> NDArray[Any]:
    """Where each text of a chunk starts among the letters, and where the last one ends."""
    wide = np.int64 if str(chunk.type).startswith("large") else np.int32
    ends: NDArray[Any] = np.frombuffer(chunk.buffers()[1], wide)[chunk.offset : chunk.offset + len(chunk) + 1]
    return ends


def _by_words(chunk: Any, reader: Reader) -> Iterator[Hashes]:
    ends = _ends(chunk)
    for start in range(0, len(chunk), BLOCK):
        yield reader.hashes(ends[start : start + BLOCK + 1], chunk.buffers()[2])


def _by_views(chunk: Any, room: Room) -> Iterator[Hashes]:
    """From two words for each text: a third less than reading them. Of longer texts the rest is read."""
    import pyarrow as pa

    _, starts, letters = chunk.buffers()
    width = 8 if str(chunk.type).startswith("large") else 4
    for start in range(0, len(chunk), VIEWED):
        rows = min(VIEWED, len(chunk) - start)
        ends = starts.slice(
            (chunk.offset + start) * width, (rows + 1) * width
        )  # a slice of the chunk costs what is before
        part = pa.Array.from_buffers(chunk.type, rows, [None, ends, letters])
        views = np.frombuffer(part.cast(pa.string_view()).buffers()[1], np.uint64)
        for first in range(0, rows, BLOCK):
            some = views[2 * first : 2 * min(first + BLOCK, rows)]
            made = room.hashes[: some.size // 2]
            np.multiply(some[::2], SIZE, out=made)
            np.add(made, some[1::2], out=made)
            np.multiply(made, MIX, out=made)
            sizes = some.view(np.uint32)[::4]
            if int(sizes.max()) > INLINE:
                places = np.flatnonzero(sizes > INLINE)
                longer = part.take(pa.array(places + first))
                made[places] = Reader(Room()).hashes(_ends(longer), longer.buffers()[2])
            yield made


class Reader:
    """Reads texts eight bytes at a time, those of a block together."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def hashes(self, ends: NDArray[Any], letters: Any) -> Hashes:
        """Of a block.

        Args:
            ends: where each text starts among the letters, and where the last one ends. Shape: (n + 1,).
            letters: the bytes of the column, in a buffer of Arrow's; None where there are none.
        """
        rows = ends.size - 1
        room = self._room
        places, sizes, shifts, made = room.places[:rows], room.sizes[:rows], room.shifts[:rows], room.hashes[:rows]
        first, last = int(ends[0]), int(ends[-1])
        words = np.empty((last - first) // 8 + 2, np.uint64)  # aligned, and with room at its end
        if last > first:
            words.view(np.uint8)[: last - first] = np.frombuffer(letters, np.uint8)[first:last]
        np.subtract(ends[1:], ends[:-1], out=sizes)
        np.subtract(ends[:-1], first, out=places)
        np.left_shift(places.view(np.uint64), np.uint64(3), out=shifts)
        np.bitwise_and(shifts, np.uint64(63), out=shifts)
        np.right_shift(places, 3, out=places)
        is_long = int(sizes.max(initial=0)) > 8
        self._read(words, places, shifts, np.minimum(sizes, 8) if is_long else sizes, made)
        np.add(made, np.multiply(sizes.view(np.uint64), SIZE, out=room.second[:rows]), out=made)
        np.multiply(made, MIX, out=made)
        if is_long:
            self._read_on(words, places, shifts, sizes, made)
        return made

    def _read_on(self, words: Hashes, places: Ints, shifts: Hashes, sizes: Ints, made: Hashes) -> None:
        """The words after the first one of those texts that have them."""
        rows, step = np.flatnonzero(sizes > 8), 0
        while rows.size:
            step += 1
            more = np.empty(rows.size, np.uint64)
            self._read(words, places[rows] + step, shifts[rows], np.minimum(sizes[rows] - 8 * step, 8), more)
            some = made[rows]
            some ^= some >> np.uint64(32)  # what was read is mixed before more is added: sums alone would meet
            some *= SIZE
            some += more
            some ^= some >> np.uint64(29)
            some *= MIX
            made[rows] = some
            rows = rows[sizes[rows] > 8 * (step + 1)]

    def _read(self, words: Hashes, places: Ints, shifts: Hashes, sizes: Ints, into: Hashes) -> None:
        """So many bytes, up to eight, from each place; they may lie in two words. A shift by 64 leaves nothing."""
        second, back = self._room.second[: into.size], self._room.back[: into.size]
        np.take(words, places, out=into, mode="wrap")
        np.right_shift(into, shifts, out=into)
        np.take(words[1:], places, out=second, mode="wrap")
        np.left_shift(second, np.subtract(np.uint64(64), shifts, out=back), out=second)
        np.bitwise_or(into, second, out=into)
        np.left_shift(sizes.view(np.uint64), np.uint64(3), out=back)
        np.left_shift(into, np.subtract(np.uint64(64), back, out=back), out=into)
