"""The loop's protocol: what is called in which order, and what became of the gradients in between.

Judged on values, not on identities: a few gradient values of up to four tensors of each optimizer are compared at
the start and end of each backward pass and round each step. So any way to clear a gradient counts as one.
Only the watched part of a run pays for it.
"""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor, strided
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer as TorchOptimizer

from stethoscope.facts.code import Site
from stethoscope.facts.training import LoopEvent, Optimizer
from stethoscope.observe.training.keras_optimizers import KerasOptimizer
from stethoscope.observe.training.sampling import Array, sampled
from stethoscope.observe.training.sites import Spot, site_of

AnyOptimizer: TypeAlias = TorchOptimizer | KerasOptimizer
MOST_PROBES = 4
VALUES_PER_PROBE = 64
Snapshot = tuple[int, Array] | None
"""Version counter and a few values of a gradient; None when there is none."""


def snapshot(tensor: Tensor | None) -> Snapshot:
    """What a gradient is now; None for one that is missing or sparse."""
    if tensor is None or tensor.layout is not strided:
        return None
    return tensor._version, np.array(sampled(tensor, VALUES_PER_PROBE))


def is_clear(gradient: Snapshot) -> bool:
    """Whether it is missing, or zero as far as was looked."""
    return gradient is None or not gradient[1].any()


def same_values(one: Snapshot, other: Snapshot) -> bool:
    """Whether two gradients have the same values as far as was looked."""
    return one is not None and other is not None and np.array_equal(one[1], other[1], equal_nan=True)


