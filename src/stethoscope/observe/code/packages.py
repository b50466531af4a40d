"""What a file imports from its own project: modules, and what packages hand on in their `__init__.py`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from stethoscope.facts.code import Code
from stethoscope.observe.code.names import absolute
from stethoscope.observe.code.places import OWN_FILE, Places

_EVERYTHING = b"import *"
_MOST_PACKAGES = 4
"""Packages through which a name is followed: deeper ones are hardly ever met, and two may hand on to each other."""


@dataclass(frozen=True)
class Imported:
    """What one file imports from others of its project."""

    files: dict[str, str] = field(default_factory=dict)
    """Module to file."""
    handed_on: dict[str, str] = field(default_factory=dict)
    """The name under which the file imports something to the one under which it is defined: of `from nets import Net`
    `nets.Net` to `nets.small.Net`, where `nets/__init__.py` has it `from .small`.
    """


@dataclass(frozen=True)
class _Bound:
    """What a package's own file binds: see `Code.names` and `Code.stars`."""

    names: Mapping[str, int | str]
    stars: tuple[str, ...]


_NOTHING = _Bound({}, ())


class Packages:
    """Follows imports as Python does: what a package's own file binds comes before a module of that name."""

    def __init__(
        self, places: Places, exports: Callable[[str], Code | None], bytes_of: Callable[[str], bytes]
    ) -> None:  # fmt: skip
        """`exports` gives the facts of a package's own file, `bytes_of` what a file holds."""
        self._places, self._facts_of, self._bytes_of = places, exports, bytes_of
        self._known: dict[str, _Bound] = {}

    def imported(self, code: Code, own: str) -> Imported:
        """What a file at this place imports: modules, and those that a package takes from, one level deep."""
        found = Imported()
        module, is_package = self._places.module(own)
        package = module if is_package else module.rpartition(".")[0]
        for imported, dots, names in code.imports:
            name = absolute(imported, dots, package)
            relative = bool(dots)
            self._places.find(name, own, found.files, relative=relative)
            place = found.files.get(name, "")
            for inner in names if relative or not place or _is_package(place) else ():
                if inner != "*":
                    self._part(f"{name}.{inner}" if name else inner, place, inner, own, found, relative=relative)
        if any(_is_package(place) for place in found.files.values()):
            self._said(code, own, found)
        return found

    def _said(self, code: Code, own: str, found: Imported) -> None:
        """What is called of packages that were imported themselves, or by `*`: `nets.Net()`."""
        for name in dict.fromkeys(call.name for call in code.calls if call.receiver is None):
            package, _, inner = name.rpartition(".")
            while package and package not in found.files and package not in code.stars:
                package, _, inner = package.rpartition(".")
            for one in reversed(code.stars) if package in code.stars else (package,):
                place = found.files.get(one, "")
                if _is_package(place) and self._part(f"{package}.{inner}", place, inner, own, found):
                    break

    def _part(
        self, name: str, place: str, inner: str, own: str, found: Imported, *, relative: bool = False
    ) -> bool:  # fmt: skip
        """Find what a name of the module at `place` means: what it hands on, or a module below it; whether it does."""
        if name in found.files or name in found.handed_on:
            return True
        bound = self._bound(place, inner) if _is_package(place) else _NOTHING
        meaning = bound.names.get(inner)
        if isinstance(meaning, int):
            return True
        if meaning is None:
            meaning = self._by_star(bound.stars, inner, own)
        if meaning is None or meaning == name:
            self._places.find(name, own, found.files, relative=relative)
            return name in found.files
        meaning = found.handed_on[name] = self._followed(meaning, own, found)
        self._places.find(meaning, own, found.files)
        if meaning not in found.files:
            self._places.find(meaning.rpartition(".")[0], own, found.files)
        return True

    def _followed(self, name: str, own: str, found: Imported) -> str:
        """Where a name comes from that packages hand on to each other; they are among the files that tell it."""
        for _ in range(_MOST_PACKAGES):
            package, _, inner = name.rpartition(".")
            self._places.find(package, own, found.files)
            place = found.files.get(package, "")
            bound = self._bound(place, inner) if _is_package(place) else _NOTHING
            meaning = bound.names.get(inner)
            if meaning is None:
                meaning = self._by_star(bound.stars, inner, own)
            if not isinstance(meaning, str) or meaning == name:
                break
            name = meaning
        return name

    def _by_star(self, stars: tuple[str, ...], inner: str, own: str) -> str | None:
        """The full name of what a package has from a module by `*`; the last one wins."""
        for star in reversed(stars):
            seen: dict[str, str] = {}
            self._places.find(star, own, seen)
            if star not in seen or (inner.startswith("_") and not _lists(inner).search(self._bytes_of(seen[star]))):
                continue
            if self._says_that_it_defines(seen[star], inner) or self._hands_on(seen[star], inner):
                return f"{star}.{inner}"
        return None

    def _says_that_it_defines(self, place: str, inner: str) -> bool:
        data = self._bytes_of(place)
        return inner.encode() in data and _defines(inner).search(data) is not None

    def _hands_on(self, place: str, inner: str) -> bool:
        return _is_package(place) and inner in self._bound(place, inner).names

    def _bound(self, place: str, inner: str) -> _Bound:
        """What a package's own file binds; nothing where it cannot bind this name, as nothing in it says so."""
        data = self._bytes_of(place)
        if inner.encode() not in data and _EVERYTHING not in data:
            return _NOTHING
        if place not in self._known:
            code = self._facts_of(place)
            self._known[place] = _NOTHING if code is None else _Bound(code.names, code.stars)
        return self._known[place]


def _is_package(place: str) -> bool:
    return os.path.basename(place) == OWN_FILE


@lru_cache(maxsize=2_000)
def _defines(name: str) -> re.Pattern[bytes]:
    """A definition of a name at the top of a file."""
    said = re.escape(name.encode())
    return re.compile(rb"^(?:(?:(?:async\s+)?def|class)\s+%b\b|%b\s*(?::|=[^=]))" % (said, said), re.M)


@lru_cache(maxsize=2_000)
def _lists(name: str) -> re.Pattern[bytes]:
    """A list of what `*` brings in which a name stands that it would not bring by itself."""
    return re.compile(rb"^__all__\s*\+?=\s*[\[(][^\])]*[\"']%b[\"']" % re.escape(name.encode()), re.M)
