"""Which rows of a data set a batch is made of: the numbers that a loader's sampler has drawn for it."""

from __future__ import annotations

import functools
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, strided
from torch.utils.data import Subset, default_collate

from stethoscope.observe.model.ingredients import tensors_in

MOST_BATCHES = 8
"""Batches whose numbers are remembered: some loops fetch the next one before they use the last."""
MOST_TENSORS = 8
MOST_NESTED = 8
Integers = NDArray[np.int64]


class RowNumbers:
    """Listens to data loaders of the map style, with workers and without.

    A batch is told by its values: a loop may fetch batches ahead of the one that it uses. No tensor is held. Only of
    collate functions that keep the order in which rows were drawn: one of the user's may sort them, as for packing.
    """

    def __init__(self) -> None:
        self._drawn: weakref.WeakKeyDictionary[Any, dict[int, tuple[Callable[[], Any], Any]]] = (
            weakref.WeakKeyDictionary()
        )
        """Of each iterator, the numbers of batches under way, by their place in the order, and what drew them: workers
        that stay begin the order anew, with numbers left over of which the batch was not heard."""
        self._recent: deque[tuple[Integers, list[weakref.ref[Tensor]]]] = deque(maxlen=MOST_BATCHES)

    def follow(self, original: Callable[[Any], Any], note: Callable[[Any, Any], None]) -> Callable[[Any], Any]:
        """A wrapper round a data loader's `_next_index`."""

        @functools.wraps(original)
        def following(batches: Any) -> Any:
            index = original(batches)
            note(batches, index)
            return index

        return following

    def drawn(self, batches: Any, index: Any) -> None:
        """The numbers of a coming batch were drawn."""
        if not keeps_order(batches._collate_fn):
            return
        if isinstance(index, list | tuple) and index and all(hasattr(one, "__index__") for one in index):
            drawn = self._drawn.setdefault(batches, {})
            drawn[getattr(batches, "_send_idx", 0)] = _reference(batches._sampler_iter), index

    def yielded(self, batches: Any, batch: Any) -> None:
        """A batch was given out."""
        received = getattr(batches, "_rcvd_idx", 1)  # one alone, where there are no workers
        drew, index = self._drawn.get(batches, {}).pop(received - 1, (_nothing, ()))
        if not len(index) or drew() is not batches._sampler_iter or not getattr(batches, "_in_order", True):
            return
        tensors = [t for _, t in tensors_in(batch) if _is_plain(t) and t.shape[0] == len(index)][:MOST_TENSORS]
        self._recent.append((_in_the_root(batches._dataset, index), [weakref.ref(t) for t in tensors]))

    def of(self, inputs: list[Tensor], target: Tensor) -> Integers | None:
        """The numbers of the rows of a batch that is in use; None where that is not certain."""
        found = [numbers for numbers, parts in self._recent if _holds(parts, target)]
        if len(found) != 1:
            found = [numbers for numbers, parts in self._recent if any(_holds(parts, each) for each in inputs)]
        return found[0] if len(found) == 1 and len(found[0]) == target.shape[0] else None


def keeps_order(collate: Any) -> bool:
    """Whether a collate function keeps the order of the rows that were drawn: torch's own does, and transformers's."""
    collate = getattr(collate, "data_collator", collate)  # of which a trainer only leaves columns out
    module = getattr(collate, "__module__", None) or type(collate).__module__
    return collate is default_collate or module.startswith("transformers.data.")


def _nothing() -> None:
    """What drew a batch that was not heard."""


def _reference(to: Any) -> Callable[[], Any]:
    """A weak one where that is possible: what draws rows may hold the order of all of them."""
    try:
        return weakref.ref(to)
    except TypeError:  # of a list of batches
        return lambda: to


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor has rows of real numbers that can be compared."""
    return tensor.dim() > 0 and tensor.layout is strided and not tensor.is_complex() and not tensor.is_meta


def _in_the_root(data: Any, index: Any) -> Integers:
    """Numbers in the data set that a `Subset` was taken from."""
    numbers = [int(one) for one in index]
    for _ in range(MOST_NESTED):
        if type(data) is not Subset:
            break
        numbers, data = [int(data.indices[one]) for one in numbers], data.dataset
    return np.array(numbers, np.int64)


def _holds(parts: list[weakref.ref[Tensor]], wanted: Tensor) -> bool:
    """Whether a batch has these values."""
    for reference in parts:
        part = reference()
        if part is not None and part.numel() == wanted.numel() and part.shape[0] == wanted.shape[0]:
            ours, theirs = part.detach().reshape(-1), wanted.detach().reshape(-1)
            if torch.equal(ours.double().cpu(), theirs.double().cpu()):
                return True
    return False
