"""Trains copies: the plain loop, a range test of the learning rate, and one single step."""

from __future__ import annotations

import inspect
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stethoscope.facts.model import Cost, RangeTest, Repeats, StartLoss, StepEffect
from stethoscope.observe.model.apart import measuring, seed
from stethoscope.observe.model.ingredients import Pass, leaves_of
from stethoscope.observe.model.keras_copy import KerasCopy
from stethoscope.observe.model.recipe import Recipe, clip_gradients
from stethoscope.observe.preflight.subject import CannotMake, Subject

RANGE_STEPS = 80
LOWEST, HIGHEST = -7.0, 1.0
"""Powers of ten between which the rate is raised: Adam works from 1e-5 to 1e-2, SGD up to 1."""
FIRST_RATES = 2
"""Rates at which nothing moves yet."""
SMOOTHING = 0.8
"""Of the exponential mean of the losses (the fastai library smooths its range test likewise)."""
RISEN = 4.0
"""Times the first loss at which the test ends."""
FEWEST_BATCHES_FOR_NOISE = 4
TIMED_STEPS = 3
TINY_RATE = 1e-9
RANDOM_STATE = "seed_generator_state"
"""Name that Keras gives the state of what a layer draws random numbers from."""


def needs_closure(optimizer: Any) -> bool:
    """Whether an optimizer asks for the loss again and again within a step, as LBFGS does."""
    try:
        closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    except (TypeError, ValueError):
        return False
    return isinstance(optimizer, torch.optim.LBFGS) or (closure is not None and closure.default is closure.empty)


def take(recipe: Recipe, passes: list[Pass], model: nn.Module, optimizer: Any) -> float:
    """One step of training, as the script takes it; gives its mean loss.

    Raises: CannotMake for an optimizer that asks for the loss again and again within a step.
    """
    if optimizer.param_groups and not any(group.get("lr", 1.0) for group in optimizer.param_groups):
        raise CannotMake("the learning rate is 0 at the first step, as at the start of a warm-up")
    if needs_closure(optimizer):
        raise CannotMake("its optimizer computes the loss of a batch several times for one step")
    optimizer.zero_grad()
    total = 0.0
    for each in passes:
        loss = recipe.loss(model, each)
        total += float(loss.detach())
        if loss.requires_grad:
            (loss * each.factor if math.isfinite(each.factor) and each.factor != 1 else loss).backward()
    if recipe.clip is not None:
        clip_gradients(recipe.clip, model, optimizer)
    optimizer.step()
    return total / len(passes)


def train(subject: Subject, recipe: Recipe, steps: int, until: float) -> nn.Module | None:
    """A copy after so many steps over the captured batches; None when its loss was no number, or time was up."""
    seed(0)
    model, optimizer = subject.copy()
    for number in range(steps):
        if time.perf_counter() > until:
            return None
        if not math.isfinite(take(recipe, recipe.steps[number % len(recipe.steps)].passes, model, optimizer)):
            return None
    return model


def range_test(subject: Subject, until: float) -> RangeTest:
    """Raise the learning rate of a copy from step to step and watch the loss.

    Raises: CannotMake when the optimizer has no rate, or there was no time for it.
    """
    seed(0)
    model, optimizer = subject.copy()
    present = [group["lr"] for group in optimizer.param_groups if isinstance(group.get("lr"), float | int)]
    if not present or not all(present):
        raise CannotMake("the learning rate is 0 at the first step, or the optimizer has none")
    main = float(max(present))
    rates = np.logspace(LOWEST, HIGHEST, RANGE_STEPS)
    losses: list[float] = []
    mean, weight = 0.0, 0.0
    steps = subject.recipe.steps
    for number, rate in enumerate(rates):
        if time.perf_counter() > until:
            raise CannotMake(f"there was time for {number} of {RANGE_STEPS} steps only")
        for group, own in zip(optimizer.param_groups, present, strict=False):
            group["lr"] = float(rate) * own / main
        loss = take(subject.recipe, steps[number % len(steps)].passes, model, optimizer)
        if not math.isfinite(loss):
            break
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        losses.append(mean / weight)
        if losses[-1] > RISEN * max(losses[0], 1e-12):
            break
    if len(losses) < 10:
        raise CannotMake("the loss was no number from the start")
    values = np.array(losses)
    tried = rates[: values.size]
    lowest = int(np.argmin(values))
    fall = np.gradient(values, np.log10(tried))
    steepest = int(np.argmin(fall[: lowest + 1])) if lowest else 0
    risen = np.flatnonzero(values[lowest:] > values[0] * 1.05)
    ended_early = values.size < rates.size
    diverges = float(tried[lowest + risen[0]]) if risen.size else float(rates[values.size]) if ended_early else math.nan
    # A fall that is steepest at the lowest rates is that from one batch to the next.
    has_fallen = values[lowest] < values[0] * 0.98 and steepest >= FIRST_RATES
    return RangeTest(tried, values, main, float(tried[steepest]) if has_fallen else math.nan, diverges)


