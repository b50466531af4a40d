"""Which files hold the code of a model, and whether they are still what they were. Nothing is imported here."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def sources_of(model: Any, script: str, began_at: float) -> dict[str, str]:
    """Path and checksum of the script, and of the user's files that hold classes of the model's modules.

    A file that was changed after `began_at` (seconds of `time.time`) is not what ran: its checksum is empty.
    """
    from stethoscope.observe.training.sites import is_users_file

    files = {os.path.abspath(script)}
    for name in {type(part).__module__ for part in model.modules()}:
        path = getattr(sys.modules.get(name), "__file__", None)
        if path and path.endswith(".py") and is_users_file(path):
            files.add(os.path.abspath(path))
    return {path: checksum(path) if _changed_at(path) <= began_at else "" for path in sorted(files)}


def changed(code: Mapping[str, str]) -> str:
    """The first file that is no longer what its checksum says; empty when there is none."""
    return next((path for path, was in code.items() if checksum(path) != was or not was), "")


def checksum(path: str) -> str:
    """SHA-256 of a file; empty when it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def _changed_at(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
