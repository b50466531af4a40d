"""What is checked: copies of a model and its optimizer, and how a step of theirs is taken on a few real batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from stethoscope.core.text import amount
from stethoscope.observe.model.copies import copy_of
from stethoscope.observe.model.ingredients import OWN_LOSS, Pass, Step, View, mapped, tensors_in
from stethoscope.observe.model.keras_copy import KerasCopy
from stethoscope.observe.model.lab import recipe_of
from stethoscope.observe.model.recipe import DROPOUTS, Recipe
from stethoscope.observe.preflight.keras_losses import in_torch

if TYPE_CHECKING:
    from stethoscope.observe.training.state import State

SEQUENCES = (nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
IGNORED = -100
"""Targets that a loss over classes leaves out when nothing else is said."""
RANDOM_MODULES = (nn.RNNBase, nn.MultiheadAttention)


class CannotMake(Exception):
    """An experiment cannot be made here; the message is a clause that says why."""


@dataclass(frozen=True)
class Subject:
    """A model before training.

    Args:
        model: as it was before the first step; never trained itself.
        optimizer: with the same parameters.
        recipe: how a step is taken, with at least one captured step.
        chance: value of the loss for the best guess that ignores the input; NaN when unknown.
        samples: of the training data; 0 when not known.
    """

    model: nn.Module
    optimizer: Any
    recipe: Recipe
    chance: float = math.nan
    samples: int = 0

    @property
    def first(self) -> Pass:
        """The first forward pass that was captured."""
        return self.recipe.steps[0].passes[0]

    @property
    def rows(self) -> int:
        """Samples in it, by the first axis of its first input."""
        return rows_of(self.first)

    @property
    def time_comes_first(self) -> bool:
        """Whether the first axis of the inputs counts positions, as recurrent and attention layers may have it.

        It does not where it is as long as a target with one value for each sample, and the second axis is not.
        """
        given = next((t for _, t in tensors_in((self.first.args, self.first.kwargs))), None)
        target = self.first.target
        if given is not None and given.dim() > 1 and isinstance(target, Tensor) and target.dim() == 1:
            rows, positions = given.shape[:2]
            if len(target) == rows and (positions not in (1, rows) or given.dim() > 3):
                return False
        return any(
            isinstance(part, SEQUENCES) and not getattr(part, "batch_first", True) for part in self.model.modules()
        )

    @property
    def passes(self) -> list[Pass]:
        """All captured forward passes."""
        return [each for step in self.recipe.steps for each in step.passes]

    def copy(self) -> tuple[nn.Module, Any]:
        """Fresh copies of the model and its optimizer."""
        return copy_of(self.model, self.optimizer)

    def steady_copy(self) -> nn.Module:
        """A copy in eval mode, but where recurrent layers cannot be differentiated in it."""
        model, _ = self.copy()
        model.eval()
        for part in model.modules():
            if isinstance(part, nn.RNNBase):
                part.train()  # cuDNN differentiates them in train mode only
                part.dropout = 0.0
        return model

    def few(self, count: int) -> Recipe:
        """The recipe with one step, on the first few samples of the first batch whose targets count in the loss.

        Raises: CannotMake when samples cannot be taken apart.
        """
        if self.time_comes_first:
            raise CannotMake("the first axis of what recurrent or attention layers are given is time")
        counted = rows_that_count(self.first)
        if len(counted) >= count:
            return self.on(self.part(counted[:count]))
        if 0 < len(counted) < self.rows and count <= self.rows:
            raise CannotMake(f"the loss leaves out all but {amount(len(counted), 'sample')} of the batch")
        return self.on(self.part(range(count)))

    def part(self, which: Iterable[int]) -> Pass:
        """The first forward pass with some of its samples.

        Raises: CannotMake when samples cannot be taken apart, or the model or the loss does not take fewer.
        """
        chosen = list(which)
        one = cut(self.first, chosen)
        if len(chosen) < self.rows:
            model, _ = self.copy()
            settle(model)
            try:
                self.value(model, one)
            except Exception as error:  # the whole batch does pass, so that the model itself is sound
                raise CannotMake("the model or its loss does not take a part of the batch") from error
        return one

    def on(self, one: Pass) -> Recipe:
        """The recipe with this forward pass as its only step."""
        return replace(self.recipe, steps=(Step(0, [one]),), rates=(), clip=None)

    def loss(self, model: nn.Module, one: Pass | None = None) -> Tensor:
        """The loss of one forward pass."""
        return self.recipe.loss(model, one or self.first)

    def value(self, model: nn.Module, one: Pass | None = None) -> float:
        """The loss of one forward pass as a number."""
        return self.recipe.value(model, one or self.first)


def subject_of(state: State, *, chance: float, rates: Sequence[float]) -> Subject | str:
    """What a session has captured of a script's first steps; or why that cannot be taken again, as a clause.

    Args:
        state: what the session heard.
        chance: value of the loss for the best guess that ignores the input; NaN when unknown.
        rates: the learning rate of each of the first steps.
    """
    recipe = recipe_of(state, rates, fewest=1)
    if isinstance(recipe, str):
        return recipe
    assert state.capture is not None
    assert state.capture.original is not None
    model, optimizer = state.capture.original
    return Subject(model, optimizer, in_torch(replace(recipe, rates=()), copy_of(model, None)[0]), chance)


def rows_of(one: Pass) -> int:
    """Samples in a forward pass, by the first axis of its first input."""
    first = next((t for _, t in tensors_in((one.args, one.kwargs))), None)
    return int(first.shape[0]) if first is not None and first.dim() else 0


def _why_whole(one: Pass) -> str:
    """Why the samples of a batch cannot be told apart, as a clause; empty when they can."""
    given = (one.args, one.kwargs)
    if not any(True for _ in tensors_in(given)):
        return "the model is given no tensor"
    if any(isinstance(part, PackedSequence) for part in _containers(given)):
        return "the sequences of a batch are packed one behind the other"
    for part in _containers(given):
        if type(part) is list and len({t.shape[:1] for t in part if isinstance(t, Tensor)}) > 1:
            return "the samples are a list of tensors of different lengths"
    target = one.target
    if isinstance(target, int | float | complex) or (isinstance(target, Tensor) and not target.dim()):
        return "the target is one number for the whole batch"
    return ""


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list | dict):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from _containers(part)


def rows_that_count(one: Pass) -> list[int]:
    """The samples that have a target which the loss does not leave out; empty where that is not known."""
    target = one.target
    if (
        one.function not in ("cross_entropy", "nll_loss")
        or not isinstance(target, Tensor)
        or target.is_floating_point()
    ):
        return []
    rows, left_out = rows_of(one), one.options.get("ignore_index", IGNORED)
    if not rows or not target.dim() or target.shape[0] % rows:
        return []
    return [int(row) for row in (target.reshape(rows, -1) != left_out).any(1).nonzero().reshape(-1)]


def cut(one: Pass, which: Iterable[int]) -> Pass:
    """A forward pass with some of its samples, those with these numbers.

    Raises: CannotMake when the batch has fewer samples, or they cannot be told apart in its target.
    """
    rows, chosen = rows_of(one), list(which)
    if why := _why_whole(one):
        raise CannotMake(why)
    if rows < 1 or max(chosen) >= rows:
        raise CannotMake(f"the batch has {amount(rows, 'sample')}")
    target = one.target
    if isinstance(target, Tensor) and target.dim() and target.shape[0] != rows:
        if target.shape[0] % rows:
            raise CannotMake("the rows of the target are not those of the input")
        each = target.shape[0] // rows
        target = target.reshape(rows, each, *target.shape[1:])[chosen].reshape(-1, *target.shape[1:])
    else:
        target = _chosen(target, rows, chosen)
    view = one.view
    if view is not None and view.picked is not None:
        view = View(view.path, view.name, view.shape, view.picked[chosen])
    return replace(
        one, args=_chosen(one.args, rows, chosen), kwargs=_chosen(one.kwargs, rows, chosen), target=target, view=view
    )


def _chosen(value: Any, rows: int, which: list[int]) -> Any:
    if isinstance(value, list) and len(value) == rows and not any(isinstance(part, Tensor) for part in value):
        return [value[row] for row in which]  # names, numbers, or a mapping for each sample
    if isinstance(value, tuple | list | dict) or hasattr(value, "__dataclass_fields__"):
        if isinstance(value, list):
            return [_chosen(part, rows, which) for part in value]
        return mapped(value, lambda leaf: _chosen(leaf, rows, which))
    if isinstance(value, Tensor) and value.dim() and value.shape[0] == rows:
        return value.detach()[which].requires_grad_(value.requires_grad)
    return value


def without_dropout(model: nn.Module) -> None:
    """Switch the dropout of a copy off for good."""
    if isinstance(model, KerasCopy):
        model.dropout = 0.0
    for part in model.modules():
        if isinstance(part, DROPOUTS):
            part.p = 0.0
        elif isinstance(part, RANDOM_MODULES) and isinstance(getattr(part, "dropout", None), float):
            part.dropout = 0.0
        elif isinstance(getattr(part, "dropout_p", None), float):
            part.dropout_p = 0.0


def settle(model: nn.Module) -> None:
    """Have the batch normalization of a copy use its running statistics, where batches are too small for their own."""
    if isinstance(model, KerasCopy):
        model.settled = True
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


def is_random(subject: Subject) -> bool:
    """Whether the loss of one batch differs from one forward pass to the next, dropout being off."""
    model, _ = subject.copy()
    without_dropout(model)
    values = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        values.append(subject.value(model))
    if math.isnan(values[0]) and math.isnan(values[1]):
        return False
    return not math.isclose(values[0], values[1], rel_tol=1e-5, abs_tol=1e-8)


def of_classes(subject: Subject) -> bool:
    """Whether targets are classes: their indices, or zeros and ones."""
    if subject.first.function in (OWN_LOSS, ""):
        return False
    targets = [each.target for each in subject.passes]
    if not all(isinstance(target, Tensor) and target.numel() for target in targets):
        return False
    if all(not target.is_floating_point() for target in targets):
        return True
    return all(bool(((target == 0) | (target == 1)).all()) for target in targets)
