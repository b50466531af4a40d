"""The files of one project: which module a file is, and what it imports from the others, one level deep."""

from __future__ import annotations

import contextlib
import functools
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import cast

from stethoscope.facts.code import Code
from stethoscope.facts.linked import Import, Linked, uncommented
from stethoscope.observe.code.gather import facts_of
from stethoscope.observe.code.lost import Lost
from stethoscope.observe.code.packages import Imported, Packages
from stethoscope.observe.code.places import Places
from stethoscope.observe.code.reading import MOST_BYTES, Source, Unreadable, read_source, source_of
from stethoscope.observe.code.relevant import may_matter
from stethoscope.observe.code.stars import Stars

_FURTHER = "further"
"""In the memo of a file that others import: the same file, linked to what it imports itself."""
KEPT = 500
"""Files whose facts stay in memory, as those that others import from."""
_ASKS = (
    "nn.", ".backward(", "zero_grad", ".step(", "optim.", "Loss(", "cross_entropy", "nll_loss", "kl_div", ".eval(",
    "DataLoader",
)  # fmt: skip
"""Words in a file for which it matters what others define: it trains, evaluates, or computes a loss. The one that most
have comes first.
"""


class Project:
    """Reads files with what they import from their own project."""

    def __init__(self, *, keeps: bool = True) -> None:
        """`keeps` is False where a text is not that of its file, as in an editor."""
        self.keeps = keeps
        self._kept: OrderedDict[str, Code | None] = OrderedDict()
        self._texts: OrderedDict[str, _Text] = OrderedDict()
        self._places = Places(self._bytes_of)
        self._looked_through: list[set[str]] = [set()]
        """By the file that was linked last, and by each that it imports and that was asked for its own imports."""
        self._beside: tuple[tuple[str, ...], list[bytes]] = (), []
        """All files of the project that was looked through last, and what they hold."""
        self._packages = Packages(self._places, self._exports, self._bytes_of)
        self._lost = Lost(self._places, self._bytes_of)
        self._stars = Stars(self._places, self._bytes_of)

    def read(self, path: Path, file: str) -> Code:
        """The facts of a file, linked to those of the project's files that it imports.

        Raises: Unreadable, with the reason.
        """
        return self.linked(read_source(path, file), path)

    def linked(self, source: Source, path: Path) -> Code:
        """The facts of a text that stands in this place of the project.

        Raises: Unreadable, with the reason.
        """
        place = str(path)
        code = self._kept.get(place) if self.keeps else None  # else of the disk, where another file has asked for it
        if code is None or code.file != source.file or len(code.lines) != source.text.count("\n") + 1:
            code = self._facts(source, place)
            if self.keeps:
                self._keep(place, code)
        code = replace(code, memo={})
        self._looked_through = [set()]
        found = self._imports(code, path)
        linked = self._links(place, found, self._looked_through[0], lambda module: self._further(found.files[module]))
        return replace(code, linked=linked, memo=code.memo)

    def _links(
        self, own: str, found: Imported, seen: set[str], further: Callable[[str], Code | None] = lambda module: None
    ) -> Linked:
        """What a file imports; `seen` gets the files that are looked through for it."""
        places = found.files
        return Linked(
            places,
            lambda module: self._known(places[module]),
            lambda module, words: self._text(places[module], words),
            found.handed_on,
            lambda words: self._texts_beside(own, words, seen),
            lambda imports: self._lost_by(own, imports, seen),
            lambda stars: self._brought_by(own, stars, seen),
            further,
        )

    def _further(self, place: str) -> Code | None:
        """The facts of a file that another one imports, linked to what it imports itself."""
        code = self._known(place)
        if code is None:
            return None
        if _FURTHER not in code.memo:
            found = self._packages.imported(code, place)
            seen = set(found.files.values())
            code.memo[_FURTHER] = replace(code, linked=self._links(place, found, seen), memo={}), seen
        further, seen = code.memo[_FURTHER]
        self._looked_through.append(seen)
        return cast("Code", further)

    def used_files(self, code: Code, path: Path) -> Iterable[str]:
        """The files of the project that may change what is said of the one that was linked last: those that it imports,
        where it matters what they define, and those that were looked through, or looked for.
        """
        return dict.fromkeys((*self._imports(code, path).files.values(), *chain(*self._looked_through)))

    def _texts_beside(self, own: str, words: tuple[str, ...], seen: set[str] | None = None) -> str | None:
        """The texts of the project's other files in which any of these words stands; None where they are too many."""
        files = self._places.all_of(own)
        if files is None:
            return None
        (self._looked_through[0] if seen is None else seen).update(files)
        if self._beside[0] is not files:
            self._beside = files, [_bytes_or_none(place) for place in files]
        said, own = [word.encode() for word in words], os.path.normpath(own)
        held = zip(*self._beside, strict=True)
        found = (data for place, data in held if place != own and any(word in data for word in said))
        return "\n".join(uncommented(data.decode("utf-8", "replace").split("\n")) for data in found)

    def _lost_by(self, own: str, imports: Iterable[Import], seen: set[str]) -> str:
        """What of the project the imports of a file look for in vain; what may change that is kept in mind."""
        lost, files = self._lost.by(own, imports)
        seen |= files
        return lost

    def _brought_by(self, own: str, stars: Iterable[Import], seen: set[str]) -> frozenset[str] | None:
        """The names that `import *` may bring to a file, None where that may be any; likewise kept in mind."""
        brought, files = self._stars.by(own, stars)
        seen |= files
        return brought

    def _imports(self, code: Code, path: Path) -> Imported:
        return self._packages.imported(code, str(path)) if code.says(*_ASKS) else Imported()

    def forget(self) -> None:
        """Let go of all that was read; answers refer back to their files, and without them nothing goes in circles."""
        for code in self._kept.values():
            if code is not None:
                _clear(code)
        self._kept.clear()
        self._beside = (), []

    def _facts(self, source: Source, place: str) -> Code:
        module, is_package = self._places.module(place)
        code = facts_of(source, module, is_package=is_package)
        return replace(code, linked=Linked(whole=lambda words: self._texts_beside(place, words)))

    def _exports(self, place: str) -> Code | None:
        """The facts of a package's own file, also of one of which nothing is to be learnt but what it hands on."""
        with contextlib.suppress(OSError, Unreadable):
            known = self._kept.get(place)
            return known or self._facts(source_of(_bytes(place), _shown(place)), place)
        return None

    def _bytes_of(self, place: str) -> bytes:
        return self._read_text(place).data

    def _known(self, place: str) -> Code | None:
        """The facts of a file that others import from; None where nothing is to be learnt from it."""
        if place in self._kept:
            self._kept.move_to_end(place)
            return self._kept[place]
        code: Code | None = None
        with contextlib.suppress(OSError, Unreadable):
            data = _bytes(place)
            if may_matter(data):
                code = self._facts(source_of(data, _shown(place)), place)
        self._keep(place, code)
        return code

    def _text(self, place: str, words: tuple[str, ...]) -> str:
        """The text of a file that others import from, without comments; nothing where nothing is to be learnt, or none
        of the words stands in it.
        """
        known = self._kept.get(place)
        if known is not None:
            return known.uncommented()
        return self._read_text(place).saying(words)

    def _read_text(self, place: str) -> _Text:
        if place not in self._texts:
            self._texts[place] = _Text(place)
            if len(self._texts) > KEPT:
                self._texts.popitem(last=False)
        return self._texts[place]

    def _keep(self, place: str, code: Code | None) -> None:
        self._kept[place] = code
        while len(self._kept) > KEPT:
            _, old = self._kept.popitem(last=False)
            if old is not None:
                _clear(old)


