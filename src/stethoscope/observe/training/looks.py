"""A look: statistics of every layer and parameter at one step, from sampled values.

Leaf hooks are registered for a look and removed after it, so that other steps pay nothing. Gradients of
activations come through `Tensor.register_hook` on the output: a sixth of the price of full backward hooks, and
the graph stays as it is. No hook returns a value.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn, strided
from torch.jit import ScriptModule

from stethoscope.facts.training import Units
from stethoscope.observe.training.gathering import Gather
from stethoscope.observe.training.hooks import ModuleHook
from stethoscope.observe.training.keras_layers import in_train_mode, is_keras
from stethoscope.observe.training.models import (
    LayerEntry,
    ModelBook,
    ModelEntry,
    ParameterEntry,
    first_tensor,
)
from stethoscope.observe.training.norms import NORMS, KerasNorm, NormBook
from stethoscope.observe.training.octaves import OctaveLog
from stethoscope.observe.training.reduction import SLOTS, Look, layer_table, parameter_table
from stethoscope.observe.training.sampling import Array, as_array, coprime_stride, lies_here, sampled_rows
from stethoscope.observe.training.symmetry import follow_units

VALUES_PER_LAYER = 512
"""Shares are known to within 2 % (one standard error), spreads to within 3 %. Twice as many cost 5 % more."""
VALUES_PER_PARAMETER = 256
VALUES_FOR_UNITS = 16384
RECTIFIERS = ("relu", "ReLU", "ReLU6")
UNIT_WINDOW_ROWS = 1000
"""A unit that fires for 1 % of the rows is missed in a window with a probability of 4e-5."""
UNIT_WINDOW_LOOKS = 8
CLOSE_LOOKS_PER_NORMS = 4
"""Batch statistics of one in four close looks are compared: they drift over hundreds of steps."""
MOST_WAITING_LOOKS = 16
"""Dense looks are reduced in groups: numpy's cost for each call is shared."""
MOST_WAITING_VALUES = 1 << 15
"""Beyond this, what waits no longer fits the nearest caches, and a group would cost more than its looks alone."""

_clock = time.perf_counter
Guard = Callable[[Callable[..., None]], Callable[..., None]]


@dataclass(eq=False)
class UnitCount:
    """Which units of a rectified layer were active in the window so far, and the windows before."""

    active: Any
    rows: int = 0
    looks: int = 0
    window_ends: list[int] = field(default_factory=list)
    window_rows: list[int] = field(default_factory=list)
    window_silent: list[int] = field(default_factory=list)

    def close(self, step: int) -> None:
        """End the window."""
        if self.rows:
            self.window_ends.append(step)
            self.window_rows.append(self.rows)
            self.window_silent.append(int(self.active.size - np.count_nonzero(self.active)))
            self.active[:] = False
            self.rows = self.looks = 0


