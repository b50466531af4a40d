"""How one training step is taken again on a copy, and how treatments change that."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from stethoscope.core.treatment import (
    Backpropagate,
    BlankInputs,
    ClearGradients,
    Clip,
    EvalMode,
    ExchangeLoss,
    KeepGradients,
    NoDropout,
    NoMomentum,
    NoWeightDecay,
    OptimizeAllParameters,
    PermuteLabels,
    Reinitialize,
    RemoveOutputActivation,
    ReshapeTarget,
    ScaleLearningRate,
    ShuffleBatches,
    StandardizeInputs,
    StandardizeTargets,
    SwapLossArguments,
    TakeSteps,
    TrainMode,
    Treatment,
)
from stethoscope.observe.model.ingredients import OWN_LOSS, Pass, Step, View, loss_of, tensors_in

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
    """Learning rate of each step, over the first one's; empty when it stays."""
    shuffles: bool = True
    """Whether the order of the batches is drawn anew; else they come as they came."""
    edits: tuple[Edit, ...] = ()
    """What is changed in the copies of the model and its optimizer."""
    change_input: Callable[[Tensor], Tensor] | None = None
    change_target: Callable[[Any, Tensor], Any] | None = None
    function: str = ""
    """Loss function in the place of the run's."""
    swaps: bool = False
    without: tuple[str, int] | None = None
    """An activation that is left out, and which of its calls in a forward pass it is."""
    names: tuple[str, ...] = field(default=())

    def loss(self, model: nn.Module, each: Pass) -> Tensor:
        """The loss of a forward pass, as it is computed in the run but for what was changed."""
        args, kwargs = self._inputs(each)
        if self.without is None:
            output = _view(each)(model(*args, **kwargs))
        else:
            with _LeaveOut(*self.without):
                output = _view(each)(model(*args, **kwargs))
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

    def _inputs(self, each: Pass) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Copies, since a model may write to what it is given."""
        args, kwargs = _clones((each.args, each.kwargs))
        if self.change_input is not None:
            for _, tensor in tensors_in((args, kwargs)):
                if tensor.is_floating_point():
                    tensor.copy_(self.change_input(tensor))
                    break
        return args, kwargs


def _clones(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_clones(part) for part in value))
    if isinstance(value, tuple | list):
        return type(value)(_clones(part) for part in value)
    if isinstance(value, dict):
        return {key: _clones(part) for key, part in value.items()}
    return value


def _view(each: Pass) -> View:
    assert each.view is not None
    return each.view


def _fitting(function: str, target: Tensor, output: Tensor) -> Tensor:
    """A target in the form that a loss function asks for."""
    if function in OF_CLASSES:
        return target.reshape(output.shape[0], *output.shape[2:]).long()
    return target.to(output.dtype).reshape(output.shape) if target.numel() == output.numel() else target


class _LeaveOut(TorchFunctionMode):  # type: ignore[misc]
    """Inside of it, one call of an activation gives back what it was given."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__()
        self._name = name
        self._left = number

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "").rstrip("_") == self._name:
            self._left -= 1
            if self._left == -1:
                return args[0] if args else (kwargs or {})["input"]
        return func(*args, **(kwargs or {}))


