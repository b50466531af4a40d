"""Values that a model takes out of the graph on purpose: `detach()`, `.data`, and what is computed under `no_grad`.

A gradient takes them for constants, so central differences must do so too: they are written down once, where the
parameters are as they were, and given again wherever these are moved. Targets of bootstrapped losses, straight-through
estimators written with `detach`, and codebooks then agree with their gradients, as they should.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from stethoscope.observe.preflight.own_functions import in_between

_DETACHES = (Tensor.detach, torch.detach, Tensor.data.__get__)


class Stopped:
    """What was taken out of the graph in one forward pass."""

    def __init__(self) -> None:
        self._values: list[tuple[Any, Tensor]] = []
        self.has_hooks = False
        """Whether a hook was put on a tensor: it may change gradients on purpose."""

    @contextmanager
    def written_down(self) -> Iterator[None]:
        """Inside of it, a forward pass is made whose values are to be kept."""
        with _Mode(self._keep):
            yield

    @contextmanager
    def given_again(self) -> Iterator[None]:
        """Inside of it, the values that were kept stand in for those that are computed."""
        waiting = iter(self._values)

        def give(function: Any, made: Tensor) -> Tensor:
            kept = next(waiting, None)
            if kept is None or kept[0] != function or kept[1].shape != made.shape or kept[1].dtype != made.dtype:
                return made
            return kept[1].clone()

        with _Mode(give):
            yield

    def _keep(self, function: Any, made: Tensor | None) -> Tensor | None:
        if made is None:
            self.has_hooks = True
        else:
            self._values.append((function, made.detach().clone()))
        return made


class _Mode(TorchFunctionMode):  # type: ignore[misc]
    """Shows each value that leaves the graph to a function, and takes what that gives back in its place."""

    def __init__(self, seen: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self._seen = seen
        self._inside = 0

    def __enter__(self) -> _Mode:
        self._between = in_between(self._counted)
        self._between.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._between.__exit__(*error)

    def _counted(self, _: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
        """A function with a backward pass of its own computes without gradients, and is part of the graph."""

        def counted(*given: Any) -> Any:
            self._inside += 1
            try:
                return forward(*given)
            finally:
                self._inside -= 1

        return counted

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is Tensor.register_hook:
            self._seen(function, None)
        elif self._inside:
            return result
        elif isinstance(result, Tensor) and result.is_floating_point() and self._leaves(function, args, result):
            return self._seen(function, result)
        return result

    @staticmethod
    def _leaves(function: Any, args: Any, result: Tensor) -> bool:
        """Whether a result is new and no part of the graph. What writes to a tensor gives back that tensor."""
        if any(result is each for each in args):
            return False
        return function in _DETACHES or not torch.is_grad_enabled()
