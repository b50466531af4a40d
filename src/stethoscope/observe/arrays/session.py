"""Listens where arrays and not modules are trained: fills the books that taps on torch fill, with the same arithmetic.

Who stands in the loop (a wrapped step, a trainer's callback) says what it is made of, and tells each step.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stethoscope.core.treatment import Lab
from stethoscope.facts.training import PARTS, History
from stethoscope.observe.training.answers import BINARY, accuracy
from stethoscope.observe.training.budget import DEFAULT_BUDGET, WATCHED_STEPS, Budget
from stethoscope.observe.training.curves import GrowingCurve, SpikeGuard
from stethoscope.observe.training.graph import RANGES
from stethoscope.observe.training.history import history_of
from stethoscope.observe.training.losses import CROSS_ENTROPIES
from stethoscope.observe.training.models import LayerEntry, ModelEntry, ParameterEntry
from stethoscope.observe.training.protocol import OptimizerEntry
from stethoscope.observe.training.reduction import gradient_norm
from stethoscope.observe.training.sites import Spot
from stethoscope.observe.training.state import Sink, State
from stethoscope.observe.training.symmetry import EQUAL, ROWS, spread_of
from stethoscope.observe.training.verdicts import Verdicts

BLOCK = 32
"""Losses that wait before they are read together: reading one waits for its step."""
FEWEST_INPUTS = 8
"""Steps that began from the same weights before it is said that none moves."""
SNAPSHOT_SECONDS = 0.9

_clock = time.perf_counter


class _Holder(nn.Module):  # type: ignore[misc]
    """Stands for a model or a layer that is none of torch's: the books hold modules by weak reference."""


class _Optimizer:
    """Stands for an optimizer that is none of torch's."""

    def __init__(self, kind: str, settings: dict[str, Any], parameters: list[Tensor]) -> None:
        self.kind = kind
        self.param_groups = [{"params": parameters, **settings}]


@dataclass(frozen=True)
class Layer:
    """A layer as it is told to the books."""

    name: str
    kind: str
    feeds: str = ""
    """The function that its output goes into."""
    applies: str = ""
    """The activation inside of it."""
    shape: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()
    dropout: float = 0.0
    fed_input: bool = False
    order: int = -1


@dataclass(frozen=True)
class Weights:
    """A parameter as it is told to the books, in the order that it has there: outputs first."""

    name: str
    shape: tuple[int, ...]
    trainable: bool = True
    reached: bool | None = None


@dataclass
class Comparison:
    """A call of a loss function with the values that it was given."""

    function: str
    """In torch's words."""
    called: str
    expects: str
    place: Spot | None
    output: Tensor
    """Classes on axis 1."""
    target: Tensor | None
    result: float = math.nan
    reduction: str = "mean"
    weighted: bool = False
    maker: str = ""


@dataclass
class Look:
    """What is to be seen of one step; arrays of a few values, by index in the books where a key is a number."""

    inputs: Tensor | None = None
    comparisons: list[Comparison] = field(default_factory=list)
    layers: dict[int, Tensor] = field(default_factory=dict)
    before: dict[int, Any] = field(default_factory=dict)
    after: dict[int, Any] = field(default_factory=dict)
    gradients: dict[int, Any] = field(default_factory=dict)


