"""Pictures that look the same: found by bands of a perceptual hash, and confirmed by their small gray pictures.

The hash is the difference hash on 9 x 8 grays (N. Krawetz, "Kind of Like That", 2013), with a step that is too small
to be seen taken for none, so that flat stretches do not flip their bits. Pairs that share one of four bands of 16 bits
are compared, in several orders of the bits: all pairs of a distance up to three are found without comparing each with
each, and most of up to eight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

SIDE = 16
"""Pixels of the small gray picture by which a pair is confirmed, on each side."""
STEP = 3.0
"""Grays of 0..255 by which neighbours differ before a bit is set."""
BANDS = 4
ORDERS = (1, 11, 19, 27)
"""Steps in which the bits are taken, odd so that each comes once."""
MOST_BITS = 10
"""Bits by which the hashes of a pair may differ, of 64."""
CROWDED = 24
"""Pictures that share a band from which on each is compared with the next ones only, in the order of the hashes."""
LIKE = 0.9965
"""Correlation of the small pictures from which on a pair looks the same: a new encoding or another size leaves 0.998,
and of 1,797 handwritten digits no two reach it."""
FLAT = 5.0
"""Standard deviation of the grays of 0..255, but for a gradient, below which all pictures look the same."""
SPREAD = 40.0
"""And that to which the others are brought, so that light and contrast do not tell."""

Hashes = NDArray[np.uint64]
Small = NDArray[np.uint8]


def evened(grays: NDArray[np.float64]) -> NDArray[np.float64]:
    """Grays with the same mean and spread for all pictures; zeros where there is nothing but a gradient, as in sky."""
    centred = grays - grays.mean()
    if _unevenness(centred) < FLAT:
        return grays * 0
    return np.asarray(np.clip(128 + centred * (SPREAD / float(grays.std())), 0, 255))


def _unevenness(centred: NDArray[np.float64]) -> float:
    """Standard deviation of what is left beside the plane that fits best."""
    left = centred
    for axis in (0, 1):
        place = np.arange(centred.shape[axis], dtype=np.float64)
        place -= place.mean()
        place = place[:, None] if axis == 0 else place[None, :]
        slope = (left * place).sum() / ((place**2).sum() * centred.size / place.size)
        left = left - slope * place
    return float(left.std())


def perceptual(grays: NDArray[np.float64]) -> int:
    """The hash of a picture as 8 rows of 9 evened grays. Shape: (8, 9)."""
    bits = (np.diff(grays, axis=1) > STEP).ravel()
    return int(np.packbits(bits).view(">u8")[0])


def alike_pairs(hashes: Hashes, small: Small, told_apart: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of pictures that look the same, the smaller place first; ascending.

    Args:
        hashes: (pictures,).
        small: (pictures, SIDE * SIDE) evened grays; flat ones are left out.
        told_apart: number of each picture's group of equal pixels; pairs within a group are left out.
    """
    groups = np.asarray(told_apart)
    varied = np.flatnonzero(small.any(1))
    found: set[tuple[int, int]] = set()
    for keys in _bands(hashes[varied]):
        for first, second in _candidates(keys, hashes[varied]):
            one, other = varied[first], varied[second]
            far = _set_bits(hashes[one] ^ hashes[other]) > MOST_BITS
            keep = ~far & (groups[one] != groups[other])
            one, other = one[keep], other[keep]
            if one.size:
                like = _correlation(small[one], small[other]) >= LIKE
                found.update(
                    (min(a, b), max(a, b)) for a, b in zip(one[like].tolist(), other[like].tolist(), strict=True)
                )
    return sorted(found)


def _bands(hashes: Hashes) -> Iterator[Hashes]:
    """Sixteen bits of each hash, differently chosen each time."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    for step in ORDERS:
        order = np.arange(64) * step % 64
        for band in np.split(order, BANDS):
            packed = np.packbits(bits[:, band], axis=1).astype(np.uint64)
            yield packed[:, 0] << np.uint64(8) | packed[:, 1]


def _set_bits(words: Hashes) -> NDArray[np.int64]:
    return np.asarray(np.unpackbits(words.view(np.uint8).reshape(-1, 8), axis=1).sum(1, dtype=np.int64))


def _candidates(keys: Hashes, hashes: Hashes) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Places of the pictures to compare, in two arrays of the same length."""
    order = np.lexsort((hashes, keys))
    ends = np.flatnonzero(np.diff(keys[order])) + 1
    bounds = np.concatenate([[0], ends, [keys.size]])
    number = np.repeat(np.arange(bounds.size - 1), np.diff(bounds))
    for step in range(1, CROWDED):
        same = np.flatnonzero(number[step:] == number[:-step]) if step < keys.size else np.zeros(0, np.int64)
        if not same.size:
            return
        yield order[same], order[same + step]


def _correlation(one: Small, other: Small) -> NDArray[np.float64]:
    """Of the grays of each pair. Shape: (pairs,)."""
    a, b = one.astype(np.float32), other.astype(np.float32)
    count = np.float32(a.shape[1])
    first, second = a.sum(1), b.sum(1)
    both = np.einsum("ij,ij->i", a, b) - first * second / count
    spread = (np.einsum("ij,ij->i", a, a) - first**2 / count) * (np.einsum("ij,ij->i", b, b) - second**2 / count)
    return np.asarray(both / np.sqrt(np.maximum(spread, 1)), np.float64)


def grouped(pairs: Sequence[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """The pictures that hang together by pairs, each group ascending, the groups by their first picture."""
    parent: dict[int, int] = {}

    def root(one: int) -> int:
        while parent.setdefault(one, one) != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    groups: dict[int, list[int]] = {}
    for one in sorted(parent):
        groups.setdefault(root(one), []).append(one)
    return tuple(tuple(group) for group in groups.values())


def same_groups(hashes: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Groups of places with equal texts."""
    places: dict[str, list[int]] = {}
    for place, one in enumerate(hashes):
        places.setdefault(one, []).append(place)
    return tuple(tuple(group) for group in places.values() if len(group) > 1)
