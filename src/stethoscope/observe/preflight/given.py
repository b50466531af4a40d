"""A few training steps of a copy, from a model, a loss and data that somebody hands over."""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.core.errors import UsageError
from stethoscope.observe.model.apart import apart
from stethoscope.observe.model.copies import copy_of
from stethoscope.observe.model.ingredients import GIVEN_LOSS, OWN_LOSS, Pass, Step, View, tensors_in
from stethoscope.observe.model.recipe import Recipe, clones
from stethoscope.observe.preflight.subject import Subject

MOST_BATCHES = 16
USUAL_RATE = 1e-3
Loss = Callable[..., Tensor]


class _WithItsLoss(nn.Module):  # type: ignore[misc]
    """A model whose loss is computed by a closure of the model and a batch."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Any) -> Tensor:
        """The loss of a batch."""
        return self.loss(self.model, batch)


@dataclass(frozen=True)
class Given:
    """What was handed over, ready to train: copies, and the batches that were drawn."""

    model: nn.Module
    optimizer: Any
    loss: Loss | None
    """Of output and target; None where the model returns its loss."""
    batches: tuple[tuple[tuple[Any, ...], dict[str, Any], Any], ...]
    """Arguments, keyword arguments and target of each forward pass."""

    def rehearse(self) -> None:
        """Train the copy for a step on each batch, as a plain loop does."""
        for args, kwargs, target in self.batches:
            self.optimizer.zero_grad()
            output = self.model(*clones(args), **clones(kwargs))
            loss = _returned_loss(output) if self.loss is None else self.loss(output, clones(target))
            loss.backward()
            self.optimizer.step()

    def subject(self) -> Subject:
        """The same without anything that was heard: the loss is any function."""
        function, options = (OWN_LOSS, {}) if self.loss is None else known_loss(self.loss)
        view = View((), "as it is", ())
        if self.loss is None and self.batches:
            view = View(_path_of_loss(self.model, self.batches[0]), "as it is", ())
        steps = tuple(
            Step(number, [Pass(args, kwargs, True, True, function, options, target, False, view, factor=1.0)])
            for number, (args, kwargs, target) in enumerate(self.batches)
        )
        return Subject(*copy_of(self.model, self.optimizer), Recipe(steps=steps))


MODULES = {
    nn.CrossEntropyLoss: ("cross_entropy", ("weight", "ignore_index", "reduction", "label_smoothing")),
    nn.NLLLoss: ("nll_loss", ("weight", "ignore_index", "reduction")),
    nn.BCELoss: ("binary_cross_entropy", ("weight", "reduction")),
    nn.BCEWithLogitsLoss: ("binary_cross_entropy_with_logits", ("weight", "reduction", "pos_weight")),
    nn.MSELoss: ("mse_loss", ("reduction",)),
    nn.L1Loss: ("l1_loss", ("reduction",)),
    nn.SmoothL1Loss: ("smooth_l1_loss", ("reduction", "beta")),
    nn.HuberLoss: ("huber_loss", ("reduction", "delta")),
}
"""Loss modules, the functions that they call, and with what."""


def known_loss(loss: Loss) -> tuple[str, dict[str, Any]]:
    """Name and options of a loss of torch's, or any function as an option."""
    if type(loss) in MODULES:
        function, names = MODULES[type(loss)]
        return function, {name: getattr(loss, name) for name in names}
    name = getattr(loss, "__name__", "")
    if getattr(torch.nn.functional, name, None) is loss:
        return name, {}
    return GIVEN_LOSS, {"loss": loss}


