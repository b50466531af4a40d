"""Which files a path on the command line stands for: folders, globs, and what git ignores left out."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stethoscope.core.globs import expression

SUFFIXES = (".py", ".ipynb")
NEVER = {
    "__pycache__", "node_modules", "site-packages", ".git", ".hg", ".svn", ".tox", ".nox", ".venv", "venv",
    ".mypy_cache", ".ruff_cache", ".pytest_cache", ".ipynb_checkpoints", ".virtual_documents", ".eggs",
    "__pypackages__",
}  # fmt: skip
"""Folders that hold no code of the project's own; one that is named on the command line is read all the same."""


@dataclass
class Found:
    """Files to read."""

    files: list[Path] = field(default_factory=list)
    """Each once, in the order in which they were named, those of a folder by name."""
    named: set[Path] = field(default_factory=set)
    """Files and folders that were named themselves, and not met in a folder or by a pattern."""
    missing: list[str] = field(default_factory=list)
    """Names that stand for nothing."""
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    """Folders that could not be listed, and why, as a clause."""
    ignored: int = 0
    """Files and folders that were left out since git ignores them."""


def find(names: Sequence[str]) -> Found:
    """The files that these names stand for: files of any name, folders with all that is in them, globs."""
    found = Found()
    seen: set[tuple[int, int]] = set()
    for name in names:
        path = Path(name)
        kind = _kind(name)
        if kind:
            found.named.add(path)
        if kind == "folder":
            _walk(path, found, seen, _Ignored.above(path))
        elif kind:
            _take(path, found, seen)
        elif matches := _matching(name):
            for match in matches:
                if match.is_dir():
                    _walk(match, found, seen, _Ignored.above(match))
                else:
                    _take(match, found, seen)
        else:
            found.missing.append(name)
    return found


def _kind(name: str) -> str:
    """`folder`, `file`, or nothing where there is none, or none can be: a name may be empty, or too long."""
    try:
        return "" if not name else "folder" if Path(name).is_dir() else "file" if Path(name).exists() else ""
    except OSError:
        return ""


def _matching(name: str) -> list[Path]:
    if not glob.has_magic(name):
        return []
    return [Path(match) for match in sorted(glob.glob(name, recursive=True))]


def _take(path: Path, found: Found, seen: set[tuple[int, int]]) -> None:
    identity = _identity(path)
    if identity is None or identity not in seen:
        if identity is not None:
            seen.add(identity)
        found.files.append(path)


def _identity(path: Path) -> tuple[int, int] | None:
    """What stays the same however a file or folder is reached; None when it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


def _walk(folder: Path, found: Found, seen: set[tuple[int, int]], ignored: _Ignored) -> None:
    """All files below a folder. Each folder once: a link may lead back up."""
    waiting = [(folder, ignored)]
    while waiting:
        here, rules = waiting.pop()
        identity = _identity(here)
        if identity is not None:
            if identity in seen:
                continue
            seen.add(identity)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            found.unreadable.append((here, f"cannot be listed: {(error.strerror or str(error)).lower()}"))
            continue
        rules = rules.below(here)
        folders = []
        for entry in entries:
            path = here / entry.name
            try:
                is_folder = entry.is_dir()
            except OSError:
                is_folder = False
            if is_folder:
                if entry.name in NEVER or os.path.exists(path / "pyvenv.cfg"):
                    continue
            elif not entry.name.endswith(SUFFIXES):
                continue
            if rules.leaves_out(path, is_folder):
                found.ignored += 1
            elif is_folder:
                folders.append((path, rules))
            else:
                _take(path, found, seen)
        waiting += reversed(folders)


@dataclass(frozen=True)
class _Ignored:
    """What the `.gitignore` files of a folder and those above it say."""

    patterns: tuple[tuple[str, re.Pattern[str], bool, bool], ...] = ()
    """Folder that the pattern belongs to, pattern, whether it takes back, whether it is for folders only."""

    @classmethod
    def above(cls, folder: Path) -> _Ignored:
        """What holds in a folder because of those above it, up to the top of its repository."""
        full = Path(os.path.abspath(folder))
        chain = []
        for parent in full.parents:
            if os.path.exists(parent / ".git"):
                chain.append(parent)
                break
            chain.append(parent)
        else:
            return cls()  # in no repository
        if os.path.exists(full / ".git"):
            return cls()
        ignored = cls()
        for parent in reversed(chain):
            ignored = ignored.below(parent)
        return ignored

    def below(self, folder: Path) -> _Ignored:
        """With the folder's own file."""
        try:
            text = (folder / ".gitignore").read_text("utf-8", "replace")
        except OSError:
            return self
        top = os.path.abspath(folder)
        return _Ignored((*self.patterns, *((top, *pattern) for pattern in _patterns(text.splitlines()))))

    def leaves_out(self, path: Path, is_folder: bool) -> bool:
        """Whether git would not look at it; the last pattern that fits decides."""
        if not self.patterns:
            return False
        full = os.path.abspath(path)
        tops = {top for top, *_ in self.patterns}
        inside = {top: os.path.relpath(full, top).replace(os.sep, "/") for top in tops}
        for top, pattern, takes_back, folders_only in reversed(self.patterns):
            if (is_folder or not folders_only) and pattern.fullmatch(inside[top]):
                return not takes_back
        return False


def _patterns(lines: Iterable[str]) -> Iterator[tuple[re.Pattern[str], bool, bool]]:
    for raw in lines:
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        takes_back = line.startswith("!")
        line = line.removeprefix("!")
        folders_only = line.endswith("/")
        line = line.rstrip("/")
        if not line:
            continue
        anchored = "/" in line
        text = expression(line.lstrip("/"))
        try:
            yield re.compile(text if anchored else f"(?:.*/)?{text}"), takes_back, folders_only
        except re.error:
            continue
