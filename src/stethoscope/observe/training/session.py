"""The listener: hears what the taps report, keeps what is worth keeping, and gives it out as a history.

Everything here runs inside the user's training loop. Ordinary steps take the shortest path through it; the
careful work is done only while `attentive`: at the first steps, at looks, and round anomalies.
"""

from __future__ import annotations

import functools
import sys
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer as TorchOptimizer

from stethoscope.facts.training import PARTS, Birth, Floats, History
from stethoscope.observe.training.batches import BatchBook, fingerprint, first_input
from stethoscope.observe.training.birth import find_birth
from stethoscope.observe.training.budget import DEFAULT_BUDGET, Budget
from stethoscope.observe.training.curves import GrowingCurve, SpikeGuard
from stethoscope.observe.training.graph import OperationTable, operation_of, pairs, read
from stethoscope.observe.training.looks import Looker
from stethoscope.observe.training.losses import LossBook, LossEntry, accuracy, reduction_of
from stethoscope.observe.training.models import ModelBook, ModelEntry
from stethoscope.observe.training.protocol import CycleLog, OptimizerEntry, settings_of
from stethoscope.observe.training.sites import Spot, is_users_file, spot
from stethoscope.observe.training.telemetry import LookLog
from stethoscope.observe.training.validation import ACCURACY_CALLS, FORWARDS_LOOKED_AT, PassBook

WATCHED_STEPS = 50
"""The loop's protocol is watched in full for this many steps, and at looks after that."""
DENSE_LOOKS_PER_FULL = 16
"""When looks are so dense that the budget is no concern (`every`), one in 16 attends to calls, losses, batches and
units as well."""
DISCOVERY_STEPS = 3
MOST_GRAPHS_READ = 12
GRAPHS_READ_PER_SITE = 2
SNAPSHOT_SECONDS = 0.9
"""The store is given the facts so far about once a second: a killed run is readable up to then."""

_clock = time.perf_counter


class Sink(Protocol):
    """Where a session sends what it hears; the store's writer is one."""

    def points(self, series: str, steps: Any, values: Any) -> None:
        """New points of a curve."""

    def look(self, step: int, layers: Floats, parameters: Floats) -> None:
        """The statistics of a look."""

    def facts(self, history: History) -> None:
        """Everything known so far."""