def given(model: Any, loss: Any, data: Any, optimizer: Any, *, most: int = MOST_BATCHES) -> Given:
    """Copies of what was handed over, with at most 16 batches.

    Args:
        model: a module; in a batch of a mapping its keys are the keyword arguments.
        loss: a function of output and target, a function of model and batch, or None where the model returns it.
        data: a batch, or anything that gives batches: (input, target), (input, input, ..., target), or a mapping.
        optimizer: an optimizer of that model; Adam with a rate of 0.001 when None.
        most: batches that are drawn at most.

    Raises: UsageError when something of it is of another kind.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"check() takes a torch.nn.Module as its model, and got {type(model).__name__}")
    if loss is not None and not callable(loss):
        raise UsageError(f"check() takes a function or a loss module as its loss, and got {type(loss).__name__}")
    with apart():
        drawn = list(itertools.islice(_batches(data), most))
    if not drawn:
        raise UsageError("check() was given no batch: the data is empty")
    own = optimizer if optimizer is not None else _usual(model)
    if not hasattr(own, "param_groups"):
        raise UsageError(f"check() takes a torch.optim.Optimizer as its optimizer, and got {type(own).__name__}")
    if loss is not None and _takes_model(loss):
        whole = _WithItsLoss(model, loss)
        return Given(*copy_of(whole, own), None, tuple(((batch,), {}, None) for batch in drawn))
    return Given(*copy_of(model, own), copy.deepcopy(loss), tuple(_taken_apart(batch, loss is None) for batch in drawn))


def _usual(model: nn.Module) -> Any:
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise UsageError("the model has no trainable parameter, so there is nothing to check")
    if any(nn.parameter.is_lazy(p) for p in trained):
        raise UsageError("the model has lazy parameters: call it once on a batch before it is checked")
    return torch.optim.Adam(trained, lr=USUAL_RATE)


def _batches(data: Any) -> Iterable[Any]:
    if isinstance(data, Tensor | Mapping) or (isinstance(data, tuple | list) and _is_batch(data)):
        return [data]
    if isinstance(data, Iterable):
        return data
    raise UsageError(f"check() takes a batch or a loader as its data, and got {type(data).__name__}")


def _is_batch(data: Any) -> bool:
    """Whether a tuple or list is one batch, and not several: its first part is no pair itself."""
    return bool(data) and isinstance(data[0], Tensor | Mapping | int | float | str)


def _takes_model(loss: Any) -> bool:
    """Whether a function asks for a model and a batch."""
    if isinstance(loss, nn.Module):
        return False
    try:
        names = list(inspect.signature(loss).parameters)
    except (TypeError, ValueError):
        return False
    return bool(names) and names[0] in ("model", "net", "network", "module")


def _taken_apart(batch: Any, has_own_loss: bool) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """Arguments, keyword arguments and target of a batch."""
    if isinstance(batch, Mapping):
        kwargs = dict(batch)
        if has_own_loss:
            return (), kwargs, None
        for name in ("labels", "label", "target", "targets", "y"):
            if name in kwargs:
                return (), kwargs, kwargs.pop(name)
        raise UsageError(
            f"a batch has the keys {', '.join(map(str, kwargs))}; one of them should be `labels` or `target`"
        )
    if isinstance(batch, Tensor) or has_own_loss:
        return (batch,) if isinstance(batch, Tensor) else tuple(batch), {}, None if has_own_loss else batch
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise UsageError(f"a batch should be (input, target), and is {type(batch).__name__}")
    *inputs, target = batch
    return tuple(inputs), {}, target


def _returned_loss(output: Any) -> Tensor:
    numbers = [t for _, t in tensors_in(output) if t.numel() == 1 and t.is_floating_point()]
    if not numbers:
        raise UsageError("no loss was given, and the model returns none: pass a loss function")
    return numbers[0].reshape(())


def _path_of_loss(model: nn.Module, batch: tuple[tuple[Any, ...], dict[str, Any], Any]) -> tuple[Any, ...]:
    args, kwargs, _ = batch
    with apart():  # gradients stay on: a loss may be made of derivatives
        output = copy.deepcopy(model)(*clones(args), **clones(kwargs))
    paths = [path for path, t in tensors_in(output) if t.numel() == 1 and t.is_floating_point()]
    return paths[0] if paths else ()
