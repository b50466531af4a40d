"""How treatments change the recipe by which copies are trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.core.treatment import (
    Backpropagate,
    BlankInputs,
    ClearGradients,
    Clip,
    EvalMode,
    ExchangeLoss,
    FitHead,
    HoldLearningRate,
    KeepGradients,
    LargerBatches,
    NoDropout,
    NoMomentum,
    NoWeightDecay,
    OptimizeAllParameters,
    PermuteLabels,
    Rectify,
    Reinitialize,
    RemoveOutputActivation,
    ReshapeTarget,
    ReviveUnits,
    ScaleForReLU,
    ScaleLearningRate,
    ShuffleBatches,
    SmallerBatches,
    SoftmaxOverClasses,
    StandardizeInputs,
    StandardizeTargets,
    SwapLossArguments,
    TakeSteps,
    TrainAllParameters,
    TrainMode,
    Treatment,
    UsualMomentum,
)
from stethoscope.observe.model.calls import (
    Call,
    Listening,
    Rewrite,
    leaving_out,
    off_the_batch,
    over_classes,
    rectified,
)
from stethoscope.observe.model.ingredients import Pass, Step, tensors_in
from stethoscope.observe.model.recipe import DROPOUTS, CannotTry, Edit, Recipe, clones, view_in

WITH_UNITS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
USUAL_MOMENTUM = 0.9
SOFTMAXES = ("softmax", "log_softmax")
OF_HEADS = ("softmax", "log_softmax", "sigmoid", "logsigmoid", "tanh", "relu")
SATURATING = ("sigmoid", "tanh")
FEW_TARGETS = 8
"""So many numbers to predict for each sample are quantities of their own; more are pixels and the like."""
REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


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
        case SmallerBatches(rows):
            return _in_pieces(recipe, rows)
        case LargerBatches(times):
            return _averaged(recipe, times)
        case RemoveOutputActivation(name):
            return replace(recipe, rewrite=leaving_out(name, _call_before_loss(recipe, model, (name,)).number))
        case SoftmaxOverClasses():
            return replace(recipe, rewrite=_off_the_batch(recipe, model))
        case Rectify(draws):
            edits = (*recipe.edits, _draw_for_rectifiers) if draws else recipe.edits
            return replace(recipe, rewrite=_rectifying(recipe, model), edits=edits)
        case ScaleForReLU():
            return replace(recipe, edits=(*recipe.edits, _draw_for_rectifiers))
        case ReviveUnits():
            return replace(recipe, edits=(*recipe.edits, _reviving(recipe, model)))
        case HoldLearningRate():
            return _unlike(recipe, "the learning rate stays as it is in the captured steps", rates=())
        case ReshapeTarget():
            return replace(recipe, change_target=_like_output)
        case SwapLossArguments():
            return replace(recipe, swaps=True)
        case ExchangeLoss(name):
            return replace(recipe, function=_exchanged(recipe, name))
        case FitHead(name):
            return replace(recipe, function=_exchanged(recipe, name), rewrite=_leaving_out_last(recipe, model))
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


def _call_before_loss(recipe: Recipe, model: nn.Module, names: tuple[str, ...]) -> Call:
    """Which activation, and which call of it, makes what the loss is given.

    Raises: CannotTry when none does.
    """
    each = recipe.steps[0].passes[0]
    args, kwargs = recipe.inputs(each)
    with torch.no_grad(), Listening(names) as heard:
        view = view_in(each)
        whole = view if view.picked is None else replace(view, name="as it is", picked=None)
        argument = whole(model(*args, **kwargs))
    call: Call | None = heard.call_that_gave(argument)
    if call is None:
        raise CannotTry(f"no call of `{'` or `'.join(names)}` makes what the loss is given")
    return call


def _off_the_batch(recipe: Recipe, model: nn.Module) -> Rewrite:
    """The softmax that makes the loss's input over the classes, or those inside of the model that run over samples."""
    with suppress(CannotTry):
        return over_classes(*_call_before_loss(recipe, model, SOFTMAXES))
    rewrite = off_the_batch(SOFTMAXES)
    each = recipe.steps[0].passes[0]
    with torch.no_grad():
        before, after = recipe.output(model, each), replace(recipe, rewrite=rewrite).output(model, each)
    if torch.equal(before, after):
        raise CannotTry("no softmax over the samples is called in the model")
    return rewrite


