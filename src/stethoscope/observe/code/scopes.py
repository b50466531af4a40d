"""Which binding a name has at a line: the nearest one before it, on the same path."""

from __future__ import annotations

from collections.abc import Callable

Meaning = int | str
"""The number of a binding, or the full name of what was imported."""
Merge = Callable[[str, tuple[int, ...]], int]
"""Makes the binding of a name at which several meet."""


class Scope:
    """The names of a module, a class body, or a function."""

    def __init__(self, parent: Scope | None, *, is_class: bool = False) -> None:
        self.parent = parent
        self.is_class = is_class
        self.names: dict[str, Meaning] = {}
        """As they are bound where we are."""
        self.dotted: set[str] = set()
        """First parts of the dotted names in it: `self` of `self.hidden`."""
        self.every: dict[str, list[Meaning]] = {}
        """All that a name is bound to anywhere, for functions that are called who knows when."""
        self.outer: dict[str, bool] = {}
        """Names declared `global` (true) or `nonlocal`."""

    def bind(self, name: str, meaning: Meaning) -> None:
        """From here on the name means this; what was known of its attributes no longer holds."""
        if name in self.outer:
            home = self._outer(name)
            home.every.setdefault(name, []).append(meaning)
            home.names[name] = meaning
        self.names[name] = meaning
        self.every.setdefault(name, []).append(meaning)
        if name in self.dotted:
            prefix = name + "."
            self.names = {key: value for key, value in self.names.items() if not key.startswith(prefix)}
        if "." in name:
            self.dotted.add(name.split(".", 1)[0])

    def _outer(self, name: str) -> Scope:
        scope: Scope = self
        while scope.parent is not None:
            scope = scope.parent
            if not self.outer[name] and name in scope.names:
                break
        return scope

    def find_outside(self, name: str, merge: Merge) -> Meaning | None:
        """What a name means that is not bound here; None when nothing in the file says so."""
        scope = self.parent
        while scope is not None:
            if not scope.is_class and name in scope.names:
                every = scope.every.get(name, ())
                if len(every) < 2:
                    return scope.names[name]
                return scope.settled(name, merge)
            scope = scope.parent
        return None

    def settled(self, name: str, merge: Merge) -> Meaning:
        """What a name means to a function inside, which may be called after any of its bindings."""
        every = list(dict.fromkeys(self.every[name]))
        if len(every) == 1:
            return every[0]
        numbers = tuple(meaning for meaning in every if isinstance(meaning, int))
        if not numbers or len(numbers) < len(every):
            # Imported in one place and defined in another, as behind `except ImportError`: the import is meant, unless
            # the name is bound to something else in the end on every path, as by `model = model.Net()`.
            last = self.names.get(name)
            return last if isinstance(last, int) else next(meaning for meaning in every if isinstance(meaning, str))
        merged = merge(name, numbers)
        self.every[name] = [merged]
        return merged

    def meet(self, first: dict[str, Meaning], second: dict[str, Meaning], merge: Merge) -> None:
        """Two paths come together: where they disagree about a name, both are options."""
        if first is second:
            self.names = first
            return
        names = dict(first)
        for name, meaning in second.items():
            other = names.get(name)
            if other is None:
                names[name] = meaning
            elif other != meaning:
                if isinstance(other, int) and isinstance(meaning, int):
                    names[name] = merge(name, (other, meaning))
                elif isinstance(meaning, str):
                    names[name] = meaning
        self.names = names
