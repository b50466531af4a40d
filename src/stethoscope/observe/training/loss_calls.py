"""The ear for loss functions: outputs and targets, in training and in validation."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from stethoscope.observe.training.losses import LossEntry, accuracy, reduction_of
from stethoscope.observe.training.sites import spot
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
            current = self.state.passes.current
            if current is not None and current.step == self.state.steps:
                self._evaluation_loss(function, output, target, result)
        elif self.state.attentive:
            self._training_loss(function, args, kwargs, output, target, result)
        self.state.own_seconds += _clock() - began

    def _evaluation_loss(self, function: str, output: Tensor, target: Any, result: Tensor) -> None:
        current = self.state.passes.current
        assert current is not None
        current.loss_calls += 1
        if (result.dim() == 0 and result.device.type == "cpu") or current.loss_calls <= ACCURACY_CALLS:
            current.loss_counted += 1
            current.loss_sum += float(result.float().mean())
        if current.loss_calls <= ACCURACY_CALLS and isinstance(target, Tensor):
            right, judged = accuracy(function, output, target)
            current.right += right
            current.judged += judged
            if current.loss_calls == 1:
                self.state.losses.entry(function, spot(3)).evaluation_calls += 1

    def _training_loss(
        self, function: str, args: Any, kwargs: Any, output: Tensor, target: Any, result: Tensor
    ) -> None:
        place = spot(4)
        self.state.cycles.note("loss", place, function)
        entry: LossEntry = self.state.losses.entry(function, place)
        entry.training_calls += 1
        entry.reduction = reduction_of(kwargs, args, result)
        entry.see(output, target if isinstance(target, Tensor) else None)
        if entry.training_calls == 1 and result.dim() == 0:
            entry.first_value = float(result.detach())
        if isinstance(target, Tensor):
            classes = output.shape[1] if function in ("cross_entropy", "nll_loss") and output.dim() > 1 else 0
            if function.startswith("binary_cross_entropy") and not target.is_floating_point():
                classes = 2
            self.state.batches.see_target(self.state.steps, target, classes)
            right, judged = accuracy(function, output, target)
            self.right += right
            self.judged += judged
        if self.state.capture is not None:
            self.state.capture.loss_called(function, args, kwargs, result)

    def close_step(self) -> None:
        """A step that was attended to is complete."""
        if self.judged:
            curve = self.state.curve(self.state.part("training accuracy"), "accuracy", "training")
            curve.add(self.state.steps - 1, self.right / self.judged)
        self.right = self.judged = 0
