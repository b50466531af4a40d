"""The files of one project: which module a file is, and what it imports from the others, one level deep."""

from __future__ import annotations

import contextlib
import functools
import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from stethoscope.facts.code import Code
from stethoscope.facts.linked import Linked, uncommented
from stethoscope.observe.code.gather import facts_of
from stethoscope.observe.code.names import absolute
from stethoscope.observe.code.reading import MOST_BYTES, NOTEBOOK, Source, Unreadable, read_source, source_of
from stethoscope.observe.code.relevant import may_matter

KEPT = 500
"""Files whose facts stay in memory, as those that others import from."""
_ASKS = (
    ".backward(", "zero_grad", ".step(", "optim.", "Loss(", "cross_entropy", "nll_loss", "kl_div", ".eval(",
    "DataLoader", "nn.",
)  # fmt: skip
"""Words in a file for which it matters what others define: it trains, evaluates, or computes a loss."""


class Project:
    """Reads files with what they import from their own project."""

    def __init__(self, *, keeps: bool = True) -> None:
        """`keeps` is False where a text is not that of its file, as in an editor."""
        self.keeps = keeps
        self._kept: OrderedDict[str, Code | None] = OrderedDict()
        self._texts: OrderedDict[str, _Text] = OrderedDict()
        self._tops: dict[str, str] = {}
        self._placed: dict[tuple[str, str], tuple[str, ...]] = {}
        self._names: dict[str, frozenset[str]] = {}

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
        code = self._kept.get(place)
        if code is None or code.file != source.file or len(code.lines) != source.text.count("\n") + 1:
            code = self._facts(source, place)
            if self.keeps:
                self._keep(place, code)
        code = replace(code, memo={})
        places = self.imported_files(code, path)
        linked = Linked(
            places, lambda module: self._known(places[module]), lambda module, words: self._text(places[module], words)
        )
        return replace(code, linked=linked, memo=code.memo)

    def imported_files(self, code: Code, path: Path) -> dict[str, str]:
        """The files of the project that a file imports, by module; none where it does not matter what they define."""
        found: dict[str, str] = {}
        if not code.says(*_ASKS):
            return found
        own = str(path)
        module, is_package = self._module(own)
        package = module if is_package else module.rpartition(".")[0]
        for imported, dots, names in code.imports:
            name = absolute(imported, dots, package)
            self._place(name, own, found, relative=bool(dots))
            if dots or name not in found:
                for inner in names:
                    self._place(f"{name}.{inner}" if name else inner, own, found, relative=bool(dots))
        return found

    def forget(self) -> None:
        """Let go of all that was read; answers refer back to their files, and without them nothing goes in circles."""
        for code in self._kept.values():
            if code is not None:
                code.memo.clear()
        self._kept.clear()

    def _facts(self, source: Source, place: str) -> Code:
        module, is_package = self._module(place)
        return facts_of(source, module, is_package=is_package)

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
        if place not in self._texts:
            self._texts[place] = _Text(place)
            if len(self._texts) > KEPT:
                self._texts.popitem(last=False)
        return self._texts[place].saying(words)

    def _keep(self, place: str, code: Code | None) -> None:
        self._kept[place] = code
        while len(self._kept) > KEPT:
            _, old = self._kept.popitem(last=False)
            if old is not None:
                old.memo.clear()

    def _module(self, place: str) -> tuple[str, bool]:
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
            while os.path.isfile(os.path.join(above, "__init__.py")) and os.path.dirname(above) != above:
                above = os.path.dirname(above)
            self._tops[folder] = above
        return self._tops[folder]

    def _place(self, module: str, own: str, places: dict[str, str], *, relative: bool = False) -> None:
        if not module or module in places:
            return
        folder = os.path.dirname(own)
        top = self._top(folder)
        # A script's own folder comes first, as in `sys.path`; then the top of its package, and the folder above it.
        for root in (top,) if relative else dict.fromkeys((folder, top, os.path.dirname(top))):
            for place in self._files_of(root, module):
                if place != own:
                    places[module] = place
                    return

    def _files_of(self, root: str, module: str) -> tuple[str, ...]:
        """The files that a module below a folder can be, the first that Python takes first."""
        known = self._placed.get((root, module))
        if known is None:
            known = self._placed[root, module] = tuple(self._candidates(root, module))
        return known

    def _candidates(self, root: str, module: str) -> Iterator[str]:
        *folders, last = module.split(".")
        for folder in folders:
            if folder not in self._listed(root):
                return
            root = os.path.join(root, folder)
        names = self._listed(root)
        if f"{last}.py" in names and os.path.isfile(place := os.path.join(root, f"{last}.py")):
            yield place
        if last in names and os.path.isfile(place := os.path.join(root, last, "__init__.py")):
            yield place

    def _listed(self, folder: str) -> frozenset[str]:
        """What a folder holds: most of what a file imports is not of its project, and need not be looked for."""
        names = self._names.get(folder)
        if names is None:
            names = frozenset()
            with contextlib.suppress(OSError):
                names = frozenset(os.listdir(folder or "."))
            self._names[folder] = names
        return names


class _Text:
    """What a file says that others import from. Most are asked for words that they do not have: then their bytes do."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._data = b""
        with contextlib.suppress(OSError):
            self._data = _bytes(place)

    def saying(self, words: tuple[str, ...]) -> str:
        """The text without comments; nothing where nothing is to be learnt, or none of the words stands in it."""
        if words and not any(word.encode() in self._data for word in words):
            return ""
        return self._text

    @functools.cached_property
    def _text(self) -> str:
        with contextlib.suppress(Unreadable):
            if may_matter(self._data):
                return uncommented(source_of(self._data, self._place).text.split("\n"))
        return ""


def _bytes(place: str) -> bytes:
    """What a file of the project holds; one that is too large holds nothing that is to be learnt."""
    with open(place, "rb") as file:
        return file.read() if os.fstat(file.fileno()).st_size <= MOST_BYTES else b""


def _shown(place: str) -> str:
    """A path as a person would give it: from the working directory, where it lies below it."""
    path = Path(place)
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()
