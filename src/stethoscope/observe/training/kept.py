"""Graphs that outlive their step: a mark is left on the node of a loss, and it is seen whether the mark is still there.

A mark is an entry in the node's own dictionary (where torch keeps the stacks of anomaly mode): it goes when the node
goes, and nothing else ever reads it.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from stethoscope.facts.flow import Kept
from stethoscope.observe.training.cuts import handing_on
from stethoscope.observe.training.sites import Spot, site_of

MOST_MARKS = 400
MOST_LINES = 16
_KEY = "stethoscope"


class _Mark:
    __slots__ = ("__weakref__",)


@dataclass(eq=False)
class KeptEntry:
    """The losses of one line; becomes a `facts.flow.Kept`."""

    what: str
    place: Spot | None
    marks: list[tuple[int, weakref.ref[_Mark]]] = field(default_factory=list)
    """Step and mark, oldest first."""
    marked: int = 0
    most_alive: int = 0
    oldest: int = 0
    share: float = 0.0

    def add(self, step: int, loss: Tensor) -> None:
        """Leave a mark on what made a loss."""
        metadata: dict[str, Any] | None = getattr(loss.grad_fn, "metadata", None)
        if metadata is None or _KEY in metadata or len(self.marks) >= MOST_MARKS:
            return
        mark = metadata[_KEY] = _Mark()
        self.marks.append((step, weakref.ref(mark)))
        self.marked += 1

    def count(self, step: int) -> None:
        """How many of the marks from before this step are still there?"""
        before = [(made, mark() is not None) for made, mark in self.marks if made < step]
        alive = sum(lives for _, lives in before)
        if alive > self.most_alive:
            first = next(i for i, (_, lives) in enumerate(before) if lives)
            self.most_alive, self.oldest, self.share = alive, step - before[first][0], alive / len(before[first:])
        if not alive:
            self.marks = [(made, mark) for made, mark in self.marks if made >= step]


class KeptBook:
    """Losses by line, and which of their graphs are still there."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, Spot | None], KeptEntry] = {}

    def see(self, what: str, place: Spot | None, number: int, loss: Tensor) -> None:
        """A loss that has a graph; `number` rises from one to the next (steps, calls of a pass)."""
        key = (what, place)
        if key not in self._entries and len(self._entries) >= MOST_LINES:
            return
        entry = self._entries.setdefault(key, KeptEntry(what, place))
        entry.count(number)
        entry.add(number, loss)

    def facts(self) -> tuple[Kept, ...]:
        """The frozen forms of those of which any were kept."""
        return tuple(
            Kept(
                entry.what,
                site_of(entry.place),
                entry.marked,
                entry.most_alive,
                entry.oldest,
                entry.share,
                handing_on(entry.place),
            )
            for entry in self._entries.values()
            if entry.most_alive > 1
        )
