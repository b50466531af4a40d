"""The files of one project: which module a file is, and what it imports from the others, one level deep."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stethoscope.facts.code import Code
from stethoscope.observe.code.gather import facts_of
from stethoscope.observe.code.names import absolute
from stethoscope.observe.code.reading import MOST_BYTES, NOTEBOOK, Source, Unreadable, read_source
from stethoscope.observe.code.relevant import is_relevant

KEPT = 300
"""Files whose facts stay in memory, as those that others import from."""
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<source>[.\w]+)[ \t]+import[ \t]*(?P<names>[^#\n]*)|import[ \t]+(?P<modules>[^#\n]+))",
    re.M,
)
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
        self._kept: OrderedDict[Path, Code | None] = OrderedDict()
        self._tops: dict[Path, Path] = {}

    def read(self, path: Path, file: str) -> Code:
        """The facts of a file, linked to those of the project's files that it imports.

        Raises: Unreadable, with the reason.
        """
        return self.linked(read_source(path, file), path)

    def linked(self, source: Source, path: Path) -> Code:
        """The facts of a text that stands in this place of the project.

        Raises: Unreadable, with the reason.
        """
        code = self._kept.get(path)
        if code is None or code.file != source.file or len(code.lines) != source.text.count("\n") + 1:
            code = self._facts(source, path)
            if self.keeps:
                self._kept[path] = code
                self._forget()
        return replace(code, linked=self._imports(source, path), memo={})

    def imported_files(self, source: Source, path: Path) -> list[Path]:
        """The files of the project that a text imports."""
        return list(self._places(source, path).values()) if _asks(source) else []

    def _facts(self, source: Source, path: Path) -> Code:
        module, is_package = self._module(path)
        return facts_of(source, module, is_package=is_package)

    def _imports(self, source: Source, path: Path) -> Mapping[str, Code]:
        linked: dict[str, Code] = {}
        if not _asks(source):
            return linked
        for module, place in self._places(source, path).items():
            code = self._known(place)
            if code is not None:
                linked[module] = code
        return linked

    def _known(self, path: Path) -> Code | None:
        """The facts of a file that others import from; None where nothing is to be learnt from it."""
        if path in self._kept:
            self._kept.move_to_end(path)
            return self._kept[path]
        code: Code | None = None
        try:
            data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else b""
            if is_relevant(data):
                code = self._facts(read_source(path, _shown(path)), path)
        except (OSError, Unreadable):
            code = None
        self._kept[path] = code
        self._forget()
        return code

    def _forget(self) -> None:
        while len(self._kept) > KEPT:
            _, old = self._kept.popitem(last=False)
            if old is not None:
                old.memo.clear()

    def _module(self, path: Path) -> tuple[str, bool]:
        """The dotted name of a file from the top of its project, and whether it is a package's own file."""
        if path.suffix == NOTEBOOK:
            return "", False
        top = self._top(path.parent)
        parts = [*path.parent.relative_to(top).parts, path.stem]
        if path.name == "__init__.py":
            return ".".join(parts[:-1]), True
        return ".".join(parts), False

    def _top(self, folder: Path) -> Path:
        """The first folder above that is no package."""
        if folder not in self._tops:
            above = folder
            while (above / "__init__.py").is_file() and above.parent != above:
                above = above.parent
            self._tops[folder] = above
        return self._tops[folder]

    def _places(self, source: Source, path: Path) -> dict[str, Path]:
        """Module names that the text imports, and their files in the project."""
        module, is_package = self._module(path)
        package = module if is_package else module.rpartition(".")[0]
        places: dict[str, Path] = {}
        for match in _IMPORT.finditer(source.text):
            if match["modules"]:
                for part in match["modules"].split(","):
                    self._place(part.split(" as ")[0].strip(), path, places)
                continue
            dots = len(match["source"]) - len(match["source"].lstrip("."))
            name = absolute(match["source"].lstrip("."), dots, package)
            if dots and not name:
                name = package
            self._place(name, path, places, relative=bool(dots))
            if dots or not places.get(name):
                for part in match["names"].strip("( )").split(","):
                    inner = part.split(" as ")[0].strip(" ()")
                    if inner.isidentifier():
                        self._place(f"{name}.{inner}" if name else inner, path, places, relative=bool(dots))
        return places

    def _place(self, module: str, path: Path, places: dict[str, Path], *, relative: bool = False) -> None:
        if not module or module in places:
            return
        parts = module.split(".")
        top = self._top(path.parent)
        # A script's own folder comes first, as in `sys.path`; then the top of its package, and the folder above it.
        roots = dict.fromkeys((top,) if relative else (path.parent, top, top.parent))
        for root in roots:
            base = root.joinpath(*parts)
            for candidate in (base.with_name(base.name + ".py"), base / "__init__.py"):
                if candidate.is_file() and candidate != path:
                    places[module] = candidate
                    return


def _asks(source: Source) -> bool:
    return any(word in source.text for word in _ASKS)


def _shown(path: Path) -> str:
    """A path as a person would give it: from the working directory, where it lies below it."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()
