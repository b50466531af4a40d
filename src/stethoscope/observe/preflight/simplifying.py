"""Which aspect keeps a model from learning: copies are simplified until they learn, and built up again.

Only where copies of the whole do not learn a few batches by heart: then everything that can be taken off a copy is
taken off, and if that learns, one aspect after the other is put back. One with which copies stop learning, whatever the
order of the batches, is left off and named, so that a second one can still be found.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.core.treatment import Rectify
from stethoscope.facts.model import Aspect, Part, Simplified
from stethoscope.observe.model.apart import seed
from stethoscope.observe.model.ingredients import GIVEN_LOSS, KERAS_LOSS, OWN_LOSS, Pass
from stethoscope.observe.model.keras_copy import KerasCopy
from stethoscope.observe.model.recipe import DROPOUTS, CannotTry, Recipe
from stethoscope.observe.model.treating import treated
from stethoscope.observe.preflight.inputs import blanked, mean_loss
from stethoscope.observe.preflight.structure import structure_of
from stethoscope.observe.preflight.subject import RANDOM_MODULES, CannotMake, Subject, without_dropout
from stethoscope.observe.preflight.training import take

STEPS = 100
LONGER = 400
"""Steps in which a version that has learned nothing is seen to go on so."""
BATCHES = 4
"""That are learned by heart: few enough to be known after so many steps."""
SEEDS = 3
USUAL_RATE = 1e-3
USUAL_RATES = (3e-4, 3e-3)
"""Rates of Adam between which nothing is gained by the usual one."""
USUAL_EPS = 1e-6
USUAL_BETAS = (0.9, 0.999)
WORKS = 0.5
"""Share of the way from a blind copy's loss to that of the smallest version which is learning."""
BROKEN = 0.1
"""The same share up to which it is not."""
SEES = 0.2
"""Share of a blind copy's loss by which that of the smallest version must be lower, for anything to be told."""
STILL_FALLING = 0.999
"""A loss that falls to less than this share of itself within the last quarter of the steps needs more of them; one that
is stuck moves by a ten-thousandth."""
SAME_SPREAD = 0.1
"""Relative difference of the weights' spread from torch's own up to which they are drawn as torch draws them."""
NORMS = (
    nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm,
)  # fmt: skip
USUAL_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh,
    nn.Softmax, nn.LogSoftmax, nn.MultiheadAttention,
)  # fmt: skip
"""Those that are left as they are, or that are known by the function which they call."""
WITHOUT_OPTIONS = (OWN_LOSS, KERAS_LOSS, GIVEN_LOSS, "")
"""Losses of which nothing can be taken off."""
PLAIN_OPTIONS = ("ignore_index",)
"""Of a loss: without them it would be another task."""
USUAL_OPTIONS: dict[str, tuple[Any, ...]] = {
    "weight": (None,),
    "pos_weight": (None,),
    "reduction": ("mean",),
    "label_smoothing": (0, None),
    "beta": (1,),
    "delta": (1,),
}
"""Values of options with which a loss is as it would be without them."""


class Through(nn.Module):  # type: ignore[misc]
    """Stands for a module that was taken out: gives back the first thing that it is given."""

    def forward(self, first: Any, *_: Any, **__: Any) -> Any:
        """Its first argument."""
        return first


@dataclass(eq=False)
class _Version:
    """A copy, and how it is trained."""

    model: nn.Module
    optimizer: Any
    recipe: Recipe
    parts: dict[str, Part]


@dataclass(frozen=True)
class _Kind:
    """An aspect that can be taken off a copy."""

    name: str
    off: Callable[[_Version], bool]
    """Takes it off; gives whether there was anything to take."""
    of_optimizer: bool = False
    slows: bool = False
    """Whether it may do no more than slow training down."""


def simplify(subject: Subject, until: float) -> Simplified:
    """See whether the whole learns; if not, build it up from its smallest version.

    Raises: CannotMake when there is no time for it, or the model is none of torch's.
    """
    return _Simplifier(subject, until).result()


