"""What somebody hands over with a Keras model: losses in Keras's order, arrays, a compiled model, Keras's data sets."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stethoscope.core.errors import UsageError
from stethoscope.observe.model.apart import apart
from stethoscope.observe.model.copies import keras_copy_of
from stethoscope.observe.model.ingredients import CannotCapture, Pass, Step, View, mapped
from stethoscope.observe.model.recipe import Recipe, clones
from stethoscope.observe.preflight.given import (
    MOST_BATCHES,
    TARGETS,
    USUAL_RATE,
    Loss,
    Taken,
    accepts,
    draw,
    is_batch,
    kind_of,
)
from stethoscope.observe.preflight.given_keras_loss import loss_of_keras
from stethoscope.observe.preflight.keras_losses import in_torch
from stethoscope.observe.preflight.subject import Subject
from stethoscope.observe.training.keras_layers import keras_backend

ROWS = 32
"""Of a batch that arrays are cut into, as `fit` does."""


@dataclass(frozen=True)
class GivenKeras:
    """What was handed over. A step is taken with the user's model itself, whose weights are put back; all experiments
    are made on copies of its weights."""

    model: Any
    optimizer: Any
    """A copy: of Keras's, built for the model's weights, or of torch's, which holds them."""
    loss: Loss
    """Of output and target."""
    function: str
    """The same as experiments know it, with options."""
    options: dict[str, Any]
    batches: tuple[Taken, ...]
    lost_hooks: bool = False

    def rehearse(self) -> None:
        """Train for a step on each batch, as `fit` does. The weights are as before when it ends."""
        with _as_it_was(self.model):
            for args, kwargs, target in self.batches:
                self._step(args, kwargs, target)

    def _step(self, args: tuple[Any, ...], kwargs: dict[str, Any], target: Any) -> None:
        model, optimizer = self.model, self.optimizer
        output = _called(model, clones(args), clones(kwargs), training=True)
        model.zero_grad()
        loss = self.loss(output, clones(target))
        if not isinstance(loss, Tensor):
            raise UsageError(f"the loss should be a tensor, and is {kind_of(loss)}: do not call `float()` in it")
        loss = loss if loss.dim() == 0 else loss.mean()
        penalties = list(model.losses)
        if penalties:
            loss = loss + sum(penalties)
        loss.backward()
        if isinstance(optimizer, torch.optim.Optimizer):
            optimizer.step()
            return
        variables = list(model.trainable_variables)
        with torch.no_grad():
            optimizer.apply([variable.value.grad for variable in variables], variables)

    def before_training(self) -> Callable[[], Subject | str]:
        """What gives the subject of experiments, also after the rehearsal; or why there is none, as a clause."""

        def subject_or_why() -> Subject | str:
            try:
                return self._subject()
            except CannotCapture as reason:
                return str(reason)

        return subject_or_why

    def subject(self) -> Subject:
        """The model's weights, without anything that was heard. A model that cannot be built raises what it raises.

        Raises: UsageError for a model that cannot be copied.
        """
        try:
            return self._subject()
        except CannotCapture as reason:
            raise UsageError(f"experiments are made on copies, and the model cannot be copied: {reason}") from None

    def _subject(self) -> Subject:
        if not self.model.built:
            args, kwargs, _ = self.batches[0]
            _called(self.model, clones(args), clones(kwargs), training=False)
        model, optimizer = keras_copy_of(self.model, self.optimizer)
        view = View((), "as it is", ())
        steps = tuple(
            Step(number, [Pass(args, kwargs, True, True, self.function, self.options, target, False, view, factor=1.0)])
            for number, (args, kwargs, target) in enumerate(self.batches)
        )
        return Subject(model, optimizer, in_torch(Recipe(steps=steps), copy.deepcopy(model)))


