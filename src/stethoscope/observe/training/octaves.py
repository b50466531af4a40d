"""Counts octave histograms at some of the looks: at all of the first, later at ever fewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stethoscope.facts.octaves import BINS, OctaveLook, octaves
from stethoscope.observe.training.gathering import Gathered
from stethoscope.observe.training.reduction import SLOTS

MOST_LOOKS = 24
MOST_BYTES = 2 << 20
"""For all of them; the histograms of one look at ten layers take 5 kB."""

AT_ONCE = 128
"""Tensors that are counted in one go: what stands beside the user's model meanwhile stays below 2 MB."""


class OctaveLog:
    """The histograms so far. When there are too many every second one goes, and half as many come from then on."""

    def __init__(self) -> None:
        self._kept: list[OctaveLook] = []
        self._looks = 0
        self._every = 1
        self._fact: tuple[OctaveLook, ...] = ()

    def see(self, steps: Sequence[int], layers: int, parameters: int, gathered: Sequence[Gathered]) -> None:
        """Take looks that are being reduced.

        Args:
            steps: of the looks.
            layers: known by now.
            parameters: known by now.
            gathered: sampled values of outputs, their gradients, parameters, their gradients.
        """
        for place, step in enumerate(steps):
            number = self._looks + place
            if number % self._every == 0:
                self._kept.append(_counted(step, place, layers, parameters, gathered))
                self._thin()
        self._looks += len(steps)

    def _thin(self) -> None:
        while len(self._kept) > MOST_LOOKS or self._bytes() > MOST_BYTES:
            if len(self._kept) == 1:  # of so large a model the first look and no other
                self._every = 1 << 62
                return
            self._kept = self._kept[::2]
            self._every *= 2

    def _bytes(self) -> int:
        return sum(one.cells.nbytes + one.counts.nbytes for one in self._kept)

    def fact(self) -> tuple[OctaveLook, ...]:
        """The frozen form, by step; the very object of last time while nothing came."""
        if len(self._fact) != len(self._kept) or any(a is not b for a, b in zip(self._fact, self._kept, strict=True)):
            self._fact = tuple(self._kept)
        return self._fact


def _counted(
    step: int, place: int, layers: int, parameters: int, gathered: Sequence[Gathered]
) -> OctaveLook:  # fmt: skip
    look = OctaveLook(step, layers, parameters, np.zeros(0, np.uint32), np.zeros(0, np.uint16))
    cells, counts = [look.cells], [look.counts]
    for first, got in zip(look.first_rows, gathered, strict=True):
        slots, ends = np.array(got.slots, np.int64), np.array([*got.starts, got.values.size], np.int64)
        mine = np.flatnonzero(slots // SLOTS == place)
        for start in range(0, mine.size, AT_ONCE):
            part = mine[start : start + AT_ONCE]
            rows = first + slots[part] % SLOTS
            values = np.concatenate([got.values[ends[one] : ends[one + 1]] for one in part])
            lowest = int(rows.min())
            found = np.bincount(np.repeat(rows - lowest, ends[part + 1] - ends[part]) * BINS + octaves(values))
            filled = np.flatnonzero(found)
            cells.append((filled + lowest * BINS).astype(np.uint32))
            counts.append(found[filled].astype(np.uint16))
    every = np.concatenate(cells)
    order = np.argsort(every)
    return replace(look, cells=every[order], counts=np.concatenate(counts)[order])
