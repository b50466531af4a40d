"""Our own errors, as a tree.

StethoscopeError
├── UsageError      you called it wrongly: says what was expected and what came
├── MissingPiece    something must be installed or provided first
├── BadFile         a stored run or a configuration is broken: says which and where
└── InternalError   our fault: says so and how to report it

All are printed as one sentence without a traceback, unless `--debug` is given.
"""


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
