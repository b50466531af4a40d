"""Writes what was asked for into files, or to standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from stethoscope.core.errors import UsageError
from stethoscope.core.text import sendable
from stethoscope.store.packing import pack


def write_json(document: dict[str, Any], file: Path) -> None:
    """Write strict JSON into a file, or to standard output for `-`. Raises UsageError."""
    write_text(json.dumps(pack(document), indent=2, allow_nan=False) + "\n", file)


def write_text(text: str, file: Path) -> None:
    """Write a text into a file, or to standard output for `-`. Raises UsageError."""
    if str(file) == "-":
        sys.stdout.write(sendable(text))
        return
    try:
        file.write_text(sendable(text), "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error
