"""Gradients against central differences in double precision: of the whole model, and of functions with a backward pass
of their own.

A direction along which the slopes ahead and behind differ by more than the step explains is a kink (the corner of a
ReLU, a maximum that changes hands) and says nothing; another one is drawn. Functions whose two slopes differ on purpose
are known by what they do: a straight-through estimator is flat wherever it is measured, and a function that gives back
what it is given exists for its gradient alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.facts.model import GradientTest
from stethoscope.observe.model import keras_copy
from stethoscope.observe.model.apart import seed
from stethoscope.observe.model.ingredients import Pass, mapped, tensors_in
from stethoscope.observe.model.keras_copy import KerasCopy
from stethoscope.observe.model.recipe import clones
from stethoscope.observe.preflight.own_functions import Forward, arguments_of, in_between
from stethoscope.observe.preflight.precision import Precision
from stethoscope.observe.preflight.stopped import Stopped
from stethoscope.observe.preflight.subject import CannotMake, Subject
from stethoscope.observe.training.sites import Spot, is_users, site_of, spot

DIRECTIONS = 6
MOST_TRIED = 24
"""Directions drawn to find as many that are smooth."""
STEP = 1e-5
"""Central differences in double precision are exact to 1e-10 with it, and rounding adds 1e-11 (Nocedal and Wright,
Numerical Optimization, 8.1)."""
ROUNDING = 1e-10
"""Of a slope, as a share of the loss, and of the outputs that it is made of: differences of a number of 16 digits over
that step."""
STEP_32 = 3e-3
"""The same in single precision, to 1e-3 or so."""
SMOOTH = {"float64": 1e-5, "float32": 3e-2}
"""Share of the slope that a kink may take away: what is left of the difference of the slopes ahead and behind when that
part of it is taken off that grows with the step, as curvature does."""
MOST_FUNCTIONS = 20
ROWS = 4
"""Samples that are enough to tell."""
FLAT = 1e-9
"""Share of the slope by the backward pass below which the function itself is flat."""
SMALL = 1e-3
"""Share of the usual slope, and of the value, below which a slope is too small to be compared: squared, rounding is
1e-10 of the value."""


@dataclass(eq=False)
class _Call:
    function: Any
    args: tuple[Any, ...]
    place: Spot | None


def check_functions(subject: Subject) -> list[GradientTest]:
    """Each function with a backward pass of its own that takes part in the model's loss, by itself."""
    model, _ = subject.copy()
    calls: list[_Call] = []
    seed(0)
    with _recorded(calls):
        subject.loss(model)
    tested: dict[Any, GradientTest] = {}
    for call in calls:
        if len(tested) >= MOST_FUNCTIONS:
            break
        test = check_function(call.function, call.args, call.place)
        before = tested.get(call.function)
        if test is not None and (before is None or _error(test) > _error(before)):
            tested[call.function] = test
    return list(tested.values())


def _error(test: GradientTest) -> float:
    return test.error if math.isfinite(test.error) else -1.0


@contextmanager
def _recorded(calls: list[_Call]) -> Iterator[None]:
    """Inside of it, calls of the user's functions are written down with copies of their arguments."""

    def recorded(function: Any, forward: Forward) -> Forward | None:
        if not _is_own(forward):
            return None

        def record(*given: Any) -> Any:
            if len(calls) < 10 * MOST_FUNCTIONS:
                args = arguments_of(function, given)
                kept = tuple(a.detach().clone().requires_grad_(a.requires_grad) if _is_real(a) else a for a in args)
                calls.append(_Call(function, kept, spot(2)))
            return forward(*given)

        return record

    with in_between(recorded):
        yield