class _Listen(TorchFunctionMode):  # type: ignore[misc]
    """Inside of it, results of one activation are kept, in order."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.results: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "").rstrip("_") == self._name:
            self.results.append(result.detach().clone())
        return result


def call_before_loss(recipe: Recipe, model: nn.Module, name: str) -> int:
    """Which call of an activation makes what the loss is given.

    Raises: CannotTry when none does.
    """
    each = recipe.steps[0].passes[0]
    args, kwargs = recipe._inputs(each)
    with torch.no_grad(), _Listen(name) as heard:
        argument = _view(each)(model(*args, **kwargs))
    for number in reversed(range(len(heard.results))):
        result = heard.results[number]
        if result.numel() == argument.numel() and torch.equal(result.reshape(-1), argument.reshape(-1)):
            return number
    raise CannotTry(f"no call of `{name}` makes what the loss is given")


def treated(recipe: Recipe, treatment: Treatment, model: nn.Module) -> Recipe:
    """The recipe with one treatment.

    Args:
        model: a copy that may be called.

    Raises: CannotTry when it does not apply here.
    """
    match treatment:
        case ClearGradients():
            return _unlike(recipe, "gradients are cleared already", clears=True, clears_before_step=False)
        case KeepGradients():
            return _unlike(recipe, "gradients are kept already", clears=True, clears_before_step=False)
        case Backpropagate():
            return _unlike(recipe, "losses are backpropagated already", backpropagates=True)
        case TakeSteps():
            return _unlike(recipe, "the optimizer steps already", takes_steps=True)
        case Clip(norm):
            clip = None if norm is None else ("norm", norm)
            return _unlike(recipe, "gradients are clipped like that already", clip=clip)
        case ShuffleBatches():
            return replace(recipe, steps=_dealt_out(recipe.steps), shuffles=True)
        case RemoveOutputActivation(name):
            return replace(recipe, without=(name, call_before_loss(recipe, model, name)))
        case ReshapeTarget():
            return replace(recipe, change_target=_like_output)
        case SwapLossArguments():
            return replace(recipe, swaps=True)
        case ExchangeLoss(name):
            return replace(recipe, function=name)
        case StandardizeInputs():
            return replace(recipe, change_input=_standardizing(recipe))
        case StandardizeTargets():
            return replace(recipe, change_target=_standardizing_targets(recipe))
        case PermuteLabels():
            return replace(recipe, change_target=_permuted)
        case BlankInputs():
            return replace(recipe, change_input=torch.zeros_like)
        case _:
            return replace(recipe, edits=(*recipe.edits, _edit(treatment)))


def _unlike(recipe: Recipe, already: str, **changes: Any) -> Recipe:
    changed = replace(recipe, **changes)
    if changed == recipe:
        raise CannotTry(already)
    return changed


def _edit(treatment: Treatment) -> Edit:
    """A treatment of the model or the optimizer."""

    def edit(model: nn.Module, optimizer: Any) -> None:
        match treatment:
            case ScaleLearningRate(factor):
                _set(optimizer, "lr", lambda rate: rate * factor)
            case NoWeightDecay():
                _set(optimizer, "weight_decay", lambda decay: 0.0)
            case NoMomentum():
                _set(optimizer, "momentum", lambda momentum: 0.0)
                _set(optimizer, "betas", lambda betas: (0.0, *betas[1:]))
            case OptimizeAllParameters():
                _hold_all(model, optimizer)
            case NoDropout():
                _without_dropout(model)
            case Reinitialize():
                for part in model.modules():
                    if callable(reset := getattr(part, "reset_parameters", None)):
                        reset()
            case TrainMode():
                model.train()
            case EvalMode():
                model.eval()
            case _:
                raise CannotTry(f"{type(treatment).__name__} is not known here")

    return edit


def _set(optimizer: Any, key: str, change: Callable[[Any], Any]) -> None:
    for group in optimizer.param_groups:
        if key in group:
            group[key] = change(group[key])


def _hold_all(model: nn.Module, optimizer: Any) -> None:
    held = {id(tensor) for group in optimizer.param_groups for tensor in group["params"]}
    left_out = [p for p in model.parameters() if p.requires_grad and id(p) not in held]
    if not left_out:
        raise CannotTry("every parameter is held already")
    optimizer.param_groups[-1]["params"].extend(left_out)


def _without_dropout(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, DROPOUTS):
            part.p = 0.0
        elif isinstance(getattr(part, "dropout", None), float):
            part.dropout = 0.0


def _dealt_out(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Batches of the same sizes, made of the same samples in a random order that is always the same.

    Raises: CannotTry where a batch is more than tensors with one row for each sample.
    """
    passes = [each for step in steps for each in step.passes]
    sizes = [_rows(each) for each in passes]
    order = torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(0))
    dealt: dict[int, Pass] = {}
    columns = [[t for _, t in tensors_in((each.args, each.kwargs, each.target))] for each in passes]
    if len({tuple(t.shape[1:] for t in column) for column in columns}) != 1:
        raise CannotTry("the batches have different shapes")
    mixed = [torch.cat(parts)[order.to(parts[0].device)] for parts in zip(*columns, strict=True)]
    begin = 0
    for each, size in zip(passes, sizes, strict=True):
        new = replace(each, args=_clones(each.args), kwargs=_clones(each.kwargs), target=_clones(each.target))
        for (_, tensor), values in zip(tensors_in((new.args, new.kwargs, new.target)), mixed, strict=True):
            tensor.copy_(values[begin : begin + size])
        begin += size
        dealt[id(each)] = new
    return tuple(replace(step, passes=[dealt[id(each)] for each in step.passes]) for step in steps)


