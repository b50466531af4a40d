"""Losses of Keras's in an experiment: as the functions of torch's that they amount to, where there is one.

What an experiment knows of a loss (its lowest value, that of a guess, whether an answer is right) it knows of torch's.
Each translation is tried on a real batch: where it does not give the same value, the loss stays what it is.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.observe.model.apart import apart
from stethoscope.observe.model.ingredients import KERAS_LOSS, Pass, Step, View, loss_of
from stethoscope.observe.model.recipe import Recipe, view_in
from stethoscope.observe.training.keras_losses import Compared, compared, setting_of

AGREES = 1e-3
"""Relative difference of two losses that are the same but for what is added against a logarithm of 0."""
OF_CLASSES = ("cross_entropy", "categorical_crossentropy")
OF_SHARES = {"categorical_crossentropy": "log", "binary_cross_entropy": "logit"}
"""Losses of shares, and what makes scores of these."""
AMOUNTS_TO = {
    "cross_entropy": "cross_entropy",
    "categorical_crossentropy": "cross_entropy",
    "binary_cross_entropy": "binary_cross_entropy_with_logits",  # that of shares raises for any other number
    "binary_cross_entropy_with_logits": "binary_cross_entropy_with_logits",
    "mse_loss": "mse_loss",
    "l1_loss": "l1_loss",
    "huber_loss": "huber_loss",
}


def in_torch(recipe: Recipe, model: nn.Module) -> Recipe:
    """A recipe with losses of torch's, where all of its losses are of Keras's and amount to such; else the same.

    The model is a copy, and is left in eval mode: two forward passes of it should be the same.
    """
    passes = [each for step in recipe.steps for each in step.passes]
    if not passes or any(each.function != KERAS_LOSS for each in passes):
        return recipe
    model.eval()
    with apart(), torch.no_grad():
        output = recipe.output(model, passes[0])
        first = _translated(passes[0], output) if isinstance(output, Tensor) else None
        if first is None or not _agree(first, passes[0], recipe.output(model, first), output):
            return recipe
        made = [_steps(step, output) for step in recipe.steps]
    return recipe if any(step is None for step in made) else replace(recipe, steps=tuple(filter(None, made)))


def _steps(step: Step, output: Tensor) -> Step | None:
    passes: list[Pass] = []
    for each in step.passes:
        rows = each.target.shape[:1] if isinstance(each.target, Tensor) and each.target.dim() else output.shape[:1]
        one = _translated(each, output.new_ones((*rows, *output.shape[1:])))
        if one is None:
            return None
        passes.append(one)
    return replace(step, passes=passes)


def _agree(one: Pass, other: Pass, output: Tensor, output_of_other: Tensor) -> bool:
    try:
        value = float(loss_of(one.function, output, one.target, one.options))
    except (RuntimeError, IndexError, ValueError):  # shapes or classes that torch does not take
        return False
    theirs = float(loss_of(other.function, output_of_other, other.target, other.options).mean())
    return math.isclose(value, theirs, rel_tol=AGREES, abs_tol=AGREES * 1e-3) or (value != value and theirs != theirs)


def _translated(one: Pass, output: Tensor) -> Pass | None:
    """A pass with a loss of torch's; None where there is none."""
    loss = one.options["loss"]
    seen = compared(loss, one.target, output, False)
    if seen is None or seen.target is None or seen.function not in AMOUNTS_TO or seen.reduction == "weighted":
        return None
    view = _view(view_in(one), seen, output)
    if view is None or setting_of(loss, "ignore_class") is not None:
        return None
    options: dict[str, Any] = {"reduction": "sum"} if seen.reduction == "sum" else {}
    smoothed = setting_of(loss, "label_smoothing") or 0.0
    if smoothed and seen.function not in OF_CLASSES:
        return None
    if smoothed:
        options["label_smoothing"] = float(smoothed)
    if seen.function == "huber_loss":
        options["delta"] = float(setting_of(loss, "delta") or 1.0)
    target = seen.target
    if target.is_floating_point() or seen.function not in OF_CLASSES:
        target = target.to(output.dtype)
    function = AMOUNTS_TO[seen.function]
    return replace(one, function=function, options=options, target=target.to(output.device), view=view)


def _view(view: View, seen: Compared, output: Tensor) -> View | None:
    """The way to what torch's function takes: classes on the second axis, and logarithms in the place of shares."""
    operation, activation = "as it is", f"+{OF_SHARES[seen.function]}" if seen.function in OF_SHARES else ""
    if seen.output.shape != output.shape:
        operation = "last axis second" if output.dim() == seen.output.dim() else "reshaped"
    elif seen.function in OF_CLASSES and output.dim() > 2:
        operation = "last axis second"
    if view.picked is not None or "+" in view.name or "as it is" not in (view.name, operation):
        return None
    name = view.name if operation == "as it is" else operation
    return View(view.path, name + activation, tuple(seen.output.shape[1:]))
