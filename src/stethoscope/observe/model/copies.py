"""Copies of a model and its optimizer that share nothing with what the user trains."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.observe.model.ingredients import CannotCapture
from stethoscope.observe.model.keras_copy import KerasCopy, KerasSteps
from stethoscope.observe.training.keras_optimizers import KerasOptimizer

_LEFT_OUT = ("step", "state", "param_groups", "defaults")


def copy_of(module: nn.Module, optimizer: Any) -> tuple[nn.Module, Any]:
    """A model and its optimizer, copied so that the copied optimizer holds the copied parameters.

    Hooks stay behind, those of torch's own (weight normalization) excepted: they may write to what is the user's.
    """
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        raise CannotCapture("the model was compiled by torch.jit")  # its copy has other parameters than the optimizer's
    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, Tensor) and value.grad_fn is not None:  # kept from the last forward pass
                memo[id(value)] = value.detach().clone()
    new, again = copy.deepcopy((module, optimizer), memo)
    for key, value in vars(optimizer).items() if optimizer is not None else ():
        if key not in vars(again) and key not in _LEFT_OUT and not callable(value):
            again.__dict__[key] = copy.deepcopy(value, memo)
    without_hooks(new)
    return new, again


def without_hooks(model: nn.Module) -> None:
    """Take the hooks of a copy off that are not torch's own."""
    for part in model.modules():
        for name, table in vars(part).items():
            if name.endswith("_hooks") and isinstance(table, dict):
                for number, hook in list(table.items()):
                    if not _is_of_torch(hook):
                        del table[number]


def keras_copy_of(model: Any, shown: Any) -> tuple[nn.Module, Any]:
    """Copies of a Keras model's weights and of its optimizer's state; the optimizer may be one of torch's."""
    if not model.built:
        raise CannotCapture("the model has no weights so far")
    if any(type(layer).__name__ == "TorchModuleWrapper" for layer in model._flatten_layers()):
        raise CannotCapture("a layer is a module of torch's, which computes with its own weights only")
    new = KerasCopy(model)
    if isinstance(shown, torch.optim.Optimizer):
        theirs = [variable.value for variable in model.trainable_variables]
        return new, copy.deepcopy(shown, {id(own): weight for own, weight in zip(theirs, new.weights, strict=True)})
    optimizer = shown.original() if isinstance(shown, KerasOptimizer) else shown
    if optimizer is None or not optimizer.built:
        raise CannotCapture("its optimizer is not one of Keras's that has been built")
    if [id(v) for v in optimizer._trainable_variables] != [id(v) for v in model.trainable_variables]:
        raise CannotCapture("the optimizer holds other weights than the model's")
    return new, KerasSteps(optimizer, new)


def _is_of_torch(hook: Any) -> bool:
    return (getattr(hook, "__module__", None) or type(hook).__module__ or "").startswith("torch.")
