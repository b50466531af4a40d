"""What a script was asked to do: the namespaces that argparse gave it, and the seeds it set."""

from __future__ import annotations

import argparse
import contextlib
import functools
import random
import sys
from collections.abc import Callable
from typing import Any

from stethoscope.observe.arrival import Arrival

PLAIN = (bool, int, float, str, type(None))


class ArgumentTap:
    """Notes parsed arguments and seeds of Python's and NumPy's generators, without touching either."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}
        self.seeds: dict[str, int] = {}
        self._undo: list[Callable[[], None]] = []
        # Importing numpy here, before the script does, would fix its number of threads too early.
        self._numpy = Arrival("numpy", self._tap_numpy)

    def _tap_numpy(self) -> None:
        self._wrap(sys.modules["numpy"].random, "seed", functools.partial(self._seeded, "numpy"))

    def put_on(self) -> None:
        """Start noting."""
        self._wrap(argparse.ArgumentParser, "parse_known_args", self._parsed)
        self._wrap(random, "seed", functools.partial(self._seeded, "python"))
        self._numpy.wait()

    def take_off(self) -> None:
        """Put everything back."""
        self._numpy.forget()
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def _wrap(self, owner: Any, name: str, note: Callable[[Any, Any, Any], None]) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def tapped(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            with contextlib.suppress(Exception):  # an argument whose repr fails, say: it goes without its note
                note(args, kwargs, result)
            return result

        setattr(owner, name, tapped)

        def undo() -> None:
            if getattr(owner, name) is tapped:
                setattr(owner, name, original)

        self._undo.append(undo)

    def _parsed(self, args: Any, kwargs: Any, result: Any) -> None:
        namespace = result[0] if isinstance(result, tuple) and result else None
        if isinstance(namespace, argparse.Namespace):
            for key, value in vars(namespace).items():
                self.arguments[key] = value if isinstance(value, PLAIN) else repr(value)[:200]

    def _seeded(self, generator: str, args: Any, kwargs: Any, result: Any) -> None:
        seed = args[0] if args else next(iter(kwargs.values()), None)
        if isinstance(seed, int):
            self.seeds[generator] = seed