def _is_own(forward: Forward) -> bool:
    code = getattr(forward, "__code__", None)
    return code is not None and is_users(code)


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def check_function(function: Any, args: tuple[Any, ...], place: Spot | None) -> GradientTest | None:
    """One function with a backward pass of its own, at these arguments; None when no gradient is asked for."""
    name, site = function.__name__, site_of(place)
    asked = [i for i, a in enumerate(args) if _is_real(a) and a.requires_grad]
    if not asked:
        return None
    for dtype, step, precision in ((torch.float64, STEP, "float64"), (torch.float32, STEP_32, "float32")):
        given = tuple(a.detach().to(dtype) if _is_real(a) else a for a in args)
        try:
            return _test(function, given, asked, step, name, precision, site)
        except RuntimeError:
            if dtype == torch.float32:
                raise
    return None


def _test(
    function: Any, given: tuple[Any, ...], asked: list[int], step: float, name: str, precision: str, site: Any
) -> GradientTest:
    design = ""
    with torch.no_grad():
        elsewhere = tuple(_elsewhere(a) if _is_real(a) else a for a in given)  # a factor of 1 gives back the other one
        plain = _first(function.apply(*_fresh(elsewhere)))
        if any(_same(plain, elsewhere[i]) for i in asked):
            design = "identity"
    worst: tuple[float, float, float, int] = (-1.0, math.nan, math.nan, -1)
    tested = kinks = flat = 0
    for argument in asked:
        slopes = _slopes(function, given, argument, step)
        count = 0
        for analytic, numeric, kink, scale in slopes:
            if not kink <= SMOOTH[precision] * scale:
                kinks += 1
                continue
            count += 1
            flat += abs(numeric) <= FLAT * max(scale, 1e-30) < abs(analytic)
            error = abs(analytic - numeric) / max(abs(analytic), abs(numeric), SMALL * scale, 1e-300)
            if error > worst[0]:
                worst = error, analytic, numeric, argument
            if count >= DIRECTIONS:
                break
        tested += count
    if not design and tested and flat == tested:
        design = "straight-through"
    error, analytic, numeric, argument = worst
    return GradientTest(
        name, tested, kinks, error if tested else math.nan, analytic, numeric, argument, precision, design, site
    )


def _slopes(function: Any, given: tuple[Any, ...], argument: int, step: float) -> Iterator[tuple[float, ...]]:
    """Along random directions: the slope by the backward pass and by central differences, how much of a kink there is,
    and the size that slopes have."""
    for number in range(MOST_TRIED):
        draw = torch.Generator(device="cpu").manual_seed(number)
        value: Tensor = given[argument]
        direction = torch.randn(value.shape, generator=draw, dtype=torch.float64).to(value)
        direction /= max(1e-12, float(direction.norm()))
        weights: Tensor | None = None

        def along(
            distance: float, direction: Tensor = direction, value: Tensor = value, draw: torch.Generator = draw
        ) -> Tensor:
            nonlocal weights
            moved = list(_fresh(given))
            moved[argument] = value + distance * direction
            out = _first(function.apply(*moved))
            if weights is None:
                weights = torch.randn(out.shape, generator=draw, dtype=torch.float64).to(out)
            return (out * weights).sum()

        with torch.no_grad():
            seed(number)
            along(0.0)
        scale_of = max(1.0, float(value.abs().max())) if value.numel() else 1.0

        def at(distance: float, along: Callable[[float], Tensor] = along, number: int = number) -> float:
            seed(number)
            with torch.no_grad():
                return float(along(distance))

        numeric, kink, _ = _slope(at, step * scale_of)
        leaf = value.clone().requires_grad_(True)
        moved = list(_fresh(given))
        moved[argument] = leaf
        seed(number)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad((_first(function.apply(*moved)) * weights).sum(), leaf, allow_unused=True)
        analytic = 0.0 if gradient is None else float((gradient * direction).sum())
        norm = 0.0 if gradient is None else float(gradient.norm()) / math.sqrt(max(1, value.numel()))
        yield analytic, numeric, kink, max(norm, abs(numeric), SMALL * abs(at(0.0)))