class ArraySession:
    """Everything heard of one loop; stands in a recording where torch's session does.

    Args:
        budget: share of the training time that listening may take, 0..1.
        every: look at every N-th step instead, when above 0.
        parts: what to gather.
        sink: where to send what is heard.
        verdict: called with the history so far, now and then; None for silence until the end.
        framework: `jax` or `keras`, for the words of findings.
    """

    def __init__(
        self,
        *,
        budget: float = DEFAULT_BUDGET,
        every: int = 0,
        parts: Iterable[str] = PARTS,
        sink: Sink | None = None,
        verdict: Callable[[History], None] | None = None,
        framework: str = "jax",
    ) -> None:
        self.state = State(Budget(budget, every), parts)
        self.state.framework = framework
        self.state.sink = sink
        self.state.looker.count_units(True)
        self.lab: Callable[[float, float], Lab] | None = None
        """Makes experiments on copies, given the loss of a guess and the seconds for all of them."""
        self._kept: list[Any] = []
        self._optimizer: OptimizerEntry | None = None
        self._model: ModelEntry | None = None
        self._waiting: list[tuple[int, Any]] = []
        self._guard = SpikeGuard()
        self._first_inputs: dict[int, Any] = {}
        self._unmoved = 0
        self._began = _clock()
        self._own = 0.0
        self._snapshot_due = self._began + SNAPSHOT_SECONDS
        self.verdicts = None if verdict is None else Verdicts(lambda: verdict(self.history(finished=False)))

    # What there is

    def describe(
        self,
        name: str,
        layers: Sequence[Layer],
        weights: Sequence[Weights],
        place: Spot | None,
        has_dropout: bool = False,
        has_batch_norm: bool = False,
    ) -> None:
        """Say what the model is made of."""
        book = self.state.book
        model = ModelEntry(weakref.ref(self._keep(_Holder())), 0, name, name, "", called_from=place)
        model.has_dropout, model.has_batch_norm = has_dropout, has_batch_norm
        book.models.append(model)
        self._model = model
        numbers = {one.name: number for number, one in enumerate(weights)}
        for number, one in enumerate(layers):
            entry = LayerEntry(
                weakref.ref(self._keep(_Holder())), number, one.name, one.kind, 0, order=one.order, feeds=one.feeds,
                applies=one.applies, output_shape=one.shape, parameters=[numbers[p] for p in one.parameters],
                dropout=one.dropout, made_graph=one.order >= 0, fed_input=one.fed_input,
            )  # fmt: skip
            book.layers.append(entry)
            model.layers.append(number)
            if one.fed_input and not model.first_layer:
                model.first_layer = one.kind
        layer_of = {p: number for number, one in enumerate(layers) for p in one.parameters}
        for number, part in enumerate(weights):
            tensor = self._keep(torch.empty(part.shape, device="meta", requires_grad=part.trainable))
            book.parameters.append(
                ParameterEntry(
                    weakref.ref(tensor),
                    number,
                    part.name,
                    part.shape,
                    part.trainable,
                    layer_of.get(part.name, -1),
                    in_graph=part.reached,
                    count=math.prod(part.shape),
                )
            )
            model.parameters.append(number)
        if any(part.reached is not None for part in weights):
            self.state.graphs_read[(place, 0)] = 1
        book.version += 1

    def optimizer_is(self, kind: str, settings: dict[str, Any], made: Spot | None, stepped: Spot | None) -> None:
        """Say what moves the weights."""
        tensors = [entry.tensor() for entry in self.state.book.parameters if entry.trainable]
        optimizer = self._keep(_Optimizer(kind, settings, [t for t in tensors if t is not None]))
        entry = OptimizerEntry(weakref.ref(optimizer), 0, kind, made)
        entry.parameter_ids = tuple(id(tensor) for tensor in optimizer.param_groups[0]["params"])
        entry.groups = ({**settings, "tensors": len(tensors)},)
        entry.step_from = stepped
        self._optimizer = entry
        self.state.optimizers.append(entry)

    def _keep(self, thing: Any) -> Any:
        self._kept.append(thing)
        return thing

    # Steps

    @property
    def wants(self) -> bool:
        """Whether the coming step is to be looked at."""
        return "looks" not in self.state.off and (
            self.state.steps < WATCHED_STEPS or self.state.budget.wants(self.state.steps)
        )

    def begin_own(self) -> float:
        """Our own time begins."""
        return _clock()

    def end_own(self, began: float) -> None:
        """Our own time ends."""
        self._own += _clock() - began

    def stepped(self, loss: Any, place: Spot | None, look: Look | None, steps: int = 1) -> None:
        """A step is complete, or several that came as one.

        Args:
            loss: what it returned, which may still be on its way; None when it returned none.
            place: the line of the loss.
            look: what was seen of it, where that was asked for.
            steps: that came as one; the loss is the mean of theirs.
        """
        state = self.state
        began = _clock()
        state.steps += steps - 1
        step = state.steps
        if not state.backward_sites:
            state.backward_sites[place] = 0
        if loss is not None:
            self._waiting.append((step, loss))
        if look is not None:
            self._take(step, look)
        if look is not None:
            self._settle()
        elif len(self._waiting) >= BLOCK:
            self._settle(leave=BLOCK // 2)
        state.steps += 1
        state.backward_calls += steps
        if self._optimizer is not None:
            if self._optimizer.have_moved is False:
                self._optimizer.backwards_since_step += steps
            else:
                self._optimizer.steps += steps
        now = _clock()
        own = self._own + now - began
        budget = state.budget
        if look is None:
            budget.ordinary_steps([(now - self._began) / steps] * steps)
        elif budget.wants(step):
            budget.looked_step(step, now - self._began, own)
        else:
            budget.spent(own, opening=True)
        self._own = 0.0
        if self.verdicts is not None and state.steps >= self.verdicts.due_at:
            opening = self.verdicts.is_opening(state.steps)
            budget.spent(self.verdicts.give(state.steps), opening=opening)
        if now > self._snapshot_due:
            self._snapshot_due = now + SNAPSHOT_SECONDS
            self.send()
        self._began = _clock()

    def _settle(self, leave: int = 0) -> None:
        """Read the losses that wait, but for the last of them, which may still be on their way."""
        end = len(self._waiting) - leave
        waiting, self._waiting = self._waiting[:end], self._waiting[end:]
        curve = self._curve()
        for step, value in waiting:
            number = float(np.asarray(value).reshape(-1)[0]) if np.size(value) == 1 else math.nan
            curve.add(step, number)
            if self._guard.jumps(number):
                self.state.budget.anomaly()

    def _curve(self) -> GrowingCurve:
        place = next(iter(self.state.backward_sites), None)
        curve = self.state.curve("training loss", "loss", "training", place)
        self.state.main_curve = curve
        return curve

    def validated(self, loss: float, accuracy_seen: float = math.nan) -> None:
        """A pass over the validation data gave this."""
        step = self.state.steps
        self.state.curve("validation loss", "loss", "validation").add(step, loss)
        if math.isfinite(accuracy_seen):
            self.state.curve("validation accuracy", "accuracy", "validation").add(step, accuracy_seen)

    def _take(self, step: int, look: Look) -> None:
        state = self.state
        if self._model is not None:
            self._model.training_forwards += 1
        if look.inputs is not None and self._model is not None:
            module = self._model.module()
            assert module is not None
            state.batches.see_input(step, 0, look.inputs)
            state.samples.see_training(step, 0, module, [look.inputs])
        right = judged = 0
        for one in look.comparisons:
            hit, counted = self._compare(step, one, look.inputs)
            right, judged = right + hit, judged + counted
        if judged:
            state.curve("training accuracy", "accuracy", "training").add(step, right / judged)
        looker = state.looker
        looker.step = step
        looker.take(look.layers, look.before, look.after, look.gradients)
        self._follow(look)
        due = looker.close(step)
        if due or not state.budget.is_dense:
            self.finish_looks()

    def _compare(self, step: int, one: Comparison, inputs: Tensor | None) -> tuple[int, int]:
        """One loss: what `LossEar` does for a call of torch's."""
        state = self.state
        entry = state.losses.entry(one.function, one.place)
        entry.training_calls += 1
        entry.reduction, entry.called, entry.expects = one.reduction, one.called, one.expects
        entry.is_weighted = entry.is_weighted or one.weighted
        if math.isfinite(one.result) or entry.training_calls == 1:
            entry.returned(step, torch.tensor(one.result))
        if one.maker and not entry.produced_by:
            entry.produced_by = one.maker
            entry.limits = RANGES.get(one.maker, (-math.inf, math.inf))
        entry.see(one.output, one.target, step, None)
        entry.output_has_gradient = True
        if one.target is None:
            return 0, 0
        classes = one.output.shape[1] if one.function in CROSS_ENTROPIES and one.output.dim() > 1 else 0
        is_binary = one.function in BINARY
        state.batches.see_target(step, one.target, 2 if is_binary and not one.target.is_floating_point() else classes)
        if inputs is not None and len(one.target) >= len(inputs):
            state.samples.see_target(one.target[: len(inputs)], classes > 0 or is_binary)
        return accuracy(one.function, one.output, one.target)

    def _follow(self, look: Look) -> None:
        """Do the weights that a step is given ever change, and do the units of a layer differ?"""
        if self._optimizer is not None and look.before:
            if not self._first_inputs:
                self._first_inputs = {index: np.array(values) for index, values in look.before.items()}
                self._unmoved = 1
            elif not self._optimizer.have_moved:
                same = all(np.array_equal(self._first_inputs[i], values) for i, values in look.before.items())
                self._unmoved += same
                if not same:
                    self._optimizer.have_moved = True
                    self._optimizer.steps, self._optimizer.backwards_since_step = self.state.steps, 0
            gradients = [values for values in look.gradients.values() if values.size]
            self._optimizer.watched += 1
            self._optimizer.backward_with_gradient += 1
            self._optimizer.without_gradient += bool(gradients) and not any(values.any() for values in gradients)
        for index in look.gradients:
            self.state.book.parameters[index].received_gradient = True

    def units_are(self, index: int, rows: Any) -> None:
        """A few whole units of a weight: do they differ?"""
        entry = self.state.book.parameters[index]
        if entry.unit_spread_start != entry.unit_spread_start:
            entry.unit_spread_start = entry.unit_spread = spread_of(rows)
        elif entry.unit_spread_start <= EQUAL:
            entry.unit_spread = spread_of(rows)

    def wants_units(self, index: int) -> bool:
        """Whether the units of this weight are still to be looked at."""
        entry = self.state.book.parameters[index]
        if len(entry.shape) < 2 or entry.shape[0] < 2:
            return False
        return entry.unit_spread_start != entry.unit_spread_start or entry.unit_spread_start <= EQUAL

    # The end

    def finish_looks(self) -> None:
        """Reduce the looks that wait, and hand them on."""
        for look in self.state.looker.results():
            self.state.looks.add(look.step, look.layers, look.parameters)
            norm = gradient_norm(look, self.state.book.parameters)
            if norm:
                self.state.curve("gradient norm", "norm", "training").add(look.step, norm)
            if self.state.sink is not None:
                self.state.sink.look(look.step, look.layers, look.parameters)

    def history(self, *, finished: bool = True, ended_by: str = "") -> History:
        """Everything heard so far."""
        self._catch_up()
        return history_of(self.state, finished=finished, ended_by=ended_by)

    def _catch_up(self) -> None:
        self._settle()
        self.finish_looks()
        entry = self._optimizer
        if entry is not None and entry.have_moved is None and self._unmoved >= FEWEST_INPUTS:
            entry.have_moved = False  # each step began from the weights of the first one
            entry.backwards_since_step = self.state.steps
            entry.steps = 0

    def send(self) -> None:
        """Give the sink everything that is new."""
        sink = self.state.sink
        if sink is None:
            return
        self._catch_up()
        for curve in list(self.state.curves.values()):
            steps, values = curve.unsent()
            if steps.size:
                sink.points(curve.name, steps, values)
        sink.facts(history_of(self.state, finished=False, with_curves=False))

    def end(self) -> None:
        """Listening ends."""
        self._catch_up()


def few_units(weight: Any, axis: int) -> Any:
    """At most `ROWS` whole units of a weight, (units, values), its outputs on this axis."""
    wide = np.moveaxis(np.asarray(weight), axis, 0)
    wide = wide.reshape(wide.shape[0], -1)
    return wide[:: max(1, wide.shape[0] // ROWS)][:ROWS]


def as_tensor(value: Any) -> Tensor:
    """An array's values as a tensor of their own."""
    array = np.array(value)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return torch.from_numpy(array if array.dtype.kind in "fiub" else array.astype(np.float32))
