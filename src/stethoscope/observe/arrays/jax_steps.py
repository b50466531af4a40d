"""The steps of a function of JAX's: what is read before each, and after it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from torch import Tensor

from stethoscope.observe.arrays import pytrees
from stethoscope.observe.arrays.lab import Rehearsal
from stethoscope.observe.arrays.marks import LOSSES, path_of
from stethoscope.observe.arrays.probe import (
    Found,
    LayerPart,
    Probe,
    Seen,
    Unreadable,
    sampled_weights,
    trace,
)
from stethoscope.observe.arrays.session import (
    ArraySession,
    Comparison,
    Layer,
    Look,
    Weights,
    as_tensor,
    few_units,
)
from stethoscope.observe.training.keras_losses import class_indices
from stethoscope.observe.training.sites import Spot

MOST_TRACES = 6
"""Kinds of calls (shapes, settings) that are read; of a loop that has more, the others run unseen."""
SAME = 1e-4
"""The number that a step returns and that is its loss to so much is the loss."""


class JaxSteps:
    """Follows one step function.

    Args:
        step: the user's function, jitted or not.
        session: is told what is seen.
        rehearses: whether the first steps are copied, to be taken again when all is over.
    """

    def __init__(self, step: Callable[..., Any], session: ArraySession, rehearses: bool = False) -> None:
        self._step = step
        self._rehearses = rehearses
        self._rehearsal: Rehearsal | None = None
        self.session = session
        self._probes: dict[Any, Probe] = {}
        self._probe: Probe | None = None
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._structure: Any = None
        self._shapes: tuple[tuple[int, ...], ...] = ()
        self._modules: list[Any] = []
        self._takes_whole_numbers = True
        """Whether a whole number of Python's may be a count that moves: not where the step decides by one."""
        self._seen: Seen | None = None
        self._before: list[Any] = []
        self._loss_at: tuple[Any, ...] | None = None
        self._place: Spot | None = None

    def begins(self, args: tuple[Any, ...], kwargs: dict[str, Any], place: Spot | None) -> None:
        """The step is about to be called, and is to be looked at."""
        self._seen, self._before = None, []
        taken = pytrees.take(args, kwargs, self._takes_whole_numbers)
        probe = self._probes.get(taken.signature)
        if probe is None:
            if len(self._probes) >= MOST_TRACES:
                self.session.state.blind["jax calls"] = (
                    f"steps were looked at in {MOST_TRACES} kinds of calls only, by the shapes, settings and texts "
                    "that they are given; a count of steps that is no setting is better given as an array"
                )
                return
            probe, taken = self._trace(args, kwargs, taken)
            self._probes[taken.signature] = probe
            if not self._names:
                self._describe(probe, taken, place)
                if self._rehearses and probe.returns_weights:
                    numbers = taken.weights or self._numbers
                    self._rehearsal = Rehearsal(probe, [numbers[name] for name in self._names])
                    self.session.lab = self._rehearsal.lab
        self._probe = probe
        self._modules = taken.modules
        weights = self._weights_given(args, kwargs)
        self._look_at_units(weights)
        self._seen = probe.see(taken)
        self._before = sampled_weights([weights[name] for name in self._names])
        if self._rehearsal is not None:
            self._rehearsal.begins(probe, taken)

    def _trace(self, args: Any, kwargs: Any, taken: pytrees.Taken) -> tuple[Probe, pytrees.Taken]:
        """Read the step; where it decides by a whole number of Python's, that is a setting of it."""
        try:
            return trace(self._step, taken, lambda result: self._find_weights(args, kwargs, taken, result)), taken
        except Unreadable:
            settled = pytrees.take(args, kwargs)
            if settled.signature == taken.signature:
                raise
        self._takes_whole_numbers = False
        return trace(self._step, settled, lambda result: self._find_weights(args, kwargs, settled, result)), settled

    def ended(self, result: Any, place: Spot | None) -> None:
        """The step has returned."""
        seen, self._seen = self._seen, None
        look = None
        loss = self._loss_of(result, seen)
        if self._rehearsal is not None and seen is not None:
            self._rehearsal.ended(result, seen.loss)
        if seen is not None and self._probe is not None:
            look = self._look(seen, self._probe, result)
        where = self._probe.notes.differentiated_at if self._probe is not None else None
        self.session.stepped(loss, where or self._place or place, look)

    # What there is

    def _find_weights(self, args: Any, kwargs: Any, taken: pytrees.Taken, result: Any) -> Found:
        if taken.weights:
            return Found(taken.weights, {})
        numbers = {id(array): number for number, array in enumerate(taken.arrays)}
        leaves = {id(leaf): number for number, leaf in enumerate(jax.tree_util.tree_leaves(result))}
        for tree in pytrees.candidates(args, kwargs):
            structure, shapes = jax.tree_util.tree_structure(tree), pytrees.shapes_of(tree)
            again = pytrees.again_in(result, structure, shapes)
            if again is None:
                continue
            self._structure, self._shapes = structure, shapes
            named = pytrees.named_leaves(tree)
            self._numbers = {name: numbers[id(leaf)] for name, leaf in named.items() if id(leaf) in numbers}
            places = {name: leaves.get(id(leaf)) for name, leaf in pytrees.named_leaves(again).items()}
            known = {name: place for name, place in places.items() if place is not None and name in self._numbers}
            return Found(self._numbers, known)
        raise Unreadable("no parameters were found among what it is given and returns")

    def _weights_given(self, args: Any, kwargs: Any) -> dict[str, Any]:
        if self._modules:
            return pytrees.nnx_weights(self._modules)
        for tree in pytrees.candidates(args, kwargs):
            if jax.tree_util.tree_structure(tree) == self._structure and pytrees.shapes_of(tree) == self._shapes:
                return pytrees.named_leaves(tree)
        raise Unreadable("its parameters have changed their structure")

    def _weights_returned(self, result: Any) -> dict[str, Any]:
        if self._modules:
            return pytrees.nnx_weights(self._modules)
        tree = pytrees.again_in(result, self._structure, self._shapes)
        return {} if tree is None else pytrees.named_leaves(tree)

    def _describe(self, probe: Probe, taken: pytrees.Taken, place: Spot | None) -> None:
        names = {p for layer in probe.layers for p in layer.parameters}
        weights = self._find_again(taken)
        self._names = list(weights)
        self._place = place
        layers = [_layer(one, order) for order, one in enumerate(probe.layers)]
        others: dict[str, list[str]] = {}
        for name in weights:
            if name not in names:
                others.setdefault(name.rpartition(".")[0] or name, []).append(name)
        known = {layer.name for layer in layers}
        for holder, held in others.items():
            kind = taken.kinds.get(holder, "parameters")
            layers.append(Layer(holder if holder not in known else held[0], kind, parameters=tuple(held)))
        reached = probe.reached if probe.knows_reach else None
        parts = [
            Weights(name, shape if len(shape) < 2 else (shape[-1], *reversed(shape[:-1])), True,
                    None if reached is None else name in reached)
            for name, shape in weights.items()
        ]  # fmt: skip
        kinds = set(taken.kinds.values())
        name = type(taken.modules[0]).__name__ if taken.modules else "model"
        self.session.describe(
            name,
            layers,
            parts,
            place,
            has_dropout=probe.has_random,
            has_batch_norm="BatchNorm" in kinds or any("batch_stats" in each for each in taken.names),
        )
        notes = probe.notes
        kind = notes.optimizer or "step"
        stepped = notes.updated_at or place
        self.session.optimizer_is(kind, {}, stepped, stepped)

    def _find_again(self, taken: pytrees.Taken) -> dict[str, tuple[int, ...]]:
        numbers = taken.weights or self._numbers
        return {name: tuple(np.shape(taken.arrays[number])) for name, number in numbers.items()}

    # What is seen

    def _look_at_units(self, weights: dict[str, Any]) -> None:
        for index, name in enumerate(self._names):
            if self.session.wants_units(index):
                self.session.units_are(index, few_units(weights[name], -1))

    def _loss_of(self, result: Any, seen: Seen | None) -> Any:
        """The loss among what the step returned; or as it was seen."""
        if self._loss_at is None and (seen is not None or not self.session.state.steps):
            self._loss_at = self._find_loss(result, None if seen is None else seen.loss)
        if self._loss_at is not None:
            return pytrees.reach(result, self._loss_at)
        return seen.loss if seen is not None else None

    def _find_loss(self, result: Any, loss: Any) -> tuple[Any, ...] | None:
        """Where the loss is among the numbers returned: by its value where that was seen, else by its name."""
        numbers = pytrees.scalars_in(result)
        if loss is not None:
            known = float(np.asarray(loss).reshape(-1)[0])
            same = [path for path, value in numbers if math.isclose(float(value), known, rel_tol=SAME, abs_tol=1e-9)]
            return same[0] if same else None
        named = [path for path, _ in numbers if "loss" in path_of(path[-1:]).lower()]
        return named[0] if named else numbers[0][0] if numbers else None

    def _look(self, seen: Seen, probe: Probe, result: Any) -> Look:
        index = {name: number for number, name in enumerate(self._names)}
        before = {number: np.asarray(values) for number, values in enumerate(self._before)}
        gradients = {
            index[name]: np.asarray(values, np.float32) for name, values in seen.gradients.items() if name in index
        }
        after: dict[int, Any] = {}
        returned = self._weights_returned(result) if probe.returns_weights else {}
        if returned and all(name in returned for name in self._names):
            few = sampled_weights([returned[name] for name in self._names])
            after = {number: np.asarray(values) for number, values in enumerate(few)}
        return Look(
            inputs=None if seen.inputs is None else as_tensor(seen.inputs),
            comparisons=[one for number in probe.compared if (one := _comparison(probe, seen, number)) is not None],
            layers={number: as_tensor(rows) for number, rows in seen.layers.items()},
            before=before,
            after=after,
            gradients=gradients,
        )


