"""The ear for forward passes: which models are called, in which mode, with what."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from stethoscope.observe.training.batches import fingerprint, first_input
from stethoscope.observe.training.hooks import ModuleHook
from stethoscope.observe.training.models import ModelEntry, unwrapped
from stethoscope.observe.training.sites import Spot, spot
from stethoscope.observe.training.state import State
from stethoscope.observe.training.validation import FORWARDS_LOOKED_AT

MOST_WAITING_FORWARDS = 8
"""Forward passes with gradients on that may precede a backward pass; more are no training."""
MOST_NODES = 5000

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
        self.may_wake = True
        """False while modules must not have hooks."""
        self.hears = True
        """Whether root modules have their hooks: at steps that are attended to or looked at, and without gradients."""

    def model_called(self, module: nn.Module, place: Spot | None) -> ModelEntry | None:
        """A module was called by the script itself: take it in, unless it is not to be listened to."""
        if self._only is not None and not any(reference() is module for reference in self._only):
            return None
        return self.state.book.add_root(module, place)

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
        self._roots.append((weakref.ref(module), entry))
        if self.hears:
            self._put_hooks_on(module, entry)
        return True

    def _put_hooks_on(self, module: nn.Module, entry: ModelEntry) -> None:
        begins = self.state.guard("forward passes")(self.forward_begins)

        def before(module: nn.Module, args: Any, kwargs: Any = None) -> None:
            if not (_is_compiling() or _is_tracing()) and _transform() is None:
                begins(entry, module, args, kwargs or {})

        ended = ModuleHook(self.state.guard("forward passes")(self._forward_ended))
        self._handles += [
            module.register_forward_pre_hook(ModuleHook(before), with_kwargs=True),
            module.register_forward_hook(ended, always_call=True),
        ]

    def wake(self) -> None:
        """Put the hooks on."""
        if not self.hears and self.may_wake:
            self.hears = True
            self.state.on_hearing(True)
            for reference, entry in self._roots:
                module = reference()
                if module is not None:
                    self._put_hooks_on(module, entry)

    def fall_asleep(self) -> None:
        """Nothing more to hear until the next look: ordinary steps shall find no hook on any module."""
        if self.hears:
            self.hears = False
            self.state.on_hearing(False)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.state.active = None
        for optimizer in self.state.optimizers:
            optimizer.after_step = None

    def forward_begins(self, entry: ModelEntry, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A root module's forward pass begins; `kwargs` is None when they are not known."""
        if self.state.active is not None:
            return
        self.state.active = module
        if torch.is_grad_enabled():
            if self.state.attentive:
                self._training_forward(entry, module, args, kwargs)
            if self.state.looking:
                self.state.looker.arm(entry)
                self.state.looker.open = True
        else:
            self._other_forward(entry, module, args, kwargs)

    def _training_forward(self, entry: ModelEntry, module: nn.Module, args: Any, kwargs: Any) -> None:
        began = _clock()
        if self.state.passes.current is not None:
            self.state.end_pass()
        place = spot(3)
        if entry.called_from is None or not entry.training_forwards:
            entry.called_from = place
        mode = "train" if module.training else "eval"
        self.state.cycles.note("forward", place, f"{entry.name} in {mode} mode")
        waiting = self.state.forward_models
        waiting.append((entry, module.training))
        if len(waiting) > MOST_WAITING_FORWARDS:  # gradients are on, but nothing is trained
            waiting.clear()
            self.state.nodes.clear()
            self.state.table.stop()
            self.state.end_discovery()
        tensor = first_input(args, kwargs or {})
        if tensor is not None:
            self.state.last_input = weakref.ref(tensor)
            self.state.batches.see_input(self.state.steps, entry.index, tensor)
        if self.state.capture is not None and not self.state.compiled:
            self.state.capture.forward_begins(self.state.steps, entry, module, args, kwargs, self.state.optimizers)
        if (
            self.state.discovering
            and not self.state.compiled
            and not self.state.table.made
            and not self.state.table.recording
        ):
            self.state.table.start()
        self.state.own_seconds += _clock() - began

    def _other_forward(self, entry: ModelEntry, module: nn.Module, args: Any, kwargs: Any) -> None:
        # Some modules take another way when anything has a hook and no gradients are wanted.
        self.state.looker.disarm()
        self.state.looker.open = False
        current = self.state.passes.current
        if current is None or current.model != entry.index or current.step != self.state.steps:
            self.state.end_pass()
            place = spot(3)
            current = self.state.passes.begin(self.state.steps, entry.index, place)
            if self.state.attentive:
                self.state.cycles.note(
                    "validate", place, f"{entry.name} in {'train' if module.training else 'eval'} mode"
                )
        current.forwards += 1
        current.in_train_mode += module.training
        if current.forwards <= FORWARDS_LOOKED_AT:
            tensor = first_input(args, kwargs or {})
            if tensor is not None:
                current.samples += tensor.shape[0] if tensor.dim() else 1
                current.inputs.add(fingerprint(tensor))

    def _forward_ended(self, module: nn.Module, args: Any, output: Any) -> None:
        """A root module's forward pass ended, or failed."""
        if self.state.active is module:
            self.state.active = None
            self.state.looker.open = False
            if self.state.capture is not None and self.state.attentive and torch.is_grad_enabled():
                self.state.capture.forward_ended(output)

    def layer_called(self, module: nn.Module, output: Any) -> None:
        """While models are being discovered: a module of any kind returned."""
        layer = self.state.book.called(module, output)
        node = getattr(output, "grad_fn", None)
        if layer is not None and node is not None and len(self.state.nodes) < MOST_NODES:
            self.state.nodes[node._sequence_nr()] = layer.index