def _leaving_out_last(recipe: Recipe, model: nn.Module) -> Rewrite | None:
    for name in OF_HEADS:
        with suppress(CannotTry):
            return leaving_out(name, _call_before_loss(recipe, model, (name,)).number)
    return None


def _rectifying(recipe: Recipe, model: nn.Module) -> Rewrite:
    try:
        name, number, _ = _call_before_loss(recipe, model, SATURATING)
    except CannotTry:
        name, number = "", -1
    args, kwargs = recipe.inputs(recipe.steps[0].passes[0])
    with torch.no_grad(), Listening(SATURATING) as heard:
        model(*args, **kwargs)
    if heard.count <= (1 if name else 0):
        raise CannotTry("no sigmoid or tanh is called between layers")
    return rectified(SATURATING, name, number)


def _draw_for_rectifiers(model: nn.Module, optimizer: Any) -> None:
    """Weights drawn after He et al., "Delving Deep into Rectifiers", ICCV 2015: at torch's own scale, a third of that
    variance, the signal of a deep stack would fade with ReLU, too."""
    for part in model.modules():
        if isinstance(part, WITH_UNITS):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _reviving(recipe: Recipe, model: nn.Module) -> Edit:
    """New incoming weights for the units that are silent for all captured samples."""
    names = {module: name for name, module in model.named_modules() if isinstance(module, WITH_UNITS)}
    highest: dict[str, Tensor] = {}

    def hear(module: nn.Module, inputs: Any, output: Tensor) -> None:
        values = output.detach()
        units = values if isinstance(module, nn.Linear) else values.movedim(1, -1)
        top = units.reshape(-1, units.shape[-1]).amax(dim=0)
        name = names[module]
        highest[name] = torch.maximum(highest[name], top) if name in highest else top

    hooks = [module.register_forward_hook(hear) for module in names]
    with torch.no_grad(), Listening(("relu",)) as heard:
        for step in recipe.steps:
            for each in step.passes:
                args, kwargs = recipe.inputs(each)
                model(*args, **kwargs)
    for hook in hooks:
        hook.remove()
    silent = {name: top <= 0 for name, top in highest.items() if bool((top <= 0).any())}
    if not silent or not heard.count:
        raise CannotTry("no unit is dead at the first captured step")

    def edit(model: nn.Module, optimizer: Any) -> None:
        for name, dead in silent.items():
            module = model.get_submodule(name)
            new = copy.deepcopy(module)
            new.reset_parameters()
            with torch.no_grad():
                for own, fresh in zip(module.parameters(recurse=False), new.parameters(recurse=False), strict=True):
                    if own.shape[0] == dead.numel():
                        own[dead] = fresh[dead]

    return edit


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
            case UsualMomentum():
                _set(optimizer, "momentum", lambda momentum: min(momentum, USUAL_MOMENTUM))
                _set(optimizer, "betas", lambda betas: (min(betas[0], USUAL_MOMENTUM), *betas[1:]))
            case NoMomentum():
                _set(optimizer, "momentum", lambda momentum: 0.0)
                _set(optimizer, "betas", lambda betas: (0.0, *betas[1:]))
            case OptimizeAllParameters():
                _hold_all(model, optimizer)
            case TrainAllParameters():
                if all(p.requires_grad for p in model.parameters()):
                    raise CannotTry("nothing is frozen in the captured steps")
                model.requires_grad_(True)
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
    changed = False
    for part in model.modules():
        if isinstance(part, DROPOUTS):
            changed, part.p = changed or part.p > 0, 0.0
        elif isinstance(drop := getattr(part, "dropout", None), float):
            changed, part.dropout = changed or drop > 0, 0.0
    if not changed:
        raise CannotTry("no layer drops values: a function does")


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
        new = replace(each, args=clones(each.args), kwargs=clones(each.kwargs), target=clones(each.target))
        for (_, tensor), values in zip(tensors_in((new.args, new.kwargs, new.target)), mixed, strict=True):
            tensor.copy_(values[begin : begin + size])
        begin += size
        dealt[id(each)] = new
    return tuple(replace(step, passes=[dealt[id(each)] for each in step.passes]) for step in steps)


