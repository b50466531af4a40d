"""Can a copy learn a few samples by heart? What cannot do that cannot learn the task."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.facts.model import Memory
from stethoscope.observe.model.apart import seed
from stethoscope.observe.model.ingredients import Pass
from stethoscope.observe.model.recipe import Recipe, clip_gradients
from stethoscope.observe.preflight.subject import (
    IGNORED,
    CannotMake,
    Subject,
    is_random,
    of_classes,
    settle,
    without_dropout,
)
from stethoscope.observe.preflight.training import needs_closure

MOST_STEPS = 300
FEWEST_STEPS = 100
"""A copy that had time for fewer and does not know its samples shows nothing."""
OTHERS = ((torch.optim.Adam, 1e-3), (torch.optim.Adam, 1e-2))
"""Tried when the script's own optimizer does not get there: a fault of its settings is not one of the model's."""
MOST_FROZEN = 0.5
"""Share of a model's values that do not train above which a failure to learn says nothing: adapters, a head alone."""
LEARNED = 0.05
"""Share of what the loss could fall that may be left."""
SURE = 0.2
"""Loss, as a share of that of guessing, below which samples that are all named rightly have been learned by heart."""
STILL_FALLING = 0.8
"""A loss that ends below this share of what it was after two thirds of the steps needs more of them."""
SOFT = ("cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "nll_loss")
SQUARED = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
JUDGED = (*SOFT, *SQUARED)


def memorise(subject: Subject, count: int, until: float) -> Memory:
    """Train copies on a few samples until these are known by heart, or the steps or the time are over.

    Raises: CannotMake when that cannot be tried, or would show nothing.
    """
    if subject.first.function not in JUDGED:
        raise CannotMake("the lowest value that the loss can take is not known")
    if is_random(subject):
        raise CannotMake("the loss of one batch differs from one forward pass to the next")
    if any(p.dtype == torch.float16 for p in subject.model.parameters()):
        raise CannotMake("in half precision what optimizers compute with becomes 0")
    recipe = subject.few(count)
    one = recipe.steps[0].passes[0]
    floor = _floor(one, subject)
    best: Memory | None = None
    hurried = False
    others = () if _is_sparse(subject.model) else OTHERS
    own = () if needs_closure(subject.optimizer) or _stands_still(subject.optimizer) else ((None, 0.0),)
    for kind, rate in (*own, *others):
        if time.perf_counter() > until and best is not None:
            hurried = True
            break
        model, optimizer = _beginner(subject, kind, rate)
        by = "the script's optimizer" if kind is None else f"{kind.__name__}, lr={rate:g}"
        memory = _train(subject, recipe, one, model, optimizer, count, floor, by, until)
        if best is None or memory.learned or math.isnan(best.end) or memory.end < best.end:
            best = memory
        if memory.learned:
            return memory
        hurried |= memory.steps < FEWEST_STEPS and math.isfinite(memory.end) and time.perf_counter() > until
    if best is None or not others:
        raise CannotMake("its gradients are sparse, and no other optimizer could be tried")
    if hurried and math.isfinite(best.end):  # what was not tried might have learned it
        raise CannotMake(f"there was time for {best.steps} steps only")
    if _frozen_share(subject.model) > MOST_FROZEN:
        raise CannotMake("most of the model is frozen, and what is left need not suffice")
    return best


def _stands_still(optimizer: Any) -> bool:
    """Whether each group has a rate of 0, as at the start of a warm-up."""
    return all(group.get("lr") == 0 for group in optimizer.param_groups)


def _frozen_share(model: nn.Module) -> float:
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    share: float = frozen / max(1, sum(p.numel() for p in model.parameters()))
    return share


def _is_sparse(model: nn.Module) -> bool:
    return any(isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.sparse for part in model.modules())


def _beginner(subject: Subject, kind: Any, rate: float) -> tuple[nn.Module, Any]:
    """A copy without dropout, penalties on weights, and statistics of batches that are too small for them."""
    seed(0)
    model, optimizer = subject.copy()
    without_dropout(model)
    settle(model)
    if kind is not None:
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = kind(trained, lr=rate)
    for group in optimizer.param_groups:
        if "weight_decay" in group:
            group["weight_decay"] = 0.0
    return model, optimizer


def _train(
    subject: Subject, recipe: Recipe, one: Pass, model: nn.Module, optimizer: Any, count: int, floor: float, by: str,
    until: float,
) -> Memory:  # fmt: skip
    classes, left_out = of_classes(subject), one.options.get("ignore_index", IGNORED)
    start = end = math.nan
    right, steps, learned = math.nan, 0, False
    losses: list[float] = []
    for step in range(MOST_STEPS):
        optimizer.zero_grad()
        output = recipe.output(model, one)
        loss = recipe.loss(model, one)
        end = float(loss.detach())
        steps = step
        losses.append(end)
        if step == 0:
            start = end
        if not math.isfinite(end):
            break
        right = _share_right(output.detach(), one.target, one.function, left_out) if classes else math.nan
        scale = max(start, subject.chance) if math.isfinite(subject.chance) else start
        known = right == 1.0 and end - floor < SURE * (scale - floor)
        if known or end - floor <= LEARNED * (scale - floor):
            learned = True
            break
        if time.perf_counter() > until or not loss.requires_grad:
            break
        loss.backward()
        if recipe.clip is not None:
            clip_gradients(recipe.clip, model, optimizer)
        optimizer.step()
    earlier = losses[2 * len(losses) // 3] - floor if losses else 0.0
    falling = not learned and end - floor < STILL_FALLING * earlier
    return Memory(count, steps, start, end, right, learned, by, floor, falling)


def _share_right(output: Tensor, target: Any, function: str, left_out: int) -> float:
    if not isinstance(target, Tensor):
        return math.nan
    if output.dim() > 1 and output.shape[1] > 1 and function in ("cross_entropy", "nll_loss"):
        truth = target.argmax(1) if target.shape == output.shape else target
        valid = (truth.reshape(-1) >= 0) & (truth.reshape(-1) != left_out)
        return float((output.argmax(1).reshape(-1) == truth.reshape(-1))[valid].double().mean()) if valid.any() else 1.0
    if target.numel() != output.numel():
        return math.nan
    half = 0.0 if function.endswith("with_logits") else 0.5
    return float(((output > half).reshape(-1) == (target > 0.5).reshape(-1)).double().mean())


def _floor(one: Pass, subject: Subject) -> float:
    """Loss of the best answer: the entropy of soft or smoothed targets, 0 for others.

    Raises: CannotMake when samples contradict each other.
    """
    target = one.target
    if not isinstance(target, Tensor):
        raise CannotMake("the target is no tensor")
    if smoothed := float(one.options.get("label_smoothing") or 0.0):
        if target.is_floating_point() or one.options.get("weight") is not None:
            raise CannotMake("the labels are smoothed")
        model, _ = subject.copy()
        classes = subject.recipe.output(model, one).shape[1]
        shares = torch.full((classes,), smoothed / classes, dtype=torch.float64)
        shares[0] += 1 - smoothed
        return float(-torch.xlogy(shares, shares).sum())
    if not target.is_floating_point():
        return 0.0
    values = target.double()
    if one.function.startswith("binary"):
        if bool(((values < 0) | (values > 1)).any()):
            return 0.0
        entropy = -(torch.xlogy(values, values) + torch.xlogy(1 - values, 1 - values))
        return float(entropy.mean())
    if one.function == "cross_entropy":
        return float(-torch.xlogy(values, values).sum(1).mean())
    return 0.0