@dataclass(eq=False)
class OptimizerEntry:
    """An optimizer while the run goes on; becomes a `facts.training.Optimizer`."""

    optimizer: weakref.ref[AnyOptimizer]
    index: int
    kind: str
    made_at: Spot | None
    groups: tuple[dict[str, float | str | bool], ...] = ()
    probes: list[weakref.ref[Tensor]] = field(default_factory=list)
    start_weights: list[Array] = field(default_factory=list)
    have_moved: bool | None = None
    steps: int = 0
    skipped: int = 0
    watched: int = 0
    without_backward: int = 0
    without_gradient: int = 0
    cleared_before_step: int = 0
    not_cleared: int = 0
    compared: int = 0
    backward_with_gradient: int = 0
    backwards_since_step: int = 0
    step_from: Spot | None = None
    clear_from: Spot | None = None
    arrivals: int = 0
    """Backward passes since the last step that brought gradients."""
    arrived_nonzero: bool = False
    any_backward: bool = False
    seen_clear: bool = False
    """Whether the gradients were seen cleared at the start of some backward pass since the last step."""
    seen_stale: bool = False
    """Whether they held the last step's values at the start of the first one."""
    after_step: list[Snapshot] | None = None
    before_backward: list[Snapshot] = field(default_factory=list)
    parameter_ids: tuple[int, ...] = ()
    waits: bool = False
    """Whether it holds lazy parameters that no forward pass has made so far."""
    taken_in: int = -1
    """Version of the model book at which all its tensors were known there."""

    def renew(self, optimizer: AnyOptimizer) -> None:
        """Begin with an optimizer; counts go on."""
        self.optimizer = weakref.ref(optimizer)
        self.groups = settings_of(optimizer)
        self.parameter_ids = tuple(id(tensor) for tensor in self.tensors())
        self.taken_in = -1
        self.after_step = None
        self.choose_probes()
        self.step_ended(False)

    def tensors(self) -> list[Tensor]:
        """All tensors that it holds now."""
        optimizer = self.optimizer()
        if optimizer is None:
            return []
        return [tensor for group in optimizer.param_groups for tensor in group["params"]]

    def gradients(self) -> list[Snapshot]:
        """Snapshots of the probes' gradients."""
        found = []
        for reference in self.probes:
            tensor = reference()
            found.append(None if tensor is None else snapshot(tensor.grad))
        return found

    def choose_probes(self) -> None:
        """Up to four tensors, spread over the list; small biases are as good as any."""
        made = [t for t in self.tensors() if not is_lazy(t)]
        self.waits = len(made) < len(self.tensors())
        tensors = [t for t in made if t.requires_grad and t.numel() and t.is_floating_point()]
        chosen = [tensors[i * (len(tensors) - 1) // 3] for i in range(4)] if len(tensors) > 3 else tensors
        self.probes = [weakref.ref(tensor) for tensor in chosen]
        self.start_weights = [np.array(sampled(tensor, VALUES_PER_PROBE)) for tensor in chosen]

    def moved(self) -> bool | None:
        """Whether a probe's weights differ from those at the start, as far as they were still there to look at."""
        for reference, start in zip(self.probes, self.start_weights, strict=True):
            tensor = reference()
            if tensor is not None and not self.have_moved:
                self.have_moved = not np.array_equal(sampled(tensor, VALUES_PER_PROBE), start, equal_nan=True)
        return self.have_moved

    # What happens to it, in the watched part of the run

    def backward_begins(self) -> None:
        """Before any gradient of this pass has arrived."""
        if not self.steps:  # by the end of the run the weights may be gone
            self.moved()
        self.before_backward = self.gradients()
        if not self.any_backward and self.after_step is not None:
            self.seen_stale = any(
                same_values(old, new) and not is_clear(new)
                for old, new in zip(self.after_step, self.before_backward, strict=False)
            )
        self.any_backward = True
        if all(is_clear(gradient) for gradient in self.before_backward):
            self.seen_clear = True

    def backward_ended(self) -> None:
        """Compare with the start: did anything arrive?"""
        now = self.gradients()
        arrived = [
            new
            for old, new in zip(self.before_backward, now, strict=False)
            if new is not None and (old is None or old[0] != new[0] or not same_values(old, new))
        ]
        if arrived:
            # Of the last pass: an earlier one may have been another model's, and what it left was cleared in time.
            self.arrived_nonzero = not all(is_clear(new) for new in arrived)
            self.arrivals += 1
            self.backward_with_gradient += 1
            self.backwards_since_step += 1

    def step_begins(self) -> None:
        """Judge the gradients that the optimizer is about to use."""
        self.watched += 1
        if not self.probes:
            return
        now = self.gradients()
        clear = all(is_clear(gradient) for gradient in now)
        old = self.after_step or [None] * len(now)
        unchanged = all(new is None or same_values(o, new) for o, new in zip(old, now, strict=False))
        if clear:
            self.without_gradient += 1
        if not self.any_backward and (unchanged or clear):
            self.without_backward += 1
        if self.arrivals and clear and (self.arrived_nonzero or all(g is None for g in now)):
            self.cleared_before_step += 1
        if self.arrivals and (self.after_step is not None or self.seen_stale):
            self.compared += 1
        if self.arrivals and self.seen_stale and not self.seen_clear and not clear:
            self.not_cleared += 1

    def step_ended(self, was_watched: bool) -> None:
        """Start the next round."""
        self.after_step = self.gradients() if was_watched else None
        self.arrivals = self.backwards_since_step = 0
        self.any_backward = self.seen_clear = self.seen_stale = self.arrived_nonzero = False

    def fact(self, never_reached: int) -> Optimizer:
        """The frozen form."""
        return Optimizer(
            kind=self.kind,
            site=site_of(self.made_at),
            step_site=site_of(self.step_from),
            groups=self.groups,
            num_parameters=len(self.parameter_ids),
            steps=self.steps,
            skipped_steps=self.skipped,
            watched=self.watched,
            without_backward=self.without_backward,
            without_gradient=self.without_gradient,
            cleared_before_step=self.cleared_before_step,
            not_cleared=self.not_cleared,
            compared=self.compared,
            backward_with_gradient=self.backward_with_gradient,
            backwards_since_step=self.backwards_since_step,
            clear_site=site_of(self.clear_from),
            parameters_moved=self.moved(),
            parameters_never_reached=never_reached,
        )


def settings_of(optimizer: AnyOptimizer) -> tuple[dict[str, float | str | bool], ...]:
    """The plain settings of each parameter group, with the number of tensors in it."""
    groups = []
    for group in optimizer.param_groups:
        settings: dict[str, float | str | bool] = {}
        for key, value in group.items():
            if key == "params":
                settings["tensors"] = len(value)
            elif isinstance(value, Tensor):
                settings[key] = float(value)
            elif isinstance(value, bool | int | float | str):
                settings[key] = value
            elif isinstance(value, tuple | list) and all(isinstance(v, int | float) for v in value):
                settings[key] = ", ".join(f"{v:g}" for v in value)
        groups.append(settings)
    return tuple(groups)


Event = tuple[str, Spot | None, str]
MOST_EVENTS = 64


class CycleLog:
    """The calls between two steps of the main optimizer, and which order was seen most often."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._cycles: Counter[tuple[Any, ...]] = Counter()
        self.watched = 0

    def note(self, what: str, place: Spot | None, detail: str = "") -> None:
        """Append a call."""
        if len(self._events) < MOST_EVENTS:
            self._events.append((what, place, detail))

    def forget(self) -> None:
        """Drop the calls of a cycle that was not watched from its start."""
        self._events.clear()

    def close(self) -> None:
        """End the cycle."""
        self._cycles[tuple(self._events)] += 1
        self.watched += 1
        self._events.clear()

    def typical(self) -> tuple[LoopEvent, ...]:
        """The order seen most often (the latest of them, which has no set-up in it), repeats counted."""
        if not self._cycles:
            return _folded(self._events)
        most = max(self._cycles.values())
        return _folded([key for key, count in self._cycles.items() if count == most][-1])


def _folded(events: Any) -> tuple[LoopEvent, ...]:
    folded: list[LoopEvent] = []
    sites: dict[Any, Site | None] = {}
    for what, place, detail in events:
        if place not in sites:
            sites[place] = site_of(place)
        last = folded[-1] if folded else None
        if last is not None and (last.what, last.site, last.detail) == (what, sites[place], detail):
            folded[-1] = LoopEvent(what, sites[place], detail, last.times + 1)
        else:
            folded.append(LoopEvent(what, sites[place], detail))
    return tuple(folded)