class Session:
    """Listens to everything that trains in this process.

    Args:
        budget: share of the training time that listening may take, 0..1.
        every: look at every N-th step instead, when above 0.
        parts: what to gather (`facts.training.PARTS`).
        only: listen to these models and no others; None for all that are called.
        max_steps: end the script, as `sys.exit(0)` would, after this many steps when above 0.
    """

    def __init__(
        self,
        *,
        budget: float = DEFAULT_BUDGET,
        every: int = 0,
        parts: Iterable[str] = PARTS,
        only: Iterable[nn.Module] | None = None,
        max_steps: int = 0,
    ) -> None:
        self._max_steps = max_steps
        self.parts = tuple(parts)
        self.book = ModelBook()
        self.budget = Budget(budget, every)
        self.looker = Looker(self.book, self.parts, self.guard("looks"))
        self.losses = LossBook()
        self.batches = BatchBook()
        self.passes = PassBook()
        self.cycles = CycleLog()
        self.table = OperationTable()
        self.looks = LookLog()
        self.optimizers: list[OptimizerEntry] = []
        self.curves: dict[Any, GrowingCurve] = {}
        self.birth: Birth | None = None
        self.sink: Sink | None = None
        self.notices: list[str] = []
        self.blind: dict[str, str] = {}
        self.compiled = False
        self.steps = 0
        self.backward_calls = 0
        self.backward_sites: dict[Spot | None, int] = {}
        self.clip: tuple[Spot | None, str, float] | None = None
        self.schedulers: dict[str, Spot | None] = {}
        self.attentive = True
        """Whether calls, gradients, losses and batches are watched in full at this step."""
        self.awake = True
        """Whether this step is attentive or looked at; every tap is silent otherwise."""
        self.on_discovery: Callable[[bool], None] = lambda on: None
        self.spikes = SpikeGuard()
        self.own_seconds = 0.0
        self._only = None if only is None else [weakref.ref(module) for module in only]
        self._off: set[str] = set()
        self._looking = self.budget.wants(0)
        self._ends: weakref.WeakKeyDictionary[nn.Module, Any] = weakref.WeakKeyDictionary()
        self._end_hook = self.guard("forward passes")(self._forward_ended)
        self.active: nn.Module | None = None
        """The root module whose forward pass is under way, at steps that are attended to, and in validation."""
        self._in_step = False
        self._main: OptimizerEntry | None = None
        self._others_since_main = 0
        self._entry_of: weakref.WeakKeyDictionary[TorchOptimizer, OptimizerEntry] = weakref.WeakKeyDictionary()
        self._looked_optimizers: set[int] = set()
        self._pending_look: int | None = None
        self._looks_since_attentive = 0
        self._discovering = DISCOVERY_STEPS
        self._nodes: dict[Any, int] = {}
        self._graphs_read: dict[Spot | None, int] = {}
        self._scaled: tuple[weakref.ref[Tensor], Tensor] | None = None
        self._forward_models: list[tuple[ModelEntry, bool]] = []
        self._last_input: weakref.ref[Tensor] | None = None
        self._last_rate = float("nan")
        self._step_began = _clock()
        self._snapshot_due = self._step_began + SNAPSHOT_SECONDS
        self._wake_at = 0
        self._right = self._judged = 0

    # Failing without harm

    def guard(self, part: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Wrap our own code: should it fail, that part of the listening ends, once, with a word about it."""

        def wrap(function: Callable[..., None]) -> Callable[..., None]:
            @functools.wraps(function)
            def careful(*args: Any, **kwargs: Any) -> None:
                if part in self._off:
                    return
                try:
                    function(*args, **kwargs)
                except Exception as error:  # whatever it is, training goes on
                    self.give_up(part, error)

            return careful

        return wrap

    def give_up(self, part: str, error: Exception) -> None:
        """End one part of the listening; the first time, say so."""
        self._off.add(part)
        notice = (
            f"listening to {part} stopped at step {self.steps} because of a fault in stethoscope "
            f"({type(error).__name__}: {error}); training goes on unchanged"
        )
        if not self.notices:
            print(f"stethoscope: {notice}", file=sys.stderr)
        self.notices.append(notice)
        self.looker.open = False
        self.table.stop()
        if part == "looks":
            self.looker.disarm()
            self.looker.hears_inside = False

    # Models

    @property
    def discovering(self) -> bool:
        """Whether it is still being learnt which models there are."""
        return self._discovering > 0

    def model_called(self, module: nn.Module, place: Spot | None) -> ModelEntry | None:
        """A module was called by the script itself: take it in, unless it is not to be listened to."""
        if self._only is not None and not any(reference() is module for reference in self._only):
            return None
        return self.book.add_root(module, place)

    def forward_begins(self, entry: ModelEntry, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A root module's forward pass begins."""
        if self.active is not None:
            return
        self.active = module
        if module not in self._ends:
            self._ends[module] = module.register_forward_hook(self._end_hook, always_call=True)
        if torch.is_grad_enabled():
            if self.attentive:
                self._training_forward(entry, module, args, kwargs)
            if self._looking:
                self.looker.arm(entry)
                self.looker.open = True
        else:
            self._other_forward(entry, module, args, kwargs)

    def _training_forward(self, entry: ModelEntry, module: nn.Module, args: Any, kwargs: Any) -> None:
        began = _clock()
        if self.passes.current is not None:
            self.end_pass()
        place = spot(3)
        if entry.called_from is None or not entry.training_forwards:
            entry.called_from = place
        mode = "train" if module.training else "eval"
        self.cycles.note("forward", place, f"{entry.name} in {mode} mode")
        self._forward_models.append((entry, module.training))
        tensor = first_input(args, kwargs)
        if tensor is not None:
            self._last_input = weakref.ref(tensor)
            self.batches.see_input(self.steps, entry.index, tensor)
        if self._discovering and not self.compiled and not self.table.made and not self.table.recording:
            self.table.start()
        self.own_seconds += _clock() - began

    def _other_forward(self, entry: ModelEntry, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.looker.open = False
        current = self.passes.current
        if current is None or current.model != entry.index:
            self.end_pass()
            place = spot(3)
            current = self.passes.begin(self.steps, entry.index, place)
            if self.attentive:
                self.cycles.note("validate", place, f"{entry.name} in {'train' if module.training else 'eval'} mode")
        current.forwards += 1
        current.in_train_mode += module.training
        if current.forwards <= FORWARDS_LOOKED_AT:
            tensor = first_input(args, kwargs)
            if tensor is not None:
                current.samples += tensor.shape[0] if tensor.dim() else 1
                current.inputs.add(fingerprint(tensor))

    def _forward_ended(self, module: nn.Module, args: Any, output: Any) -> None:
        """A root module's forward pass ended, or failed."""
        if self.active is module:
            self.active = None
            self.looker.open = False

    def _fall_asleep(self) -> None:
        """Nothing more to hear until the next look: ordinary steps shall find as few hooks as possible."""
        for handle in self._ends.values():
            handle.remove()
        self._ends.clear()
        self.active = None
        for optimizer in self.optimizers:
            optimizer.after_step = None

    def layer_called(self, module: nn.Module, output: Any) -> None:
        """While models are being discovered: a module of any kind returned."""
        layer = self.book.called(module, output)
        node = getattr(output, "grad_fn", None)
        if layer is not None and node is not None and len(self._nodes) < 5000:
            self._nodes[node] = layer.index

    # Losses

    def loss_called(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """A loss function of `torch.nn.functional` was called."""
        if not isinstance(result, Tensor):
            return
        output = args[0] if args else kwargs.get("input")
        target = args[1] if len(args) > 1 else kwargs.get("target")
        if not isinstance(output, Tensor):
            return
        began = _clock()
        if not torch.is_grad_enabled():
            if self.passes.current is not None:
                self._evaluation_loss(function, output, target, result)
        elif self.attentive:
            self._training_loss(function, args, kwargs, output, target, result)
        self.own_seconds += _clock() - began

    def _evaluation_loss(self, function: str, output: Tensor, target: Any, result: Tensor) -> None:
        current = self.passes.current
        assert current is not None
        current.loss_calls += 1
        if result.dim() == 0 and result.device.type == "cpu":
            current.loss_sum += result.item()
        elif current.loss_calls <= ACCURACY_CALLS:
            current.loss_sum += float(result.float().mean()) * 1.0
        if current.loss_calls <= ACCURACY_CALLS and isinstance(target, Tensor):
            right, judged = accuracy(function, output, target)
            current.right += right
            current.judged += judged
            if current.loss_calls == 1:
                self.losses.entry(function, spot(3)).evaluation_calls += 1

    def _training_loss(
        self, function: str, args: Any, kwargs: Any, output: Tensor, target: Any, result: Tensor
    ) -> None:
        place = spot(4)
        self.cycles.note("loss", place, function)
        entry: LossEntry = self.losses.entry(function, place)
        entry.training_calls += 1
        entry.reduction = reduction_of(kwargs, args, result)
        entry.see(output, target if isinstance(target, Tensor) else None)
        if entry.training_calls == 1 and result.dim() == 0:
            entry.first_value = float(result.detach())
        if isinstance(target, Tensor):
            classes = output.shape[1] if function in ("cross_entropy", "nll_loss") and output.dim() > 1 else 0
            if function.startswith("binary_cross_entropy") and not target.is_floating_point():
                classes = 2
            self.batches.see_target(self.steps, target, classes)
            right, judged = accuracy(function, output, target)
            self._right += right
            self._judged += judged

    def end_pass(self) -> None:
        """Training goes on after a pass without gradients: note what it showed."""
        ended = self.passes.end()
        if ended is None or not ended.loss_calls:
            return
        calls = min(ended.loss_calls, ended.loss_calls)
        self.curve("validation loss", "loss", "validation").add(ended.step, ended.loss_sum / calls)
        if ended.judged:
            self.curve("validation accuracy", "accuracy", "validation").add(ended.step, ended.right / ended.judged)

    def curve(self, name: str, kind: str, phase: str, place: Spot | None = None) -> GrowingCurve:
        """The curve of a name."""
        found = self.curves.get(name)
        if found is None:
            found = self.curves[name] = GrowingCurve(name, kind, phase, place)
        return found

    # Backward

    def loss_scaled(self, scaled: Any, unscaled: Any) -> None:
        """A gradient scaler multiplied the loss: the curve shall show the loss itself."""
        if isinstance(scaled, Tensor) and isinstance(unscaled, Tensor):
            self._scaled = (weakref.ref(scaled), unscaled.detach())

    def ordinary_backward(self, loss: Any) -> None:
        """`backward()` was called at an ordinary step: note the loss, and no more."""
        self.backward_calls += 1
        if len(self.backward_sites) != 1 or self._scaled is not None:
            self._note_any_loss(loss, spot(3))
            return
        if isinstance(loss, Tensor) and loss.numel() == 1:
            curve = self.curves[0]
            if loss.device.type != "cpu":
                curve.add_later(self.steps, loss.detach())
                return
            value = loss.item()
            curve.add(self.steps, value)
            if self.spikes.jumps(value):
                self._loss_jumped(loss, value)

    def backward_begins(self, tensors: Any) -> None:
        """`backward()` was called on one or more tensors, at a step that is attended to or looked at."""
        self.backward_calls += 1
        loss = tensors if isinstance(tensors, Tensor) else (tensors[0] if tensors else None)
        place = spot(3)
        self._note_any_loss(loss, place)
        if self.attentive:
            began = _clock()
            self._watch_backward(loss, place)
            self.own_seconds += _clock() - began

    def _note_any_loss(self, loss: Any, place: Spot | None) -> None:
        """Add a loss to the curve of the line that it is backpropagated from."""
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            return
        shown = self._scaled[1] if self._scaled is not None and self._scaled[0]() is loss else loss
        self._scaled = None
        number = self.backward_sites.setdefault(place, len(self.backward_sites))
        curve = self.curves.get(number)
        if curve is None:
            name = "training loss" if number == 0 else f"training loss {number + 1}"
            curve = self.curves[number] = GrowingCurve(name, "loss", "training", place)
        if shown.device.type != "cpu":
            curve.add_later(self.steps, shown.detach())
            return
        value = shown.item()
        curve.add(self.steps, value)
        if number == 0 and self.spikes.jumps(value):
            self._loss_jumped(loss, value)

    def _loss_jumped(self, loss: Tensor, value: float) -> None:
        """The loss is out of line, or no number: look closely from here on."""
        self.budget.anomaly()
        self._wake_at = self.steps + 1
        if value - value != 0.0 and self.birth is None:
            self._trace_birth(loss)

    def _watch_backward(self, loss: Any, place: Spot | None) -> None:
        self.table_stops()
        self.cycles.note("backward", place)
        for entry, training in self._forward_models:
            entry.training_forwards += 1
            if not training:
                entry.training_forwards_in_eval += 1
                if entry.first_step_in_eval < 0:
                    entry.first_step_in_eval = self.steps
            if entry.first_step_in_eval >= 0:
                entry.training_forwards_since_eval += 1
        self._forward_models.clear()
        if self.passes.current is not None:
            self.end_pass()
        if isinstance(loss, Tensor) and loss.grad_fn is not None:
            self._read_graph(loss, place)
        for optimizer in self.optimizers:
            optimizer.backward_begins()

    def table_stops(self) -> None:
        """The graph is complete: torch need not remember stacks any longer."""
        if self.table.recording:
            self.table.stop()

    def _read_graph(self, loss: Tensor, place: Spot | None) -> None:
        times = self._graphs_read.get(place, 0)
        if times >= GRAPHS_READ_PER_SITE or sum(self._graphs_read.values()) >= MOST_GRAPHS_READ:
            self._nodes.clear()
            return
        self._graphs_read[place] = times + 1
        reading = read(loss)
        for leaf in reading.leaves:
            known = self.book.parameter_of(leaf)
            if known is not None:
                known.in_graph = True
        for operation, child in pairs(reading.nodes):
            layer = self._nodes.get(child)
            if layer is not None and not self.book.layers[layer].feeds:
                self.book.layers[layer].feeds = operation
        self._nodes.clear()
        if not self.table.made:
            self.table.fill(reading, is_users_file)
        named = {entry.function for entry in self.losses.entries.values() if entry.training_calls}
        if not named:
            self._hand_written(loss, place, reading)

    def _hand_written(self, loss: Tensor, place: Spot | None, reading: Any) -> None:
        """A loss that no function of torch's made: what can be known of it is in its graph."""
        entry = self.losses.entry("backward", place)
        entry.training_calls += 1
        entry.watched += 1
        entry.produced_by = operation_of(loss.grad_fn)
        if entry.training_calls == 1 and loss.numel() == 1:
            entry.first_value = float(loss.detach())
        if reading.stretched is not None:
            _, side, joint = reading.stretched
            other = (joint[0],) if side == (joint[0], 1) else (joint[0], 1)
            entry.output_shape, entry.target_shape, entry.broadcast_to = side, other, joint

    def _trace_birth(self, loss: Any) -> None:
        if "numerics" not in self.parts or not isinstance(loss, Tensor) or loss.grad_fn is None:
            return
        began = _clock()
        inputs = self._last_input() if self._last_input is not None else None
        self.birth = find_birth(self.steps, read(loss), self.table, inputs, self.book.parameters)
        self.own_seconds += _clock() - began

    def backward_ended(self) -> None:
        """`backward()` returned, or raised, at an attentive step."""
        began = _clock()
        for optimizer in self.optimizers:
            optimizer.backward_ended()
        self.own_seconds += _clock() - began

    # The optimizer

    def optimizer_made(self, optimizer: TorchOptimizer, place: Spot | None) -> OptimizerEntry:
        """Take in an optimizer."""
        known = self._entry_of.get(optimizer)
        if known is not None:
            return known
        entry = OptimizerEntry(weakref.ref(optimizer), len(self.optimizers), type(optimizer).__name__, place)
        self.optimizers.append(entry)
        self._entry_of[optimizer] = entry
        entry.groups = settings_of(optimizer)
        entry.parameter_ids = tuple(id(tensor) for tensor in entry.tensors())
        entry.choose_probes()
        self._discovering = max(self._discovering, DISCOVERY_STEPS)
        self.on_discovery(True)
        return entry

    def gradients_cleared(self, owner: Any) -> None:
        """`zero_grad()` was called on an optimizer or a module."""
        place = spot(3)
        self.cycles.note("zero_grad", place)
        for optimizer in self.optimizers:
            if optimizer.clear_from is None or optimizer.optimizer() is owner:
                optimizer.clear_from = place

    def gradients_clipped(self, kind: str, limit: Any, norm: Any) -> None:
        """Gradients were clipped by norm or by value."""
        if self.clip is None or self.attentive:
            place = spot(3)
            self.clip = (place, kind, float(limit))
            if self.attentive:
                self.cycles.note("clip", place, f"{kind} {float(limit):g}")
        if isinstance(norm, Tensor):
            curve = self.curve("clip norm", "clip norm", "training")
            if norm.device.type == "cpu":
                curve.add(self.steps, norm.item())
            else:
                curve.add_later(self.steps, norm.detach())

    def scheduler_stepped(self, kind: str) -> None:
        """A learning-rate schedule moved on."""
        if self.attentive or kind not in self.schedulers:
            place = spot(3)
            self.schedulers[kind] = place
            self.cycles.note("scheduler", place, kind)

    def step_begins(self, optimizer: TorchOptimizer, args: Any, kwargs: Any) -> None:
        """An optimizer is about to step, at a step that is attended to or looked at."""
        began = _clock()
        entry = self._entry_of.get(optimizer) or self.optimizer_made(optimizer, None)
        self._in_step = _has_closure(args, kwargs)
        if self.attentive:
            self.table_stops()
            if entry.step_from is None:
                entry.step_from = spot(3)
            if not self._in_step:
                entry.step_begins()
        if self._looking and entry.index not in self._looked_optimizers and "looks" not in self._off:
            if entry.taken_in != self.book.version:
                self._take_in_loose_tensors(entry)
            try:
                self.looker.before_step(entry.tensors(), with_gradients=not self._in_step)
            except Exception as error:  # see guard()
                self.give_up("looks", error)
        self.own_seconds += _clock() - began

    def _take_in_loose_tensors(self, entry: OptimizerEntry) -> None:
        """Tensors that an optimizer holds and no model: they get a name of the optimizer's."""
        for number, tensor in enumerate(entry.tensors()):
            known = self.book.parameter_of(tensor)
            if known is None:
                known = self.book.add_parameter(tensor, f"optimizer{entry.index}[{number}]")
            if known is not None:
                known.optimizer = entry.index
        entry.taken_in = self.book.version

    def ordinary_step_ended(self, optimizer: TorchOptimizer) -> bool:
        """An optimizer has stepped at an ordinary step; False when it needs `step_ended`."""
        main = self._main
        if main is None or main.optimizer() is not optimizer or len(self.optimizers) > 1:
            return False
        main.steps += 1
        now = _clock()
        self.budget.ordinary_step(now - self._step_began)
        self.steps = step = self.steps + 1
        rate = optimizer.param_groups[0].get("lr")
        if rate is not self._last_rate and rate != self._last_rate:
            self._rate_changed(step - 1, rate)
        if step >= self._wake_at or now > self._snapshot_due or self._ends:
            self._between_steps(now)
        self._step_began = now
        return True

    def step_ended(self, optimizer: TorchOptimizer) -> None:
        """An optimizer has stepped."""
        entry = self._entry_of.get(optimizer) or self.optimizer_made(optimizer, None)
        entry.steps += 1
        entry.backwards_since_step = 0
        if self.awake:
            self._awake_step_ended(entry)
        elif entry.after_step is not None:
            entry.step_ended(False)
        if entry is self._main:
            self._others_since_main = 0
            self._main_stepped(optimizer)
        else:
            self._others_since_main += 1
            if self._main is None or self._others_since_main > 2 * len(self.optimizers):
                self._main, self._others_since_main = entry, 0
                self._main_stepped(optimizer)

    def _awake_step_ended(self, entry: OptimizerEntry) -> None:
        began = _clock()
        if self._looking and entry.index not in self._looked_optimizers and "looks" not in self._off:
            self._looked_optimizers.add(entry.index)
            try:
                self.looker.after_step(entry.tensors(), with_gradients=self._in_step)
            except Exception as error:  # see guard()
                self.give_up("looks", error)
        self._in_step = False
        if self.attentive:
            self.cycles.note("step", entry.step_from, entry.kind)
            entry.step_ended(True)
        elif entry.after_step is not None:
            entry.step_ended(False)
        self.own_seconds += _clock() - began

    def step_skipped(self, optimizer: TorchOptimizer) -> None:
        """A gradient scaler found an overflow and left the step out."""
        entry = self._entry_of.get(optimizer)
        if entry is not None:
            entry.skipped += 1
            entry.backwards_since_step = 0

    def _main_stepped(self, optimizer: TorchOptimizer) -> None:
        """One step of the run is complete."""
        now = _clock()
        step = self.steps
        self.steps = step + 1
        rate = optimizer.param_groups[0].get("lr")
        if rate is not self._last_rate and rate != self._last_rate:
            self._rate_changed(step, rate)
        if self._pending_look is not None:
            self._finish_look(self._pending_look)
        if self.awake:
            self._close_awake_step(step, now)
        else:
            self.budget.ordinary_step(now - self._step_began)
        self.own_seconds = 0.0
        self._between_steps(now)
        self._step_began = _clock()

    def _rate_changed(self, step: int, rate: Any) -> None:
        self._last_rate = float(rate)
        self.curve("learning rate", "learning rate", "training").add(step, self._last_rate)

    def _between_steps(self, now: float) -> None:
        """Decide about the coming step: is it looked at, and attended to in full?"""
        looking = self._looking = self.budget.wants(self.steps)
        opening = self.steps < WATCHED_STEPS
        if looking and not opening:
            self._looks_since_attentive += 1
            full = not self.budget.is_dense or self._looks_since_attentive >= DENSE_LOOKS_PER_FULL
            self.looker.count_units(full)
            if full:
                self._looks_since_attentive = 0
            self.attentive = full
        else:
            self.attentive = opening
        self.awake = self.attentive or looking
        if not self.awake:
            self._fall_asleep()
        self._wake_at = self.budget.next_look(self.steps)
        if now > self._snapshot_due:
            self._snapshot_due = now + SNAPSHOT_SECONDS
            self.send()
        if self._max_steps and self.steps >= self._max_steps:
            raise SystemExit(0)

    def _close_awake_step(self, step: int, now: float) -> None:
        began = _clock()
        if self.attentive:
            self.cycles.close()
            if self._judged:
                self.curve("training accuracy", "accuracy", "training").add(step, self._right / self._judged)
            self._right = self._judged = 0
        if self._discovering:
            self._discovering -= 1
            if not self._discovering:
                self.on_discovery(False)
        if self._looking:
            self._looked_optimizers.clear()
            if "looks" not in self._off:
                self.looker.send()
                self._pending_look = step
                if not self._is_remote():
                    self._finish_look(step)
            if not self.budget.wants(self.steps):
                self.looker.disarm()
            spent = _clock() - began
            self.budget.looked_step(step, now - self._step_began + spent, self.own_seconds + spent)

    def _is_remote(self) -> bool:
        """Whether the main model is on an accelerator: its values are read one step later."""
        main = self._main
        return main is not None and any(t.device.type != "cpu" for t in main.tensors()[:1])

    def _finish_look(self, step: int) -> None:
        self._pending_look = None
        try:
            layers, parameters = self.looker.result(step)
        except Exception as error:  # see guard()
            self.give_up("looks", error)
            return
        self.looks.add(step, layers, parameters)
        counts = np.array([entry.count for entry in self.book.parameters], np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            norm = float(np.sqrt(np.nansum(parameters[:, 1].astype(np.float64) ** 2 * counts))) if counts.size else 0.0
        self.curve("gradient norm", "norm", "training").add(step, norm)
        if self.sink is not None:
            self.sink.look(step, layers, parameters)

    def send(self) -> None:
        """Give the store everything that is new."""
        if self.sink is None:
            return
        from stethoscope.observe.training.history import history_of

        for curve in list(self.curves.values()):
            curve.settle()
            steps, values = curve.unsent()
            if steps.size:
                self.sink.points(curve.name, steps, values)
        self.sink.facts(history_of(self, finished=False, with_curves=False))

    def end(self) -> None:
        """Listening ends: finish what is under way and put everything of torch's back."""
        self.table.stop()
        if self._pending_look is not None:
            self._finish_look(self._pending_look)
        self.looker.disarm()
        self.end_pass()


def _has_closure(args: Any, kwargs: Any) -> bool:
    return (len(args) > 1 and args[1] is not None) or kwargs.get("closure") is not None
