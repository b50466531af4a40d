"""The memory that a step takes, and the largest batch for which there is room."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stethoscope.facts.model import Room
from stethoscope.observe.model.apart import seed
from stethoscope.observe.model.free_memory import free_memory
from stethoscope.observe.model.ingredients import Pass, tensors_in
from stethoscope.observe.preflight.subject import CannotMake, Subject, cut
from stethoscope.observe.preflight.training import take

BENT = 1.1
"""Times the memory of the first samples of a batch that its last ones take, from which on it grows with more than the
number of samples, as comparisons of each with each do."""
USABLE = 0.9
"""Share of the free memory that a batch may fill: the rest is lost between blocks, or taken by kernels."""


class Tally(TorchDispatchMode):  # type: ignore[misc]
    """Counts the bytes of the tensors that operations make and that are still held.

    What an operation takes for itself and gives back is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count what it made."""
        for storage in _storages(tree_leaves((args, kwargs))):
            self._note(storage, 0)
        result = func(*args, **(kwargs or {}))
        for storage in _storages(tree_leaves(result)):
            self._note(storage, storage.nbytes())
        return result

    def _note(self, storage: torch.UntypedStorage, size: int) -> None:
        key = storage._cdata
        if key not in self._known:
            self._known[key] = size
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._known.pop(key)


def _storages(leaves: Iterable[Any]) -> Iterator[torch.UntypedStorage]:
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            parts = (
                (leaf,) if leaf.layout is torch.strided else (leaf._indices(), leaf._values()) if leaf.is_sparse else ()
            )
            for part in parts:
                yield part.untyped_storage()


def room_of(subject: Subject) -> Room:
    """Take steps of a copy and count their memory: as they are, and with a part of the batch.

    Raises: CannotMake for steps that cannot be taken.
    """
    seed(0)
    model, optimizer = subject.copy()
    one = subject.first
    take(subject.recipe, [one], model, optimizer)  # makes the optimizer's state
    held = _bytes([*model.parameters(), *model.buffers(), *_state(optimizer)])
    with Tally() as tally:
        take(subject.recipe, [one], model, optimizer)
    optimizer.zero_grad()
    gradients = _bytes(p for p in model.parameters() if p.requires_grad)
    device = next(iter(model.parameters())).device
    free = free_memory(device)
    rows = 0 if subject.time_comes_first else subject.rows
    each, base, bent = _growth(subject, model, rows) if rows else (math.nan, math.nan, False)
    return Room(
        device=device.type,
        batch=rows,
        step_bytes=held + one.size + tally.peak,
        sample_bytes=each,
        fixed_bytes=held + gradients + max(0.0, base) if base == base else math.nan,
        free_bytes=math.nan if free is None else float(free),
        usable=USABLE,
        grows_faster=bent,
    )


def _growth(subject: Subject, model: nn.Module, rows: int) -> tuple[float, float, bool]:
    """What each further sample takes, and what none would, by a forward and a backward pass of three sizes.

    Gradients of parameters are dropped as they come: they do not grow with the batch, and would hide what does.
    """
    sizes = (1, 2, 3) if rows < 4 else (rows // 2, 3 * rows // 4, rows)
    try:
        takes = [_passing(subject, model, cut(subject.first, [row % rows for row in range(size)])) for size in sizes]
    except (CannotMake, RuntimeError, ValueError, IndexError):  # the model or its loss takes no part of the batch
        return math.nan, math.nan, False
    early = (takes[1] - takes[0]) / (sizes[1] - sizes[0])
    late = (takes[2] - takes[1]) / (sizes[2] - sizes[1])
    each = (takes[2] - takes[0]) / (sizes[2] - sizes[0])
    if each <= 0:
        return math.nan, math.nan, False
    return each, takes[2] - each * sizes[2], late > BENT * early


def _passing(subject: Subject, model: nn.Module, one: Pass) -> int:
    handles = [p.register_post_accumulate_grad_hook(_drop) for p in model.parameters() if p.requires_grad and p.is_leaf]
    try:
        with Tally() as tally:
            loss = subject.loss(model, one)
            if loss.requires_grad:
                loss.backward()
    finally:
        for handle in handles:
            handle.remove()
    return tally.peak + one.size


def _drop(parameter: Tensor) -> None:
    parameter.grad = None


def _state(optimizer: Any) -> list[Tensor]:
    return [tensor for _, tensor in tensors_in([*getattr(optimizer, "state", {}).values()])]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
