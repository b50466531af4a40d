"""Puts a wrapper in the place of a function of torch's, and the original back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_HIDDEN = f"{__file__} (importlib._bootstrap)"
"""The file of our wrappers: Python leaves frames of `importlib._bootstrap` out when it looks for the line that a
warning is about, so that one raised by a tapped function still shows the user's."""


@dataclass(frozen=True)
class Replacement:
    """A wrapper and what it stands in for; gives way to whatever anybody else has put there since."""

    owner: Any
    name: str
    original: Any
    wrapper: Any

    def put_on(self) -> None:
        """Put the wrapper there."""
        self._exchange(self.original, self.wrapper)

    def take_off(self) -> None:
        """Put the original back."""
        self._exchange(self.wrapper, self.original)

    def _exchange(self, old: Any, new: Any) -> None:
        if vars(self.owner).get(self.name) is old:
            setattr(self.owner, self.name, new)


@dataclass(frozen=True)
class InheritedReplacement(Replacement):
    """The same for what a class inherits: there the original is nothing but the wrapper's absence."""

    def put_on(self) -> None:
        """Put the wrapper before what is inherited."""
        if self.name not in vars(self.owner):
            setattr(self.owner, self.name, self.wrapper)

    def take_off(self) -> None:
        """Leave what is inherited."""
        if vars(self.owner).get(self.name) is self.wrapper:
            delattr(self.owner, self.name)


def hidden_in_warnings(wrapper: Any) -> Any:
    """The wrapper, of a file that Python passes over when it looks for the line of a warning."""
    wrapper.__code__ = wrapper.__code__.replace(co_filename=_HIDDEN)
    return wrapper


def replacement_of(owner: Any, name: str, make: Callable[[Any], Any]) -> Replacement:
    """A wrapper for `owner.name`, not put on yet; `make` is given the original."""
    if not isinstance(owner, type):
        original, kind = getattr(owner, name), Replacement
    elif name in vars(owner):
        original, kind = vars(owner)[name], Replacement
    else:
        original, kind = getattr(owner, name), InheritedReplacement
    return kind(owner, name, original, hidden_in_warnings(make(original)))
