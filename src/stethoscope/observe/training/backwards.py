"""The ear for backward passes: the value of the loss, its graph, and where a broken one was born."""

from __future__ import annotations

import time
import weakref
from typing import Any

from torch import Tensor

from stethoscope.facts.flow import Dropped, Softmax
from stethoscope.observe.training.birth import find_birth
from stethoscope.observe.training.curves import SpikeGuard
from stethoscope.observe.training.dropping import dropped_by
from stethoscope.observe.training.graph import Reading, operation_of, pairs, read, softmax_of
from stethoscope.observe.training.handwritten import HandWritten, recognise
from stethoscope.observe.training.sites import Spot, is_users_file, spot, trainer_here
from stethoscope.observe.training.state import State
from stethoscope.observe.training.symmetry import looks_fresh

MOST_GRAPHS_READ = 12
MOST_SOFTMAXES = 32
"""Kept, and as many places that drop values."""
GRAPHS_READ_PER_SITE = 2

_clock = time.perf_counter


class BackwardEar:
    """Hears `backward()`."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._spikes = SpikeGuard()
        self._scaled: tuple[weakref.ref[Tensor], Tensor] | None = None

    def loss_scaled(self, scaled: Any, unscaled: Any) -> None:
        """A gradient scaler multiplied the loss: the curve shall show the loss itself."""
        self.state.scaling = True
        self.state.quiet = False
        if isinstance(scaled, Tensor) and isinstance(unscaled, Tensor):
            self._scaled = (weakref.ref(scaled), unscaled.detach())

    def ordinary_backward(self, loss: Any) -> None:
        """`backward()` was called at a step that is not attended to: note the loss, and no more."""
        self.state.backward_calls += 1
        if self.state.passes.current is not None:
            self._end_pass()
        self._note_any_loss(loss, spot(3))

    def quiet_loss_jumped(self, loss: Tensor, value: float) -> None:
        """In the quiet, where only the size of the loss is compared: it is out of line, or no number."""
        if value - value != 0.0 or self.state.alarm_above > 0:
            self._loss_jumped(loss, value)

    def backward_begins(self, tensors: Any) -> None:
        """`backward()` was called on one or more tensors, at a step that is attended to or looked at."""
        self.state.clock.backward_begins()
        self.state.backward_calls += 1
        loss = tensors if isinstance(tensors, Tensor) else (tensors[0] if tensors else None)
        place = spot(3)
        self._note_any_loss(loss, place)
        if self.state.attentive:
            began = _clock()
            self._watch_backward(loss, place)
            self.state.own_seconds += _clock() - began

    def _note_any_loss(self, loss: Any, place: Spot | None) -> None:
        """Add a loss to the curve of the line that it is backpropagated from."""
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            return
        shown = self._scaled[1] if self._scaled is not None and self._scaled[0]() is loss else loss
        self._scaled = None
        number = self.state.backward_sites.setdefault(place, len(self.state.backward_sites))
        name = self.state.part("training loss" if number == 0 else f"training loss {number + 1}")
        curve = self.state.curve(name, "loss", "training", place)
        if number == 0:
            self.state.main_curve = curve
        if shown.device.type != "cpu":
            curve.add_later(self.state.steps, shown.detach())
            return
        value = shown.item()
        curve.add(self.state.steps, value)
        if number == 0:
            if self._spikes.jumps(value):
                self._loss_jumped(loss, value)
            self.state.alarm_above = self._spikes.limit

    def _loss_jumped(self, loss: Tensor, value: float) -> None:
        """The loss is out of line, or no number: look closely from here on."""
        # The gradients of this very loss are still to come: they are looked at, too.
        if self.state.budget.anomaly():
            self.state.looking = self.state.awake = True
        self.state.quiet = False
        self.state.wake_at = 0
        if value - value != 0.0 and self.state.birth is None:
            self._trace_birth(loss)

    def _watch_backward(self, loss: Any, place: Spot | None) -> None:
        self.state.table.stop()
        if self.state.trainer is None:
            self.state.trainer = trainer_here()
        self.state.cycles.note("backward", place)
        written = self._written_by_hand(loss)
        if self.state.terms is not None and isinstance(loss, Tensor):
            self.state.looker.muted = True
            self.state.terms.backward_begins(loss)
            self.state.looker.muted = False
        if self.state.capture is not None:
            self.state.capture.backward_begins(loss, written)
        # Of several forward passes of a model, only the last one is sure to have led to this loss.
        for entry, training in {entry: (entry, training) for entry, training in self.state.forward_models}.values():
            entry.training_forwards += 1
            if not training:
                entry.training_forwards_in_eval += 1
                if entry.first_step_in_eval < 0:
                    entry.first_step_in_eval = self.state.steps
            if entry.first_step_in_eval >= 0:
                entry.training_forwards_since_eval += 1
        self.state.forward_models.clear()
        if self.state.passes.current is not None:
            self._end_pass()
        self.state.streams.backward(place)
        for optimizer in self.state.optimizers:
            self.state.take_in_tensors(optimizer)
        if isinstance(loss, Tensor):
            self.state.reach.backward_begins(loss, place)
            if loss.grad_fn is not None:
                self.state.kept.see("training loss", place, self.state.steps, loss)
                if not self._has_loss_function():
                    self._hand_written(loss, place, written)
                self.state.tokens.release()
                self._read_graph(loss, place)
                if not self.state.hooked_saves and self.state.attention.wants():
                    self.state.attention.see(read(loss).nodes, self.state.steps)
        self.state.answer = None
        self.state.reach.start_over()
        for optimizer in self.state.optimizers:
            optimizer.backward_begins()

    def _end_pass(self) -> None:
        """Forward passes with gradients on that a backward pass follows are no validation."""
        current = self.state.passes.current
        if current is not None and current.with_gradients:
            self.state.passes.drop()
        else:
            self.state.end_pass()

    def _read_graph(self, loss: Tensor, place: Spot | None) -> None:
        # A new optimizer begins a new part of the run: layers may have been replaced since.
        part = (place, len(self.state.optimizers))
        times = self.state.graphs_read.get(part, 0)
        if times >= GRAPHS_READ_PER_SITE or sum(self.state.graphs_read.values()) >= MOST_GRAPHS_READ:
            self.state.nodes.clear()
            return
        self.state.graphs_read[part] = times + 1
        reading = read(loss)
        known_leaves = [known for leaf in reading.leaves if (known := self.state.book.parameter_of(leaf)) is not None]
        for known in known_leaves:
            if known.in_graph is None and known.optimizer < 0 <= known.layer:
                module, tensor = self.state.book.layers[known.layer].module(), known.tensor()
                known.as_drawn = tensor is not None and looks_fresh(module, tensor)
            known.in_graph = True
        self.state.strays.see(reading.leaves)
        if reading.whole:
            self.state.reach.graph_read(place, reached=bool(known_leaves))
        for operation, child in pairs(reading.nodes):
            layer = self.state.nodes.get(child._sequence_nr())
            if layer is not None and not self.state.book.layers[layer].feeds:
                self.state.book.layers[layer].feeds = operation
        self.state.nodes.clear()
        if not self.state.table.made:
            self.state.table.fill(reading, is_users_file)
        self._note_softmaxes(reading)
        self._note_dropout(reading)
        if reading.stretched is not None and (entry := self.state.losses.known("backward", place)) is not None:
            _, side, joint = reading.stretched
            other = (joint[0],) if side == (joint[0], 1) else (joint[0], 1)
            entry.output_shape, entry.target_shape, entry.broadcast_to = side, other, joint

    def _note_softmaxes(self, reading: Reading) -> None:
        answer = () if self.state.answer is None else tuple(self.state.answer[0].shape)
        fed = [entry.shape for entry in self.state.batches.inputs.values() if entry.shape[:1] == answer[:1]]
        for node in reading.nodes:
            axis, shape = softmax_of(node)
            if shape and len(self.state.softmaxes) < MOST_SOFTMAXES:
                made = self.state.table.find(reading.nodes, node)
                site = None if made is None else made.site
                given = fed[-1] if fed and answer else ()
                self.state.softmaxes.append(Softmax(operation_of(node), axis, shape, given, answer, site))

    def _note_dropout(self, reading: Reading) -> None:
        for node in () if self.state.hooked_saves else reading.nodes:
            probability = dropped_by(node)
            if probability > 0 and len(self.state.dropped) < MOST_SOFTMAXES:
                made = self.state.table.find(reading.nodes, node)
                self.state.dropped.append(Dropped(probability, None if made is None else made.site))

    def _has_loss_function(self) -> bool:
        return any(entry.training_calls for entry in self.state.losses.entries.values() if entry.is_named)

    def _written_by_hand(self, loss: Any) -> HandWritten | None:
        """What a loss that no function of torch's made amounts to: that is in its graph."""
        if not isinstance(loss, Tensor) or loss.grad_fn is None or loss.numel() != 1:
            return None
        if self.state.hooked_saves or self._has_loss_function():
            return None
        answer, node = self.state.answer or (None, -1)
        return recognise(loss, answer, node)

    def _hand_written(self, loss: Tensor, place: Spot | None, found: HandWritten | None) -> None:
        """A loss that no function of torch's made."""
        entry = self.state.losses.entry("backward", place)
        entry.training_calls += 1
        if entry.training_calls == 1 and loss.numel() == 1:
            entry.first_value = float(loss.detach())
        if found is None:
            entry.watched += 1
            entry.produced_by = entry.produced_by or operation_of(loss.grad_fn)
            return
        entry.form = found.form
        if not found.is_mean:
            entry.reduction = "other"
        entry.see(found.output, found.target, self.state.steps, found.maker)
        if "samples" in self.state.parts:
            each = (self.state.steps, found.mean)
            self.state.tokens.see_loss("backward", place, found.output, found.target, -100, each)
        of_classes = found.form in ("nll_loss", "categorical") and found.output.dim() == 2
        self.state.batches.see_target(self.state.steps, found.target, found.output.shape[1] if of_classes else 0)

    def _trace_birth(self, loss: Any) -> None:
        if "numerics" not in self.state.parts or not isinstance(loss, Tensor) or loss.grad_fn is None:
            return
        began = _clock()
        inputs = self.state.last_input() if self.state.last_input is not None else None
        self.state.birth = find_birth(
            self.state.steps,
            read(loss),
            self.state.table,
            inputs,
            self.state.book.parameters,
            saved_values=not self.state.hooked_saves,
        )
        self.state.own_seconds += _clock() - began

    def backward_refused(self, tensors: Any) -> None:
        """torch raised an error: because the loss has no graph?"""
        loss = tensors if isinstance(tensors, Tensor) else None
        # At an attentive step that was seen when it began.
        if loss is not None and not loss.requires_grad and not self.state.attentive:
            self.state.reach.backward_failed(loss, spot(3))

    def backward_ended(self) -> None:
        """`backward()` returned, or raised, at an attentive step."""
        began = _clock()
        for optimizer in self.state.optimizers:
            optimizer.backward_ended()
        self.state.own_seconds += _clock() - began
