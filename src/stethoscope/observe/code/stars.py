"""The names that `import *` may bring to a file, where all of it comes from modules of the own project.

from nets.layers import *       all that `nets/layers.py` binds in any way, or what its `__all__` lists

Rather a name too many than one too few: what is bound under a condition counts, and so do the files of a package. A
module that is not found in the project, as one of a library, may bring any name.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from stethoscope.facts.linked import Import
from stethoscope.facts.parsed import Parsed, bound_by_module, parsed_text, stars_of
from stethoscope.facts.unbound import BINDS_BY_NAME
from stethoscope.observe.code.places import OWN_FILE, Places
from stethoscope.observe.code.reading import NOTEBOOK

_MOST_FILES = 60
"""Modules that hand on to each other, of one question."""
_BINDS_BY_WORDS = re.compile(
    BINDS_BY_NAME.pattern.encode() + rb"|__getattr__|__path__|__dict__|import_module|setattr\("
)
_MOVES = re.compile(
    rb"\bchdir\b|%(?:cd|pushd|popd)\b|%%(?:writefile|file)\b|!\s*(?:git|unzip|tar|wget|curl|cp|mv)\b|gdown"
)
"""What a notebook says that runs its later cells in another folder, or writes modules into its own."""


class _Module(NamedTuple):
    """What a module gives to those who import everything."""

    names: frozenset[str]
    stars: tuple[Import, ...]
    """Of which it takes everything itself, and gives it, too."""


class Stars:
    """Follows `import *` from file to file."""

    def __init__(self, places: Places, bytes_of: Callable[[str], bytes]) -> None:
        self._places, self._bytes_of = places, bytes_of
        self._modules: dict[str, _Module | None] = {}

    def by(self, own: str, stars: Iterable[Import]) -> tuple[frozenset[str] | None, set[str]]:
        """The names that these bring to a file, None where they may be any; and the files that tell."""
        names, told, come = set[str](), set[str](), {own}
        if not self._places.holds(own) or (own.endswith(NOTEBOOK) and _MOVES.search(self._bytes_of(own))):
            return None, told
        if os.path.basename(own) == OWN_FILE:
            names |= self._parts_of(own)
        waiting = [(own, one) for one in stars]
        direct = [list(self._sought(own, one)) for _, one in waiting]
        told.update(place for sought in direct for place in sought)
        if not all(any(map(self._places.holds, sought)) for sought in direct):
            return None, told  # of a library, as most are: no file needs to be parsed
        for place, star in waiting:
            sought = list(self._sought(place, star))
            told.update(sought)
            files = [one for one in sought if self._places.holds(one) and os.path.isfile(one)]
            if not files or not self._places.added(place).is_whole or len(come) > _MOST_FILES:
                return None, told
            for file in (one for one in files if one not in come):
                come.add(file)
                module = self._module(file)
                if module is None:
                    return None, told
                names |= module.names
                waiting += [(file, one) for one in module.stars]
        return frozenset(names), told

    def _sought(self, own: str, star: Import) -> Iterator[str]:
        """Where the module may lie that a file imports."""
        folder, parts = os.path.dirname(own), star.module.split(".") if star.module else []
        roots = [os.path.normpath(os.path.join(folder, *[os.pardir] * (star.dots - 1)))]
        if not star.dots:
            if parts[0] in sys.stdlib_module_names:
                return
            # In a package the file's own folder is not looked into: `from transformers import *` means the library.
            top = self._places.top(own)
            near = [top, *self._places.above(os.path.join(top, OWN_FILE), parts[0])]
            beside = [] if self._places.holds(os.path.join(folder, OWN_FILE)) else [folder]
            added = self._places.added(own)
            roots = list(dict.fromkeys([*added.first, *beside, *added.last, *near]))
        for root in roots:
            place = os.path.join(root, *parts)
            yield from (*((f"{place}.py",) if parts else ()), os.path.join(place, OWN_FILE))

    def _module(self, place: str) -> _Module | None:
        """What a file gives, None where that cannot be told."""
        if place not in self._modules:
            data = self._bytes_of(place)
            is_open = _BINDS_BY_WORDS.search(data) or (not data and os.path.getsize(place))
            whole = None if is_open else parsed_text(_decoded(data), place)
            self._modules[place] = None if whole is None else self._given(whole, place)
        return self._modules[place]

    def _given(self, whole: Parsed, place: str) -> _Module:
        listed = _listed(whole)
        if listed is not None:
            return _Module(listed, ())
        names = bound_by_module(whole) | self._parts_of(place)
        is_said = any(isinstance(one, ast.Name) and one.id == "__all__" for one in whole.nodes)
        given = names if is_said else frozenset(one for one in names if not one.startswith("_"))
        return _Module(given, tuple(stars_of(whole.nodes)))

    def _parts_of(self, place: str) -> frozenset[str]:
        """The modules of a package, which are names of it once they are imported."""
        is_package = os.path.basename(place) == OWN_FILE
        listed = self._places.listed(os.path.dirname(place)) if is_package else ()
        return frozenset(one.partition(".")[0] for one in listed)


def _decoded(data: bytes) -> str:
    """A text; one that does not parse, where it is none."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "?"


def _listed(whole: Parsed) -> frozenset[str] | None:
    """What a module lists as all that it gives, where one line says it; None where it does not."""
    said = [one for one in whole.nodes if isinstance(one, ast.Name) and one.id == "__all__"]
    for one in whole.tree.body if len(said) == 1 else ():
        match one:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=listed) | ast.Tuple(elts=listed)):
                texts = [
                    each.value for each in listed if isinstance(each, ast.Constant) and isinstance(each.value, str)
                ]
                return frozenset(texts) if len(texts) == len(listed) else None
    return None
