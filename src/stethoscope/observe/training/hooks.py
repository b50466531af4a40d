"""Hooks that we set on a user's modules: they vanish from whatever is copied, pickled or saved."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any


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
