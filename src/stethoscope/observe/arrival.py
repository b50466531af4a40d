"""Notices the moment at which a script has imported torch, without importing it ourselves.

Importing torch before the script would change what it sees: environment variables that it sets first, the threads
that it asks for, the order of its imports.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


class _NoticingLoader:
    """Loads as the real loader does, then tells; leaves no trace on the module."""

    def __init__(self, loader: Any, arrived: Callable[[], None]) -> None:
        self._loader = loader
        self._arrived = arrived

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._arrived()  # takes the finder off, too

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


class Arrival:
    """Calls `arrived` once, right after the import of a module has ended; at once when it is there already."""

    def __init__(self, name: str, arrived: Callable[[], None]) -> None:
        self._name = name
        self._arrived = arrived

    def wait(self) -> None:
        """Begin to listen for the import."""
        if self._name in sys.modules:
            self._arrived()
        else:
            sys.meta_path.insert(0, self)

    def forget(self) -> None:
        """Stop listening for it."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Part of the import system: ask the other finders, and wrap the loader that they found."""
        if name != self._name:
            return None
        for finder in sys.meta_path:
            # Asking for the spec alone ("is it installed?") must not count as the import.
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _NoticingLoader(spec.loader, self._has_arrived)  # type: ignore[assignment]
                return spec
        return None

    def _has_arrived(self) -> None:
        self.forget()
        self._arrived()
