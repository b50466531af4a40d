"""Modules and names of the own project that a file imports, and that are not there; also by what it imports in turn.

from .layers import Block       no `layers` lies beside the file
import nets.audio               it is there, and imports `nets.audio.layers`, which is not

Files are read by patterns first, as most miss nothing; what is found then is looked for again as Python parses it.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from stethoscope.facts.importable import imported_by
from stethoscope.facts.linked import Import
from stethoscope.facts.parsed import bound_by_module, parsed_text, stars_of
from stethoscope.observe.code.places import OWN_FILE, Places

_MOST_FOLLOWED = 1_000
"""Files that are gone through for one that imports them."""
_IMPORTS = re.compile(
    rb"^(?:from[ \t]+(\.*)[ \t]*([\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[^\n;]*)|import[ \t]+([^\n;]+))", re.M
)
"""Imports that stand at the very left: under no condition, in no `try` and in no function."""
_IS_WRITTEN_LATER = re.compile(r"(?:^|\.)_|version|generated|_pb2|^build")
"""Modules that a build writes, or compiles."""
_BINDS_BY_NAME = re.compile(
    rb"import \*|__getattr__|__path__|__dict__|globals\(|locals\(|vars\(|exec\(|setattr\(|sys\.modules"
)
"""What may give a module names that do not stand in it, or modules that lie elsewhere."""
_OWN_WORDS = frozenset({
    "src", "source", "scripts", "lib", "libs", "util", "utils", "model", "models", "net", "nets", "network",
    "networks", "loss", "losses", "common", "dataloader", "dataloaders", "data_loader", "data_loaders", "train",
    "trainer", "trainers", "center_loss", "data_utils", "datautils", "preprocess", "evaluation",
})  # fmt: skip
"""Names of folders that belong to the program in which they lie: nobody installs a package that is called so."""
_OF_LIBRARIES = sys.stdlib_module_names | {
    "accelerate", "datasets", "diffusers", "einops", "evaluate", "gym", "numpy", "sklearn", "timm", "tokenizers",
    "torch", "torchvision", "transformers", "wandb",
}  # fmt: skip
"""What a script may mean beside which another module of this name lies: it need not be run from its own folder."""
_BUILDS = ("setup.py", "pyproject.toml", "CMakeLists.txt", "meson.build", "build.py")


class _Step(NamedTuple):
    """What one import runs."""

    lost: str
    """Where what is not there would lie, without a suffix; empty where nothing is seen to be missing."""
    files: tuple[str, ...]


class Lost:
    """Follows imports from file to file until one of them finds nothing."""

    def __init__(self, places: Places, bytes_of: Callable[[str], bytes]) -> None:
        self._places, self._bytes_of = places, bytes_of
        self._imports: dict[str, tuple[Import, ...]] = {}
        self._steps: dict[tuple[str, Import], _Step] = {}

    def by(self, own: str, imports: Iterable[Import]) -> tuple[str, set[str]]:
        """What a file with these imports lacks, as its place would be, else empty; and the files that tell."""
        if not self._places.holds(own):
            return "", set()  # a text of no file
        come: dict[str, tuple[str, Import] | None] = {own: None}
        waiting = [(own, tuple(imports))]
        for place, said in waiting:
            for one in said:
                step = self._step(place, one)
                if step.lost and (place == own or (one in self._exact(place) and self._is_come_to(place, come))):
                    return step.lost, {*come, *step.files, f"{step.lost}.py", os.path.join(step.lost, OWN_FILE)}
                fresh = dict.fromkeys(file for file in step.files if file not in come)
                come.update(dict.fromkeys(fresh, (place, one)))
                waiting += [(file, self._said(file)) for file in fresh]
            if len(come) > _MOST_FOLLOWED:
                break
        return "", set(come)

    def _is_come_to(self, place: str, come: Mapping[str, tuple[str, Import] | None]) -> bool:
        """Whether each import on the way to a file is a statement, and not a line of a text."""
        before = come[place]
        while before is not None and (above := come[before[0]]) is not None:
            if before[1] not in self._exact(before[0]):
                return False
            before = above
        return True

    def _said(self, place: str) -> tuple[Import, ...]:
        """What a file imports, as its lines look."""
        if place not in self._imports:
            self._imports[place] = tuple(_said_in(self._bytes_of(place)))
        return self._imports[place]

    def _exact(self, place: str) -> frozenset[Import]:
        """What a file imports whenever it is run."""
        return _parsed(self._bytes_of(place))

    def _step(self, own: str, said: Import) -> _Step:
        key = own, said
        if key not in self._steps:
            self._steps[key] = self._stepped(own, said)
        return self._steps[key]

    def _stepped(self, own: str, said: Import) -> _Step:
        folder, parts = os.path.dirname(own), said.module.split(".") if said.module else []
        if said.dots:
            folder = os.path.normpath(os.path.join(folder, *[os.pardir] * (said.dots - 1)))
            step = self._walk(folder, parts, said.names)
            return step._replace(files=(*self._packages_around(own), *step.files))
        is_open, added = b"sys.path" in self._bytes_of(own), self._places.added(own)
        if not parts or not added.is_whole:
            return _Step("", ())
        roots = list(dict.fromkeys((*self._roots(own, parts), *self._in_added(own, parts))))
        steps = [self._walk(root, parts, said.names) for root in roots]
        if not steps and not is_open and parts[0] in _OWN_WORDS and self._is_nowhere(own, parts[0]):
            return _Step(os.path.join(folder, parts[0]), ())
        if not steps and not is_open and self._is_meant_beside(folder, said):
            return self._walk(folder, parts, said.names)
        if not steps or not all(one.lost for one in steps):
            return next((one for one in steps if not one.lost), _Step("", ()))
        return steps[0]

    def _packages_around(self, own: str) -> Iterator[str]:
        """The own files of the packages in which a file lies."""
        folder, inner = os.path.dirname(own), own
        while folder != inner and self._places.holds(place := os.path.join(folder, OWN_FILE)):
            if place != own:
                yield place
            folder, inner = os.path.dirname(folder), folder  # nothing lies above the folder that is worked in

    def _roots(self, own: str, parts: list[str]) -> list[str]:
        """The folders in which the package of a module's name is one of the own project."""
        first = parts[0]
        folder, top = os.path.dirname(own), self._places.top(own)
        package = os.path.relpath(own, top).split(os.sep)
        if len(package) > 1:  # in a package
            unnamed = next((i for i, part in enumerate(package) if part.isidentifier()), 0)  # `net-0.1/__init__.py`
            if package[unnamed] == first:
                return [os.path.join(top, *package[:unnamed])]
        elif self._places.holds(os.path.join(folder, first, OWN_FILE)):  # beside a script
            return [one for one in self._places.above(own, first) if self._places.names(one, first)]
        elif roots := self._with_module(own, first):
            return roots
        elif len(parts) > 1 and self._places.holds(os.path.join(folder, f"{os.path.join(*parts)}.py")):
            return [folder]  # in a folder beside a script that is no package, and need not be one
        if roots := self._at_top(own, first):
            return roots
        if first not in _OWN_WORDS:
            return []
        above = [one for one in self._places.above(own, first) if self._places.names(one, first)]
        return above if any(self._has_code(os.path.join(one, first)) for one in above) else []

    def _at_top(self, own: str, first: str) -> list[str]:
        """The folder, of those in which a marked project has its packages, that has one of this name."""
        return [one for one in self._places.installed(own) if self._places.holds(os.path.join(one, first, OWN_FILE))]

    def _in_added(self, own: str, parts: list[str]) -> Iterator[str]:
        """The folders that a file adds itself in which the module lies, or the package of its name."""
        for folder in self._places.added(own).folders if parts[0] not in _OF_LIBRARIES else ():
            inner = os.path.join(folder, *parts)
            if self._places.holds(f"{inner}.py") or self._places.holds(os.path.join(folder, parts[0], OWN_FILE)):
                yield folder

    def _with_module(self, own: str, first: str) -> list[str]:
        """The folders that hold a module of this name, where one of them is that of a script, or lies above it."""
        folder = os.path.dirname(own)
        if first in _OF_LIBRARIES or self._places.holds(os.path.join(folder, OWN_FILE)):
            return []
        added = self._places.added(own).folders
        near = dict.fromkeys((*self._places.above(own, first), os.path.dirname(folder), *added))
        if not any(self._places.holds(os.path.join(one, f"{first}.py")) for one in near):
            return []
        files = self._places.all_of(own)
        others = (os.path.dirname(one) for one in files or () if os.path.basename(one) == f"{first}.py")
        named = (one for one in near if self._places.names(one, first))
        return list(dict.fromkeys((*named, *others))) if files is not None else []

    def _is_meant_beside(self, folder: str, said: Import) -> bool:
        """Whether a script that lies in a package means the module beside it, which has some of what it asks for."""
        place = os.path.join(folder, f"{said.module}.py")
        data = self._bytes_of(place) if self._places.holds(place) else b""
        return any(re.search(rb"^(?:def|class) %b\b" % name.encode(), data, re.M) for name in said.names)

    def _is_nowhere(self, own: str, first: str) -> bool:
        """Whether no file or folder of a project that is seen as a whole has this name."""
        files = self._places.all_of(own) if self._places.is_marked(own) else None
        names = (part for file in files or () for part in file.split(os.sep))
        return files is not None and all(part.partition(".")[0] != first for part in names)

    def _has_code(self, folder: str) -> bool:
        """Whether files with code lie in a folder, or in those of it."""
        names = self._places.listed(folder)
        inner = (os.path.join(folder, name) for name in names if "." not in name)
        return _with_code(names) or any(_with_code(self._places.listed(one)) for one in inner)

    def _walk(self, folder: str, parts: list[str], names: tuple[str, ...]) -> _Step:
        """Go down from a folder by the parts of a module's name, then to what is taken from it."""
        files: list[str] = []
        if not self._places.listed(folder):
            return _Step("", ())
        for number, part in enumerate(parts):
            known = self._places.listed(folder)
            inner = os.path.join(folder, part)
            if part in known and self._places.holds(os.path.join(inner, OWN_FILE)):
                files.append(os.path.join(inner, OWN_FILE))
            elif f"{part}.py" in known:
                files.append(f"{inner}.py")
                is_last = number == len(parts) - 1
                return self._taken(files, "", names) if is_last else _Step("", tuple(files))
            elif part not in known or not self._places.listed(inner):
                is_there = self._places.names(folder, part) or _IS_WRITTEN_LATER.search(".".join(parts[number:]))
                return _Step("" if is_there or self._is_built(folder, part, files) else inner, tuple(files))
            folder = inner
        return self._taken(files, folder, names)

    def _taken(self, files: list[str], folder: str, names: tuple[str, ...]) -> _Step:
        """What is taken from a module, or from the package in a folder."""
        own = os.path.join(folder, OWN_FILE) if folder else files[-1]
        data = self._bytes_of(own) if self._places.holds(own) else b""
        found, lost = list(files), ""
        for name in names:
            if not name.isidentifier() or name.startswith("_") or _binds(data, name):
                continue
            inner = os.path.join(folder, name)
            if folder and self._places.holds(os.path.join(inner, OWN_FILE)):
                found.append(os.path.join(inner, OWN_FILE))
            elif folder and self._places.holds(f"{inner}.py"):
                found.append(f"{inner}.py")
            elif not (folder and self._places.names(folder, name)) and not _IS_WRITTEN_LATER.search(name):
                is_open = self._is_too_large(own, data) or _BINDS_BY_NAME.search(data)
                lost = lost or ("" if is_open or self._is_built(folder, name, files) else inner if folder else own)
        return _Step(lost, tuple(found))

    def _is_too_large(self, own: str, data: bytes) -> bool:
        return not data and self._places.holds(own) and os.path.getsize(own) > 0

    def _is_built(self, folder: str, part: str, packages: list[str]) -> bool:
        """Whether a module may be compiled, be put there by one of the packages around it, or by the project's own."""
        if any(_BINDS_BY_NAME.search(self._bytes_of(one).replace(b"import *", b"")) for one in packages):
            return True
        said = re.compile(rb"xtension|ythonize|maturin|pybind|cffi", re.I)
        for above in self._places.above(os.path.join(folder, OWN_FILE)):
            for name in _BUILDS:
                place = os.path.join(above, name)
                data = self._bytes_of(place) if self._places.holds(place) else b""
                if part.encode() in data and said.search(data):
                    return True
        return False


