"""Gets in between whenever a function with a backward pass of its own computes forward.

`Function.apply` may have been put under another name long ago (`swish = Swish.apply`), so the classes themselves are
changed for a while: what `apply` calls is looked up in them each time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

Forward = Callable[..., Any]


@contextmanager
def in_between(wrap: Callable[[Any, Forward], Forward | None]) -> Iterator[None]:
    """Inside of it, each function's `forward` is what `wrap` makes of the class and it; None leaves it as it is."""
    found = [(function, function.forward) for function in dict.fromkeys(_below(torch.autograd.Function))]
    changed: list[tuple[Any, Any]] = []
    try:
        for function, forward in found:
            other = wrap(function, forward)
            if other is not None:
                changed.append((function, function.__dict__.get("forward")))
                function.forward = staticmethod(functools.wraps(forward)(other))
        yield
    finally:
        for function, own in changed:
            if own is None:  # it is inherited
                del function.forward
            else:
                function.forward = own


def arguments_of(function: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """What `apply` was given, of what `forward` is: without the context, where it takes one."""
    takes_context = function.setup_context is torch.autograd.Function.setup_context
    return given[1:] if takes_context else given


def _below(kind: Any) -> Iterator[Any]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)
