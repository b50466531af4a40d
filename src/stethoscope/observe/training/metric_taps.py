"""Taps on what scripts measure with: `argmax`, `max` and `==`, on while forward passes are heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stethoscope.observe.training.metric_libraries import LibraryEar
from stethoscope.observe.training.metrics import MetricEar
from stethoscope.observe.training.replacing import Replacement

if TYPE_CHECKING:
    from stethoscope.observe.training.state import State
    from stethoscope.observe.training.taps import Taps

_LOOK_NOTHING_UP = ("torch.", "torchvision.")
_NOTHING_LOOKED_UP = torch._C._disabled_torch_function_impl


def metric_taps(taps: Taps, metrics: MetricEar) -> list[Replacement]:
    """Put them on."""
    what = {"argmax": metrics.reduced, "max": metrics.reduced, "eq": metrics.compared, "__eq__": metrics.compared}
    put_on = []
    for name, report in what.items():
        owners = (Tensor,) if name == "__eq__" else (Tensor, torch)
        put_on += [taps.replace(owner, name, taps.after("metrics", report, loop=True)) for owner in owners]
    return put_on


def library_taps(taps: Taps, state: State) -> LibraryEar:
    """The ear for torchmetrics and scikit-learn, which taps them when they are imported."""
    ear = LibraryEar(state, taps)
    state.measures = ear.facts
    return ear


def has_other_tensors() -> bool:
    """Whether the script has a kind of tensor that is told which function was called, and may not know a wrapper."""
    kinds = (*Tensor.__subclasses__(), *nn.Parameter.__subclasses__())
    return any(_is_told(kind) and not kind.__module__.startswith(_LOOK_NOTHING_UP) for kind in kinds)


def _is_told(kind: type) -> bool:
    """Torch itself puts a function that looks nothing up into kinds that are told of operations alone."""
    looks_up = vars(kind).get("__torch_function__")
    return looks_up is not None and getattr(looks_up, "__func__", looks_up) is not _NOTHING_LOOKED_UP
