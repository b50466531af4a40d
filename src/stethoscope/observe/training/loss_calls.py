"""The ear for loss functions: outputs and targets, in training and in validation."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stethoscope.observe.training.answers import accuracy
from stethoscope.observe.training.graph import made_by
from stethoscope.observe.training.keras_losses import Compared
from stethoscope.observe.training.losses import (
    CROSS_ENTROPIES,
    REGRESSION,
    LossEntry,
    ignored_class,
    reduction_of,
    weighs,
)
from stethoscope.observe.training.sites import Spot, called_from_keras, site_of, spot
from stethoscope.observe.training.state import State
from stethoscope.observe.training.validation import ACCURACY_CALLS

_clock = time.perf_counter


class LossEar:
    """Hears the loss functions of `torch.nn.functional`."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.right = 0
        """Training samples of this step that were classified correctly, of those judged."""
        self.judged = 0
        self._targets_seen = state.guard("samples")(self._see_targets)
        self._evaluations = 0
        """Losses computed in eval mode with gradients on."""

    def loss_called(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """A loss function of `torch.nn.functional` was called."""
        if not isinstance(result, Tensor):
            return
        output = args[0] if args else kwargs.get("input")
        target = args[1] if len(args) > 1 else kwargs.get("target")
        if not isinstance(output, Tensor) or (self.state.hears_keras and called_from_keras()):
            return
        began = _clock()
        current = self.state.passes.current
        in_pass = current is not None and current.step == self.state.steps
        if not torch.is_grad_enabled():
            self._evaluation_loss(function, output, target, result, None, reduction_of(kwargs, args, result))
        elif in_pass and current is not None and current.with_gradients:
            # Whether this is validation is not known before a backward pass has come, or has not come.
            if self.state.attentive and current.forwards == 1:
                current.undo.append(self._remember(function, spot(3)))
                self._training_loss(function, args, kwargs, output, target, result)
            self._evaluation_loss(function, output, target, result, None, reduction_of(kwargs, args, result))
            if result.grad_fn is not None:
                # Numbers go on from pass to pass, so that graphs kept from one to the next count as well.
                self._evaluations += 1
                self.state.kept.see("validation loss", spot(3), self._evaluations, result)
        elif self.state.attentive:
            self._training_loss(function, args, kwargs, output, target, result)
        self.state.own_seconds += _clock() - began

    def loss_failed(self, function: str, args: Any, kwargs: Any, error: BaseException) -> None:
        """A loss function raised: what it was given is the last that is heard of it."""
        entry = self.state.losses.entry(function, spot(4))
        entry.raised = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        output = args[0] if args else kwargs.get("input")
        target = args[1] if len(args) > 1 else kwargs.get("target")
        if torch.is_grad_enabled() and isinstance(output, Tensor):
            entry.training_calls += 1
            entry.see(output, target if isinstance(target, Tensor) else None, self.state.steps)

    def keras_loss_called(
        self, seen: Compared, loss: Any, y_true: Any, y_pred: Tensor, result: Tensor, place: Spot | None
    ) -> None:
        """A loss of Keras's was called: `loss(y_true, y_pred)`."""
        began = _clock()
        if not torch.is_grad_enabled():
            self._evaluation_loss(seen.function, seen.output, seen.target, result, place, seen.reduction)
        elif self.state.attentive:
            entry = self._training_call(seen.function, place, result)
            entry.reduction, entry.called, entry.expects = seen.reduction, seen.called, seen.expects
            # A mask travels with the answer, and becomes a weight of each position inside of the loss.
            masked = True if seen.reduction == "weighted" else getattr(y_pred, "_keras_mask", None)
            self._see(entry, seen.output, seen.target, (), {"sample_weight": masked}, made_by(y_pred.grad_fn))
            entry.output_has_gradient = y_pred.requires_grad
            entry.target_has_gradient = isinstance(y_true, Tensor) and y_true.requires_grad
            if self.state.capture is not None:
                self.state.capture.keras_loss_called(loss, y_true, y_pred, seen.reduction == "weighted", result)
        self.state.own_seconds += _clock() - began

    def _evaluation_loss(
        self, function: str, output: Tensor, target: Any, result: Tensor, place: Spot | None, reduction: str
    ) -> None:
        current = self.state.passes.current
        if current is None or current.step != self.state.steps:
            return
        current.loss_calls += 1
        if (result.dim() == 0 and result.device.type == "cpu") or current.loss_calls <= ACCURACY_CALLS:
            current.loss_counted += 1
            current.loss_sum += float(result.detach().float().mean())
        if current.loss_calls <= ACCURACY_CALLS and isinstance(target, Tensor):
            right, judged = accuracy(function, output, target)
            current.right += right
            current.judged += judged
            if current.loss_calls == 1 and not current.with_gradients:
                current.loss_entry = self.state.losses.entry(function, place or spot(3))
                current.loss_entry.evaluation_calls += 1
                current.loss_entry.reduction = reduction
            if current.loss_entry is not None:
                current.loss_entry.see_held_out(output, target)

    def _remember(self, function: str, place: Spot | None) -> Callable[[], None]:
        """What is known of training losses now: a call that turns out to be validation is taken back."""
        entries, right, judged = self.state.losses.entries, self.right, self.judged
        key = (function, place)
        known = copy.deepcopy(entries[key]) if key in entries else None

        def take_back() -> None:
            self.right, self.judged = right, judged
            if known is not None:
                entries[key] = known
            else:
                entries.pop(key, None)

        return take_back

    def _training_loss(
        self, function: str, args: Any, kwargs: Any, output: Tensor, target: Any, result: Tensor
    ) -> None:
        entry = self._training_call(function, spot(4), result)
        entry.reduction = reduction_of(kwargs, args, result)
        if function in CROSS_ENTROPIES:
            entry.left_out = ignored_class(args, kwargs)
        if function == "poisson_nll_loss":
            by_log = bool(kwargs.get("log_input", args[2] if len(args) > 2 else True))
            entry.expects = "logarithms" if by_log else "values"
        entry.is_weighted = entry.is_weighted or weighs(function, args, kwargs)
        self._see(entry, output, target if isinstance(target, Tensor) else None, args, kwargs, result=result)
        if self.state.terms is not None:
            self.state.terms.loss_called(function, site_of(entry.place), result)
        if self.state.capture is not None:
            self.state.capture.loss_called(function, args, kwargs, result)

    def _training_call(self, function: str, place: Spot | None, result: Tensor) -> LossEntry:
        self.state.cycles.note("loss", place, function)
        entry: LossEntry = self.state.losses.entry(function, place)
        entry.training_calls += 1
        entry.returned(self.state.steps, result)
        return entry

    def _see(
        self,
        entry: LossEntry,
        output: Tensor,
        target: Tensor | None,
        args: Any,
        kwargs: Any,
        maker: Any = None,
        result: Tensor | None = None,
    ) -> None:
        """Look at what a training call compares; `result` is what it returned, which may be a loss for each sample."""
        entry.see(output, target, self.state.steps, maker)
        if target is None:
            return
        function = entry.function
        classes = output.shape[1] if function in CROSS_ENTROPIES and output.dim() > 1 else 0
        if function.startswith("binary_cross_entropy") and not target.is_floating_point():
            classes = 2
        self.state.batches.see_target(self.state.steps, target, classes)
        if self.state.passes.current is None:
            self._targets_seen(function, entry.place, args, kwargs, output, target, classes, result)
        right, judged = accuracy(function, output, target)
        self.right += right
        self.judged += judged

    def _see_targets(
        self,
        function: str,
        place: Spot | None,
        args: Any,
        kwargs: Any,
        output: Tensor,
        target: Tensor,
        classes: int,
        result: Tensor | None,
    ) -> None:
        if "samples" not in self.state.parts:
            return
        is_masked = kwargs.get("sample_weight") is not None
        is_each = result is not None and result.dim() > 0
        is_binary = function.startswith("binary_cross_entropy")
        if not is_each:
            self.state.samples.see_target(target, classes > 0 or is_binary)
        is_number = target.is_floating_point() and (is_binary or function in REGRESSION)
        is_weighted = is_masked or (is_number and kwargs.get("weight") is not None)
        if not is_weighted and (is_number or (classes and not target.is_floating_point())):
            each = (self.state.steps, result) if is_each and result is not None else None
            left_out = ignored_class(args, kwargs) if classes else -100
            self.state.tokens.see_loss(function, place, output, target, left_out, each)

    def close_step(self) -> None:
        """A step that was attended to is complete."""
        if self.judged:
            curve = self.state.curve(self.state.part("training accuracy"), "accuracy", "training")
            curve.add(self.state.steps - 1, self.right / self.judged)
        self.right = self.judged = 0
