"""Where the processes of a run stand: a small file of each in the run's folder, while it makes no step.

Each process replaces its own file as a whole and reads those of the others: they need no exchange for it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from stethoscope.core.errors import BadFile
from stethoscope.facts.ranks import Standing
from stethoscope.store.folder import write_atomically
from stethoscope.store.packing import pack, unpack

_NAME = "standing-{}.json"


def write_standing(folder: Path, standing: Standing) -> None:
    """Say where this process stands. Raises OSError."""
    write_atomically(folder / _NAME.format(standing.rank), json.dumps(pack(standing)))


def read_standings(folder: Path) -> tuple[Standing, ...]:
    """Where processes stand, by rank; what cannot be read is left out."""
    found = []
    for file in folder.glob(_NAME.format("*")):
        with suppress(OSError, ValueError, AttributeError, BadFile):
            found.append(unpack(Standing, json.loads(file.read_text(encoding="utf-8"))))
    return tuple(sorted(found, key=lambda standing: standing.rank))


def remove_standing(folder: Path, rank: int) -> None:
    """This process makes steps again, or has ended well."""
    with suppress(OSError):
        (folder / _NAME.format(rank)).unlink(missing_ok=True)
