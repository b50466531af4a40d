"""Trains copies for a few dozen steps, with one thing changed and without, and says what losses they end with.

Every replay is a pair: the same weights, the same batches in the same order, the same random numbers. Pairs differ
in the order and in the random numbers. The user's model, optimizer, data and random states stay as they are.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stethoscope.core.treatment import (
    ExchangeLoss,
    FitHead,
    Lab,
    Rectify,
    ScaleLearningRate,
    StandardizeTargets,
    Treatment,
    Trial,
)
from stethoscope.observe.model.apart import apart, measuring, seed
from stethoscope.observe.model.capture import Capture
from stethoscope.observe.model.copies import copy_of
from stethoscope.observe.model.ingredients import Step
from stethoscope.observe.model.recipe import DROPOUTS, CannotTry, Recipe, clip_gradients
from stethoscope.observe.model.treating import treated
from stethoscope.observe.training.graph import read
from stethoscope.observe.training.naming import ENDLESS

if TYPE_CHECKING:
    from stethoscope.observe.training.state import State

REPLAYS = 5
"""Five of five pairs that point the same way happen by chance once in 32 times."""
MOST_STEPS = 48
LONGER = 4
"""Times as many steps, for what does not show in few."""
FEWEST_STEPS = 12
FEWEST_CAPTURED = 2
SAME_LOSS = 1e-3
"""A step taken again must give the loss that the run saw, to this share."""
MOST_BROKEN = 3
"""Losses in a row that are no number; training does not come back from there."""
MOST_KEPT_BYTES = 20 << 20
"""Trained unchanged copies of a model of this size are kept for the next treatment."""

_clock = time.perf_counter


class OutOfTime(Exception):
    """The time for experiments is over."""


@dataclass(frozen=True)
class Originals:
    """Copies of model and optimizer as they were before the first captured step; copied again for every replay."""

    model: nn.Module
    optimizer: Any
    rate: float | None


class Bench:
    """The lab of one run.

    Args:
        capture: what was captured of the run.
        recipe: what its loop does.
        chance: value of the run's loss for the best guess that ignores the input; NaN when unknown.
        seconds: time for all experiments together.
    """

    def __init__(self, capture: Capture, recipe: Recipe, chance: float, seconds: float) -> None:
        assert capture.original is not None
        model, optimizer = capture.original
        rates = {float(group["lr"]) for group in optimizer.param_groups if "lr" in group}
        rates = set(recipe.begins) or rates
        self._originals = Originals(model, optimizer, rates.pop() if len(rates) == 1 else None)
        self._recipe = recipe
        self._chance = chance
        self._until = _clock() + seconds
        self._is_sure_of_weights = bool(capture.steps) and capture.steps[0].number == capture.copied_at
        self._was_checked = False
        self._steps = 0
        """Of each replay; 0 when a step cannot be taken again."""
        self._most_steps = 0
        """That the time allows for."""
        self._trained: dict[int, nn.Module | None] = {}
        """Unchanged copies after training, by replay; None for one that broke down."""

    def __call__(self, treatments: tuple[Treatment, ...], longer: bool) -> Trial:
        """Try treatments, all at once. Never raises: what goes wrong is the trial's reason."""
        words = " and ".join(each.words(self._originals.rate) for each in treatments)
        if self._recipe.begins and any(isinstance(each, ScaleLearningRate) for each in treatments):
            words += " after the warm-up"
        try:
            if self._originals.rate == 0 and any(isinstance(each, ScaleLearningRate) for each in treatments):
                raise CannotTry("the learning rate of the first captured step is 0, and so is every multiple of it")
            with apart():
                return self._try(treatments, words, longer)
        except KeyboardInterrupt:  # who cannot wait gets the report as it is
            self._until = 0.0
            return Trial(words, why_not="experiments were interrupted")
        except OutOfTime:
            return Trial(words, why_not="the time for experiments was over")
        except CannotTry as reason:
            return Trial(words, why_not=str(reason))
        except RecursionError:
            return Trial(words, why_not=ENDLESS)
        except Exception as error:  # a failing lab must not cost the report
            return Trial(words, why_not=f"it failed ({type(error).__name__}: {str(error).strip()[:100]})")

    def _try(self, treatments: tuple[Treatment, ...], words: str, longer: bool) -> Trial:
        self._check()
        steps = min(MOST_STEPS, self._most_steps) * (LONGER if longer else 1)
        if steps > self._most_steps:
            raise CannotTry("longer replays would take too long")
        if steps != self._steps:
            self._steps = steps
            self._trained.clear()
        recipe = self._recipe
        for treatment in treatments:
            recipe = treated(recipe, treatment, self._copy()[0])
        # Both arms are measured by the treated loss: what the treatment changed in it must not pass for learning.
        judged = replace(recipe, change_input=self._recipe.change_input, steps=self._recipe.steps)
        by_error = any(isinstance(each, ExchangeLoss | FitHead) for each in treatments)
        measure = self._error_rate if by_error and self._has_classes() else self._loss
        of_its_own = any(isinstance(each, StandardizeTargets | Rectify) for each in treatments)
        of_its_own = of_its_own or measure == self._error_rate
        unchanged = self._recipe if of_its_own else judged
        control_start = self._reference(unchanged, measure)
        start = self._reference(replace(recipe, steps=self._recipe.steps), measure) if of_its_own else control_start
        before, after = [], []
        for number in range(REPLAYS):
            control = self._control(number)
            model = self._train(recipe, number)
            before.append(math.nan if control is None else measure(unchanged, control))
            own = replace(recipe, steps=self._recipe.steps)
            after.append(math.nan if model is None else measure(own, model))
        return Trial(
            words, self._steps, tuple(before), tuple(after), control_start, start,
            "share of wrong answers" if measure == self._error_rate else "loss",
        )  # fmt: skip

    # Before the first experiment

    def _check(self) -> None:
        """A step taken again must give what the run saw, must train the copy and nothing else, and must be quick."""
        if self._was_checked:
            if not self._most_steps:
                raise CannotTry("a step cannot be taken again")
            return
        self._was_checked = True
        model, optimizer = self._copy()
        first = self._recipe.steps[0].passes[0]
        torch.manual_seed(0)
        loss = self._recipe.loss(model, first)
        own = {id(t) for t in (*model.parameters(), *model.buffers())}
        if loss.grad_fn is not None and any(id(leaf) not in own for leaf in read(loss).leaves):
            raise CannotTry("the model's code uses parameters that its copy does not hold")
        if self._is_sure_of_weights and not self._is_random(model):
            again = float(loss.detach())
            if not abs(again - first.value) <= SAME_LOSS * max(abs(first.value), 1e-6) and first.value == first.value:
                raise CannotTry(f"the first step, taken again, gives a loss of {again:.4g} and not {first.value:.4g}")
        seconds = math.inf
        for step in self._recipe.steps[:3]:  # the first one warms up
            began = _clock()
            self._take(self._recipe, step, model, optimizer)
            seconds = min(seconds, _clock() - began)
        affordable = int(0.5 * (self._until - _clock()) / (2 * REPLAYS * max(seconds, 1e-6)))
        if affordable < FEWEST_STEPS:
            raise CannotTry(f"a step takes {seconds:.2g} s, too long for {2 * REPLAYS * FEWEST_STEPS} of them")
        self._most_steps = affordable

    @staticmethod
    def _is_random(model: nn.Module) -> bool:
        """Whether a forward pass draws random numbers, as dropout does: any module of the model might."""
        return model.training and any(
            (isinstance(part, DROPOUTS) and part.p > 0) or getattr(part, "dropout", 0) for part in model.modules()
        )

    # Replays

    def _copy(self) -> tuple[nn.Module, Any]:
        return copy_of(self._originals.model, self._originals.optimizer)

    def _control(self, number: int) -> nn.Module | None:
        """The unchanged copy, trained in the order of this replay."""
        if number not in self._trained:
            model = self._train(self._recipe, number)
            size = sum(t.numel() * t.element_size() for t in self._originals.model.parameters())
            if size > MOST_KEPT_BYTES:
                return model
            self._trained[number] = model
        return self._trained[number]

    def _train(self, recipe: Recipe, number: int) -> nn.Module | None:
        """A copy after training; None when the loss was no longer a number."""
        seed(number)
        model, optimizer = self._copy()
        for group, rate in zip(optimizer.param_groups, recipe.begins, strict=False):
            group["lr"] = rate
        for edit in recipe.edits:
            edit(model, optimizer)
        first_rates = [group.get("lr") for group in optimizer.param_groups]
        broken = 0
        for index, which in enumerate(self._order(recipe, number)):
            if _clock() > self._until:
                raise OutOfTime
            if index // recipe.pieces < len(recipe.rates):
                for group, rate in zip(optimizer.param_groups, first_rates, strict=True):
                    if isinstance(rate, float | int):
                        group["lr"] = rate * recipe.rates[index // recipe.pieces]
            loss = self._take(recipe, recipe.steps[which], model, optimizer)
            broken = 0 if math.isfinite(loss) else broken + 1
            if broken >= MOST_BROKEN:
                return None
        return model

    def _order(self, recipe: Recipe, number: int) -> list[int]:
        """Which captured step is taken when."""
        count = len(recipe.steps)
        draw = random.Random(number)
        order: list[int] = []
        while len(order) < self._steps * recipe.pieces:
            one = list(range(count))
            if recipe.shuffles:
                draw.shuffle(one)
            else:
                turn = draw.randrange(count) if not order else 0
                one = one[turn:] + one[:turn]
            order += one
        return order[: self._steps * recipe.pieces]

    @staticmethod
    def _take(recipe: Recipe, step: Step, model: nn.Module, optimizer: Any) -> float:
        """Take a step again; gives its loss."""
        if recipe.clears:
            optimizer.zero_grad()
        total = 0.0
        for each in step.passes:
            loss = recipe.loss(model, each)
            total += float(loss.detach())
            if recipe.backpropagates and loss.requires_grad:
                (loss * each.factor if math.isfinite(each.factor) and each.factor != 1 else loss).backward()
        if recipe.clip is not None:
            clip_gradients(recipe.clip, model, optimizer)
        if recipe.clears_before_step:
            optimizer.zero_grad()
        if recipe.takes_steps:
            optimizer.step()
        return total / len(step.passes)

    # Measures

    def _loss(self, recipe: Recipe, model: nn.Module) -> float:
        """Mean loss over all captured batches, without dropout."""
        values = []
        with measuring(model):
            for step in recipe.steps:
                values += [float(recipe.loss(model, each)) for each in step.passes]
        return sum(values) / len(values)

    def _error_rate(self, recipe: Recipe, model: nn.Module) -> float:
        """Share of the samples that are told wrongly."""
        wrong = total = 0
        with measuring(model):
            for step in recipe.steps:
                for each in step.passes:
                    output = recipe.output(model, each)
                    of_classes = output.dim() > 1 and output.shape[1] > 1
                    half = 0.0 if (recipe.function or each.function).endswith("with_logits") else 0.5
                    guess = output.argmax(dim=1) if of_classes else (output > half).long()
                    truth = each.target
                    if of_classes and truth.shape == output.shape:  # one of them is 1
                        truth = truth.argmax(dim=1)
                    wrong += int((guess.reshape(-1) != truth.reshape(-1).long()).sum())
                    total += truth.numel()
        return wrong / max(1, total)

    def _has_classes(self) -> bool:
        targets = [each.target for step in self._recipe.steps for each in step.passes]
        return all(isinstance(t, Tensor) and bool((t == t.round()).all()) and not _names_several(t) for t in targets)

    def _reference(self, recipe: Recipe, measure: Any) -> float:
        """Where learning begins: the measure of the untrained copy, or that of guessing where it is lower."""
        seed(0)
        start: float = measure(recipe, self._copy()[0])
        if measure == self._loss and math.isfinite(self._chance) and not (recipe.function or recipe.change_target):
            return self._chance if math.isnan(start) else min(start, self._chance)
        return start


def _names_several(target: Tensor) -> bool:
    """Whether a row of zeros and ones names several classes, or none."""
    wide = target.dim() == 2 and target.shape[1] > 1 and bool(((target == 0) | (target == 1)).all())
    return wide and bool((target.sum(dim=1) != 1).any())


def lab_of(state: State, *, chance: float, rates: Sequence[float], seconds: float) -> Lab:
    """The lab of a run that has ended. It is set up when the first treatment is tried.

    Args:
        state: what the session heard; its capture is used.
        chance: value of the run's loss for the best guess that ignores the input; NaN when unknown.
        rates: the learning rate of each of the run's first steps.
        seconds: time for all experiments together.
    """
    benches: list[Bench | str] = []

    def lab(treatments: tuple[Treatment, ...], longer: bool) -> Trial:
        if not benches:
            try:
                benches.append(_bench(state, chance, rates, seconds))
            except Exception as error:  # a failing lab must not cost the report
                benches.append(f"it could not be set up ({type(error).__name__}: {error})")
        bench = benches[0]
        if isinstance(bench, str):
            return Trial(" and ".join(each.words() for each in treatments), why_not=bench)
        return bench(treatments, longer)

    return lab


def _bench(state: State, chance: float, rates: Sequence[float], seconds: float) -> Bench | str:
    """The lab, or why there is none."""
    recipe = recipe_of(state, rates)
    if isinstance(recipe, str):
        return recipe
    assert state.capture is not None
    return Bench(state.capture, recipe, chance, seconds)


def recipe_of(state: State, rates: Sequence[float], fewest: int = FEWEST_CAPTURED) -> Recipe | str:
    """What the loop of a run that has ended does, from its captured steps; or why that cannot be repeated."""
    capture = state.capture
    if capture is None:
        return "nothing was captured"
    if state.compiled:
        return "the model is compiled"
    if state.scaling:
        return "it is trained in mixed precision"
    if capture.step is not None and capture.optimizer is not None and not capture.optimizer.steps:
        capture.step_without_optimizer()
    if why := _why_none(capture, fewest):
        is_unheard = capture.original is None and not capture.reasons and any(each.steps for each in state.optimizers)
        return "no forward pass of the model was heard" if is_unheard else why
    entry, steps = capture.optimizer, tuple(capture.steps)
    assert capture.original is not None
    passes = [each for step in steps for each in step.passes]
    if len({each.view.name for each in passes if each.view is not None}) != 1:
        return "the loss is computed from the output in more than one way"
    factors = [each.factor for each in passes if math.isfinite(each.factor)]
    if factors and max(factors) - min(factors) > SAME_LOSS * abs(factors[0]):
        return "more than the value of one loss function is backpropagated"
    trains = 2 * sum(each.training for each in passes) > len(passes)
    if capture.original[0].training != trains:
        capture.original[0].train(trains)
    clips = [step.clip for step in steps if step.clip is not None]
    begins = _led_up_to(capture.original[1], entry, rates)
    first = begins[0] if begins else rates[0] if rates else 0.0
    return Recipe(
        steps=steps,
        clears=not (entry.compared and 2 * entry.not_cleared >= entry.compared),
        clears_before_step=bool(entry.watched) and 2 * entry.cleared_before_step >= entry.watched,
        backpropagates=bool(factors),
        takes_steps=entry.steps > 0,
        clip=clips[-1] if 2 * len(clips) >= len(steps) else None,
        rates=tuple(rate / first for rate in rates) if first and len(set(rates)) > 1 else (),
        begins=begins,
    )


def _led_up_to(optimizer: Any, entry: Any, rates: Sequence[float]) -> tuple[float, ...]:
    """The learning rates that the user has asked for, where the run's first steps lead up to them; empty otherwise.

    A schedule of torch's keeps them in the parameter groups; else they are those that the optimizer was made with.
    """
    if len(set(rates)) < 2 or max(rates) <= rates[0]:
        return ()
    asked: list[float] = []
    as_made: list[dict[str, Any]] = [*entry.groups, *[{} for _ in optimizer.param_groups]]
    for group, made in zip(optimizer.param_groups, as_made, strict=False):
        rate = next((r for r in (group.get("max_lr"), group.get("initial_lr"), made.get("lr")) if r is not None), None)
        if not isinstance(rate, float | int) or rate <= 0 or not isinstance(group.get("lr"), float | int):
            return ()
        asked.append(float(rate))
    return tuple(asked) if asked and rates[0] < asked[0] else ()


def _why_none(capture: Capture, fewest: int) -> str:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return "the model is trained by several processes"
    attempted = len(capture.steps) + sum(capture.reasons.values())
    if capture.original is None or len(capture.steps) < max(fewest, attempted / 3):
        none = "no step of an optimizer was seen" if capture.original is None else "too few steps were seen"
        return capture.reasons.most_common(1)[0][0] if capture.reasons else none
    return ""
