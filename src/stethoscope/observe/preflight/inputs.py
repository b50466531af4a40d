"""What the output takes from the input, and whether training does better with the input than without."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.facts.model import InputUse
from stethoscope.observe.model.apart import measuring, seed
from stethoscope.observe.model.ingredients import Pass, leaves_of, mapped, tensors_in
from stethoscope.observe.model.recipe import Recipe, clones
from stethoscope.observe.preflight.mixing import Trace, output_of
from stethoscope.observe.preflight.subject import CannotMake, Subject, rows_of
from stethoscope.observe.preflight.training import train

MOST_FEATURES = 4096
CONTROL_STEPS = 48
FEWEST_ROWS = 32


def input_use(subject: Subject, until: float) -> InputUse:
    """Does the output move with the input, which columns move nothing, and do copies learn without it?

    Raises: CannotMake when there are no inputs whose gradients can be asked for.
    """
    depends = _depends(subject)
    features, unused = _unused_columns(subject)
    if depends and len(unused) == features:  # the output moves, by a way that has no gradients
        unused = ()
    use = InputUse(depends, features, unused)
    rows = sum(rows_of(each) for each in subject.passes)
    if rows < FEWEST_ROWS or subject.time_comes_first:  # of positions there is no mean sample
        return use
    losses = []
    for change in (_unchanged, blanked, _permuted):
        recipe = change(subject.recipe)
        if recipe is None or time.perf_counter() > until:
            return use
        model = train(subject, recipe, CONTROL_STEPS, until)
        losses.append(math.nan if model is None else mean_loss(recipe, model))
    return replace(use, unchanged=losses[0], blanked=losses[1], permuted=losses[2], steps=CONTROL_STEPS)


def mean_loss(recipe: Recipe, model: Any) -> float:
    """Over all captured batches, without dropout."""
    values = []
    with measuring(model):
        for step in recipe.steps:
            values += [recipe.value(model, each) for each in step.passes]
    return sum(values) / len(values)


def _depends(subject: Subject) -> bool:
    """Whether any output moves when the samples change places."""
    rows = subject.rows
    if rows < 2:
        raise CannotMake("the batch has a single sample")
    model = subject.steady_copy()
    one = subject.first
    given = [t for _, t in tensors_in((one.args, one.kwargs)) if t.dim() and t.shape[0] == rows]
    if not given or all(bool((t == t[:1]).all()) for t in given):
        raise CannotMake("all samples of the batch are alike")
    outputs = []
    for order in (torch.arange(rows), torch.arange(rows).roll(1)):
        args, kwargs = _reordered((clones(one.args), clones(one.kwargs)), rows, order)
        seed(0)
        outputs.append([t for _, t in leaves_of(model(*args, **kwargs)) if t.dim() and t.numel() > 1])
    if not outputs[0]:
        raise CannotMake("the model returns its loss and nothing else")
    if not all(torch.equal(a, b) for a, b in zip(*outputs, strict=True)):
        return True
    return _has_gradient(subject)


def _drawn_anew(subject: Subject) -> nn.Module:
    """A copy in eval mode whose weights let a signal pass, whatever the script's do."""
    model = subject.steady_copy()
    seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.is_floating_point():
                parameter.normal_(std=(2 / max(1, parameter[0].numel())) ** 0.5)
            elif parameter.is_floating_point():
                parameter.normal_(std=0.1).add_(0.5)  # scales of normalizations must not be 0, nor biases far below it
    return model


def _has_gradient(subject: Subject) -> bool:
    """Whether the output has a gradient in any input.

    Outputs may be the same since a signal fades, saturates, or meets dead units on its way: that is the weights' doing.
    """
    trace = Trace(_drawn_anew(subject), subject.rows)
    with torch.enable_grad(), trace:
        try:
            output = output_of(trace.model, subject.recipe, subject.first, trace)
        except CannotMake:
            return False
    if not trace.roots:
        raise CannotMake("no input of the model has gradients")
    gradients = torch.autograd.grad(output.double().abs().sum(), trace.roots, allow_unused=True)
    return any(g is not None and bool((g != 0).any()) for g in gradients)


def _reordered(value: Any, rows: int, order: Tensor) -> Any:
    def reorder(leaf: Any) -> Any:
        is_of_rows = isinstance(leaf, Tensor) and leaf.dim() and leaf.shape[0] == rows
        return leaf[order.to(leaf.device)] if is_of_rows else leaf

    return mapped(value, reorder)


def _unused_columns(subject: Subject) -> tuple[int, tuple[int, ...]]:
    """Of an input of two axes: how many columns it has, and those that move no output."""
    one = subject.first
    given = [t for _, t in tensors_in((one.args, one.kwargs))]
    if len(given) != 1 or given[0].dim() != 2 or not given[0].is_floating_point():
        return 0, ()
    columns = given[0].shape[1]
    if columns > MOST_FEATURES:
        return columns, ()
    args, kwargs = clones((one.args, one.kwargs))
    (root,) = (t for _, t in tensors_in((args, kwargs)))
    root.requires_grad_(True)
    with torch.enable_grad():
        returned = subject.recipe.output(_drawn_anew(subject), replace(one, args=args, kwargs=kwargs))
        outputs = [t for _, t in tensors_in(returned) if t.requires_grad]
        if not outputs:
            return columns, tuple(range(columns))
        draw = torch.Generator().manual_seed(0)
        weights = [torch.randn(t.shape, generator=draw, dtype=torch.float64).to(t) for t in outputs]
        (gradient,) = torch.autograd.grad(outputs, root, weights, allow_unused=True)
    if gradient is None:
        return columns, tuple(range(columns))
    varies = (given[0] != given[0][:1]).any(0)
    silent = (gradient == 0).all(0) & varies
    return columns, tuple(int(i) for i in silent.nonzero().reshape(-1))


def _unchanged(recipe: Recipe) -> Recipe:
    return recipe


def blanked(recipe: Recipe) -> Recipe:
    """Every sample is replaced by the mean sample of its batch, or by the first one where it is made of indices."""

    def blank(value: Any, rows: int) -> Any:
        def alike(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or not leaf.dim() or leaf.shape[0] != rows:
                return leaf
            one = leaf.detach().mean(0, keepdim=True) if leaf.is_floating_point() else leaf[:1]
            return one.expand_as(leaf).clone().requires_grad_(leaf.requires_grad)

        return mapped(value, alike)

    def blind(one: Pass, rows: int) -> Pass:
        return replace(one, args=blank(one.args, rows), kwargs=blank(one.kwargs, rows))

    return _each_pass(recipe, blind)


def _permuted(recipe: Recipe) -> Recipe | None:
    """Every sample gets the target of another one of its batch."""

    def permute(one: Pass, rows: int) -> Pass:
        if not isinstance(one.target, Tensor) or not one.target.dim():
            return one
        draw = torch.Generator().manual_seed(0)
        order = torch.randperm(one.target.shape[0], generator=draw)
        return replace(one, target=one.target[order.to(one.target.device)])

    if not all(isinstance(each.target, Tensor) for step in recipe.steps for each in step.passes):
        return None
    return _each_pass(recipe, permute)


def _each_pass(recipe: Recipe, change: Any) -> Recipe:
    steps = tuple(replace(step, passes=[change(each, rows_of(each)) for each in step.passes]) for step in recipe.steps)
    return replace(recipe, steps=steps)