class _Text:
    """What a file says that others import from. Most are asked for words that they do not have: then their bytes do."""

    def __init__(self, place: str) -> None:
        self._place = place
        self.data = b""
        with contextlib.suppress(OSError):
            self.data = _bytes(place)

    def saying(self, words: tuple[str, ...]) -> str:
        """The text without comments; nothing where nothing is to be learnt, or none of the words stands in it."""
        if words and not any(word.encode() in self.data for word in words):
            return ""
        return self._text

    @functools.cached_property
    def _text(self) -> str:
        with contextlib.suppress(Unreadable):
            if may_matter(self.data):
                return uncommented(source_of(self.data, self._place).text.split("\n"))
        return ""


def _clear(code: Code) -> None:
    """Take away the answers that refer back to a file."""
    further, _ = code.memo.get(_FURTHER, (code, None))
    further.memo.clear()
    code.memo.clear()


def _bytes(place: str) -> bytes:
    """What a file of the project holds; one that is too large holds nothing that is to be learnt."""
    with open(place, "rb") as file:
        return file.read() if os.fstat(file.fileno()).st_size <= MOST_BYTES else b""


def _bytes_or_none(place: str) -> bytes:
    """The same; nothing of one that cannot be read."""
    with contextlib.suppress(OSError):
        return _bytes(place)
    return b""


def _shown(place: str) -> str:
    """A path as a person would give it: from the working directory, where it lies below it."""
    path = Path(place)
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()
