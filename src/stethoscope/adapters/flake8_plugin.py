"""The plugin for flake8: `flake8 --select STH` says what `stethoscope lint` says at its default level.

STH1 is an error, STH2 a warning, STH3 a note; the rule's name ends the message.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from stethoscope import __version__
from stethoscope.core.finding import Finding, Severity
from stethoscope.core.settings import Settings, read_settings

CODES = {Severity.ERROR: "STH1", Severity.WARNING: "STH2", Severity.NOTE: "STH3"}


class Plugin:
    """What flake8 makes for each file."""

    name = "stethoscope"
    version = __version__

    def __init__(self, tree: ast.AST, filename: str, lines: Sequence[str]) -> None:
        """flake8 gives these by name; the tree is asked for since only then it calls a plugin once for each file."""
        self._filename = filename
        self._lines = lines

    def run(self) -> Iterator[tuple[int, int, str, type[Plugin]]]:
        """Line, column counted from 0, message, and the plugin, as flake8 wants them."""
        from stethoscope.linting import lint_text
        from stethoscope.observe.code.reading import bytes_of

        review = lint_text(bytes_of("".join(self._lines)), self._filename, settings=_settings(Path.cwd()))
        for finding in review.findings:
            if _is_here(finding, self._filename):
                place = finding.place
                words = f"{CODES[finding.severity]} {finding.title} [{finding.rule}]"
                yield place.line or 1, (place.column or 1) - 1, words, type(self)


@cache
def _settings(folder: Path) -> Settings:
    return read_settings(folder)


def _is_here(finding: Finding, filename: str) -> bool:
    """Whether it stands in this file: one in an imported file is told there."""
    return finding.place.file == Path(filename).as_posix()