def _layer(one: LayerPart, order: int) -> Layer:
    return Layer(one.name, one.kind, one.feeds, "", one.shape, one.parameters, 0.0, one.fed_input, order)


def _comparison(probe: Probe, seen: Seen, number: int) -> Comparison | None:
    """A loss in torch's words."""
    call = probe.compared[number]
    values, targets, results = seen.compared[number]
    output, target = as_tensor(values), None if targets is None else as_tensor(targets)
    function = LOSSES.get(call.called, "mse_loss")
    if function == "cross_entropy":
        axis = call.axis
        sparse = "integer" in call.called
        if target is not None:
            target = class_indices("sparse" if sparse else "categorical", target, output, axis)
        if output.dim() > 2 or axis not in (-1, output.dim() - 1):
            output = output.movedim(axis, 1)
    elif target is not None:
        target = target.to(output.dtype)
    loss = math.nan if seen.loss is None else float(np.asarray(seen.loss).reshape(-1)[0])
    value, reduction = _reduced(loss, None if results is None else as_tensor(results))
    return Comparison(
        function=function,
        called=call.called,
        expects="logits" if "entropy" in call.called else "values",
        place=call.place,
        output=output,
        target=target,
        result=value,
        reduction="half" if call.called == "l2_loss" else reduction,
        weighted=call.weighted,
        maker=probe.makers.get(number, ""),
    )


def _reduced(loss: float, results: Tensor | None) -> tuple[float, str]:
    """What a loss function returned for each sample, as one number, and how that was made of it."""
    if results is None:
        return loss, "mean"
    mean, total = float(results.double().mean()), float(results.double().sum())
    if results.numel() > 1 and math.isclose(loss, total, rel_tol=SAME) and not math.isclose(mean, total):
        return total, "sum"
    return mean, "mean"
