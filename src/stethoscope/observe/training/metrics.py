"""The ear for what a script measures by itself: largest scores, and what is compared with `==`.

Only what surely is no accuracy is kept: answers of the model stretched against targets, and answers taken along
another axis than the classes'.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stethoscope.facts.metrics import Comparison
from stethoscope.observe.training.sites import Spot, site_of, spot

if TYPE_CHECKING:
    from stethoscope.observe.training.state import State

MOST_VALUES = 1 << 18
"""Larger answers are not kept for comparison."""
MOST_LINES = 16
MOST_SUSPECTS = 4


@dataclass(frozen=True)
class Suspect:
    """Largest scores along another axis than the classes'."""

    found: Tensor
    meant: Tensor
    shape: tuple[int, ...]
    axis: int
    place: Spot | None


@dataclass(eq=False)
class ComparisonEntry:
    """Comparisons at one line; becomes a `facts.metrics.Comparison`."""

    kind: str
    place: Spot | None
    reduced_at: Spot | None
    axis: int
    first_step: int
    last_step: int = 0
    times: int = 0
    rows: int = 0
    told: float = 0.0
    meant: float = 0.0
    shapes: tuple[tuple[int, ...], ...] = ((), (), (), ())

    def fact(self) -> Comparison:
        """The frozen form."""
        output, left, right, result = self.shapes
        return Comparison(
            self.kind, site_of(self.place), site_of(self.reduced_at), self.axis, output, left, right, result,
            self.times, self.rows, self.first_step, self.last_step, self.told / self.times, self.meant / self.times,
        )  # fmt: skip


class MetricEar:
    """Hears `argmax`, `max` and `==` while forward passes are heard."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.answer: Tensor | None = None
        """The last answer of a model, where it is small enough to be compared with anything."""
        self._suspects: deque[Suspect] = deque(maxlen=MOST_SUSPECTS)
        self._entries: dict[tuple[str, Spot | None], ComparisonEntry] = {}
        self._busy = False

    def answered(self, output: Tensor | None) -> None:
        """A model was asked; None forgets the last answer."""
        self._suspects.clear()
        usable = output is not None and output.dim() and 1 < output.numel() <= MOST_VALUES and not output.is_complex()
        self.answer = output.detach() if output is not None and usable else None

    def reduced(self, args: Any, kwargs: Any, result: Any) -> None:
        """`argmax` or `max` was called."""
        answer = self.answer
        tensor = args[0] if args else kwargs.get("input")
        if self._busy or answer is None or answer.dim() != 2 or not isinstance(tensor, Tensor):
            return
        axis = args[1] if len(args) > 1 else kwargs.get("dim")
        found = result if isinstance(result, Tensor) else getattr(result, "indices", None)
        if tensor.shape != answer.shape or axis not in (0, -2, None) or min(tensor.shape) < 2 or found is None:
            return
        if found.dtype != torch.int64 or (axis is None and found.dim()):
            return
        self._busy = True
        try:
            meant = tensor.detach().argmax(dim=1)
            # What is no increasing function of the scores, sample by sample, is another matter.
            if bool((meant == answer.argmax(dim=1)).all()):
                along = -1 if axis is None else 0
                self._suspects.append(Suspect(found.detach(), meant, tuple(tensor.shape), along, spot(4)))
        finally:
            self._busy = False

    def compared(self, args: Any, kwargs: Any, result: Any) -> None:
        """Two things were compared by `==`."""
        left = args[0] if args else kwargs.get("input")
        right = args[1] if len(args) > 1 else kwargs.get("other")
        if self._busy or self.answer is None or not (isinstance(left, Tensor) and isinstance(right, Tensor)):
            return
        if not isinstance(result, Tensor) or (left.shape == right.shape and not self._suspects):
            return
        self._busy = True
        try:
            self._judge(self.answer, left, right, result)
        finally:
            self._busy = False

    def _judge(self, answer: Tensor, left: Tensor, right: Tensor, result: Tensor) -> None:
        for suspect in self._suspects:
            for side, other in ((left, right), (right, left)):
                if _is_of(side, suspect.found) and other.dim() and not _counts_up(other):
                    count = min(other.numel(), suspect.meant.numel())
                    meant = suspect.meant[:count] == other.detach().reshape(-1)[:count]
                    entry = self._entry("axis", suspect.place, suspect.axis)
                    if entry is not None:
                        shapes = suspect.shape, tuple(left.shape), tuple(right.shape), tuple(result.shape)
                        self._note(entry, shapes, result, meant)
                    return
        rows = left.numel()
        if rows < 2 or rows != right.numel() or result.numel() != rows * rows or answer.shape[0] != rows:
            return
        for side, other in ((left, right), (right, left)):
            is_answer = any(_same(side, candidate) for candidate in answers_of(answer))
            if is_answer and not (_shares_memory(side, other) or _same(side, other) or _counts_up(other)):
                entry = self._entry("pairs", None, -1)
                if entry is not None:
                    shapes = tuple(answer.shape), tuple(left.shape), tuple(right.shape), tuple(result.shape)
                    self._note(entry, shapes, result, side.detach().reshape(-1) == other.detach().reshape(-1))
                return

    def _entry(self, kind: str, reduced_at: Spot | None, axis: int) -> ComparisonEntry | None:
        place = spot(6)
        known = self._entries.get((kind, place))
        if known is None and len(self._entries) < MOST_LINES:
            known = ComparisonEntry(kind, place, reduced_at, axis, self._state.steps)
            self._entries[kind, place] = known
        return known

    def _note(self, entry: ComparisonEntry, shapes: tuple[tuple[int, ...], ...], result: Tensor, meant: Tensor) -> None:
        entry.times += 1
        entry.rows += meant.numel()
        entry.last_step = self._state.steps
        entry.shapes = shapes
        entry.told += float(result.detach().double().mean()) if result.numel() else math.nan
        entry.meant += float(meant.double().mean()) if meant.numel() else math.nan

    def facts(self) -> tuple[Comparison, ...]:
        """The frozen forms."""
        return tuple(entry.fact() for entry in self._entries.values() if entry.times)


def answers_of(answer: Tensor) -> Iterator[Tensor]:
    """What a model may be taken to say by an answer: the class, or yes and no."""
    if answer.dim() == 2 and answer.shape[1] > 1:
        yield answer.argmax(dim=1)
    elif answer.numel() == answer.shape[0]:
        yield answer > 0
        yield answer > 0.5


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether both hold the same values, two different ones at least."""
    if one.numel() != other.numel():
        return False
    flat = one.detach().reshape(-1)
    equal = bool((flat.double() == other.detach().reshape(-1).double()).all())
    return equal and bool((flat != flat[0]).any())


def _is_of(side: Tensor, found: Tensor) -> bool:
    """Whether a tensor is a part of these indices, or a copy of them."""
    return _shares_memory(side, found) or _same(side, found)


def _shares_memory(one: Tensor, other: Tensor) -> bool:
    return bool(one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr())


def _counts_up(values: Tensor) -> bool:
    """Whether each value is the one before it and 1, as of `arange`: the places of pairs, or the classes themselves."""
    flat = values.detach().reshape(-1).long()
    return bool(flat.numel() > 1 and (flat[1:] - flat[:-1] == 1).all())
