"""Copies of Keras models and optimizers, on Keras's torch backend, in the shape of torch's.

A Keras model of a class of the script's cannot be copied as an object. Its weights can, and `stateless_call` and
`stateless_apply` compute with weights that are handed to them: the copy holds weights, and the user's model lends its
code. Source: keras.io/api/models/model, "stateless_call"; keras.io/api/optimizers, "stateless_apply".
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

_SETTINGS = {"momentum": "momentum", "weight_decay": "weight_decay"}
"""Settings of the one parameter group, and the attribute of Keras's optimizer that holds each."""


class Lent:
    """Something of the user's that copies use and never change; it is not copied with them."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __deepcopy__(self, memo: dict[int, Any]) -> Lent:
        return self


class KerasCopy(nn.Module):  # type: ignore[misc]
    """A Keras model's weights, called through the model's code.

    Args:
        model: of Keras, built.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._lent = Lent(model)
        values = [variable.value.detach().clone() for variable in model.trainable_variables]
        self.weights = nn.ParameterList([nn.Parameter(value) for value in values])
        self.state = [variable.value.detach().clone() for variable in model.non_trainable_variables]
        self.dropout = 1.0
        """0 switches off every dropout layer."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives with these weights; its running statistics and random states move on."""
        kwargs["training"] = self.training
        model = self._lent.thing
        with contextlib.nullcontext() if self.dropout else _without_dropout(model):
            output, self.state = model.stateless_call(list(self.weights), self.state, *args, **kwargs)
        return output

    def reset_parameters(self) -> None:
        """New weights: kernels as Keras draws them by itself, the rest from the initializers of the layers.

        The script's own initializer of a kernel may be what is wrong.
        """
        from keras.initializers import GlorotUniform  # type: ignore[import-untyped]

        model = self._lent.thing
        of = {id(variable): weight for variable, weight in zip(model.trainable_variables, self.weights, strict=True)}
        for layer in model._flatten_layers():
            for variable in layer._trainable_variables:
                initializer = getattr(layer, f"{variable.name}_initializer", None)
                if variable.name in ("kernel", "recurrent_kernel"):
                    initializer = GlorotUniform()
                if initializer is not None and id(variable) in of:
                    with torch.no_grad():
                        of[id(variable)].copy_(initializer(tuple(variable.shape)))


class KerasSteps:
    """A Keras optimizer's state, stepping the weights of a `KerasCopy`.

    Args:
        optimizer: of Keras, built.
        model: the copy whose weights it steps.
    """

    def __init__(self, optimizer: Any, model: KerasCopy) -> None:
        self._lent = Lent(optimizer)
        self._state = [variable.value.detach().clone() for variable in optimizer.variables]
        group: dict[str, Any] = {"params": list(model.weights)}
        self._rate_at = next((n for n, v in enumerate(optimizer.variables) if v.name == "learning_rate"), -1)
        if self._rate_at >= 0:
            group["lr"] = float(self._state[self._rate_at])
        for key, attribute in _SETTINGS.items():
            value = getattr(optimizer, attribute, None)
            if isinstance(value, float | int):
                group[key] = float(value)
        self.param_groups = [group]

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for tensor in self.param_groups[0]["params"]:
            tensor.grad = None

    def step(self) -> None:
        """Step by the gradients that the weights hold."""
        group = self.param_groups[0]
        weights: list[Tensor] = group["params"]
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        if self._rate_at >= 0:
            self._state[self._rate_at] = torch.full_like(self._state[self._rate_at], group["lr"])
        optimizer = self._lent.thing
        before = {key: getattr(optimizer, name) for key, name in _SETTINGS.items() if key in group}
        try:
            for key in before:
                setattr(optimizer, _SETTINGS[key], group[key])
            with torch.no_grad():
                values = [weight.detach() for weight in weights]
                stepped, self._state = optimizer.stateless_apply(self._state, gradients, values)
                for weight, value in zip(weights, stepped, strict=True):
                    weight.copy_(value)
        finally:
            for key, value in before.items():
                setattr(optimizer, _SETTINGS[key], value)


@contextlib.contextmanager
def _without_dropout(model: Any) -> Iterator[None]:
    layers = [layer for layer in model._flatten_layers() if "Dropout" in type(layer).__name__ and layer.rate]
    rates = [layer.rate for layer in layers]
    try:
        for layer in layers:
            layer.rate = 0.0
        yield
    finally:
        for layer, rate in zip(layers, rates, strict=True):
            layer.rate = rate
