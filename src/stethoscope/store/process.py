"""Which process writes a run, and whether it is still there."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process, told apart from a later one with the same number."""

    pid: int = 0
    started: int = -1
    """Clock ticks after the start of the machine; -1 where the system does not say."""
    host: str = ""
    boot: str = ""
    """Identity of this start of the machine."""
    namespace: int = -1
    """Identity of the process numbering: containers have their own."""

    @classmethod
    def current(cls) -> Process:
        """The process that asks."""
        pid = os.getpid()
        return cls(pid, _start_of(pid), socket.gethostname(), _boot(), _namespace())

    def is_alive(self) -> bool | None:
        """Whether it still runs; None when that cannot be known from this machine."""
        if self.pid <= 0 or self.host != socket.gethostname():
            return None
        if self.boot != _boot():
            return False
        if self.namespace != _namespace():
            return None
        return _exists(self.pid) and self.started == _start_of(self.pid)


def _start_of(pid: int) -> int:
    try:
        line = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return -1
    state, *fields = line.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return -2 if state in "ZX" else int(fields[18])  # a zombie writes nothing any more


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return -1


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # signal 0 would end the process there; better to call a dead run running
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