class _Simplifier:
    def __init__(self, subject: Subject, until: float) -> None:
        if isinstance(subject.model, KerasCopy):
            raise CannotMake("the layers of a Keras model cannot be taken out of a copy")
        self._subject = subject
        self._until = until
        self._recipe = replace(subject.recipe, steps=subject.recipe.steps[:BATCHES])
        self._measured = _plain(self._recipe)
        self._parts = {part.name: part for part in structure_of(subject).parts}

    def result(self) -> Simplified:
        """All that is to be known."""
        kinds = [kind for kind in KINDS if kind.off(self._version(()))]
        structural = [kind for kind in kinds if kind.off in STRUCTURAL]
        whole = self._trained((), range(1))[0]
        blind, smallest, left_off = math.nan, math.nan, kinds
        for tried in (kinds, [kind for kind in kinds if kind not in structural]):
            blind = self._trained(tried, range(1), blind=True)[0].end
            smallest = max(run.end for run in self._trained(tried, range(2)))
            left_off = tried
            if blind - smallest > SEES * abs(blind):
                break
        shown = Simplified(whole=(whole.end,), smallest=smallest, blind=blind, steps=STEPS)
        if not blind - smallest > SEES * abs(blind):
            return shown
        shown = replace(shown, smallest_works=True, works=self._works(whole, shown))
        if shown.works:
            return shown
        runs = [whole, *self._trained((), range(1, SEEDS))]
        shown = replace(shown, whole=tuple(run.end for run in runs))
        return replace(shown, aspects=tuple(self._built_up(left_off, shown)))

    def _built_up(self, kinds: Sequence[_Kind], shown: Simplified) -> list[Aspect]:
        off = list(kinds)
        aspects: list[Aspect] = []
        without_optimizer = False
        for kind in kinds:
            if kind.of_optimizer and without_optimizer:
                continue
            others = [each for each in off if each is not kind]
            runs = self._trained(others, range(1))
            if self._works(runs[0], shown):
                off = others
                aspects.append(Aspect(kind.name, (runs[0].end,), works=True))
                continue
            runs += self._trained(others, range(1, SEEDS))
            breaks = all(self._is_broken(run, shown, kind) for run in runs)
            if breaks:  # a plateau may come to an end
                breaks = self._is_broken(self._train(others, 0, steps=LONGER), shown, kind)
            aspects.append(Aspect(kind.name, tuple(run.end for run in runs), works=False, breaks=breaks))
            without_optimizer = without_optimizer or kind.off is _optimizer_off
        return aspects

    @staticmethod
    def _works(run: _Run, shown: Simplified) -> bool:
        return run.end <= shown.blind - WORKS * (shown.blind - shown.smallest)

    @staticmethod
    def _is_broken(run: _Run, shown: Simplified, kind: _Kind) -> bool:
        """Whether a copy has learned nothing, and is about to learn nothing."""
        if not math.isfinite(run.end):
            return True
        if not run.end > shown.blind - BROKEN * (shown.blind - shown.smallest):
            return False
        if kind.slows:  # a low rate, or a tight limit, may be meant to be
            return run.end > run.start
        return run.end > shown.blind or not run.end < STILL_FALLING * run.before_end

    def _version(self, off: Sequence[_Kind], *, blind: bool = False) -> _Version:
        model, optimizer = self._subject.copy()
        recipe = blanked(self._recipe) if blind else self._recipe
        version = _Version(model, optimizer, recipe, self._parts)
        for kind in off:
            kind.off(version)
        return version

    def _trained(self, off: Sequence[_Kind], seeds: range, *, blind: bool = False) -> list[_Run]:
        return [self._train(off, number, blind=blind) for number in seeds]

    def _train(self, off: Sequence[_Kind], number: int, *, blind: bool = False, steps: int = STEPS) -> _Run:
        seed(number)
        version = self._version(off, blind=blind)
        measured = blanked(self._measured) if blind else self._measured
        if version.recipe.rewrite is not None:
            measured = replace(measured, rewrite=version.recipe.rewrite)
        draw = random.Random(number)
        order: list[int] = []
        before_end = math.nan
        start = mean_loss(measured, version.model)
        for step in range(steps):
            if time.perf_counter() > self._until:
                raise CannotMake("there was not enough time for it")
            if not order:
                order = list(range(len(version.recipe.steps)))
                draw.shuffle(order)
            passes = version.recipe.steps[order.pop()].passes
            if not math.isfinite(take(version.recipe, passes, version.model, version.optimizer)):
                return _Run(start, math.inf, math.inf)
            if step == steps * 3 // 4:
                before_end = mean_loss(measured, version.model)
        end = mean_loss(measured, version.model)
        return _Run(start, before_end, end if math.isfinite(end) else math.inf)


