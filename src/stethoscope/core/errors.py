"""Our own errors, as a tree.

StethoscopeError
├── UsageError      you called it wrongly: says what was expected and what came
├── MissingPiece    something must be installed or provided first
├── BadFile         a stored run or a configuration is broken: says which and where
└── InternalError   our fault: says so and how to report it

All are printed as one sentence without a traceback, unless `--debug` is given.
"""

from __future__ import annotations

import traceback
from pathlib import Path


class StethoscopeError(Exception):
    """Something that a person can act on after reading one sentence."""


class UsageError(StethoscopeError):
    """The tool was called wrongly."""


class MissingPiece(StethoscopeError):
    """A package or a file that this call needs is not there."""


class BadFile(StethoscopeError):
    """A stored run or a configuration cannot be read."""


class InternalError(StethoscopeError):
    """A mistake of ours."""


def describe(error: Exception) -> str:
    """The error in one line, with the line of ours that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