def _with_code(names: Iterable[str]) -> bool:
    return any(name.endswith(".py") for name in names)


def _binds(data: bytes, name: str) -> bool:
    """Whether a module may bind a name: for sure where it stands at the very left or behind `import` on its line, else
    as Python parses it. What stands in functions alone is theirs.
    """
    word = re.escape(name.encode())
    if name.encode() not in data or re.search(rb"(?<!\w)%b(?!\w)" % word, data) is None:
        return False
    if re.search(rb"^(?:(?:async )?def |class )?%b(?!\w)|\bimport\b[^\n]*(?<!\w)%b(?!\w)" % (word, word), data, re.M):
        return True
    try:
        whole = parsed_text(data.decode("utf-8-sig"), "")
    except UnicodeDecodeError:
        whole = None
    return whole is None or name in bound_by_module(whole) or stars_of(whole.nodes) != []


def _said_in(data: bytes) -> Iterator[Import]:
    """The imports that stand at the very left of a text."""
    for found in _IMPORTS.finditer(data):
        dots, module, names, whole = (
            one.decode("utf-8", "replace") if one is not None else "" for one in found.groups()
        )
        if whole:
            yield from (Import(one, 0, ()) for one in _listed(whole) if one.replace(".", "").isidentifier())
        elif dots or module:
            yield Import(module, len(dots), tuple(_listed(names)))


def _listed(text: str) -> list[str]:
    """The names of a list in an import, without those that they get."""
    lines = (line.partition("#")[0] for line in text.strip("()").split("\n"))
    parts = (part.strip(" \t\r\\()") for line in lines for part in line.split(","))
    return [part.split()[0] for part in parts if part]


def _parsed(data: bytes) -> frozenset[Import]:
    """The imports that are the file's own statements."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return frozenset(imported_by(ast.parse(data).body))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
