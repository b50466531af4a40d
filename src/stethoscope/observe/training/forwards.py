"""The ear for forward passes: which models are called, in which mode, with what."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.observe.training.batches import fingerprint, first_input, shares_memory
from stethoscope.observe.training.hooks import ModuleHook
from stethoscope.observe.training.keras_layers import in_train_mode, is_symbolic
from stethoscope.observe.training.models import ModelEntry, first_tensor, has_lazy, unwrapped
from stethoscope.observe.training.samples import inputs_of
from stethoscope.observe.training.sites import Spot, spot
from stethoscope.observe.training.state import State
from stethoscope.observe.training.validation import FORWARDS_LOOKED_AT, PassEntry

MOST_WAITING_FORWARDS = 8
"""Forward passes with gradients on that may precede a backward pass; more are no training."""
MOST_NODES = 5000
DENSE = 3
"""A model that is put in eval mode more often than every third step is not validated each time."""
MOST_DENSE_EVALS = 50
MOST_EVALS_ATTENDED = 50
"""Times that the steps after a call of `.eval()` are attended to."""

_clock = time.perf_counter
_is_compiling = torch.compiler.is_compiling
_is_tracing = torch.jit.is_tracing
_transform = torch._C._functorch.peek_interpreter_stack
"""None outside of torch.func transforms; inside of them tensors have no values that could be read."""


class ForwardEar:
    """Hears root modules being called.

    Args:
        state: what the session shares.
        only: listen to these models and no others; None for all that are called.
    """

    def __init__(self, state: State, only: Iterable[nn.Module] | None) -> None:
        self.state = state
        self._only = None if only is None else [weakref.ref(module) for module in only]
        self._roots: list[tuple[weakref.ref[nn.Module], ModelEntry]] = []
        self._handles: list[Any] = []
        self._rows_trained = state.guard("samples")(self._see_training_rows)
        self._rows_held_out = state.guard("samples")(self._see_held_out_rows)
        self._eval_calls = 0
        self._eval_called_at = -DENSE
        self.may_wake = True
        """False while modules must not have hooks."""
        self.hears = True
        """Whether root modules have their hooks: at steps that are attended to or looked at, and without gradients."""
        self.without_gradients_at = -1
        """The step before which a forward pass without gradients was heard last."""

    def model_called(self, module: nn.Module, place: Spot | None) -> ModelEntry | None:
        """A module was called by the script itself: take it in, unless it is not to be listened to."""
        if self._only is not None and not any(reference() is module for reference in self._only):
            return None
        return self.state.book.add_root(module, place)

    def take_in_given(self) -> None:
        """Take in the models that are listened to and no others, before they are called."""
        for module in [reference() for reference in self._only or ()]:
            if module is not None and not has_lazy(module):
                self.model_called(module, None)

    def listen_to(self, module: nn.Module, entry: ModelEntry) -> bool:
        """Hear a root module being called from now on; False when that is not possible.

        Not a part of a model, which is heard as a whole, nor a bare encoder layer: in evaluation torch takes a
        faster way through one, with other last bits, as long as nothing has a hook.
        """
        if any(reference() is module for reference, _ in self._roots):
            return True
        if unwrapped(module)[0] is not entry.module():
            return False
        if isinstance(module, nn.TransformerEncoderLayer):
            self.state.blind["encoder layer"] = (
                f"forward passes of {entry.name} are not listened to: a hook on a bare TransformerEncoderLayer would "
                "change how torch computes it"
            )
            return False
        if isinstance(module, torch.jit.ScriptModule):
            self.state.blind["compiled"] = f"{entry.name} was compiled by torch.jit: its forward passes are not heard"
            return False
        self._roots.append((weakref.ref(module), entry))
        if self.hears:
            self._put_hooks_on(module, entry)
        return True

    def _put_hooks_on(self, module: nn.Module, entry: ModelEntry) -> None:
        begins = self.state.guard("forward passes")(self.forward_begins)

        def before(module: nn.Module, args: Any, kwargs: Any = None) -> None:
            if _is_compiling() or _is_tracing() or _transform() is not None:
                return
            if not (self.state.hears_keras and is_symbolic(args)):
                begins(entry, module, args, kwargs or {})

        def arrives(module: nn.Module, args: Any) -> None:
            if not _is_compiling() and _transform() is None and self.state.active is None and torch.is_grad_enabled():
                self.state.clock.forward_begins()

        if hasattr(module, "_get_fsdp_state"):  # its own hook, which stands before ours, waits for other processes
            hook = ModuleHook(self.state.guard("forward passes")(arrives))
            self._handles.append(module.register_forward_pre_hook(hook, prepend=True))
        ended = ModuleHook(self.state.guard("forward passes")(self._forward_ended))
        self._handles += [
            module.register_forward_pre_hook(ModuleHook(before), with_kwargs=True),
            module.register_forward_hook(ended, always_call=True),
        ]

    def wake(self) -> None:
        """Put the hooks on."""
        self.state.end_counting()
        if not self.hears and self.may_wake:
            self.hears = True
            self.state.on_hearing(True)
            for reference, entry in self._roots:
                module = reference()
                if module is not None:
                    self._put_hooks_on(module, entry)

    def eval_called(self) -> None:
        """A model was put in eval mode: validation may begin, with gradients on or off."""
        self._eval_calls += 1
        since, self._eval_called_at = self.state.steps - self._eval_called_at, self.state.steps
        if self._eval_calls > MOST_DENSE_EVALS and since < DENSE:
            return
        self.state.quiet = False
        self.wake()
        if since >= DENSE and self._eval_calls <= MOST_EVALS_ATTENDED:
            self.state.attend()

    def fall_asleep(self) -> None:
        """Nothing more to hear until the next look: ordinary steps shall find no hook on any module."""
        if self.hears:
            self.hears = False
            self.state.on_hearing(False)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.state.active = self.state.answer = None
        self.state.metrics.answered(None)
        for optimizer in self.state.optimizers:
            optimizer.after_step = None

    def forward_begins(self, entry: ModelEntry, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A root module's forward pass begins; `kwargs` is None when they are not known."""
        if self.state.active is not None:
            return
        self.state.active = module
        if torch.is_grad_enabled():
            self.state.clock.forward_begins()
            if self.state.passes.current is not None or not module.training:
                self._perhaps_validation(entry, module, args, kwargs)
            if self.state.attentive:
                self._training_forward(entry, module, args, kwargs)
            if self.state.looking:
                self.state.looker.arm(entry)
                self.state.looker.step = self.state.steps
                self.state.looker.open = True
        else:
            self._other_forward(entry, module, args, kwargs)

    def _training_forward(self, entry: ModelEntry, module: nn.Module, args: Any, kwargs: Any) -> None:
        began = _clock()
        place = spot(3)
        if entry.called_from is None or not entry.training_forwards:
            entry.called_from = place
        training = in_train_mode(module)
        mode = "train" if training else "eval"
        self.state.reach.forward_begins(place, gradients_on=True)
        self.state.cycles.note("forward", place, f"{entry.name} in {mode} mode")
        waiting = self.state.forward_models
        waiting.append((entry, training))
        if len(waiting) > MOST_WAITING_FORWARDS:  # gradients are on, but nothing is trained
            waiting.clear()
            self.state.nodes.clear()
            self.state.table.stop()
            self.state.end_discovery()
        tensor = first_input(args, kwargs or {})
        current = self.state.passes.current
        if tensor is not None and (current is None or current.forwards == 1):
            self.state.last_input = weakref.ref(tensor)
            self.state.batches.see_input(self.state.steps, entry.index, tensor)
            self.state.batches.see_beside(entry.index, tensor, inputs_of(args, kwargs or {}))
            if current is None:
                self._rows_trained(entry, module, args, kwargs or {})
            if self._is_optimized(entry):
                self.state.streams.forward(mode, place, fingerprint(tensor))
        capture = self.state.capture
        is_step = current is None or current.forwards == 1
        if capture is not None and is_step and not self.state.compiled:
            capture.forward_begins(self.state.steps, entry, training, args, kwargs, self.state.optimizers)
        if (
            self.state.discovering
            and not self.state.compiled
            and not self.state.table.made
            and not self.state.table.recording
        ):
            self.state.table.start()
        self.state.own_seconds += _clock() - began

    def _perhaps_validation(self, entry: ModelEntry, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Gradients are on: in eval mode this is part of a validation pass, unless a backward pass follows it."""
        place = spot(3)
        current = self.state.passes.current
        if current is not None:
            same = current.with_gradients and not module.training and current.model == entry.index
            if not (same and current.place == place and current.step == self.state.steps):
                if current.forwards > 1:  # a single forward may be the first half of what comes now
                    self.state.reach.start_over()
                self.state.end_pass()
                current = None
        if module.training or not self._is_optimized(entry):
            return
        if current is None:
            current = self.state.passes.begin(self.state.steps, entry.index, place)
            current.with_gradients, current.source = True, self.state.streams.now
        self._take_in(current, module, args, kwargs)

    def derivative_taken(self, args: Any, kwargs: Any, result: Any) -> None:
        """`torch.autograd.grad` was called: the graphs of a pass under way are not for nothing."""
        if self.state.passes.current is not None:
            self.state.passes.current.differentiated = True

    def _is_optimized(self, entry: ModelEntry) -> bool:
        """Whether an optimizer holds anything of a model."""
        return any(self.state.book.parameters[i].optimizer >= 0 for i in entry.parameters)

    def _other_forward(self, entry: ModelEntry, module: nn.Module, args: Any, kwargs: Any) -> None:
        # Some modules take another way when anything has a hook and no gradients are wanted.
        self.state.looker.disarm()
        self.state.looker.open = False
        self.without_gradients_at = self.state.steps
        current = self.state.passes.current
        if (
            current is None
            or current.with_gradients
            or current.model != entry.index
            or current.step != self.state.steps
        ):
            self.state.end_pass()
            place = spot(3)
            current = self.state.passes.begin(self.state.steps, entry.index, place)
            current.source = self.state.streams.now
            if self.state.attentive:
                self.state.cycles.note(
                    "validate", place, f"{entry.name} in {'train' if in_train_mode(module) else 'eval'} mode"
                )
        if not current.forwards:
            self.state.reach.forward_begins(current.place, gradients_on=False)
        self._take_in(current, module, args, kwargs)

    def _take_in(self, current: PassEntry, module: nn.Module, args: Any, kwargs: Any) -> None:
        """One more forward of a pass."""
        current.forwards += 1
        current.in_train_mode += in_train_mode(module)
        if current.forwards <= FORWARDS_LOOKED_AT:
            tensor = first_input(args, kwargs or {})
            if tensor is not None:
                current.samples += tensor.shape[0] if tensor.dim() else 1
                current.differentiated = current.differentiated or tensor.requires_grad
                current.inputs.add(fingerprint(tensor))
        if not current.with_gradients:  # such a pass may turn out to be training
            self._rows_held_out(current, args, kwargs or {})

    def _see_training_rows(self, entry: ModelEntry, module: nn.Module, args: Any, kwargs: Any) -> None:
        if "samples" in self.state.parts:
            inputs = inputs_of(args, kwargs)
            self.state.samples.see_training(self.state.steps, entry.index, module, inputs)
            self.state.tokens.see_inputs(inputs)

    def _see_held_out_rows(self, current: PassEntry, args: Any, kwargs: Any) -> None:
        if "samples" in self.state.parts:
            place = spot(3)
            if current.forwards == 1:
                self.state.samples.end_pass()
            if self.state.samples.wants_rows(current.model, current.step, place):
                self.state.samples.see_held_out(place, inputs_of(args, kwargs))

    def _forward_ended(self, module: nn.Module, args: Any, output: Any) -> None:
        """A root module's forward pass ended, or failed."""
        if self.state.active is module:
            self.state.active = None
            self.state.looker.open = False
            if self.state.attentive and isinstance(output, Tensor) and output.grad_fn is not None:
                self.state.answer = output.detach(), output.grad_fn._sequence_nr()
            current = self.state.passes.current
            if self.state.attentive or current is not None:
                tensor = first_tensor(output)
                self.state.metrics.answered(tensor)
                self.state.reach.forward_ended(tensor)
                if current is not None and current.with_gradients and tensor is not None:
                    current.graphs += tensor.requires_grad
            if self.state.capture is not None and self.state.attentive and torch.is_grad_enabled():
                self.state.capture.forward_ended(output)

    def layer_called(self, module: nn.Module, args: Any, output: Any) -> None:
        """While models are being discovered: a module of any kind returned."""
        layer = self.state.book.called(module, output)
        if layer is not None and not layer.fed_input and self.state.last_input is not None:
            layer.fed_input = shares_memory(first_input(args, {}), self.state.last_input())
        node = getattr(output, "grad_fn", None)
        if layer is not None and not layer.made_graph:
            layer.made_graph = node is not None
        if layer is not None and node is not None and len(self.state.nodes) < MOST_NODES:
            self.state.nodes[node._sequence_nr()] = layer.index