@dataclass(frozen=True)
class _Run:
    start: float
    before_end: float
    """Loss after three quarters of the steps."""
    end: float


def _plain(recipe: Recipe) -> Recipe:
    """The recipe with losses as they are without options, and gradients that are not clipped."""
    steps = tuple(replace(step, passes=[_plain_pass(each) for each in step.passes]) for step in recipe.steps)
    return replace(recipe, steps=steps)


def _plain_pass(one: Pass) -> Pass:
    if one.function in WITHOUT_OPTIONS:
        return replace(one, factor=1.0)
    options = {key: value for key, value in one.options.items() if key in PLAIN_OPTIONS}
    return replace(one, options=options, factor=1.0)


# What can be taken off


def _norms_off(version: _Version) -> bool:
    return _replace(version, lambda name, part: Through() if isinstance(part, NORMS) else None)


def _blocks_off(version: _Version) -> bool:
    """Of layers or blocks of one class, of which each gives back the shape that it is given, the first stays."""
    found = False
    for name, part in list(version.model.named_modules()):
        if not isinstance(part, nn.Sequential | nn.ModuleList):
            continue
        alike = [
            (key, child)
            for key, child in part._modules.items()
            if child is not None and _keeps_shape(version.parts.get(f"{name}.{key}" if name else key))
            and any(True for _ in child.parameters()) and not isinstance(child, NORMS)
        ]  # fmt: skip
        kinds = Counter(type(child) for _, child in alike)
        met: set[type] = set()
        for key, child in alike:
            if kinds[type(child)] > 1 and type(child) in met:
                part._modules[key] = Through()
                found = True
            met.add(type(child))
    return found


def _activations_off(version: _Version) -> bool:
    found = False
    with suppress(CannotTry, RuntimeError):  # what is made of derivatives cannot be listened to
        version.recipe = treated(version.recipe, Rectify(False), version.model)
        found = True
    last = max((part.order for part in version.parts.values() if part.is_leaf), default=-1)

    def odd(name: str, part: nn.Module) -> nn.Module | None:
        seen = version.parts.get(name)
        if not _keeps_shape(seen) or seen is None or seen.order == last or not seen.is_leaf:
            return None
        if any(True for _ in part.parameters()) or isinstance(part, (*NORMS, *DROPOUTS, *USUAL_ACTIVATIONS)):
            return None
        of_torch = type(part).__module__.startswith("torch.")
        is_activation = isinstance(part, tuple(_activations())) if of_torch else True
        return nn.ReLU() if is_activation else None

    return _replace(version, odd) or found


def _activations() -> list[type]:
    module = nn.modules.activation
    return [getattr(module, name) for name in module.__all__]


def _initialisation_off(version: _Version) -> bool:
    """All trainable weights are drawn as torch draws them."""
    differs = False
    for part in version.model.modules():
        weight = part._parameters.get("weight")
        reset = getattr(part, "reset_parameters", None)
        if weight is None or not weight.requires_grad or not callable(reset) or isinstance(part, NORMS):
            continue
        before = _spread(weight)
        with torch.no_grad():
            reset()
        after = _spread(weight)
        differs = differs or abs(before - after) > SAME_SPREAD * after
    return differs


