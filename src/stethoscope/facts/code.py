"""Facts about source code: for now, the lines of the user's that were seen to act."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """A line of the user's code from which something was called."""

    file: str
    """Path as Python knows it, shortened to the working directory where it lies below it."""
    line: int
    """1-based; 0 when unknown."""
    function: str = ""
    """The function that holds the line; empty at module level."""
    text: str = ""
    """The line itself, stripped; empty when the source is not at hand."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"