def given_keras(model: Any, loss: Any, data: Any, optimizer: Any, *, most: int = MOST_BATCHES) -> GivenKeras:
    """A Keras model with what it is trained with.

    Args:
        model: of Keras, on its torch backend; one that has no weights so far is built by the first batch.
        loss: of Keras's or its name (called with the target first), one of torch's, or a function of output and target;
            None for that of `compile`.
        data: a batch, anything that gives batches, or arrays, which are cut into batches as `fit` does.
        optimizer: of Keras's or its name, or one of torch's; None for that of `compile`, or Adam with a rate of 0.001.
        most: batches that are drawn at most.

    Raises: UsageError when something of it is of another kind.
    """
    backend = keras_backend()
    if backend != "torch":
        raise UsageError(
            f"Keras runs on {backend} here, and its models are checked on its torch backend only: set "
            "KERAS_BACKEND=torch before Keras is imported"
        )
    if isinstance(model, type):
        raise UsageError(f"check() takes a model, and got {kind_of(model)}")
    called, function, options = loss_of_keras(loss, model)
    drawn = draw(_prepared(data, model), model, called, most)
    batches = tuple(_taken_apart(batch, model) for batch in drawn)
    _build(model, batches[0])
    if model.built and not model.trainable_variables:
        raise UsageError("the model has no trainable weights, so there is nothing to check")
    return GivenKeras(model, _optimizer_of(optimizer, model), called, function, options, batches)


def _build(model: Any, batch: Taken) -> None:
    """Give a model its weights by a call, as the first batch of training would; where that fails, so will training."""
    if not all(layer.built for layer in model._flatten_layers()):
        args, kwargs, _ = batch
        with contextlib.suppress(Exception, SystemExit), apart(), torch.no_grad(), _as_it_was(model):
            _called(model, clones(args), clones(kwargs), training=False)


def _called(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, training: bool) -> Any:
    if getattr(model, "_call_has_training_arg", True):  # Keras calls others without, too
        kwargs = {**kwargs, "training": training}
    return model(*args, **kwargs)


