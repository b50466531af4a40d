"""Listens to the calls of activations in a forward pass, and changes them. Modules and functions alike end there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Rewrite = Callable[[str, int, Any, tuple[Any, ...], dict[str, Any]], Any]
"""Given the name of a function, the number of that call in a forward pass, the function, and its arguments, gives the
result in its place."""


class Call(NamedTuple):
    """A call of an activation that makes what a loss is given."""

    name: str
    number: int
    class_axis: int
    """Of its result."""


class Rewriting(TorchFunctionMode):  # type: ignore[misc]
    """Inside of it, each call goes through a rewrite."""

    def __init__(self, rewrite: Rewrite) -> None:
        super().__init__()
        self._rewrite = rewrite
        self._calls: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = _name(func)
        number = self._calls[name]
        self._calls[name] += 1
        return self._rewrite(name, number, func, args, kwargs or {})


class Listening(TorchFunctionMode):  # type: ignore[misc]
    """Inside of it, results of some functions are kept, in order."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self._names = names
        self._results: dict[str, list[Tensor]] = {name: [] for name in names}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if _name(func) in self._results:
            self._results[_name(func)].append(result.detach().clone())
        return result

    @property
    def count(self) -> int:
        """How many calls were heard."""
        return sum(map(len, self._results.values()))

    def call_that_gave(self, value: Tensor) -> Call | None:
        """The call that made a tensor; the last one that did."""
        for name, results in self._results.items():
            for number in reversed(range(len(results))):
                result = results[number]
                if result.numel() == value.numel() and torch.equal(result.reshape(-1), value.reshape(-1)):
                    # torch's losses have the classes on axis 1; what is reshaped for them has had them on the last.
                    return Call(name, number, 1 if result.shape == value.shape else -1)
        return None


def _name(func: Any) -> str:
    return str(getattr(func, "__name__", "")).rstrip("_")


def leaving_out(which: str, call: int) -> Rewrite:
    """One call gives back what it was given."""

    def rewrite(name: str, number: int, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _first(args, kwargs) if (name, number) == (which, call) else func(*args, **kwargs)

    return rewrite


def over_classes(which: str, call: int, axis: int) -> Rewrite:
    """One call of a softmax sums over another axis."""

    def rewrite(name: str, number: int, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if (name, number) != (which, call):
            return func(*args, **kwargs)
        return getattr(torch, which)(_first(args, kwargs), dim=axis)

    return rewrite


def off_the_batch(names: tuple[str, ...]) -> Rewrite:
    """Calls of a softmax over axis 0, where the samples are, are taken over the last axis."""

    def rewrite(name: str, number: int, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        values = _first(args, kwargs) if name in names else None
        if values is not None and values.dim() > 1 and _axis(args, kwargs) in (0, -values.dim()):
            return getattr(torch, name)(values, dim=-1)
        return func(*args, **kwargs)

    return rewrite


def _axis(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return axis if isinstance(axis, int) else None


def rectified(names: tuple[str, ...], but: str, call: int) -> Rewrite:
    """All calls of some functions are of ReLU instead, but for one."""

    def rewrite(name: str, number: int, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in names and (name, number) != (but, call):
            return torch.relu(_first(args, kwargs))
        return func(*args, **kwargs)

    return rewrite


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    tensor: Tensor = args[0] if args else kwargs["input"]
    return tensor