def _in_pieces(recipe: Recipe, rows: int) -> Recipe:
    """A step for each so many rows of a step.

    Raises: CannotTry where a step has several batches, or one that is not larger.
    """
    if any(len(step.passes) != 1 for step in recipe.steps):
        raise CannotTry("the gradients of several batches are added up for each step")
    fewest = min(_rows(step.passes[0]) for step in recipe.steps)
    if fewest < 2 * rows:
        raise CannotTry("the batches are not larger")
    steps = []
    for step in recipe.steps:
        whole = step.passes[0]
        for begin in range(0, _rows(whole) - rows + 1, rows):
            args, kwargs, target = (
                _cut(part, begin, begin + rows) for part in (whole.args, whole.kwargs, whole.target)
            )
            steps.append(replace(step, passes=[replace(whole, args=args, kwargs=kwargs, target=target)]))
    return replace(recipe, steps=tuple(steps), pieces=fewest // rows, shuffles=True)


def _averaged(recipe: Recipe, times: int) -> Recipe:
    """One step for so many steps, along the mean of their gradients.

    Raises: CannotTry where there are fewer.
    """
    if len(recipe.steps) < times:
        raise CannotTry("too few batches were captured")
    steps = []
    for begin in range(0, len(recipe.steps) - times + 1, times):
        passes = [each for step in recipe.steps[begin : begin + times] for each in step.passes]
        share = [replace(each, factor=(each.factor if math.isfinite(each.factor) else 1.0) / times) for each in passes]
        steps.append(replace(recipe.steps[begin], passes=share))
    return replace(recipe, steps=tuple(steps))


def _cut(value: Any, begin: int, end: int) -> Any:
    """Rows of every tensor of a batch."""
    new = clones(value)
    if isinstance(new, Tensor):
        return new[begin:end]
    if isinstance(new, tuple) and hasattr(new, "_fields"):
        return type(new)(*(_cut(part, begin, end) for part in new))
    if isinstance(new, tuple | list):
        return type(new)(_cut(part, begin, end) for part in new)
    if isinstance(new, dict):
        return {key: _cut(part, begin, end) for key, part in new.items()}
    return new


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


def _exchanged(recipe: Recipe, name: str) -> str:
    """The other loss function, where it can mean anything for these targets.

    Raises: CannotTry when it cannot: then that it does not help would say nothing.
    """
    passes = [each for step in recipe.steps for each in step.passes]
    if all(each.function == name for each in passes):
        raise CannotTry(f"`{name}` is the loss already")
    if name in REGRESSION and any(each.function in REGRESSION for each in passes):
        raise CannotTry("the loss compares amounts already")
    targets = [each.target for each in passes if isinstance(each.target, Tensor)]
    if name in REGRESSION and all(bool((t == t.round()).all()) for t in targets):
        raise CannotTry("the targets are classes and no amounts")
    if name.startswith("binary") and not all(bool(((t >= 0) & (t <= 1)).all()) for t in targets):
        raise CannotTry("the targets are not yes or no")
    return name


def _standardizing_targets(recipe: Recipe) -> Callable[[Any, Tensor], Any]:
    targets = [each.target for step in recipe.steps for each in step.passes]
    if not all(isinstance(t, Tensor) and t.is_floating_point() for t in targets):
        raise CannotTry("the targets are no numbers")
    few = all(t.dim() == 2 and t.shape[1] == targets[0].shape[1] <= FEW_TARGETS for t in targets)
    values = torch.cat(targets) if few else torch.cat([t.flatten() for t in targets])
    mean, spread = values.mean(dim=0), values.std(dim=0)
    if not bool((spread > 0).all()):
        raise CannotTry("the targets do not vary")
    return lambda target, output: (target - mean) / spread
