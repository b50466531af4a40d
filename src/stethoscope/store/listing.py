"""The runs of a store, without reading what they heard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stethoscope.core.errors import BadFile
from stethoscope.facts.run import RunRecord
from stethoscope.store.reader import read_record, run_folders


@dataclass(frozen=True)
class Listed:
    """One folder of a store."""

    path: Path
    record: RunRecord
    """What is known of it; a broken one has its folder's name as id and the state `broken`."""
    problem: str = ""
    """Why it is broken, and what to do; empty otherwise."""


def list_runs(store: Path) -> list[Listed]:
    """All runs of a store, the newest last. A store that does not exist has none.

    Raises: BadFile, when the store is no folder.
    """
    if store.exists() and not store.is_dir():
        raise BadFile(f"{store} is no folder of runs but a file: name the folder with --store")
    listed = []
    for folder in run_folders(store):
        try:
            listed.append(Listed(folder, read_record(folder)))
        except BadFile as error:
            listed.append(Listed(folder, RunRecord(id=folder.name, state="broken"), str(error)))
    return listed