def _rows(each: Pass) -> int:
    sizes = {t.shape[0] if t.dim() else -1 for _, t in tensors_in((each.args, each.kwargs, each.target))}
    if len(sizes) != 1 or -1 in sizes:
        raise CannotTry("not every tensor of a batch has one row for each sample")
    return sizes.pop()


def _like_output(target: Tensor, output: Tensor) -> Tensor:
    if target.numel() != output.numel():
        raise CannotTry("output and target have different numbers of values")
    return target.reshape(output.shape)


def _permuted(target: Tensor, output: Tensor) -> Tensor:
    return target[torch.randperm(target.shape[0], device=target.device)]


def _standardizing(recipe: Recipe) -> Callable[[Tensor], Tensor]:
    """Scaling by each feature's mean and spread over the captured batches."""
    inputs = []
    for step in recipe.steps:
        for each in step.passes:
            first = next((t for _, t in tensors_in((each.args, each.kwargs)) if t.is_floating_point()), None)
            if first is not None and first.dim() >= 2:
                inputs.append(_features_last(first).float())
    if not inputs or len({rows.shape[1] for rows in inputs}) != 1:
        raise CannotTry("the model has no floating-point input with features")
    rows = torch.cat(inputs)
    mean, spread = rows.mean(dim=0), rows.std(dim=0)
    spread = torch.where(spread > 1e-6 * (1 + mean.abs()), spread, torch.ones_like(spread))

    def scale(tensor: Tensor) -> Tensor:
        if tensor.dim() <= 3:
            return ((tensor.float() - mean) / spread).to(tensor.dtype)
        shape = (1, -1, *[1] * (tensor.dim() - 2))
        return ((tensor.float() - mean.reshape(shape)) / spread.reshape(shape)).to(tensor.dtype)

    return scale


def _features_last(tensor: Tensor) -> Tensor:
    return (tensor if tensor.dim() <= 3 else tensor.movedim(1, -1)).flatten(0, -2)


def _standardizing_targets(recipe: Recipe) -> Callable[[Any, Tensor], Any]:
    targets = [each.target for step in recipe.steps for each in step.passes]
    if not all(isinstance(t, Tensor) and t.is_floating_point() for t in targets):
        raise CannotTry("the targets are no numbers")
    values = torch.cat([t.flatten() for t in targets])
    mean, spread = values.mean(), values.std()
    if not spread > 0:
        raise CannotTry("the targets do not vary")
    return lambda target, output: (target - mean) / spread


def clip_gradients(clip: tuple[str, float], model: nn.Module, optimizer: Any) -> None:
    """Clip the gradients of what an optimizer holds."""
    tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    kind, limit = clip
    if kind == "norm":
        nn.utils.clip_grad_norm_(tensors, limit)
    elif limit > 0 and math.isfinite(limit):
        nn.utils.clip_grad_value_(tensors, limit)
