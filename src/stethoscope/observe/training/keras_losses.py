"""What a loss of Keras compares, in the words of torch: function, outputs, targets.

Keras's losses take the target first, name their functions otherwise, hold classes on the last axis, and expect
probabilities unless told `from_logits=True`.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ELEMENTWISE = {
    "mean_squared_error": "mse_loss",
    "mean_absolute_error": "l1_loss",
    "huber": "huber_loss",
}
"""Keras's name to the one in `torch.nn.functional`, where both compute the same."""
CATEGORICAL = ("sparse_categorical_crossentropy", "categorical_crossentropy")
BINARY = "binary_crossentropy"
_REDUCTIONS = {"sum_over_batch_size": "mean", "mean": "mean", "mean_with_sample_weight": "mean", "sum": "sum"}


@dataclass(frozen=True)
class Compared:
    """One call of a loss of Keras."""

    function: str
    """Torch's name where torch has this function, else Keras's own; `categorical_crossentropy` for both kinds of
    targets when probabilities are expected."""
    called: str
    """As a Keras user writes it: `sparse_categorical_crossentropy`."""
    expects: str
    """`logits`, `probabilities` or `values`."""
    output: Tensor
    """Detached, classes on axis 1."""
    target: Tensor | None
    """In the output's shape, or as class indices."""
    reduction: str


def compared(loss: Any, y_true: Any, y_pred: Any, weighted: bool) -> Compared | None:
    """What a call of `loss(y_true, y_pred)` compares; None for losses that the script made itself."""
    function = getattr(loss, "fn", None)
    if not getattr(type(loss), "__module__", "").startswith("keras.") or not isinstance(y_pred, Tensor):
        return None
    if function is None or not getattr(function, "__module__", "").startswith("keras."):
        return None
    called = function.__name__
    from_logits = _setting(loss, function, "from_logits", False)
    reduction = "weighted" if weighted else _REDUCTIONS.get(loss.reduction or "none", "none")
    output = y_pred.detach()
    target = _tensor(y_true)
    if called in CATEGORICAL:
        axis = _setting(loss, function, "axis", -1)
        indices = None if target is None else class_indices(called, target, output, axis)
        name = "cross_entropy" if from_logits else "categorical_crossentropy"
        by_class = output.movedim(axis, 1) if output.dim() > 2 else output
        return Compared(name, called, "logits" if from_logits else "probabilities", by_class, indices, reduction)
    if target is not None:
        output, target = _same_rank(output, target)
    if called == BINARY:
        name = "binary_cross_entropy" + ("_with_logits" if from_logits else "")
        target = None if target is None else target.float()
        return Compared(name, called, "logits" if from_logits else "probabilities", output, target, reduction)
    return Compared(ELEMENTWISE.get(called, called), called, "values", output, target, reduction)


def _setting(loss: Any, function: Any, name: str, otherwise: Any) -> Any:
    given = getattr(loss, "_fn_kwargs", {})
    if name in given:
        return given[name]
    parameter = inspect.signature(function).parameters.get(name)
    return otherwise if parameter is None or parameter.default is parameter.empty else parameter.default


def setting_of(loss: Any, name: str) -> Any:
    """A setting of a loss of Keras's, given or by default; None where it has none of that name."""
    return _setting(loss, loss.fn, name, None)


def _tensor(value: Any) -> Tensor | None:
    try:
        return value.detach() if isinstance(value, Tensor) else torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def class_indices(called: str, target: Tensor, output: Tensor, axis: int) -> Tensor:
    """Class indices of the targets; one-hot rows are turned into them, softer ones are left as they are."""
    if called.startswith("sparse"):
        if target.dim() == output.dim() and target.shape[-1] == 1:
            target = target.squeeze(-1)
        return target.long()
    wide = target.float()
    if wide.dim() < 2 or not bool(((wide == 0) | (wide == 1)).all() and (wide.sum(axis) == 1).all()):
        return wide.movedim(axis, 1) if wide.dim() > 2 else wide
    return wide.argmax(axis)


def _same_rank(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Keras adds or drops a last axis of size one where the ranks differ by one."""
    if output.dim() == target.dim() + 1 and output.shape[-1] == 1:
        return (output, target.unsqueeze(-1)) if target.dim() == 1 else (output.squeeze(-1), target)
    if target.dim() == output.dim() + 1 and target.shape[-1] == 1:
        return (output.unsqueeze(-1), target) if output.dim() == 1 else (output, target.squeeze(-1))
    return output, target
