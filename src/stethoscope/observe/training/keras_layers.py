"""What a Keras model is made of: its layers by their Keras names, their weights, the mode that it is called in.

A Keras model on the torch backend is a torch module, but its layers are not its submodules and its weights hang in a
dictionary of the root. Keras itself is never imported from here: what is not loaded is in no use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

_SELF_CONTAINED = ("LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
"""Layers whose parts (cells) are called at each time step: heard as a whole."""
_ACTIVATIONS = {"relu": "relu", "relu6": "relu", "sigmoid": "sigmoid", "tanh": "tanh", "softmax": "softmax"}
_ACTIVATION_LAYERS = {"ReLU": "relu", "Softmax": "softmax"}


@dataclass(frozen=True)
class Part:
    """A layer of a Keras model."""

    name: str
    layer: Any
    kind: str
    feeds: str
    """The activation inside of it, or empty."""
    weights: tuple[tuple[str, Tensor, tuple[int, ...]], ...]
    """Trainable by their nature (frozen ones included): name with the layer's in front, tensor, and its shape with the
    axis of the outputs first, as torch has it."""


def is_keras(module: object) -> bool:
    """Whether a module is a layer or a model of Keras."""
    loaded = sys.modules.get("keras.src.layers.layer")
    return loaded is not None and bool(isinstance(module, loaded.Layer))


def keras_backend() -> str:
    """Name of the backend that Keras runs on; empty when Keras is not loaded."""
    loaded = sys.modules.get("keras.src.backend.config")
    return str(loaded.backend()) if loaded is not None else ""


def is_symbolic(args: Any) -> bool:
    """Whether a call only asks what shape would come out: Keras calls every layer so while a model is being built."""
    return in_symbolic_scope() or any(_is_unreal(value) for value in args)


def in_symbolic_scope() -> bool:
    """Whether Keras is working out shapes and no values."""
    scope = sys.modules.get("keras.src.backend.common.stateless_scope")
    return scope is not None and bool(scope.in_stateless_scope())


def _is_unreal(value: Any) -> bool:
    if isinstance(value, Tensor):
        return bool(value.is_meta)
    if isinstance(value, tuple | list):
        return any(_is_unreal(part) for part in value[:4])
    if isinstance(value, dict):
        return any(_is_unreal(part) for part in value.values())
    return type(value).__name__ == "KerasTensor"


def in_train_mode(module: nn.Module) -> bool:
    """Whether a module is being called in train mode: Keras hands that down with the call, torch keeps it in a flag."""
    if not is_keras(module):
        return bool(module.training)
    context = sys.modules["keras.src.backend.common.global_state"].get_global_attribute("current_call_ctx")
    asked = None if context is None else getattr(context, "training", None)
    return bool(asked)  # a call that says nothing runs as in evaluation


def all_layers(model: Any) -> list[Any]:
    """The model and everything in it."""
    return list(model._flatten_layers())


def can_train(model: Any) -> bool:
    """Whether it holds weights that could be trained, or layers that have yet to make theirs."""
    return any(layer._trainable_variables or not layer.built for layer in model._flatten_layers())


def parts_of(model: Any) -> Iterator[Part]:
    """The layers that hold weights of their own or have no layers inside, in the order of definition."""
    seen: set[int] = set()
    taken: set[str] = set()
    for path, layer in _walk(model, ""):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        kind = type(layer).__name__
        own = list(layer._trainable_variables)
        if is_recurrent(layer):
            own = [variable for part in layer._flatten_layers() for variable in part._trainable_variables]
        elif layer._layers and not own:
            continue
        if kind == "InputLayer":
            continue
        name = path if layer.name in taken else layer.name
        taken.add(layer.name)
        weights = tuple((f"{name}.{v.name}", v.value, _outputs_first(v.name, tuple(v.shape))) for v in own)
        yield Part(name, layer, kind, activation_of(layer, kind), weights)


def layers_of(model: Any) -> Iterator[tuple[str, Any, str]]:
    """The layers of a model by the names that findings have for them, each with that of the one that holds it; the
    model itself comes first, and has no name."""
    yield "", model, ""
    names: dict[str, str] = {model.name: ""}
    seen, taken = {id(model)}, set()
    for path, layer in _walk(model, ""):
        if id(layer) in seen or type(layer).__name__ == "InputLayer":
            continue
        seen.add(id(layer))
        name = path if layer.name in taken else layer.name
        taken.add(layer.name)
        names[path] = name
        yield name, layer, names.get(path.rpartition(".")[0], "")


def weights_of(model: Any) -> dict[int, str]:
    """Names of all variables of a model, by the identity of the variable: `dense.kernel`."""
    found: dict[int, str] = {}
    for name, layer, _ in layers_of(model):
        of_cells = layer._flatten_layers() if is_recurrent(layer) else [layer]
        own = [v for part in of_cells for v in (*part._trainable_variables, *part._non_trainable_variables)]
        drawn = [generator.state for part in of_cells for generator in part._seed_generators]
        for variable in (*own, *drawn):
            found.setdefault(id(variable), f"{name}.{variable.name}" if name else variable.name)
    return found


def _outputs_first(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[-1], *reversed(shape[:-1])) if name.endswith("kernel") and len(shape) > 1 else shape


def _walk(layer: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    name = prefix + layer.name
    yield name, layer
    if not is_recurrent(layer):
        for part in layer._layers:
            if type(part).__name__ == "Functional" and type(layer).__name__ == "Sequential":
                continue  # a Sequential's own inner self
            yield from _walk(part, f"{name}.")


def is_recurrent(layer: Any) -> bool:
    """Whether a layer runs a cell over time."""
    return any(base.__name__ in _SELF_CONTAINED for base in type(layer).__mro__)


def activation_of(layer: Any, kind: str) -> str:
    if is_recurrent(layer):
        return ""
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    return _ACTIVATION_LAYERS.get(kind) or _ACTIVATIONS.get(name, "")


def dropout_of(layer: Any) -> float:
    """With what probability a layer drops values in train mode."""
    rate = getattr(layer, "rate" if "Dropout" in type(layer).__name__ else "dropout", 0)
    return float(rate) if isinstance(rate, int | float) else 0.0


def has_dropout(model: Any) -> bool:
    """Whether a layer drops values while it trains."""
    return any(
        ("Dropout" in type(layer).__name__ and getattr(layer, "rate", 0))
        or getattr(layer, "dropout", 0)
        or getattr(layer, "recurrent_dropout", 0)
        for layer in model._flatten_layers()
    )


def has_batch_norm(model: Any) -> bool:
    """Whether a layer normalizes by the statistics of its batch."""
    return any(type(layer).__name__ == "BatchNormalization" and layer.trainable for layer in model._flatten_layers())
