"""Where the modules of a project lie, as Python would look for them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from stethoscope.observe.code.added_paths import Added, AddedPaths
from stethoscope.observe.code.finding import NEVER, SUFFIXES
from stethoscope.observe.code.reading import NOTEBOOK

OWN_FILE = "__init__.py"
"""The file that is a package itself."""
_MARKS = frozenset({"pyproject.toml", "setup.py", "setup.cfg", ".git", "PKG-INFO"})
"""What lies in the folder that is the top of a project."""
_SOURCES = "src"
"""The folder in which many projects keep their packages, apart from scripts and tests."""
_NEAR = 8
"""Folders above the top of a package in which they are looked for."""
MOST_FILES = 1_000
"""Files and folders of a project that are looked through, at most."""


class Places:
    """Finds files by module and modules by file; folders are looked into once."""

    def __init__(self, bytes_of: Callable[[str], bytes] = lambda place: b"") -> None:
        """`bytes_of` gives what a file holds."""
        self._added = AddedPaths(bytes_of, lambda folder: bool(self.listed(folder)))
        self._tops: dict[str, str] = {}
        self._sought: dict[str, tuple[str, ...]] = {}
        self._placed: dict[tuple[str, str], tuple[str, ...]] = {}
        self._names: dict[str, frozenset[str]] = {}
        self._all: dict[str, tuple[str, ...] | None] = {}
        self._projects: dict[str, str] = {}

    def module(self, place: str) -> tuple[str, bool]:
        """The dotted name of a file from the top of its project, and whether it is a package's own file."""
        stem, suffix = os.path.splitext(place)
        if suffix == NOTEBOOK:
            return "", False
        top = self._top(os.path.dirname(place))
        parts = [part for part in stem.removeprefix(top).split(os.sep) if part]
        if parts[-1] == "__init__":
            return ".".join(parts[:-1]), True
        return ".".join(parts), False

    def _top(self, folder: str) -> str:
        """The first folder above that is no package."""
        if folder not in self._tops:
            above = folder
            while os.path.isfile(os.path.join(above, OWN_FILE)) and os.path.dirname(above) != above:
                above = os.path.dirname(above)
            self._tops[folder] = above
        return self._tops[folder]

    def find(self, module: str, own: str, places: dict[str, str], *, relative: bool = False) -> None:
        """Put the file of a module beside its name, where another file of the project is that module."""
        if not module or module in places:
            return
        for root in (self.top(own),) if relative else self._roots(own):
            for place in self._files_of(root, module):
                if place != own:
                    places[module] = place
                    return

    def _roots(self, own: str) -> tuple[str, ...]:
        """Where a file finds modules: where every one of its folder does, and where it says itself."""
        sought, added = self._sought_by(os.path.dirname(own)), self.added(own)
        return (*added.first, *sought, *added.last) if added.folders else sought

    def added(self, own: str) -> Added:
        """The folders of the project that a file adds to `sys.path`."""
        return self._added.of(own, self._root(os.path.dirname(own)))

    def _sought_by(self, folder: str) -> tuple[str, ...]:
        """Where a script of a folder finds modules: in its own folder first, as in `sys.path`; then at the top of its
        package, in the folder above that, and where a project that is installed has its packages: at its top, or in the
        `src` of that.
        """
        if folder not in self._sought:
            top = self._top(folder)
            self._sought[folder] = tuple(dict.fromkeys((folder, top, os.path.dirname(top), *self._installed(folder))))
        return self._sought[folder]

    def installed(self, own: str) -> tuple[str, ...]:
        """Where the project of a file has its packages, if its top is known for sure: there, or in the `src` of it."""
        return self._installed(os.path.dirname(own))

    def _installed(self, folder: str) -> tuple[str, ...]:
        root = self._root(folder)
        return (root, os.path.join(root, _SOURCES)) if self.listed(root) & _MARKS else ()

    def _files_of(self, root: str, module: str) -> tuple[str, ...]:
        """The files that a module below a folder can be, the first that Python takes first."""
        known = self._placed.get((root, module))
        if known is None:
            known = self._placed[root, module] = tuple(self._candidates(root, module))
        return known

    def _candidates(self, root: str, module: str) -> Iterator[str]:
        *folders, last = module.split(".")
        for folder in folders:
            if folder not in self.listed(root):
                return
            root = os.path.join(root, folder)
        names = self.listed(root)
        if f"{last}.py" in names and os.path.isfile(place := os.path.join(root, f"{last}.py")):
            yield place
        if last in names and os.path.isfile(place := os.path.join(root, last, OWN_FILE)):
            yield place

    def top(self, own: str) -> str:
        """The first folder above a file that is no package."""
        return self._top(os.path.dirname(own))

    def above(self, own: str, named: str = "") -> list[str]:
        """The folders around a file up to that of its project, and those in which a folder of this name has it."""
        folder = os.path.dirname(own)
        root = self._root(folder)
        found, is_own = [folder], folder == root
        for _ in range(_NEAR):
            name, folder = os.path.basename(folder), os.path.dirname(folder)
            if not is_own or name == named:
                found.append(folder)
            is_own = is_own or folder == root
        return found

    def names(self, folder: str, part: str) -> bool:
        """Whether anything in a folder may be a module of this name, be it not written in Python."""
        return any(name.partition(".")[0] == part for name in self.listed(folder))

    def holds(self, place: str) -> bool:
        """Whether there is such a file or folder."""
        return os.path.basename(place) in self.listed(os.path.dirname(place))

    def all_of(self, place: str) -> tuple[str, ...] | None:
        """All files with code of the project of this file; None where they are too many."""
        root = self._root(os.path.dirname(place))
        if root not in self._all:
            self._all[root] = _files_below(root)
        return self._all[root]

    def is_marked(self, own: str) -> bool:
        """Whether the top of the project in which a file lies is known for sure."""
        return bool(self.listed(self._root(os.path.dirname(own))) & _MARKS)

    def _root(self, folder: str) -> str:
        """The folder of a project: the nearest one that is marked as such, else the top package or a script's own."""
        if folder not in self._projects:
            self._projects[folder] = self._project_of(folder)
        return self._projects[folder]

    def _project_of(self, folder: str) -> str:
        top = above = self._top(folder)
        for _ in range(_NEAR + 1):
            if self.listed(above) & _MARKS:
                return above
            above = os.path.dirname(above)
        package = folder
        while os.path.dirname(package) != top and package != top:
            package = os.path.dirname(package)
        return package

    def listed(self, folder: str) -> frozenset[str]:
        """What a folder holds: most of what a file imports is not of its project, and need not be looked for."""
        names = self._names.get(folder)
        if names is None:
            names = frozenset()
            with contextlib.suppress(OSError):
                names = frozenset(os.listdir(folder or "."))
            self._names[folder] = names
        return names


def _files_below(root: str) -> tuple[str, ...] | None:
    found: list[str] = []
    for count, (folder, folders, names) in enumerate(os.walk(root or ".")):
        folders[:] = sorted(one for one in folders if not one.startswith(".") and one not in NEVER)
        found += [os.path.normpath(os.path.join(folder, name)) for name in names if name.endswith(SUFFIXES)]
        if max(count, len(found)) > MOST_FILES:
            return None
    return tuple(found)
