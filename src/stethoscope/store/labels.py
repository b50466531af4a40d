"""What people write on a run afterwards: tags and a note. The recorded files stay as they were."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.store.packing import pack, unpack

FILE = "labels.json"


@dataclass(frozen=True)
class Labels:
    """On one run."""

    tags: tuple[str, ...] = ()
    """In the order in which they were given."""
    note: str = ""


def read_labels(run: Path) -> Labels:
    """The labels of a run in a folder. Raises BadFile for a file that is none of ours."""
    file = run / FILE
    try:
        return unpack(Labels, json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        return Labels()
    except (OSError, ValueError) as error:
        raise BadFile(f"{file} cannot be read ({error}): remove it, or put back a copy") from error


def write_labels(run: Path, labels: Labels) -> None:
    """Write them, at once: a reader sees the old ones or the new ones. Raises UsageError."""
    file = run / FILE
    try:
        part = file.with_suffix(".part")
        part.write_text(json.dumps(pack(labels)) + "\n", "utf-8")
        part.replace(file)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error
