"""How one training step is taken again on a copy."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.observe.model.calls import Rewrite, Rewriting
from stethoscope.observe.model.ingredients import OWN_LOSS, Pass, Step, View, loss_of, mapped, tensors_in

Edit = Callable[[nn.Module, Any], None]
DROPOUTS = (nn.modules.dropout._DropoutNd,)
OF_CLASSES = ("cross_entropy", "nll_loss")


class CannotTry(Exception):
    """A treatment cannot be carried out here; the message is a clause that says why."""


@dataclass(frozen=True)
class Recipe:
    """How a copy is trained. The unchanged one does what the run did."""

    steps: tuple[Step, ...]
    clears: bool = True
    clears_before_step: bool = False
    """Whether gradients are cleared between the backward pass and the step."""
    backpropagates: bool = True
    takes_steps: bool = True
    clip: tuple[str, float] | None = None
    rates: tuple[float, ...] = ()
    """Learning rate of each step, over the first one's, or over those in `begins`; empty when it stays."""
    begins: tuple[float, ...] = ()
    """Learning rate of each parameter group that a warm-up leads up to: copies begin with it, since of the first
    captured step's, which may be 0, there are no shares. Empty where there is no warm-up."""
    shuffles: bool = True
    """Whether the order of the batches is drawn anew; else they come as they came."""
    pieces: int = 1
    """Steps that stand in the place of one of the run's: a replay takes as many times more."""
    edits: tuple[Edit, ...] = ()
    """What is changed in the copies of the model and its optimizer."""
    change_input: Callable[[Tensor], Tensor] | None = None
    change_target: Callable[[Any, Tensor], Any] | None = None
    function: str = ""
    """Loss function in the place of the run's."""
    swaps: bool = False
    rewrite: Rewrite | None = None
    """What becomes of calls of activations in a forward pass."""

    def output(self, model: nn.Module, each: Pass) -> Tensor:
        """What the loss is given of a forward pass."""
        args, kwargs = self.inputs(each)
        with nullcontext() if self.rewrite is None else Rewriting(self.rewrite):
            return view_in(each)(model(*args, **kwargs))

    def loss(self, model: nn.Module, each: Pass) -> Tensor:
        """The loss of a forward pass, as it is computed in the run but for what was changed."""
        output = self.output(model, each)
        if each.function == OWN_LOSS:
            if self.change_target is not None or self.function or self.swaps:
                raise CannotTry("the model computes its loss itself")
            return output.reshape(())
        target = each.target if self.change_target is None else self.change_target(each.target, output)
        function, options = each.function, each.options
        if self.function and self.function != function:
            function, options = self.function, {}
            target = _fitting(function, target, output)
        swapped = each.swapped != self.swaps
        return loss_of(function, target, output, options) if swapped else loss_of(function, output, target, options)

    def value(self, model: nn.Module, each: Pass) -> float:
        """The loss of a forward pass as a number, with gradients where the model itself asks for some."""
        try:
            with torch.no_grad():
                return float(self.loss(model, each))
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
        with torch.enable_grad():
            return float(self.loss(model, each).detach())

    def inputs(self, each: Pass) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Copies, since a model may write to what it is given."""
        args, kwargs = clones((each.args, each.kwargs))
        if self.change_input is not None:
            for _, tensor in tensors_in((args, kwargs)):
                if tensor.is_floating_point():
                    tensor.copy_(self.change_input(tensor))
                    break
        return args, kwargs


def clones(value: Any) -> Any:
    """A structure with copies of its tensors, through which gradients flow back to these."""
    return mapped(value, lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf)


def view_in(each: Pass) -> View:
    """How the loss's argument is found in what the model returns."""
    assert each.view is not None
    return each.view


def _fitting(function: str, target: Tensor, output: Tensor) -> Tensor:
    """A target in the form that a loss function asks for.

    Raises: CannotTry when the output does not have the form.
    """
    if function in OF_CLASSES and (output.dim() < 2 or output.shape[1] < 2):
        raise CannotTry("the network has one output, and not one for each class")
    if function in OF_CLASSES and target.shape == output.shape and target.dim() > 1:  # one of them is 1
        return target.argmax(dim=1)
    if function in OF_CLASSES:
        return target.reshape(output.shape[0], *output.shape[2:]).long()
    return target.to(output.dtype).reshape(output.shape) if target.numel() == output.numel() else target


def clip_gradients(clip: tuple[str, float], model: nn.Module, optimizer: Any) -> None:
    """Clip the gradients of what an optimizer holds."""
    tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    kind, limit = clip
    if kind == "norm":
        nn.utils.clip_grad_norm_(tensors, limit)
    elif limit > 0 and math.isfinite(limit):
        nn.utils.clip_grad_value_(tensors, limit)