def start_of(subject: Subject) -> StartLoss:
    """The loss before any step, beside that of guessing."""
    seed(0)
    model, _ = subject.copy()
    return StartLoss(subject.value(model), subject.chance, subject.first.function)


def chance_of(subject: Subject) -> float:
    """What a guess gives that knows nothing but the kind of the loss and the targets of the batch; NaN when unknown."""
    one = subject.first
    if not isinstance(one.target, Tensor):
        return math.nan
    model, _ = subject.copy()
    output = subject.recipe.output(model, one)
    match one.function:
        case "cross_entropy" | "nll_loss":
            return math.log(output.shape[1]) if output.dim() > 1 else math.nan
        case "binary_cross_entropy" | "binary_cross_entropy_with_logits":
            return math.log(2)
        case "mse_loss":
            return float(one.target.double().square().mean())
        case "l1_loss":
            return float(one.target.double().abs().mean())
    return math.nan


@dataclass(frozen=True)
class Flow:
    """Which trainable parameters receive no usable gradient."""

    count: int
    missing: tuple[str, ...]
    zero: tuple[str, ...]
    nonfinite: tuple[str, ...]


def gradients_of(subject: Subject) -> Flow:
    """Backpropagate the loss of the first batch, and look at the gradient of each trainable parameter."""
    seed(0)
    model, _ = subject.copy()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    loss = subject.loss(model)
    gradients = (
        torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
        if loss.requires_grad
        else [None] * len(trained)
    )
    found = dict(zip(trained, gradients, strict=True))
    missing = tuple(name for name, g in found.items() if g is None)
    values = {name: dense(g) for name, g in found.items() if g is not None}
    zero = tuple(name for name, g in values.items() if not bool((g != 0).any()))
    nonfinite = tuple(name for name, g in values.items() if not bool(g.isfinite().all()))
    return Flow(len(trained), missing, zero, nonfinite)


def modes_of(subject: Subject) -> float:
    """How much the outputs of one batch differ between train and eval mode, as a share of their size.

    Raises: CannotMake when the two have different shapes, or the model returns its loss only.
    """
    outputs = []
    for training in (True, False):
        seed(0)
        model, _ = subject.copy()
        model.train(training)
        leaves = [t for _, t in leaves_of(subject.recipe.output(model, subject.first)) if t.is_floating_point()]
        outputs.append(leaves)
    if [t.shape for t in outputs[0]] != [t.shape for t in outputs[1]] or not any(t.dim() for t in outputs[0]):
        raise CannotMake("the model returns something else in eval mode, or its loss only")
    first, second = (torch.cat([t.reshape(-1).double() for t in leaves if t.dim()]) for leaves in outputs)
    size = float(first.square().mean().sqrt())
    return float((first - second).square().mean().sqrt()) / max(size, 1e-30)


def purity_of(subject: Subject) -> str:
    """What differs between two forward passes in eval mode, in words; empty when nothing does."""
    model, _ = subject.copy()
    model.eval()
    before = {name: value.detach().clone() for name, value in _kept(model).items()}
    seed(1)
    states = torch.get_rng_state()
    outputs = [[t for _, t in leaves_of(subject.recipe.output(model, subject.first))] for _ in range(2)]
    same = all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))
    changed = [name for name, value in _kept(model).items() if name in before and not torch.equal(before[name], value)]
    draws = [name for name in changed if name.endswith(RANDOM_STATE)]
    if not same and (draws or not torch.equal(states, torch.get_rng_state())):
        return "its output, since it draws random numbers"
    if changed and changed != draws:
        return f"`{next(name for name in changed if name not in draws)}`"
    return "" if same else "its output"


def _kept(model: nn.Module) -> dict[str, Tensor]:
    """What a model keeps from one forward pass to the next."""
    kept = model.kept() if isinstance(model, KerasCopy) else model.state_dict()
    return {name: value for name, value in kept.items() if isinstance(value, Tensor)}


