"""What a training step is made of, copied so that it can be taken again: batches, loss, and the way between them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, strided

MOST_VALUES_TRIED = 1 << 22
"""Of an argument that is an activation of what the model returned; larger ones would take long to compare."""
PLAIN = (int, float, str, bool, type(None), torch.dtype, torch.device, slice)
OWN_LOSS = "the model's own loss"
"""In the place of a loss function's name, where the model returns its loss."""
KERAS_LOSS = "a loss of Keras's"
"""In the same place where it is an object of Keras's, which stands among the options."""
GIVEN_LOSS = "the loss given"
"""In the same place where it is any function of output and target, which stands among the options."""
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda t: torch.softmax(t, 1 if t.dim() > 1 else 0),
    "log_softmax": lambda t: torch.log_softmax(t, 1 if t.dim() > 1 else 0),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
}


LEAST_SHARE = 1e-7
"""Where Keras cuts off shares before it takes their logarithm."""
INTO_SCORES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "log": lambda t: t.clamp_min(LEAST_SHARE).log(),
    "logit": lambda t: t.clamp(LEAST_SHARE, 1 - LEAST_SHARE).logit(),
}
"""What makes scores of shares; not looked for in a run."""


class CannotCapture(Exception):
    """This step cannot be taken again; the message is a clause that says why."""


@dataclass(frozen=True)
class View:
    """How a loss function's argument comes from what the model returns: a path into it, and an operation."""

    path: tuple[Any, ...]
    name: str
    """Key of `OPERATIONS`, with `+name` of an activation behind it."""
    shape: tuple[int, ...]
    """Of one sample, where the operation reshapes."""
    picked: Tensor | None = None
    """(rows, 1): the column that was picked of each row, as the value of an action is; None where nothing was."""

    def __call__(self, output: Any) -> Tensor:
        for key in self.path:
            output = getattr(output, key[1:]) if isinstance(key, str) and key.startswith(".") else output[key]
        return self.of(output)

    def of(self, tensor: Tensor) -> Tensor:
        """The operation on what the path leads to."""
        if self.picked is not None:
            return tensor.gather(1, self.picked).reshape(-1, *self.shape)
        operation, _, activation = self.name.partition("+")
        result = OPERATIONS[operation](tensor, self.shape)
        return (ACTIVATIONS.get(activation) or INTO_SCORES[activation])(result) if activation else result


def _reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return tensor.reshape(-1, *shape)


OPERATIONS: Mapping[str, Callable[[Tensor, tuple[int, ...]], Tensor]] = {
    "as it is": lambda t, shape: t,
    "in float": lambda t, shape: t.float(),
    "reshaped": _reshaped,
    "axes 1 and 2 exchanged": lambda t, shape: t.transpose(1, 2),
    "last axis second": lambda t, shape: t.movedim(-1, 1),
    "second axis last": lambda t, shape: _reshaped(t.movedim(1, -1), shape),
    "last of axis 1": lambda t, shape: _reshaped(t[:, -1], shape),
    "first of axis 1": lambda t, shape: _reshaped(t[:, 0], shape),
    "last of axis 0": lambda t, shape: _reshaped(t[-1], shape),
    "all but the last of axis 1": lambda t, shape: _reshaped(t[:, :-1], shape),
}


@dataclass(eq=False)
class Pass:
    """One forward pass with its loss."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    training: bool
    sure_of_kwargs: bool = True
    """False for the first call of a model, which is heard without them."""
    function: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    """What else the loss function was given."""
    target: Any = None
    swapped: bool = False
    """Whether the model's output was the second argument of the loss."""
    view: View | None = None
    value: float = math.nan
    factor: float = math.nan
    """What is backpropagated, over what the loss function returned; NaN without a backward pass."""

    @property
    def size(self) -> int:
        """In bytes."""
        values = (self.args, self.kwargs, self.target)
        return sum(t.numel() * t.element_size() for _, t in tensors_in(values))


@dataclass(eq=False)
class Step:
    """What happened between one optimizer step and the next."""

    number: int
    passes: list[Pass] = field(default_factory=list)
    clip: tuple[str, float] | None = None
    model: Any = None
    """Entry of the model that was called."""

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(each.size for each in self.passes)

    @property
    def rows(self) -> int:
        """Rows of all its batches, by the first tensor of each."""
        firsts = (next((t for _, t in tensors_in((each.args, each.kwargs))), None) for each in self.passes)
        return sum(t.shape[0] for t in firsts if t is not None and t.dim())


