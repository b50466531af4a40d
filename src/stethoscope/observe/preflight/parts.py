"""The parts of a model as experiments look at them: modules of torch's, or the layers of a Keras model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from stethoscope.observe.model.keras_copy import KerasCopy
from stethoscope.observe.training.keras_layers import is_keras, is_recurrent, layers_of
from stethoscope.observe.training.naming import every_name as all_names


def parts_of(model: nn.Module, *, every_name: bool = False) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of each part, the model itself first; with `every_name`, one at several places comes often.

    Of a copy of a Keras model these are the user's layers, as Keras names them: they may be listened to, and nothing of
    them may be changed.
    """
    if isinstance(model, KerasCopy):
        yield from ((name, layer) for name, layer, _ in layers_of(model.model))
    else:
        yield from all_names(model) if every_name else model.named_modules()


def is_leaf(part: nn.Module) -> bool:
    """Whether a part has no parts."""
    if is_keras(part):
        whole: Any = part
        return not whole._layers or is_recurrent(whole)
    return not any(True for _ in part.children())


def own_tensors(part: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and other tensors of a part, without those of its parts."""
    if not is_keras(part):
        return list(part.parameters(recurse=False)), list(part.buffers(recurse=False))
    whole: Any = part
    layers = whole._flatten_layers() if is_recurrent(whole) else [whole]
    weights = [variable.value for layer in layers for variable in layer._trainable_variables]
    return weights, [variable.value for layer in layers for variable in layer._non_trainable_variables]


def caller_of(model: nn.Module, name: str) -> tuple[str, nn.Module]:
    """The part in whose own code another one is called: containers call nothing by themselves."""
    if isinstance(model, KerasCopy):
        layers = {own: (layer, above) for own, layer, above in layers_of(model.model)}
        while name:
            name = layers[name][1]
            if type(layers[name][0]).__name__ not in ("Sequential", "Functional"):
                break
        return name, layers[name][0]
    while name:
        name = name.rpartition(".")[0]
        part = model.get_submodule(name)
        if not isinstance(part, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            break
    return name, model.get_submodule(name)
