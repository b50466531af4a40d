"""Where batches come from and what becomes of them: which data set trains, which one only validates.

A batch belongs to the data loader that yielded it last. Which loader that is, is heard at attentive steps alone; so
some steps are attended to whenever a loader begins, and whenever a model is put in eval mode.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stethoscope.facts.flow import Stream
from stethoscope.observe.training.sites import Spot, site_of
from stethoscope.observe.training.validation import PassEntry

MOST_SOURCES = 20
MOST_STREAMS = 64
MOST_BATCHES = 500
BEGINNINGS_ATTENDED = 12
"""Times that the beginning of each data set is attended to."""


@dataclass(eq=False)
class StreamEntry:
    """Batches of one data set that a model was given in one way; becomes a `facts.flow.Stream`."""

    source: int
    use: str
    mode: str
    forward_from: Spot | None = None
    backward_from: Spot | None = None
    steps: list[int] = field(default_factory=list)
    prints: list[int] = field(default_factory=list)

    def add(self, step: int, prints: list[int]) -> None:
        """Batches that were used at a step; every second one is dropped when there are too many."""
        self.steps += [step] * len(prints)
        self.prints += prints
        if len(self.steps) > MOST_BATCHES:
            del self.steps[MOST_BATCHES // 2 :: 2], self.prints[MOST_BATCHES // 2 :: 2]


@dataclass(eq=False)
class Source:
    """A data set that a loader reads."""

    data: Any
    """A weak reference, where the data set allows one."""
    place: Spot | None
    samples: int
    shuffled: bool | None
    """None for an order of the user's own."""
    beginnings: int = 0
    orders: list[tuple[int, int]] = field(default_factory=list)
    """Seed and epoch of its distributed sampler, each time that it began and a step was made."""
    order: tuple[int, int] | None = None
    """Of the beginning under way, until a step is made."""


class StreamBook:
    """All data sets seen, and what was done with their batches."""

    def __init__(self) -> None:
        self._sources: list[Source] = []
        self._streams: dict[tuple[int, str, str], StreamEntry] = {}
        self._now = -1
        """The data set that yielded the last batch."""
        self._waiting: tuple[int, str, Spot | None, int] | None = None
        self._backward_from: Spot | None = None

    @property
    def now(self) -> int:
        """Number of the data set that the batch in use comes from; -1 when no loader yielded it."""
        return self._now

    def begins(
        self, data: Any, place: Spot | None, shuffled: bool | None, order: tuple[int, int] | None = None
    ) -> bool:
        """A loader begins to read a data set; says whether that is worth attending to."""
        self._now = number = self._number(data, place, shuffled)
        if number < 0:
            return False
        self._sources[number].beginnings += 1
        self._sources[number].order = order
        return self._sources[number].beginnings <= BEGINNINGS_ATTENDED

    def yielded(self, data: Any) -> None:
        """A loader gave out a batch."""
        self._now = next((n for n, source in enumerate(self._sources) if source.data() is data), -1)

    def ended(self) -> None:
        """A loader has no more batches."""
        self._now = -1

    def _number(self, data: Any, place: Spot | None, shuffled: bool | None) -> int:
        for number, source in enumerate(self._sources):
            if source.data() is data:
                return number
        if len(self._sources) >= MOST_SOURCES:
            return -1
        try:
            reference = weakref.ref(data)
        except TypeError:  # a list
            return -1
        try:
            samples = len(data)
        except Exception:  # it has no length, or cannot tell: that is the script's affair
            samples = 0
        self._sources.append(Source(reference, place, samples, shuffled))
        return len(self._sources) - 1

    # What is done with a batch

    def forward(self, mode: str, place: Spot | None, mark: int) -> None:
        """A model that an optimizer holds was called on a batch, with gradients on."""
        self._waiting = (self._now, mode, place, mark)
        self._backward_from = None

    def backward(self, place: Spot | None) -> None:
        """A loss was backpropagated."""
        self._backward_from = place

    def close_step(self, step: int) -> None:
        """A step was made: with which batch?"""
        if self._waiting is not None and self._backward_from is not None:
            source, mode, place, mark = self._waiting
            stream = self._stream(source, "training", mode)
            stream.forward_from, stream.backward_from = place, self._backward_from
            stream.add(step, [mark])
            if source >= 0 and (begun := self._sources[source]).order is not None and len(begun.orders) < MOST_BATCHES:
                begun.orders.append(begun.order)
                begun.order = None
        self._waiting = self._backward_from = None

    def validated(self, ended: PassEntry) -> None:
        """A validation pass has ended."""
        mode = "train" if 2 * ended.in_train_mode > ended.forwards else "eval"
        stream = self._stream(ended.source, "validation", mode)
        stream.forward_from = ended.place
        stream.add(ended.step, sorted(ended.inputs))

    def _stream(self, source: int, use: str, mode: str) -> StreamEntry:
        key = (source, use, mode)
        if key not in self._streams and len(self._streams) >= MOST_STREAMS:
            key = (-1, use, mode)
        return self._streams.setdefault(key, StreamEntry(*key))

    def facts(self) -> tuple[Stream, ...]:
        """The frozen forms, in order of appearance."""
        return tuple(
            Stream(
                stream.source,
                stream.use,
                stream.mode,
                self._sources[stream.source].samples if stream.source >= 0 else 0,
                self._sources[stream.source].shuffled if stream.source >= 0 else None,
                site_of(self._sources[stream.source].place) if stream.source >= 0 else None,
                site_of(stream.forward_from),
                site_of(stream.backward_from),
                np.array(stream.steps, np.int64),
                np.array(stream.prints, np.int64),
                len(self._sources[stream.source].orders) if stream.source >= 0 else 0,
                len(set(self._sources[stream.source].orders)) if stream.source >= 0 else 0,
            )
            for stream in self._streams.values()
        )