def _slope(at: Callable[[float], float], step: float) -> tuple[float, float, float]:
    """The slope by central differences, how much of a kink there is, and how much the slopes ahead and behind differ:
    for a smooth function by an amount that halves with the step, for a kink by one that stays."""
    here = at(0.0)
    ahead, behind, near_ahead, near_behind = (at(share * step) for share in (1.0, -1.0, 0.5, -0.5))
    whole = (ahead - here) / step - (here - behind) / step
    half = (near_ahead - here) / (step / 2) - (here - near_behind) / (step / 2)
    return (ahead - behind) / (2 * step), abs(2 * half - whole), abs(whole)


def _fresh(given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in given)


def _first(output: Any) -> Tensor:
    for _, tensor in tensors_in(output):
        if tensor.is_floating_point():
            return tensor
    raise CannotMake("it returns no tensor of real numbers")


def _elsewhere(value: Tensor) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return value * (1 + 0.1 * torch.rand(value.shape, generator=draw, dtype=torch.float64).to(value))


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(torch.equal(one, other.to(one.dtype)))


def check_model(subject: Subject, until: float = math.inf) -> GradientTest:
    """The gradient of the whole model's loss in its parameters, in double precision, without dropout.

    Args:
        subject: the model before training.
        until: moment after which no further direction is tried.

    Raises: CannotMake when the model cannot be taken to double precision, or is random.
    """
    try:
        if isinstance(subject.model, KerasCopy):  # it casts by itself, and silently
            with keras_copy.double_by_default():
                _refuse_single(subject)
                return _check_double(subject, until)
        with _double_by_default():
            _refuse_single(subject)  # a loss of single precision stands still along so small a step
            return _check_double(subject, until)
    except RuntimeError as error:
        if not any(word in str(error) for word in ("dtype", "Double", "double", "scalar type")):
            raise
        raise CannotMake("its code makes tensors of single precision") from error


def _refuse_single(subject: Subject) -> None:
    """Raises: CannotMake when what is computed does not stay in double precision."""
    model = subject.steady_copy().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 1e-10)  # no longer a number of single precision
    with Precision() as precision:
        subject.loss(model, _doubled(_few(subject)))
    if precision.is_lost:
        raise CannotMake("its code, or its loss, computes in single precision")