def effect_of_a_step(subject: Subject) -> StepEffect:
    """Take one step on the first batch, and see what it changed."""
    seed(0)
    model, optimizer = subject.copy()
    one = subject.recipe.steps[0].passes
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in trained.items()}
    with measuring(model):
        loss_before = subject.value(model, one[0])
    seed(1)
    take(subject.recipe, one, model, optimizer)
    ratios, unmoved, lost = [], [], []
    for name, parameter in trained.items():
        update = float((parameter.detach() - before[name]).abs().square().mean().sqrt()) if parameter.numel() else 0.0
        weight = float(before[name].abs().square().mean().sqrt()) if parameter.numel() else 0.0
        if not update:
            unmoved.append(name)
            if parameter.grad is None:
                lost.append(name)
        elif weight and parameter.dim() > 1:
            ratios.append(update / weight)
    with measuring(model):
        loss_after = subject.value(model, one[0])
    ratio = float(np.median(ratios)) if ratios else math.nan
    return StepEffect(loss_before, loss_after, ratio, tuple(unmoved), tuple(lost))


def repeats(subject: Subject) -> Repeats:
    """Take the same step twice from one seed."""
    results: list[dict[str, list[Tensor]]] = []
    for _ in range(2):
        seed(0)
        model, optimizer = subject.copy()
        seed(0)
        one = subject.first
        output = subject.recipe.output(model, one)
        seed(0)
        model, optimizer = subject.copy()
        seed(0)
        loss = take(subject.recipe, [one], model, optimizer)
        gradients = [dense(p.grad.detach()).clone() for p in model.parameters() if p.grad is not None]
        weights = [p.detach().clone() for p in model.parameters()]
        results.append(
            {
                "output": [t for _, t in leaves_of(output)],
                "loss": [torch.tensor(loss)],
                "gradients": gradients,
                "weights": weights,
            }
        )
    for what in results[0]:
        pairs = list(zip(results[0][what], results[1][what], strict=False))
        if any(not torch.equal(a, b) and not bool((a.isnan() & b.isnan()).any()) for a, b in pairs):
            difference = max(float((a - b).abs().max()) / max(float(a.abs().max()), 1e-30) for a, b in pairs)
            return Repeats(False, what, difference)
    return Repeats()


def dense(tensor: Tensor) -> Tensor:
    """A gradient as an ordinary tensor."""
    return tensor.to_dense() if tensor.is_sparse else tensor


def moving(optimizer: Any) -> None:
    """Give an optimizer whose rate is 0, as at the start of a warm-up, a small one, so that steps can be taken."""
    for group in optimizer.param_groups:
        if "lr" in group and not group["lr"]:
            group["lr"] = TINY_RATE


def cost_of(subject: Subject) -> Cost:
    """Time of a step and of an epoch, memory of the step's graph, and the noise of its gradient."""
    seed(0)
    model, optimizer = subject.copy()
    moving(optimizer)
    one = subject.recipe.steps[0].passes
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = subject.loss(model, one[0])
    graph = sum(size for key, size in kept.items() if key not in weights)
    del loss
    best = math.inf
    for _ in range(TIMED_STEPS):
        began = time.perf_counter()
        take(subject.recipe, one, model, optimizer)
        best = min(best, time.perf_counter() - began)
    rows = 0 if subject.time_comes_first else subject.rows
    norm, noise = _noise(subject)
    clip = subject.recipe.clip
    return Cost(
        best, rows, best * subject.samples / rows if rows and subject.samples else math.nan, graph, noise, norm,
        clip[1] if clip is not None and clip[0] == "norm" else math.nan,
    )  # fmt: skip


def _noise(subject: Subject) -> tuple[float, float]:
    """Norm of a batch's gradient, and the simple noise scale in samples, without bias (McCandlish et al. 2018,
    appendix A.1): from the gradients of single batches and that of all of them."""
    model, optimizer = subject.copy()
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    passes = subject.passes
    sums = [torch.zeros_like(p, dtype=torch.cdouble if p.is_complex() else torch.float64) for p in parameters]
    squares = []
    for each in passes:
        seed(0)
        gradients = torch.autograd.grad(subject.loss(model, each), parameters, allow_unused=True)
        found = [torch.zeros_like(p) if g is None else dense(g) for p, g in zip(parameters, gradients, strict=True)]
        squares.append(sum(float(g.abs().double().square().sum()) for g in found))
        for total, gradient in zip(sums, found, strict=True):
            total += gradient.to(total.dtype)
    count, rows = len(passes), 0 if subject.time_comes_first else subject.rows
    norm = math.sqrt(squares[0])
    if count < FEWEST_BATCHES_FOR_NOISE or not rows:
        return norm, math.nan
    of_one = sum(squares) / count
    of_all = sum(float(total.abs().square().sum()) for total in sums) / count**2
    small, large = float(rows), float(rows * count)
    signal = (large * of_all - small * of_one) / (large - small)
    spread = (of_one - of_all) / (1 / small - 1 / large)
    return norm, spread / signal if signal > 0 and spread > 0 else math.nan