def copied(value: Any) -> Any:
    """A copy of a batch: tensors cloned, containers rebuilt.

    Raises: CannotCapture for what may hold more than values.
    """
    if isinstance(value, Tensor):
        if value.requires_grad:
            if value.grad_fn is None:
                raise CannotCapture("an input of the model asks for gradients itself")
            raise CannotCapture("an input of the model is itself computed by what is trained")
        if value.layout is not strided or value.is_meta:
            raise CannotCapture("an input of the model is no ordinary tensor")
        return value.detach().clone()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(copied(part) for part in value))
    if type(value) in (tuple, list):
        return type(value)(copied(part) for part in value)
    if type(value) is dict:
        return {key: copied(part) for key, part in value.items()}
    if isinstance(value, PLAIN):
        return value
    raise CannotCapture(f"the model is called with a `{type(value).__name__}`")


def tensors_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    """The tensors in a nested value, each with the path that leads to it."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from tensors_in(part, (*path, key))
    elif isinstance(value, tuple | list):
        for number, part in enumerate(value):
            yield from tensors_in(part, (*path, number))
    elif hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        for key, part in _attributes(value).items():
            yield from tensors_in(part, (*path, f".{key}"))


def _attributes(value: Any) -> dict[str, Any]:
    """What a dataclass holds, also one with slots, which has no `__dict__`."""
    if hasattr(value, "__dict__"):
        return dict(vars(value))
    return {name: getattr(value, name) for name in value.__dataclass_fields__ if hasattr(value, name)}


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A nested value with its leaves changed: tuples, lists, mappings and dataclasses are built anew."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(part, change) for part in value))
    if isinstance(value, tuple | list):
        return type(value)(mapped(part, change) for part in value)
    if isinstance(value, dict):
        return {key: mapped(part, change) for key, part in value.items()}
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        new = copy.copy(value)
        for key, part in _attributes(value).items():
            object.__setattr__(new, key, mapped(part, change))
        return new
    return change(value)


Leaves = list[tuple[tuple[Any, ...], Tensor]]


def leaves_of(output: Any) -> Leaves:
    """What a model returned, without its graph."""
    return [(path, tensor.detach()) for path, tensor in tensors_in(output)]


def view_of(leaves: Leaves, argument: Tensor) -> View | None:
    """The way from a model's output to an argument of the loss, found by trying; None when there is none."""
    shape = tuple(argument.shape[1:])
    wanted = argument.detach()
    for activation in ("", *ACTIVATIONS) if wanted.numel() <= MOST_VALUES_TRIED else ("",):
        for path, tensor in leaves:
            for operation in OPERATIONS:
                view = View(path, f"{operation}+{activation}" if activation else operation, shape)
                if _gives(view, tensor, wanted):
                    return view
    picks = (_pick(path, tensor, wanted) for path, tensor in leaves)
    return next((pick for pick in picks if pick is not None), None)


def _pick(path: tuple[Any, ...], tensor: Tensor, wanted: Tensor) -> View | None:
    """One value of each row, where an argument has just those."""
    if tensor.dim() != 2 or tensor.shape[1] < 2 or wanted.numel() != tensor.shape[0] or not wanted.is_floating_point():
        return None
    same = tensor == wanted.reshape(-1, 1)
    if not bool(same.any(dim=1).all()):
        return None
    return View(path, "picked", tuple(wanted.shape[1:]), same.byte().argmax(dim=1, keepdim=True))


def _gives(view: View, tensor: Tensor, wanted: Tensor) -> bool:
    try:
        with torch.no_grad():
            found = view.of(tensor)
    except (RuntimeError, IndexError):
        return False
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    if found.data_ptr() == wanted.data_ptr() and found.stride() == wanted.stride():
        return True
    return bool(torch.allclose(found, wanted, rtol=1e-5, atol=1e-7, equal_nan=True))


def loss_of(function: str, first: Tensor, second: Any, options: Mapping[str, Any]) -> Tensor:
    """The value of a loss function of torch's, or of a loss of Keras's."""
    if function == GIVEN_LOSS:
        given: Tensor = options["loss"](first, second)
        return given if given.dim() == 0 else given.mean()
    if function == KERAS_LOSS:
        value: Tensor = options["loss"](second, first)
        return value
    result: Tensor = getattr(F, function)(first, second, **options)
    return result if result.dim() == 0 else result.mean()