def _spread(weight: Tensor) -> float:
    return float(weight.detach().double().square().mean().sqrt())


def _loss_options_off(version: _Version) -> bool:
    odd = any(
        (each.factor != 1.0 and math.isfinite(each.factor))
        or (each.function not in WITHOUT_OPTIONS and any(_is_odd(*option) for option in each.options.items()))
        for step in version.recipe.steps
        for each in step.passes
    )
    version.recipe = _plain(version.recipe)
    return odd


def _is_odd(name: str, value: Any) -> bool:
    if isinstance(value, Tensor):
        return not bool((value == 1).all())
    return name in USUAL_OPTIONS and value not in USUAL_OPTIONS[name]


def _dropout_off(version: _Version) -> bool:
    parts = list(version.model.modules())
    found = any(isinstance(part, DROPOUTS) and part.p > 0 for part in parts) or any(
        isinstance(part, RANDOM_MODULES) and getattr(part, "dropout", 0) for part in parts
    )
    without_dropout(version.model)
    return found


def _optimizer_off(version: _Version) -> bool:
    """Adam with its usual rate, in the place of the script's optimizer."""
    groups = version.optimizer.param_groups
    is_usual = isinstance(version.optimizer, torch.optim.Adam | torch.optim.AdamW) and all(
        USUAL_RATES[0] <= group["lr"] <= USUAL_RATES[1] and group["eps"] <= USUAL_EPS and not group["maximize"]
        for group in groups
    )
    version.optimizer = torch.optim.Adam([p for p in version.model.parameters() if p.requires_grad], lr=USUAL_RATE)
    return not is_usual


def _set(version: _Version, key: str, usual: Any) -> bool:
    odd = False
    for group in version.optimizer.param_groups:
        if key in group and group[key] != usual:
            group[key] = usual
            odd = True
    return odd


def _momentum_off(version: _Version) -> bool:
    _set(version, "nesterov", False)
    return any([_set(version, "momentum", 0), _set(version, "betas", USUAL_BETAS)])


def _decay_off(version: _Version) -> bool:
    return _set(version, "weight_decay", 0)


def _clip_off(version: _Version) -> bool:
    found = version.recipe.clip is not None
    version.recipe = replace(version.recipe, clip=None)
    return found


def _keeps_shape(part: Part | None) -> bool:
    return (
        part is not None
        and part.calls > 0
        and len(part.output_shapes) == 1
        and len(part.input_shapes) > 0
        and part.input_shapes[0] == part.output_shapes[0]
    )


def _replace(version: _Version, change: Callable[[str, nn.Module], nn.Module | None]) -> bool:
    found = False
    for path, parent in list(version.model.named_modules()):
        for key, child in list(parent._modules.items()):
            other = None if child is None else change(f"{path}.{key}" if path else key, child)
            if other is not None:
                parent._modules[key] = other
                found = True
    return found


KINDS = (
    _Kind("the normalization layers", _norms_off),
    _Kind("the repeated blocks", _blocks_off),
    _Kind("the activations", _activations_off),
    _Kind("the initial weights", _initialisation_off),
    _Kind("the options of the loss", _loss_options_off),
    _Kind("the optimizer and its rate", _optimizer_off, slows=True),
    _Kind("momentum", _momentum_off, of_optimizer=True),
    _Kind("weight decay", _decay_off, of_optimizer=True),
    _Kind("gradient clipping", _clip_off, slows=True),
    _Kind("dropout", _dropout_off),
)
"""In the order in which they are put back: normalization before depth, which needs it, and what is said about the
optimizer after the optimizer."""
STRUCTURAL = (_norms_off, _blocks_off, _activations_off, _initialisation_off)
"""Without them a model may be another one that does not learn."""
