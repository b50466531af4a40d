"""What a script was asked to do: the namespaces that argparse gave it, and the seeds it set."""

from __future__ import annotations

import argparse
import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np

PLAIN = (bool, int, float, str, type(None))


class ArgumentTap:
    """Notes parsed arguments and seeds of Python's and NumPy's generators, without touching either."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}
        self.seeds: dict[str, int] = {}
        self._undo: list[Callable[[], None]] = []

    def put_on(self) -> None:
        """Start noting."""
        self._wrap(argparse.ArgumentParser, "parse_known_args", self._parsed)
        self._wrap(random, "seed", functools.partial(self._seeded, "python"))
        self._wrap(np.random, "seed", functools.partial(self._seeded, "numpy"))

    def take_off(self) -> None:
        """Put everything back."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def _wrap(self, owner: Any, name: str, note: Callable[[Any, Any, Any], None]) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def tapped(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            note(args, kwargs, result)
            return result

        setattr(owner, name, tapped)
        self._undo.append(lambda: setattr(owner, name, original))

    def _parsed(self, args: Any, kwargs: Any, result: Any) -> None:
        namespace = result[0] if isinstance(result, tuple) and result else None
        if isinstance(namespace, argparse.Namespace):
            for key, value in vars(namespace).items():
                self.arguments[key] = value if isinstance(value, PLAIN) else repr(value)[:200]

    def _seeded(self, generator: str, args: Any, kwargs: Any, result: Any) -> None:
        seed = args[0] if args else next(iter(kwargs.values()), None)
        if isinstance(seed, int):
            self.seeds[generator] = seed
