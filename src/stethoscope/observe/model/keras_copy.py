"""Copies of Keras models and optimizers, on Keras's torch backend, in the shape of torch's.

A Keras model of a class of the script's cannot be copied as an object. Its weights can: in a `StatelessScope` a model
computes with weights that are handed to it, as `stateless_apply` steps them. The copy holds weights, and the user's
model lends its code. Source: keras.io/api/models/model, "stateless_call"; keras.io/api/optimizers, "stateless_apply".
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.observe.training.keras_layers import weights_of

_SETTINGS = {"momentum": "momentum", "weight_decay": "weight_decay"}
"""Settings of the one parameter group, and the attribute of Keras's optimizer that holds each."""
_DROPS = ("dropout", "recurrent_dropout")
"""Attributes of recurrent cells and of attention that hold a rate of dropping."""


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
        names = weights_of(model)
        variables = list(model.trainable_variables)
        values = [variable.value.detach().clone() for variable in variables]
        self.weights = nn.ParameterList([nn.Parameter(value) for value in values])
        self.names = tuple(names.get(id(variable), variable.path) for variable in variables)
        """Of the weights, as Keras has them: `dense.kernel`."""
        rest = list(model.non_trainable_variables)
        self.state = [variable.value.detach().clone() for variable in rest]
        self.state_names = tuple(names.get(id(variable), variable.path) for variable in rest)
        drawn = _seeds_of_all()
        self.draws = None if drawn is None else drawn.value.detach().clone()
        """State of the generator from which operations draw that have none of their own."""
        self.dropout = 1.0
        """0 switches off every dropout layer."""
        self.settled = False
        """Whether batch normalization uses its running statistics in train mode, too."""
        self.is_double = False

    @property
    def model(self) -> Any:
        """The user's model, whose code this one runs."""
        return self._lent.thing

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Any:
        """The weights by Keras's names."""
        yield from zip((f"{prefix}{name}" for name in self.names), self.weights, strict=True)

    def kept(self) -> dict[str, Tensor]:
        """Everything that a forward pass could change, by name."""
        drawn = {} if self.draws is None else {"seed_generator_state": self.draws}
        return {**dict(self.named_parameters()), **dict(zip(self.state_names, self.state, strict=True)), **drawn}

    def double(self) -> KerasCopy:
        """In double precision from now on."""
        super().double()
        self.state = [value.double() if value.is_floating_point() else value for value in self.state]
        self.is_double = True
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives with these weights; its running statistics and random states move on."""
        from keras import StatelessScope

        model = self._lent.thing
        kwargs.pop("training", None)
        if getattr(model, "_call_has_training_arg", True):  # Keras calls others without, too
            kwargs["training"] = self.training
        values = [*zip(model.trainable_variables, self.weights, strict=True)]
        values += zip(model.non_trainable_variables, self.state, strict=True)
        with self._lent_so():
            drawn = _seeds_of_all()
            if drawn is not None and self.draws is not None:
                values.append((drawn, self.draws))
            with StatelessScope(state_mapping=values) as scope:
                output = model(*args, **kwargs)
            self.state = [scope.get_current_value(variable) for variable in model.non_trainable_variables]
            if drawn is None:  # what the scope has made is of no use outside of it
                _forget_seeds()
            elif self.draws is not None:
                self.draws = scope.get_current_value(drawn)
        return output

    @contextlib.contextmanager
    def _lent_so(self) -> Iterator[None]:
        """Settings of the user's layers, changed for a call."""
        model = self._lent.thing
        changes: list[tuple[Any, str, Any]] = []
        for layer in model._flatten_layers():
            if not self.dropout:
                changes += _without_dropout(layer)
            if self.settled and type(layer).__name__ == "BatchNormalization":
                changes.append((layer, "_trainable", False))
        if self.is_double:
            changes += _in_double(model)
        before = [(thing, name, getattr(thing, name)) for thing, name, _ in changes]
        try:
            for thing, name, value in changes:
                setattr(thing, name, value)
            with double_by_default() if self.is_double else contextlib.nullcontext():
                yield
        finally:
            for thing, name, value in before:
                setattr(thing, name, value)

    def reset_parameters(self) -> None:
        """New weights: kernels and biases as Keras makes them by itself, the rest from the initializers of the layers.

        The script's own initializer of a kernel or a bias may be what is wrong.
        """
        from keras.initializers import GlorotUniform, Zeros

        model = self._lent.thing
        of = {id(variable): weight for variable, weight in zip(model.trainable_variables, self.weights, strict=True)}
        for layer in model._flatten_layers():
            for variable in layer._trainable_variables:
                initializer = getattr(layer, f"{variable.name}_initializer", None)
                if variable.name in ("kernel", "recurrent_kernel"):
                    initializer = GlorotUniform()
                elif variable.name == "bias":
                    initializer = Zeros()
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


def _without_dropout(layer: Any) -> list[tuple[Any, str, Any]]:
    if "Dropout" in type(layer).__name__:
        return [(layer, "rate", 0.0)] if layer.rate else []
    own = vars(layer)
    return [(layer, name, 0.0) for name in _DROPS if isinstance(own.get(name), float) and own[name]]


def _in_double(model: Any) -> list[tuple[Any, str, Any]]:
    from keras import DTypePolicy

    policy = DTypePolicy("float64")
    changes: list[tuple[Any, str, Any]] = [(layer, "_dtype_policy", policy) for layer in model._flatten_layers()]
    wholes = [getattr(layer, "_functional", None) or layer for layer in model._flatten_layers()]
    changes += [(whole, "_dtype_policy", policy) for whole in wholes if whole is not model]
    inputs = [given for whole in wholes for given in getattr(whole, "_inputs", ())]
    real = [thing for thing in (*inputs, *model.variables) if str(thing._dtype).startswith(("float", "bfloat"))]
    return [*changes, *((thing, "_dtype", "float64") for thing in real)]


@contextlib.contextmanager
def double_by_default() -> Iterator[None]:
    """What Keras makes of plain numbers is in double precision, and what is in it stays so: of two numbers in double
    precision its operations make one in single precision elsewhere."""
    from keras import config

    types = sys.modules.get("keras.src.backend.common.dtypes")
    narrowed: dict[str, str] = getattr(types, "BIT64_TO_BIT32_DTYPE", {})
    before, narrow = config.floatx(), narrowed.get("float64")
    config.set_floatx("float64")
    try:
        if narrow is not None:
            narrowed["float64"] = "float64"
        yield
    finally:
        config.set_floatx(before)
        if narrow is not None:
            narrowed["float64"] = narrow


_GLOBAL_SEEDS = "global_seed_generator"


def _seeds_of_all() -> Any:
    """The state of Keras's global generator; None when there is none so far."""
    loaded = sys.modules.get("keras.src.backend.common.global_state")
    generator = loaded.get_global_attribute(_GLOBAL_SEEDS) if loaded is not None else None
    return None if generator is None else generator.state


def _forget_seeds() -> None:
    sys.modules["keras.src.backend.common.global_state"].set_global_attribute(_GLOBAL_SEEDS, None)
