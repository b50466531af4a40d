"""`watched` says whether a program was asked to listen to itself, through the callback of its framework."""

import contextlib
import sys

watched = "watched" in sys.argv[1:]
quietly = {"every": 1, "report": False, "proof": False}
"""Arguments of a callback."""


@contextlib.contextmanager
def _nothing():
    yield


def nothing():
    """A `with` that listens to nothing."""
    return _nothing()
