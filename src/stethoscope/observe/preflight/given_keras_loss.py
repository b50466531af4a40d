"""The loss that somebody hands over with a Keras model: turned round, where it takes the target first."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stethoscope.core.errors import UsageError
from stethoscope.observe.model.ingredients import GIVEN_LOSS, KERAS_LOSS
from stethoscope.observe.preflight.given import Loss, kind_of, known_loss, takes_model

TRUTH_FIRST = ("y_true", "true", "truth", "target", "targets", "label", "labels", "y")
"""Names of a first parameter by which a function of one's own is one in Keras's order."""


def loss_of_keras(loss: Any, model: Any) -> tuple[Loss, str, dict[str, Any]]:
    """A function of output and target, and what experiments know of it."""
    order = ""
    if loss is None:
        loss, order = getattr(model, "loss", None), "keras"
        if loss is None:
            raise UsageError("no loss was given, and the model was not compiled with one: pass a loss function")
    if isinstance(loss, list | tuple | dict):
        several = _Several(loss, model)
        return several, GIVEN_LOSS, {"loss": several}
    loss = _named(loss)
    if isinstance(loss, type) or not callable(loss):
        raise UsageError(f"check() takes a loss function, and got {kind_of(loss)}")
    if takes_model(loss):
        raise UsageError("with a Keras model the loss is a function of output and target, and not of model and batch")
    if _is_of_keras(loss):
        return _Turned(loss), KERAS_LOSS, {"loss": loss}
    if order or _truth_comes_first(loss):
        return _Turned(loss), GIVEN_LOSS, {"loss": _Turned(loss)}
    return loss, *known_loss(loss)


def _named(loss: Any) -> Any:
    """A loss by its name, and a function of Keras's as the object that `compile` makes of it."""
    losses = sys.modules["keras"].losses
    if isinstance(loss, str):
        try:
            loss = losses.get(loss)
        except ValueError:
            raise UsageError(f"Keras has no loss called {loss!r}") from None
    if inspect.isfunction(loss) and loss.__module__.startswith("keras."):
        loss = sys.modules["keras.src.losses.losses"].LossFunctionWrapper(loss, name=loss.__name__)
    return loss


def _is_of_keras(loss: Any) -> bool:
    return isinstance(loss, sys.modules["keras"].losses.Loss)


def _truth_comes_first(loss: Any) -> bool:
    try:
        names = list(inspect.signature(loss).parameters)
    except (TypeError, ValueError):
        return False
    return bool(names) and names[0] in TRUTH_FIRST


class _Turned:
    """A loss in Keras's order, as a function of output and target."""

    def __init__(self, loss: Any) -> None:
        self._loss = loss

    def __call__(self, output: Any, target: Any) -> Any:
        """The loss; a mean where there is one for each sample."""
        value = self._loss(target, output)
        return value.mean() if isinstance(value, Tensor) and value.dim() else value


class _Several:
    """The losses of a model with several outputs, as `compile` was given them, added up."""

    def __init__(self, losses: Any, model: Any) -> None:
        self._names = list(getattr(model, "output_names", ()))
        weights = getattr(getattr(model, "_compile_loss", None), "_user_loss_weights", None)
        self._losses = {
            key: (_Turned(_named(each)), float((self._by_key(weights) or {}).get(key) or 1.0))
            for key, each in self._by_key(losses).items()
            if each is not None
        }

    def _by_key(self, value: Any) -> dict[Any, Any]:
        if isinstance(value, Mapping):
            return dict(value)
        if not isinstance(value, list | tuple):
            return {}
        return dict(zip(self._names if len(self._names) == len(value) else range(len(value)), value, strict=True))

    def __call__(self, output: Any, target: Any) -> Any:
        """Their weighted sum."""
        outputs, targets = self._by_key(output), self._by_key(target)
        missing = [str(key) for key in self._losses if key not in outputs or key not in targets]
        if missing:
            raise UsageError(f"the model has losses for {', '.join(missing)}, and no output or no target of that name")
        return sum(weight * loss(outputs[key], targets[key]) for key, (loss, weight) in self._losses.items())
