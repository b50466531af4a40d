"""Texts of a run that people know by a part: a script by its name, a commit by its beginning, a run by its words."""

from __future__ import annotations

import math
import posixpath
from fnmatch import fnmatchcase
from typing import Any

SHORTEST_BEGINNING = 4
"""Characters of a commit, as in git; a shorter beginning is likelier to be something else."""


class PathOf(str):
    """A path, which is also called by its name, by the end of it as a relative path, and by a pattern of these."""

    __slots__ = ()

    def is_called(self, said: str) -> bool:
        """Whether that names it."""
        path, end = self.replace("\\", "/"), said.replace("\\", "/")
        end = posixpath.normpath(end).lstrip("/") if not end.startswith("/") else end
        while end.startswith("../"):
            end = end.removeprefix("../")
        if any(sign in end for sign in "*?"):
            return fnmatchcase(path, end) or fnmatchcase(path, f"*/{end}")
        return str(self) == said or path == end or (not end.startswith("/") and path.endswith(f"/{end}"))


class Beginning(str):
    """A commit or a time, which is also called by how it begins."""

    __slots__ = ()

    def is_called(self, said: str) -> bool:
        """Whether that names it."""
        return str(self) == said or (len(said) >= SHORTEST_BEGINNING and self.startswith(said))


class RunId(Beginning):
    """The folder of a run, `2026-11-21_140503_quiet-otter`, which is also called by its words."""

    __slots__ = ()

    def is_called(self, said: str) -> bool:
        """Whether that names it."""
        return super().is_called(said) or (bool(said) and self.endswith(f"_{said}"))


def equal(one: Any, other: Any) -> bool:
    """Whether two values of a condition are the same, or one is what the other is called; so is `nan` and `nan`."""
    for known, said in ((one, other), (other, one)):
        if isinstance(known, PathOf | Beginning) and isinstance(said, str):
            return known.is_called(said)
    if isinstance(one, str) != isinstance(other, str):
        return False
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)
