"""Which parameters two optimizers move by one and the same gradient."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from stethoscope.facts.overlap import Overlap
from stethoscope.observe.training.models import ModelBook
from stethoscope.observe.training.protocol import OptimizerEntry, Snapshot, is_clear, same_values, snapshot

MOST_PROBES = 4


@dataclass(eq=False)
class _Pair:
    """Two optimizers with parameters in common."""

    held: tuple[tuple[int, ...], tuple[int, ...]]
    """Identities of the parameters of both, when the pair was made."""
    shared: list[weakref.ref[Tensor]]
    last: dict[int, tuple[int, list[Snapshot]]] = field(default_factory=dict)
    """By the number of an optimizer, which of its steps was watched last, and the probes' gradients at that."""
    watched: dict[int, int] = field(default_factory=dict)
    repeated: dict[int, int] = field(default_factory=dict)
    """By the number of the optimizer that steps as the second one."""
    found: tuple[str, int, int] = ("", 0, 0)
    """Name of the first of the parameters, how many there are, and of how many values."""

    def alive(self) -> list[Tensor]:
        """The parameters in common."""
        return [tensor for reference in self.shared if (tensor := reference()) is not None]

    def probes(self) -> list[Snapshot]:
        """Gradients of a few of them, spread over the list."""
        tensors, count = self.alive(), min(len(self.shared), MOST_PROBES)
        return [snapshot(tensors[i * (len(tensors) - 1) // max(1, count - 1)].grad) for i in range(count) if tensors]


class OverlapBook:
    """Compares the gradients that optimizers with parameters in common step on.

    Args:
        book: knows the parameters' names.
    """

    def __init__(self, book: ModelBook) -> None:
        self._book = book
        self._pairs: dict[tuple[int, int], _Pair] = {}
        self._stepping: list[int] = []
        """Numbers of the optimizers whose steps are under way: one within another one belongs to it."""

    def step_begins(self, entry: OptimizerEntry, optimizers: Sequence[OptimizerEntry]) -> None:
        """One of several optimizers is about to step, at a step that is attended to."""
        self.step_ended(entry)  # a step that raised was never heard to end
        self._stepping.append(entry.index)
        if len(self._stepping) > 1:
            return
        for other in optimizers:
            if other is not entry and other.steps and (pair := self._pair(entry, other)).shared:
                self._compare(pair, entry, other)

    def step_ended(self, entry: OptimizerEntry) -> None:
        """It has stepped."""
        if entry.index in self._stepping:
            del self._stepping[self._stepping.index(entry.index) :]

    def _pair(self, entry: OptimizerEntry, other: OptimizerEntry) -> _Pair:
        first, second = sorted((entry, other), key=lambda each: each.index)
        held = (first.parameter_ids, second.parameter_ids)
        known = self._pairs.get((first.index, second.index))
        if known is None or known.held[0] is not held[0] or known.held[1] is not held[1]:
            ids = {id(tensor) for tensor in other.tensors()}
            shared = [weakref.ref(tensor) for tensor in entry.tensors() if id(tensor) in ids]
            known = self._pairs[first.index, second.index] = _Pair(held, shared)
        return known

    def _compare(self, pair: _Pair, entry: OptimizerEntry, other: OptimizerEntry) -> None:
        now = pair.probes()
        step, before = pair.last.get(other.index, (-1, []))
        if step + 1 == other.steps and any(gradient is not None for gradient in now):
            pair.watched[entry.index] = pair.watched.get(entry.index, 0) + 1
            if any(_is_same(old, new) for old, new in zip(before, now, strict=False)):
                pair.repeated[entry.index] = pair.repeated.get(entry.index, 0) + 1
                if not pair.found[1]:
                    pair.found = self._found(pair)
        pair.last[entry.index] = (entry.steps, now)

    def _found(self, pair: _Pair) -> tuple[str, int, int]:
        tensors = [tensor for tensor in pair.alive() if tensor.grad is not None]
        known = self._book.parameter_of(tensors[0])
        return known.name if known is not None else "", len(tensors), sum(tensor.numel() for tensor in tensors)

    def facts(self) -> tuple[Overlap, ...]:
        """The frozen form, of pairs that stepped on one gradient."""
        return tuple(self._facts())

    def _facts(self) -> Iterator[Overlap]:
        for numbers, pair in self._pairs.items():
            for second, times in pair.repeated.items():
                (first,) = (number for number in numbers if number != second)
                yield Overlap(first, second, *pair.found, pair.watched[second], times)


def _is_same(old: Snapshot, new: Snapshot) -> bool:
    """Whether nothing has written to a gradient since."""
    if old is None or new is None or is_clear(new):
        return False
    return old[0] == new[0] and same_values(old, new)