@contextmanager
def _double_by_default() -> Iterator[None]:
    """Tensors that a model makes while it computes are in double precision, too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _few(subject: Subject) -> Pass:
    """Some samples of the first batch, or all where they cannot be taken apart."""
    if subject.rows <= ROWS:
        return subject.first
    try:
        return subject.few(ROWS).steps[0].passes[0]
    except CannotMake:
        return subject.first


def _check_double(subject: Subject, until: float) -> GradientTest:
    """The same where double precision is what is made when nothing else is said."""
    model = subject.steady_copy().double()
    one = _doubled(_few(subject))
    parameters = [p for p in model.parameters() if p.requires_grad]
    fixed = _without_gradient(model)
    stopped = Stopped()
    seed(0)
    with stopped.written_down(), _largest_output(model) as outputs:
        loss = subject.loss(model, one)
    if not math.isfinite(float(loss.detach())):
        raise CannotMake("the loss is not a number")
    seed(0)
    if float(loss.detach()) != float(subject.loss(model, one).detach()):
        raise CannotMake("the loss of one batch differs from one forward pass to the next")
    if stopped.has_hooks:
        raise CannotMake("a hook on a tensor may change gradients on purpose")
    if loss.dtype != torch.float64:
        raise CannotMake(f"the model computes its loss in {str(loss.dtype).removeprefix('torch.')}")
    if not loss.requires_grad or not parameters:
        raise CannotMake("the loss depends on no trainable parameter")
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    gradients = [
        torch.zeros_like(p) if g is None else g.to_dense() if g.is_sparse else g
        for p, g in zip(parameters, found, strict=True)
    ]
    total = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    typical = total / math.sqrt(max(1, sum(p.numel() for p in parameters)))
    value = max([abs(float(loss.detach())), *outputs])  # a loss near 0 is a difference of large outputs
    worst = (-1.0, math.nan, math.nan)
    tested = kinks = 0
    for number in range(MOST_TRIED):
        draw = torch.Generator().manual_seed(number)
        directions = [torch.randn(p.shape, generator=draw, dtype=torch.float64) for p in parameters]
        for parameter, direction in zip(parameters, directions, strict=True):
            for row in fixed.get(id(parameter), ()):
                direction[row] = 0.0
        if number % 2:  # along the gradient the slope is largest; noise keeps a lucky cancellation from hiding it
            directions = [d / math.sqrt(max(1, d.numel())) + g / max(total, 1e-300)
                          for d, g in zip(directions, gradients, strict=True)]  # fmt: skip
        length = math.sqrt(sum(float(d.square().sum()) for d in directions))
        directions = [d / length for d in directions]
        analytic = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
        numeric, kink, bend = _slope(_Line(subject, model, one, parameters, directions, stopped), STEP)
        scale = max(typical, abs(numeric), SMALL * abs(float(loss.detach())))
        if not kink <= SMOOTH["float64"] * scale:
            kinks += 1
            if time.perf_counter() > until:
                break
            continue
        tested += 1
        off = max(0.0, abs(analytic - numeric) - bend - ROUNDING * value)
        error = off / max(abs(analytic), abs(numeric), SMALL * scale, 1e-300)
        if error > worst[0]:
            worst = error, analytic, numeric
        if tested >= DIRECTIONS or time.perf_counter() > until:
            break
    error, analytic, numeric = worst
    return GradientTest("the whole model", tested, kinks, error if tested else math.nan, analytic, numeric)


@contextmanager
def _largest_output(model: nn.Module) -> Iterator[list[float]]:
    """Of each pass of the model meanwhile, the largest output by its size."""
    found: list[float] = []

    def look(_: nn.Module, __: Any, output: Any) -> None:
        some = [one for _, one in tensors_in(output) if one.is_floating_point() and one.numel()]
        with torch.no_grad():  # `detach` is what `Stopped` writes down
            found.extend(size for one in some if math.isfinite(size := float(one.abs().max())))

    hook = model.register_forward_hook(look)
    try:
        yield found
    finally:
        hook.remove()


def _without_gradient(model: nn.Module) -> dict[int, list[int]]:
    """Rows of embeddings that have no gradient on purpose: those of the padding."""
    return {
        id(part.weight): [part.padding_idx]
        for part in model.modules()
        if isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.padding_idx is not None
    }


class _Line:
    """The loss along a line through the parameters."""

    def __init__(
        self, subject: Subject, model: nn.Module, one: Pass, parameters: list[Tensor], directions: list[Tensor],
        stopped: Stopped,
    ) -> None:  # fmt: skip
        self._subject, self._model, self._one, self._stopped = subject, model, one, stopped
        self._moves = list(zip(parameters, directions, [p.detach().clone() for p in parameters], strict=True))

    def __call__(self, distance: float) -> float:
        """The loss so far from where the line begins; the parameters are put back."""
        with torch.no_grad():
            for parameter, direction, _ in self._moves:
                parameter.add_(direction, alpha=distance)
        seed(0)
        with self._stopped.given_again():
            value = float(self._subject.loss(self._model, self._one).detach())
        with torch.no_grad():
            for parameter, _, began in self._moves:
                parameter.copy_(began)
        return value


def _doubled(one: Pass) -> Pass:
    """A forward pass in double precision."""

    def double(value: Any) -> Any:
        return mapped(value, lambda leaf: leaf.detach().double().requires_grad_(leaf.requires_grad) if _is_real(leaf)
                      else leaf)  # fmt: skip

    return replace(
        one, args=double(clones(one.args)), kwargs=double(clones(one.kwargs)), target=double(one.target),
        options=double(one.options),
    )  # fmt: skip
