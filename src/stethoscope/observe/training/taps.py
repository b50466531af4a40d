"""Taps on torch: the few places through which every training loop passes, put on and taken off as one.

A tap calls the original with the very same arguments and returns its very result; what it reports to the
session is guarded, so a fault of ours ends the listening and never the training. Under a compiler's tracing a
tap is the original.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data.dataloader import _BaseDataLoaderIter

from stethoscope.observe.training.grad_modes import GradModeTaps
from stethoscope.observe.training.hooks import has_compiled, without_our_hooks
from stethoscope.observe.training.keras_layers import is_keras, is_symbolic
from stethoscope.observe.training.keras_taps import KerasTaps
from stethoscope.observe.training.losses import FUNCTIONS
from stethoscope.observe.training.metric_taps import has_other_tensors, library_taps, metric_taps
from stethoscope.observe.training.models import has_lazy
from stethoscope.observe.training.replacing import Replacement, replacement_of
from stethoscope.observe.training.session import Session
from stethoscope.observe.training.sites import Spot, spot

_is_compiling = torch.compiler.is_compiling
_transform = torch._C._functorch.peek_interpreter_stack
"""None outside of torch.func transforms; inside of them tensors have no values that could be read."""
_is_tracing = torch.jit.is_tracing
_script = torch.jit.script
Report = Callable[..., None]


class Taps:
    """Everything that connects a session to torch."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._state = session.state
        self._undo: list[Callable[[], None]] = []
        self.for_losses: list[Replacement] = []
        """Needed while forward passes are heard."""
        self._for_protocol: list[Replacement] = []
        """Needed at attentive steps."""
        self._met: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._discovery: list[Any] = []
        self._depth: list[nn.Module] = []
        self._global_hooks_allowed = True
        self._grad_modes = GradModeTaps(session.forwards, session.state)
        self._libraries = (KerasTaps(session, self), library_taps(self, session.state))

    def put_on(self) -> None:
        """Start listening, or go on with it after `take_off(finish=False)`: what was learned so far is known still."""
        self.for_losses.clear()
        self._for_protocol.clear()
        self._tap_losses()
        self._for_metrics = metric_taps(self, self._state.metrics)
        self._tap_backward()
        self._tap_optimizers()
        self._tap_loop()
        self._tap_compile()
        self._tap_copies()
        self._grad_modes.put_on(self)
        self._tap_autograd_contexts()
        if has_compiled():
            self._stop_hearing_inside()
            self._session.forwards.take_in_given()
        self._tap_libraries()
        self._state.on_discovery = self.discover
        self._state.on_hearing = self._hear
        self._hear(self._session.forwards.hears)
        self._state.on_attention = functools.partial(self._switch, self._for_protocol)
        self._state.on_attention(self._state.attentive)
        self.discover(self._state.discovering > 0)

    def take_off(self, *, finish: bool = True) -> None:
        """Stop listening and put everything back as it was; without `finish`, as a forked child must, no more."""
        self.discover(False)
        self._state.on_hearing = self._state.on_attention = lambda on: None
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        if finish:
            self._session.end()

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> Replacement:
        """Put a wrapper in the place of `owner.name`."""
        replacement = replacement_of(owner, name, make)
        replacement.put_on()
        self._undo.append(replacement.take_off)
        return replacement

    def _hear(self, on: bool) -> None:
        self._switch(self.for_losses, on)
        self._switch(self._for_metrics, on and not has_other_tensors())

    def _switch(self, which: list[Replacement], on: bool) -> None:
        """Ordinary steps pass through what is not listened to then as if we were not there.

        Compilers remember the very functions that they have traced: once one is at work, nothing is switched.
        """
        if not self._state.compiled:
            for replacement in which:
                if on:
                    replacement.put_on()
                else:
                    replacement.take_off()

    def after(
        self, part: str, report: Report, *, loop: bool = False, failed: Report | None = None
    ) -> Callable[[Any], Any]:
        """A wrapper that reports (arguments, result) after the original; with `loop`, at attentive steps only.

        With `failed`, what the original raises is reported in the place of a result, and goes on its way.
        """
        careful = self._state.guard(part)(report)
        careful_of_failure = self._state.guard(part)(failed) if failed is not None else None
        state, passes = self._state, self._state.passes

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def tapped(*args: Any, **kwargs: Any) -> Any:
                if _is_compiling():  # first of all: a compiler that traces this must see nothing else
                    return original(*args, **kwargs)
                if careful_of_failure is None:
                    result = original(*args, **kwargs)
                else:
                    try:
                        result = original(*args, **kwargs)
                    except (IndexError, RuntimeError, ValueError) as error:
                        if _transform() is None:
                            careful_of_failure(args, kwargs, error)
                        raise
                if (not loop or state.attentive or passes.current is not None) and _transform() is None:
                    careful(args, kwargs, result)
                return result

            # TorchScript compiles the source of what it finds: show it the original.
            tapped.__original_fn = original  # type: ignore[attr-defined]
            tapped.__script_if_tracing_wrapper = True  # type: ignore[attr-defined]
            return tapped

        return make

    # Losses and backward

    def _tap_losses(self) -> None:
        for name in FUNCTIONS:
            if hasattr(F, name):
                report = functools.partial(self._session.losses.loss_called, name)
                functools.update_wrapper(report, self._session.losses.loss_called)
                failed = functools.partial(self._session.losses.loss_failed, name)
                functools.update_wrapper(failed, self._session.losses.loss_failed)
                after = self.after("losses", report, loop=True, failed=failed)
                self.for_losses.append(self.replace(F, name, after))

        self.for_losses.append(
            self.replace(torch.autograd, "grad", self.after("derivatives", self._session.forwards.derivative_taken))
        )

    def _tap_backward(self) -> None:
        session, state = self._session, self._state
        guard = state.guard("backward passes")
        ordinary, jumped = guard(session.backwards.ordinary_backward), guard(session.backwards.quiet_loss_jumped)
        begins, ended = guard(session.backwards.backward_begins), guard(session.backwards.backward_ended)
        refused = guard(session.backwards.backward_refused)
        depth = 0  # reentrant checkpointing calls backward inside of backward

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
                nonlocal depth
                if state.quiet and state.main_curve and type(tensors) is Tensor and tensors.numel() == 1:
                    value = tensors.item()
                    curve = state.main_curve
                    curve.steps.append(state.steps)
                    curve.values.append(value)
                    if not -state.alarm_above < value < state.alarm_above:  # true of NaN as well
                        jumped(tensors, value)
                    try:
                        return original(tensors, *args, **kwargs)
                    except RuntimeError:
                        refused(tensors)
                        raise
                if depth or (state.compiled and _is_compiling()):
                    return original(tensors, *args, **kwargs)
                depth = 1
                try:
                    if state.awake:
                        begins(tensors)
                    else:
                        ordinary(tensors)
                    return original(tensors, *args, **kwargs)
                except RuntimeError:
                    refused(tensors)
                    raise
                finally:
                    depth = 0
                    if state.attentive:
                        ended()

            return backward

        self.replace(torch.autograd, "backward", make)

    # Optimizers

    def _tap_optimizers(self) -> None:
        session = self._session
        state = self._state
        part = "the optimizer"
        self.replace(
            Optimizer, "__init__",
            self.after(part, self._optimizer_made),
        )  # fmt: skip
        begins = state.guard(part)(session.steps.step_begins)

        def before(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            if state.awake:
                begins(optimizer, args, kwargs)

        self._undo += [
            register_optimizer_step_pre_hook(before).remove,
            register_optimizer_step_post_hook(session.steps.after_step).remove,
        ]

    def _optimizer_made(self, args: Any, kwargs: Any, result: Any) -> None:
        self._session.steps.optimizer_made(args[0], spot(3))

    def _tap_loop(self) -> None:
        session = self._session
        cleared = session.steps.gradients_cleared
        for owner in (Optimizer, nn.Module):
            report = functools.partial(_first_argument, cleared)
            replacement = self.replace(owner, "zero_grad", self.after("zero_grad", report, loop=True))
            # A change of nn.Module would empty Python's caches of every layer's attributes.
            if owner is Optimizer:
                self._for_protocol.append(replacement)
        for kind in ("norm", "value"):
            self._tap_clip(kind)
        for scheduler in vars(lr_scheduler).values():
            if isinstance(scheduler, type) and "step" in vars(scheduler) and "Scheduler" not in scheduler.__name__:
                self._tap_scheduler(scheduler)
        self._tap_scheduler(lr_scheduler.LRScheduler)
        self._for_protocol.append(self.replace(_BaseDataLoaderIter, "__next__", self._state.follow_batches))
        self._for_protocol.append(self.replace(_BaseDataLoaderIter, "_next_index", self._state.follow_numbers))
        self._tap_modes()
        loaded = functools.partial(_first_argument, self._state.book.weights_loaded)
        functools.update_wrapper(loaded, _first_argument)
        self.replace(nn.Module, "load_state_dict", self.after("loaded weights", loaded))
        scaler = torch.amp.GradScaler
        self.replace(scaler, "step", self._tap_scaler_step)
        self.replace(
            scaler,
            "scale",
            self.after(
                "scaling",
                lambda args, kwargs, result: session.backwards.loss_scaled(
                    result, (*args[1:], kwargs.get("outputs"))[0]
                ),
            ),
        )

    def _tap_clip(self, kind: str) -> None:
        session = self._session

        def report(args: Any, kwargs: Any, result: Any) -> None:
            limit = args[1] if len(args) > 1 else next(iter(v for k, v in kwargs.items() if k != "parameters"), 0.0)
            session.steps.gradients_clipped(kind, limit, result if kind == "norm" else None)

        name = f"clip_grad_{kind}_"
        self.replace(nn.utils.clip_grad, name, self.after("clipping", report))
        module_level = getattr(nn.utils.clip_grad, name)
        original = getattr(nn.utils, name)
        setattr(nn.utils, name, module_level)
        self._undo.append(lambda: setattr(nn.utils, name, original))

    def _tap_scheduler(self, owner: type) -> None:
        session = self._session

        def report(args: Any, kwargs: Any, result: Any) -> None:
            if not getattr(args[0], "_is_initial", False):
                session.steps.scheduler_stepped(args[0])

        if "step" in vars(owner):
            self.replace(owner, "step", self.after("schedules", report))

    def _tap_scaler_step(self, original: Any) -> Any:
        session = self._session
        state = self._state
        skipped = state.guard("the gradient scaler")(session.steps.step_skipped)

        @functools.wraps(original)
        def step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            known = next((e for e in state.optimizers if e.optimizer() is optimizer), None)
            before = known.steps if known else 0
            result = original(scaler, optimizer, *args, **kwargs)
            if known is not None and known.steps == before:
                skipped(optimizer)
            return result

        return step

    def _tap_modes(self) -> None:
        """Eval mode is heard; train mode, into which trainers put each layer at each step, passes in a moment."""
        heard = self._state.guard("eval()")(self._put_in_eval_mode)

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def train(module: nn.Module, mode: bool = True) -> Any:
                result = original(module, mode)
                if not mode and not _is_compiling() and _transform() is None:
                    heard(module)
                return result

            return train

        self.replace(nn.Module, "train", make)

    def _put_in_eval_mode(self, module: nn.Module) -> None:
        entry = self._state.book.model_of(module)
        if entry is not None and not is_keras(module):  # Keras does so by itself
            entry.eval_called_from = spot(3)
            self._session.forwards.eval_called()

    # Models

    def discover(self, on: bool) -> None:
        """Watch every module call for a while, to learn which ones the script makes and in which order."""
        if on and not self._discovery and self._global_hooks_allowed:
            guard = self._state.guard("models")
            register = nn.modules.module
            self._discovery = [
                register.register_module_forward_pre_hook(guard(self._module_begins)),
                register.register_module_forward_hook(guard(self._module_ended), always_call=True),
            ]
        elif not on and self._discovery:
            for handle in self._discovery:
                handle.remove()
            self._discovery = []
            self._depth.clear()

    def _is_no_real_call(self, args: Any) -> bool:
        if _is_compiling() or _is_tracing() or _transform() is not None:
            return True
        return self._state.hears_keras and is_symbolic(args)

    def _module_begins(self, module: nn.Module, args: Any) -> None:
        if self._is_no_real_call(args):
            return
        session = self._session
        state = self._state
        self._depth.append(module)
        if state.table.recording:
            layer = state.book.layer_of(module)
            state.table.enter(layer.name if layer else "")
        if len(self._depth) == 1 and module not in self._met and not has_lazy(module):  # those are made in this call
            self._met.add(module)
            session.steps.choose_waiting_probes()
            entry = session.forwards.model_called(module, spot(3))
            if entry is not None and session.forwards.listen_to(module, entry):
                session.forwards.forward_begins(entry, module, args, None)

    def _module_ended(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._is_no_real_call(args):
            return
        session = self._session
        state = self._state
        while self._depth and self._depth[-1] is not module:  # modules that raised inside
            self._depth.pop()
        if self._depth:
            self._depth.pop()
        if state.table.recording:
            state.table.leave()
        session.forwards.layer_called(module, args, output)

    def _tap_libraries(self) -> None:
        for library in self._libraries:
            library.wait()
            self._undo.append(library.forget)

    # Compilers

    def _tap_compile(self) -> None:
        def compiled(args: Any, kwargs: Any, result: Any) -> None:
            self._stop_hearing_inside()
            if isinstance(result, nn.Module):
                entry = self._session.forwards.model_called(result, self._spot())
                if entry is not None:
                    self._session.forwards.listen_to(result, entry)

        def compiled_in_place(args: Any, kwargs: Any, result: Any) -> None:
            self._stop_hearing_inside()

        self.replace(torch, "compile", self.after("compilation", compiled))
        self.replace(nn.Module, "compile", self.after("compilation", compiled_in_place))

    def _spot(self) -> Spot | None:
        return spot(4)

    # Copies and exports

    def _tap_copies(self) -> None:
        """A model that is copied, saved or exported must not carry our hooks."""

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def state_without_hooks(module: nn.Module) -> Any:
                state = original(module)
                return without_our_hooks(state) if isinstance(state, dict) else state

            return state_without_hooks

        if "__getstate__" in vars(nn.Module):
            self.replace(nn.Module, "__getstate__", make)
        else:  # before torch 2.10 or so it is Python's own
            nn.Module.__getstate__ = make(object.__getstate__)  # type: ignore[attr-defined, unused-ignore]
            self._undo.append(lambda: delattr(nn.Module, "__getstate__"))
        for owner, name in ((torch.jit, "script"), (torch.jit, "trace"), (torch.cuda, "make_graphed_callables")):
            self.replace(owner, name, self._unhooked)

    def _unhooked(self, original: Any) -> Any:
        """A wrapper round functions that refuse, or would take in, modules with hooks."""
        forwards, state = self._session.forwards, self._state

        @functools.wraps(original)
        def tapped(*args: Any, **kwargs: Any) -> Any:
            if original is _script:  # it looks up the names in a class in the frame of its caller: not this one
                kwargs["_frames_up"] = kwargs.get("_frames_up", 0) + 1
            forwards.fall_asleep()
            state.looker.disarm()
            state.quiet, forwards.may_wake = False, False
            try:
                return original(*args, **kwargs)
            finally:
                forwards.may_wake = True
                forwards.wake()

        return tapped

    def _tap_autograd_contexts(self) -> None:
        """Contexts in which the listening must hold back."""
        state = self._state

        def note_anomaly_mode(original: Any) -> Any:
            @functools.wraps(original)
            def made(context: Any, *args: Any, **kwargs: Any) -> None:
                state.table.stop()  # it is about to read whether anomaly mode is on, to put it back later
                original(context, *args, **kwargs)

            return made

        for context in (torch.autograd.detect_anomaly, torch.autograd.set_detect_anomaly):
            self.replace(context, "__init__", note_anomaly_mode)

        def note_saving(original: Any) -> Any:
            @functools.wraps(original)
            def enter(context: Any) -> Any:
                state.hooked_saves = True
                return original(context)

            return enter

        self.replace(torch.autograd.graph.saved_tensors_hooks, "__enter__", note_saving)

    def _stop_hearing_inside(self) -> None:
        """Hooks on layers would change what the compiler builds, and so perhaps the last bit of the results."""
        state = self._state
        self._switch(self._for_metrics, False)
        state.compiled = True
        state.looker.hears_inside = False
        state.looker.disarm()
        self.discover(False)
        self._global_hooks_allowed = False
        state.blind["compiled"] = (
            "layers inside a compiled model are not listened to (hooks would change what is compiled); "
            "its parameters, gradients, updates and losses are"
        )


def _first_argument(report: Report, args: Any, kwargs: Any, result: Any) -> None:
    report(args[0])
