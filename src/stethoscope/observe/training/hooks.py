"""Hooks that we set on a user's modules: they vanish from whatever is copied, pickled or saved."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable
from typing import Any

from torch import nn


class ModuleHook:
    """A hook that returns nothing and, in a copy or a pickle, is a function of Python's own that does nothing.

    `nn.Module.__getstate__` is tapped so that our hooks are left out; a class with a `__getstate__` of its own may
    still hand them on, and what it saves must load where stethoscope is not installed.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> None:
        self._function(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        # `nullcontext().__exit__` takes any arguments and returns None.
        return getattr, (contextlib.nullcontext(), "__exit__")


def has_compiled() -> bool:
    """Whether there is a compiled model already: hooks that its first call meets would be traced into the graph."""
    frames = sys.modules.get("torch._dynamo.eval_frame")
    if not getattr(frames, "cached_backends", None):
        return False
    modules = (each for each in gc.get_objects() if issubclass(type(each), nn.Module))
    return any(
        type(module).__name__ == "OptimizedModule" or module._compiled_call_impl is not None for module in modules
    )


def without_our_hooks(state: dict[str, Any]) -> dict[str, Any]:
    """A module's state as it would be if nobody listened."""
    tables = [table for name, table in state.items() if name.startswith("_forward_") and isinstance(table, dict)]
    ours = {number for table in tables for number, hook in table.items() if isinstance(hook, ModuleHook)}
    if not ours:
        return state
    clean = dict(state)
    for name, table in state.items():
        if name.startswith("_forward_") and isinstance(table, dict):
            clean[name] = type(table)((number, hook) for number, hook in table.items() if number not in ours)
    return clean
