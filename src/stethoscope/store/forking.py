"""A lock that no fork interrupts."""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType

FORK_WAIT_S = 1.0
"""How long a fork waits for the lock: writes take milliseconds, and a disk that hangs shall not hang the program."""

_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()


class ForkLock:
    """Held while SQLite works: forked in the middle, its own locks would stay closed for ever in the child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forking = False
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def hold(self) -> None:
        """Before a fork."""
        self._forking = self._lock.acquire(timeout=FORK_WAIT_S)

    def resume(self) -> None:
        """After it, in the parent."""
        if self._forking:
            self._forking = False
            self._lock.release()


def _hold_all() -> None:
    for lock in list(_locks):
        lock.hold()


def _resume_all() -> None:
    for lock in list(_locks):
        lock.resume()


if hasattr(os, "register_at_fork"):
    # The child leaves the locks alone: it has no thread that writes.
    os.register_at_fork(before=_hold_all, after_in_parent=_resume_all, after_in_child=_locks.clear)
