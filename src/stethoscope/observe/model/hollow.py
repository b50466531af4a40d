"""Copies of models whose tensors hold no values: they take no memory, and tell shapes, types and devices."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from stethoscope.observe.model.copies import without_hooks
from stethoscope.observe.model.ingredients import mapped

DEEPEST = 3
"""Lists in lists in lists that are searched for tensors."""
LOGGER = "torch._subclasses.fake_tensor"


@dataclass(eq=False)
class Hollow:
    """A model without values."""

    model: nn.Module
    mode: FakeTensorMode
    held: frozenset[int] = frozenset()
    """Identities of those parameters of the copy that stand for what an optimizer holds."""

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Operations compute no values in here, and what torch writes of those that fail is not shown."""
        logger = logging.getLogger(LOGGER)
        was = logger.disabled
        logger.disabled = True
        try:
            with self.mode:
                yield
        finally:
            logger.disabled = was

    def emptied(self, batch: Any) -> Any:
        """A batch without values."""
        with self.mode:
            return mapped(batch, lambda leaf: _twin(leaf) if isinstance(leaf, Tensor) else leaf)


def hollow(model: nn.Module, optimizers: Iterable[Any] = ()) -> Hollow:
    """A copy of a model without values, and what optimizers hold of it. In it what is on `meta` stands on the CPU."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    twins: dict[int, Tensor] = {}
    with mode:
        for tensor in _tensors(model):
            twins.setdefault(id(tensor), _twin(tensor))
        new = copy.deepcopy(model, dict(twins))
    without_hooks(new)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    held = frozenset(id(twins[id(t)]) for group in groups for t in group["params"] if id(t) in twins)
    return Hollow(new, mode, held)


def _twin(tensor: Tensor) -> Tensor:
    device = torch.device("cpu") if tensor.is_meta else tensor.device
    with torch.no_grad():
        bare = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(bare, requires_grad=tensor.requires_grad)
    return bare.requires_grad_(tensor.requires_grad and tensor.is_leaf)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    """All parameters, buffers, and tensors that its modules hold in plain attributes."""
    seen: set[int] = set()
    waiting: list[tuple[Any, int]] = [(part, 0) for part in model.modules()]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, Tensor):
            if value.layout is torch.strided and not nn.parameter.is_lazy(value):
                yield value
        elif isinstance(value, nn.Module):
            if id(value) not in seen:
                seen.add(id(value))
                waiting += [(each, 1) for each in vars(value).values()]
        elif depth <= DEEPEST and isinstance(value, list | tuple | dict):
            parts = list(value.values()) if isinstance(value, dict) else list(value)
            waiting += [(each, depth + 1) for each in parts[:1000]]
