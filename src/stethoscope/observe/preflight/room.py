"""The memory that a step takes, and the largest batch for which there is room."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stethoscope.facts.model import Room
from stethoscope.observe.model.apart import seed
from stethoscope.observe.model.free_memory import free_memory
from stethoscope.observe.model.ingredients import Pass, tensors_in
from stethoscope.observe.preflight.subject import CannotMake, Subject, cut, rows_of
from stethoscope.observe.preflight.training import moving, take

SETTLED = 1.1
"""Times as much as before that a further sample may add where memory grows with the number of samples."""
BENT = 1.5
"""Times as much that it adds, when the batch is doubled, where it grows with their square: twice as much in the end."""
LARGEST = 16
"""Times the batch that is tried at most."""
MOST_TRIED = 1 << 30
"""Bytes, or a quarter of what is free, that a batch may take which is larger than the script's."""
USABLE = 0.8
"""Share of the free memory that a batch may fill. Four networks took up to 1.3 times what is counted here: kernels take
memory for themselves while they work, and some is lost between blocks."""
STEPS = 5
"""Passes that are made after the first one."""


class Tally(TorchDispatchMode):  # type: ignore[misc]
    """Counts the bytes of the tensors that operations make and that are still held.

    What an operation takes for itself and gives back is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self._live: dict[int, int] = {}
        """By the address of a storage, its number in the order in which they were met."""
        self._references: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._sizes: list[int] = []
        self._events: list[int] = []
        """Numbers of storages: as they are when they are made, and negative, less 1, when they are gone."""
        self._left_out: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count what it made."""
        for storage in _storages(tree_leaves((args, kwargs))):
            self._note(storage, 0)
        result = func(*args, **(kwargs or {}))
        for storage in _storages(tree_leaves(result)):
            self._note(storage, storage.nbytes())
        return result

    def _note(self, storage: torch.UntypedStorage, size: int) -> None:
        address = storage._cdata
        if address not in self._live:
            number = self._live[address] = len(self._sizes)
            self._sizes.append(size)
            self._events.append(number)
            self._references[number] = weakref.ref(storage, lambda _: self._gone(address, number))

    def _gone(self, address: int, number: int) -> None:
        del self._live[address], self._references[number]
        self._events.append(-1 - number)

    def leave_out(self, tensor: Tensor) -> None:
        """Do not count this tensor, neither now nor before."""
        for storage in _storages([tensor]):
            if storage._cdata in self._live:
                self._left_out.add(self._live[storage._cdata])

    @property
    def now(self) -> int:
        """Bytes that are held."""
        return self._over_time()[-1]

    @property
    def peak(self) -> int:
        """The most that was held."""
        return max(self._over_time())

    def _over_time(self) -> list[int]:
        changes = [self._sizes[event] if event >= 0 else -self._sizes[-1 - event] for event in self._events]
        kept = [
            change if max(event, -1 - event) not in self._left_out else 0
            for event, change in zip(self._events, changes, strict=True)
        ]
        return [0, *accumulate(kept)]


def _storages(leaves: Iterable[Any]) -> Iterator[torch.UntypedStorage]:
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            parts = (
                (leaf,) if leaf.layout is torch.strided else (leaf._indices(), leaf._values()) if leaf.is_sparse else ()
            )
            for part in parts:
                yield part.untyped_storage()


def room_of(subject: Subject, until: float) -> Room:
    """Take steps of a copy and count their memory: as they are, and with a part of the batch.

    Raises: CannotMake for steps that cannot be taken, or not in time.
    """
    seed(0)
    model, optimizer = subject.copy()
    moving(optimizer)
    one = subject.first
    began = time.perf_counter()
    take(subject.recipe, [one], model, optimizer)  # makes the optimizer's state
    seconds = time.perf_counter() - began
    if began + (1 + STEPS) * seconds > until:
        raise CannotMake(f"a step takes {seconds:.2g} s, too long for {STEPS} more")
    held = _bytes([*model.parameters(), *model.buffers(), *_state(optimizer)])
    with Tally() as tally:
        take(subject.recipe, [one], model, optimizer)
    optimizer.zero_grad()
    gradients = _bytes(p for p in model.parameters() if p.requires_grad)
    device = next(iter(model.parameters())).device
    free = free_memory(device)
    rows = 0 if subject.time_comes_first else subject.rows
    most = MOST_TRIED if free is None else min(MOST_TRIED, free / 4)
    each, base, bent = _growth(subject, model, rows, until, most) if rows else (math.nan, math.nan, False)
    return Room(
        device=device.type,
        batch=rows,
        step_bytes=held + one.size + tally.peak,
        sample_bytes=each,
        fixed_bytes=held + gradients + max(0.0, base) if base == base else math.nan,
        free_bytes=math.nan if free is None else float(free),
        samples=subject.samples,
        usable=USABLE,
        grows_faster=bent,
    )


def _growth(subject: Subject, model: nn.Module, rows: int, until: float, most: float) -> tuple[float, float, bool]:
    """What each further sample takes, what none would, and whether the first of these rises with the batch.

    Gradients of parameters are dropped as they come: they do not grow with the batch, and would hide what does. The
    batch, or a quarter of it to begin with, is doubled until what a sample adds stays the same: of a small one other
    things may take more, and in these it does not show.
    """
    count = max(1, rows // 4)
    try:
        last = _passing(subject, model, subject.first, count)
        early, late, takes = 0.0, math.inf, last
        while late > SETTLED * early and count < LARGEST * rows:
            if count > rows and (2 * takes > most or time.perf_counter() > until):
                break
            count *= 2
            takes = _passing(subject, model, subject.first, count)
            early, late, last = late if math.isfinite(late) else 0.0, (takes - last) / (count / 2), takes
    except (CannotMake, RuntimeError, ValueError, IndexError):  # the model or its loss takes no part of the batch
        return math.nan, math.nan, False
    if not 0 < late < math.inf:
        return math.nan, math.nan, False
    return late, takes - late * count, late > BENT * early


def _passing(subject: Subject, model: nn.Module, whole: Pass, count: int) -> int:
    """The most that a forward and a backward pass hold, on so many samples: those of a batch, over and over again."""
    rows = rows_of(whole)
    one = cut(whole, [row % rows for row in range(count)])
    with Tally() as tally:

        def drop(parameter: Tensor) -> None:
            if parameter.grad is not None:
                tally.leave_out(parameter.grad)
            parameter.grad = None

        handles = [p.register_post_accumulate_grad_hook(drop) for p in model.parameters() if p.requires_grad]
        try:
            loss = subject.loss(model, one)
            if loss.requires_grad:
                loss.backward()
        finally:
            for handle in handles:
                handle.remove()
    peak: int = tally.peak
    return peak + one.size


def _state(optimizer: Any) -> list[Tensor]:
    return [tensor for _, tensor in tensors_in([*getattr(optimizer, "state", {}).values()])]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
