"""An optimizer of Keras, shown as one of torch's: groups of parameters with their settings."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor

_SETTINGS = {
    "momentum": "momentum", "nesterov": "nesterov", "rho": "alpha", "epsilon": "eps", "amsgrad": "amsgrad",
    "weight_decay": "weight_decay", "clipnorm": "clipnorm", "global_clipnorm": "global_clipnorm",
    "clipvalue": "clipvalue", "gradient_accumulation_steps": "gradient_accumulation_steps",
}  # fmt: skip
"""Attributes of Keras's optimizers and what torch calls them."""


class KerasOptimizer:
    """Looks as a torch optimizer does to those who ask for its kind and its groups; holds nothing alive.

    Args:
        optimizer: Keras's.
        variables: the variables that it was built for.
    """

    def __init__(self, optimizer: Any, variables: Any) -> None:
        self.kind = type(optimizer).__name__
        self._optimizer = weakref.ref(optimizer)
        self._variables = [weakref.ref(variable) for variable in variables]
        self._settings = _settings(optimizer)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The one group of a Keras optimizer, with its rate as it is now."""
        return [{"params": self._tensors(), **self._settings, "lr": self.rate()}]

    def original(self) -> Any:
        """Keras's optimizer; None when it is gone."""
        return self._optimizer()

    def rate(self) -> float | None:
        """The learning rate now; None where only a function of the script's knows it."""
        optimizer = self._optimizer()
        if optimizer is None:
            return None
        rate = optimizer._learning_rate
        if hasattr(rate, "value"):
            rate = rate.value
        elif type(rate).__module__.startswith("keras.") and callable(rate):
            rate = rate(optimizer._iterations)
        else:
            return None
        return float(f"{float(rate):.6g}")  # it is kept in single precision

    def _tensors(self) -> list[Tensor]:
        there = (reference() for reference in self._variables)
        return [variable.value for variable in there if variable is not None]


def clipping_of(optimizer: Any) -> tuple[str, float] | None:
    """Kind (`norm` or `value`) and limit of the clipping that the optimizer does itself."""
    for name, kind in (("clipnorm", "norm"), ("global_clipnorm", "norm"), ("clipvalue", "value")):
        limit = getattr(optimizer, name, None)
        if limit is not None:
            return kind, float(limit)
    return None


def schedule_of(optimizer: Any) -> str:
    """Class of the schedule that sets its rate; empty without one."""
    rate = optimizer._learning_rate
    return "" if hasattr(rate, "value") else type(rate).__name__


def _settings(optimizer: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for attribute, name in _SETTINGS.items():
        value = getattr(optimizer, attribute, None)
        if isinstance(value, bool | int | float):
            found[name] = value
    if isinstance(getattr(optimizer, "beta_1", None), float) and isinstance(getattr(optimizer, "beta_2", None), float):
        found["betas"] = (optimizer.beta_1, optimizer.beta_2)
    return found