class Looker:
    """Takes looks at the models of a book."""

    def __init__(self, book: ModelBook, parts: Iterable[str], guard: Guard) -> None:
        wanted = set(parts)
        self._book = book
        self._guard = guard
        self._wants_layers = bool(wanted & {"activations", "units"})
        self.counts_units = self._wants_units = "units" in wanted
        """Whether this look counts active units, too: when looks are dense, not each of them does."""
        self._closely = True
        """Whether this look asks what only a close one does: units, equal units, and now and then batch statistics."""
        self._close_looks = 0
        self._wants_parameters = bool(wanted & {"gradients", "updates"})
        self.hears_inside = True
        """False when hooks on layers may not be set, as under a compiler."""
        self.open = False
        self.muted = False
        """Whether gradients are not the user's but those of an experiment."""
        """Whether the forward pass that runs now is looked at."""
        self._handles: dict[int, list[Any]] = {}
        self._taken: set[int] = set()
        self._outputs = Gather(VALUES_PER_LAYER)
        self._output_gradients = Gather(VALUES_PER_LAYER)
        self._gradients = Gather(VALUES_PER_PARAMETER)
        self._before = Gather(VALUES_PER_PARAMETER)
        self._after = Gather(VALUES_PER_PARAMETER)
        self.seconds = 0.0
        """Time spent inside of hooks since it was last set to 0."""
        self._closed: list[int] = []
        """Steps of the looks that wait to be reduced."""
        self._base = 0
        """Added to the slots of the look under way: `SLOTS` times the number of looks that wait."""
        self._held: list[tuple[ParameterEntry, Tensor]] = []
        self._views: dict[int, tuple[Any, int, Any]] = {}
        self.units: dict[int, UnitCount] = {}
        self.norms = NormBook()
        self.octaves = OctaveLog()
        self.step = 0
        """The step that runs."""

    # The forward pass

    def count_units(self, on: bool) -> None:
        """Whether the next look is a close one, which counts active units."""
        self._closely = on
        self._close_looks += on
        self.counts_units = on and self._wants_units

    @property
    def _compares_norms(self) -> bool:
        """Whether this look compares batch statistics with the running ones."""
        return self._close_looks <= CLOSE_LOOKS_PER_NORMS or not self._close_looks % CLOSE_LOOKS_PER_NORMS

    def arm(self, entry: ModelEntry) -> None:
        """Set hooks on the layers of a model, unless they are set."""
        if entry.index in self._handles or not self._wants_layers or not self.hears_inside:
            return
        handles = []
        for index in entry.layers:
            module = self._book.layers[index].module()
            if module is not None and not isinstance(module, ScriptModule):
                handles.append(module.register_forward_hook(self._hook(self._book.layers[index])))
        self._handles[entry.index] = handles

    def disarm(self) -> None:
        """Remove all hooks."""
        for handles in self._handles.values():
            for handle in handles:
                handle.remove()
        self._handles.clear()

    def _hook(self, layer: LayerEntry) -> Callable[..., None]:
        index = layer.index
        taken = self._taken
        gradient_hook = self._guard(self._gradient_hook(index))

        def hear(module: nn.Module, inputs: Any, output: Any) -> None:
            if not self.open or index in taken:
                return
            began = _clock()
            tensor = first_tensor(output)
            if tensor is None:
                return
            taken.add(index)
            self._outputs.add(self._base + index, tensor)
            if tensor.grad_fn is not None:
                tensor.register_hook(gradient_hook)
            rectified = layer.kind in RECTIFIERS or (layer.applies or layer.feeds) in RECTIFIERS
            if self.counts_units and rectified and tensor.dim() > 1:
                self._count_units(index, tensor)
            if self._closely and inputs:
                if isinstance(module, NORMS):
                    if module.training:
                        self.norms.see(self.step, index, module, inputs[0], compare=self._compares_norms)
                elif layer.kind == "BatchNormalization" and is_keras(module) and in_train_mode(module):
                    of_torch = KerasNorm(module)
                    values = of_torch.channels_second(inputs[0])
                    self.norms.see(self.step, index, of_torch, values, compare=self._compares_norms)
            self.seconds += _clock() - began

        return ModuleHook(self._guard(hear))

    def _gradient_hook(self, index: int) -> Callable[..., None]:
        def hear(gradient: Tensor) -> None:
            if gradient is not None and index in self._taken and not self.muted:
                began = _clock()
                self._output_gradients.add(self._base + index, gradient)
                self.seconds += _clock() - began

        return hear

    def _count_units(self, index: int, tensor: Tensor) -> None:
        rows = sampled_rows(tensor, VALUES_FOR_UNITS)
        count = self.units.get(index)
        if count is None or count.active.size != rows.shape[-1]:
            count = self.units[index] = UnitCount(np.zeros(rows.shape[-1], bool))
        count.active |= (rows > 0).any(axis=0)
        count.rows += rows.shape[0]
        count.looks += 1

    # The optimizer's step

    def before_step(self, tensors: Iterable[Tensor], with_gradients: bool = True) -> None:
        """Sample weights, and gradients unless they are made inside the step, of an optimizer's tensors."""
        if not self._wants_parameters:
            return
        for tensor in tensors:
            entry = self._book.parameter_of(tensor)
            if entry is None or not tensor.is_floating_point() or not tensor.numel():
                continue
            self._held.append((entry, tensor))
            follow_units(entry, tensor, self._closely)
            self._add_weights(self._before, entry, tensor)
        if with_gradients:
            self._add_gradients(self._held)

    def after_step(self, tensors: Iterable[Tensor], with_gradients: bool = False) -> None:
        """Sample weights, and gradients when they were made inside the step, again."""
        if not self._wants_parameters:
            return
        mine = {id(tensor) for tensor in tensors}
        held = [(entry, tensor) for entry, tensor in self._held if id(tensor) in mine]
        for entry, tensor in held:
            self._add_weights(self._after, entry, tensor)
        if with_gradients:
            self._add_gradients(held)

    def _add_weights(self, gather: Gather, entry: ParameterEntry, tensor: Tensor) -> None:
        """Through a view that is made once: parameters do not move in memory (checked by address)."""
        here = lies_here(tensor)  # of a parameter that is spread over processes, the shard
        if here is None:
            return
        if here.device.type != "cpu" or here.dtype.itemsize < 4 or not here.is_contiguous():
            gather.add(self._base + entry.index, here)
            return
        known = self._views.get(entry.index)
        address = here.data_ptr()
        if not address:  # its memory was given back
            return
        if known is None or known[1] != address or known[0]() is not tensor:
            # The view is of an alias: it must not keep the parameter itself alive.
            stride = coprime_stride(here.numel(), VALUES_PER_PARAMETER)
            index, views = entry.index, self._views
            known = (
                weakref.ref(tensor, lambda _: views.pop(index, None)),
                address,
                as_array(here).reshape(-1)[::stride],
            )
            self._views[entry.index] = known
        gather.add_values(self._base + entry.index, known[2])

    def _add_gradients(self, held: Iterable[tuple[ParameterEntry, Tensor]]) -> None:
        for entry, tensor in held:
            gradient = tensor.grad
            if gradient is None:
                entry.received_gradient = entry.received_gradient or False
            elif gradient.layout is strided:
                entry.received_gradient = True
                self._gradients.add(self._base + entry.index, gradient)

    # Values that were taken elsewhere

    def take(
        self,
        outputs: Mapping[int, Tensor],
        before: Mapping[int, Array],
        after: Mapping[int, Array],
        gradients: Mapping[int, Array],
    ) -> None:
        """A look at arrays of another framework: rows of each layer's output, a few values of each parameter."""
        for index, rows in outputs.items():
            layer = self._book.layers[index]
            self._outputs.add(self._base + index, rows)
            if self.counts_units and (layer.applies or layer.feeds or layer.kind) in RECTIFIERS and rows.dim() > 1:
                self._count_units(index, rows)
        for gather, values in ((self._before, before), (self._after, after), (self._gradients, gradients)):
            for index, few in values.items():
                gather.add_values(self._base + index, few)

    # The result

    def send(self) -> None:
        """Start bringing values from an accelerator."""
        for gather in (self._outputs, self._output_gradients, self._gradients, self._before, self._after):
            gather.send()

    def close(self, step: int) -> bool:
        """A look is complete; says whether so much waits that it should be reduced now."""
        self._closed.append(step)
        self._base = len(self._closed) * SLOTS
        self._taken.clear()
        self._held.clear()
        for count in self.units.values():
            if count.rows >= UNIT_WINDOW_ROWS and count.looks >= UNIT_WINDOW_LOOKS:
                count.close(step)
        return len(self._closed) >= MOST_WAITING_LOOKS or self._outputs.size >= MOST_WAITING_VALUES

    def results(self) -> list[Look]:
        """The statistics of the looks that were waiting; reduced together, each costs half of what it does alone."""
        steps, self._closed, self._base = self._closed, [], 0
        if not steps:
            return []
        below = len(steps) * SLOTS
        outputs, output_gradients = self._outputs.take(below), self._output_gradients.take(below)
        before, after, gradients = self._before.take(below), self._after.take(below), self._gradients.take(below)
        layers = layer_table(self._book.layers, outputs, output_gradients, len(steps))
        parameters = parameter_table(self._book.parameters, before, after, gradients, len(steps))
        counts = len(self._book.layers), len(self._book.parameters)
        self.octaves.see(steps, *counts, (outputs, output_gradients, before, gradients))
        self._taken.clear()
        return [Look(step, layers[n], parameters[n]) for n, step in enumerate(steps)]

    def unit_facts(self, step: int) -> tuple[Units, ...]:
        """Activity of rectified layers; the window that is open is given as it stands."""
        facts = []
        for index, count in self.units.items():
            ends, rows, silent = list(count.window_ends), list(count.window_rows), list(count.window_silent)
            if count.rows >= UNIT_WINDOW_ROWS // 4:
                ends.append(step)
                rows.append(count.rows)
                silent.append(int(count.active.size - np.count_nonzero(count.active)))
            if ends:
                facts.append(Units(index, count.active.size, np.array(ends), np.array(rows), np.array(silent)))
        return tuple(facts)