@contextlib.contextmanager
def _as_it_was(model: Any) -> Iterator[None]:
    """Puts back the weights of a model, its running statistics, random states and gradients."""
    seeds = sys.modules["keras.src.backend.common.global_state"]
    everyones = seeds.get_global_attribute("global_seed_generator")
    variables = [*model.variables, *([] if everyones is None else [everyones.state])]
    before = [(v, v.value, v.value.detach().clone(), v.value.grad) for v in variables]
    wrapped = [layer.module for layer in model._flatten_layers() if type(layer).__name__ == "TorchModuleWrapper"]
    buffers = [(buffer, buffer.clone()) for module in wrapped for buffer in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for variable, tensor, value, gradient in before:
                variable.value.copy_(value)
                tensor.grad = gradient
            for buffer, value in buffers:
                buffer.copy_(value)
        if everyones is None:
            seeds.set_global_attribute("global_seed_generator", None)


# The optimizer


def _optimizer_of(optimizer: Any, model: Any) -> Any:
    """A copy of an optimizer, for the model's own weights."""
    if optimizer is None:
        optimizer = getattr(model, "optimizer", None)
    if isinstance(optimizer, torch.optim.Optimizer):
        held = [tensor for group in optimizer.param_groups for tensor in group["params"]]
        return copy.deepcopy(optimizer, {id(tensor): tensor for tensor in held})
    optimizers = sys.modules["keras"].optimizers
    if isinstance(optimizer, str):
        try:
            optimizer = optimizers.get(optimizer)
        except ValueError:
            raise UsageError(f"Keras has no optimizer called {optimizer!r}") from None
    if optimizer is None:
        optimizer = optimizers.Adam(USUAL_RATE)
    if not isinstance(optimizer, optimizers.Optimizer):
        raise UsageError(f"check() takes an optimizer of Keras's or of torch's, and got {kind_of(optimizer)}")
    new = type(optimizer).from_config(optimizer.get_config())
    if model.built:
        new.build(model.trainable_variables)
        theirs = list(optimizer.variables)
        if [tuple(v.shape) for v in theirs] == [tuple(v.shape) for v in new.variables]:
            for variable, value in zip(new.variables, theirs, strict=True):
                variable.assign(value)
    return new


# The data


def _prepared(data: Any, model: Any) -> Any:
    """Data with tensors in the place of arrays, as something that gives batches."""
    convert = _Converted(model)
    sequence = getattr(sys.modules["keras"].utils, "PyDataset", ())
    if isinstance(data, sequence):
        return (convert(_without_weights(data[number])) for number in range(data.num_batches or sys.maxsize))
    if isinstance(data, Tensor | Mapping | tuple | list) or hasattr(data, "__array__"):
        made = convert(dict(data) if isinstance(data, Mapping) else data)
        if isinstance(made, tuple | list) and not is_batch(made, model, None):
            return made
        made = _without_weights(made, model)
        return iter(_cut(made) if convert.arrays else [made])
    if isinstance(data, Iterable):
        return map(convert, _later(data))
    return data


def _later(data: Iterable[Any]) -> Iterator[Any]:
    """The batches, asked for no earlier than the first one is: a loader draws random numbers when it begins."""
    yield from data


class _Converted:
    """Arrays as tensors on the model's device: real numbers in Keras's precision, as `fit` hands them on."""

    def __init__(self, model: Any) -> None:
        weights = list(model.variables)
        self._device = weights[0].value.device if weights else None
        self._real = getattr(torch, sys.modules["keras"].config.floatx())
        self.arrays = 0

    def __call__(self, batch: Any) -> Any:
        return mapped(dict(batch) if isinstance(batch, Mapping) else batch, self._leaf)

    def _leaf(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            if not hasattr(leaf, "__array__"):
                return leaf
            array = sys.modules["numpy"].asarray(leaf)
            if array.dtype.kind not in "fiub":
                raise UsageError(
                    f"an array of the data is of type {array.dtype}, which the model takes no numbers from"
                )
            self.arrays += 1
            leaf = torch.as_tensor(array.astype("int64") if array.dtype.kind in "iu" and array.itemsize > 1 else array)
            leaf = leaf.to(self._real) if leaf.is_floating_point() else leaf
        return leaf if self._device is None else leaf.to(self._device)


def _without_weights(batch: Any, model: Any = None) -> Any:
    """Raises: UsageError for a batch with a third part, which `fit` takes for the weights of samples."""
    one_input = model is None or len(getattr(model, "inputs", None) or ()) == 1
    if isinstance(batch, tuple) and len(batch) == 3 and one_input:
        raise UsageError(
            "a batch has three parts, the third of which would be weights for the samples: these are not taken, so "
            "pass (input, target)"
        )
    return batch


def _cut(whole: Any) -> list[Any]:
    """Batches of arrays in random order, as `fit` makes them.

    Raises: UsageError when the arrays have different numbers of rows.
    """
    rows: set[int] = set()

    def counted(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            raise UsageError(f"the data holds {kind_of(leaf)} beside its arrays: pass arrays or tensors of numbers")
        rows.add(len(leaf) if leaf.dim() else 1)
        return leaf

    mapped(whole, counted)
    if len(rows) != 1:
        raise UsageError(f"the arrays of the data have different numbers of rows: {', '.join(map(str, sorted(rows)))}")
    order = torch.randperm(rows.pop(), generator=torch.Generator().manual_seed(0))
    count = min(max(1, len(order) // ROWS), MOST_BATCHES)
    return [_rows(whole, order[number * ROWS : (number + 1) * ROWS]) for number in range(count)]


def _rows(whole: Any, which: Tensor) -> Any:
    return mapped(whole, lambda leaf: leaf[which.to(leaf.device)])


def _taken_apart(batch: Any, model: Any) -> Taken:
    """What the model and the loss are given of a batch: a model made of layers takes all its inputs as one."""
    takes_one = any(base.__name__ in ("Functional", "Sequential") for base in type(model).__mro__)
    if isinstance(batch, Mapping):
        inputs = dict(batch)
        name = next((name for name in TARGETS if name in inputs), None)
        if name is None:
            raise UsageError(
                f"a batch has the keys {', '.join(map(str, inputs))}; one of them should be `labels` or `target`"
            )
        target = inputs.pop(name)
        if len(inputs) == 1 and (takes_one or not accepts(model, 0, map(str, inputs))):
            return tuple(inputs.values()), {}, target
        if takes_one or not accepts(model, 0, map(str, inputs)):
            return (inputs,), {}, target
        return (), inputs, target
    if isinstance(batch, Tensor):
        return (batch,), {}, batch
    if not isinstance(batch, tuple | list) or not batch:
        raise UsageError(f"a batch should be (input, target), and is {kind_of(batch)}")
    *parts, target = batch
    if len(parts) > 1 and (takes_one or not accepts(model, len(parts))):
        return (parts,), {}, target
    return (tuple(parts) or (target,)), {}, target
