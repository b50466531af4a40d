"""The folder of a run: its name, how it is made, and how the processes of one launch come to share it.

<store>/2026-11-21_140503_quiet-otter/
    run.json           what the run was: a RunRecord and the process that writes it, replaced as a whole
    process-0.db       what process 0 heard, SQLite (`database.py`); one file for each process
    standing-1.json    where process 1 of several stands, while it makes no step and where it ended so
    findings.json      and report.html: written at the end
    code.json          what was read in the files that ran, where anything was
    ring.safetensors   the steps that were captured for experiments; written last, where there is room for them
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from stethoscope.core.errors import BadFile
from stethoscope.store.packing import pack, unpack
from stethoscope.store.process import Process

RECORD = "run.json"
FINDINGS = "findings.json"
CODE = "code.json"
RING = "ring.safetensors"

MANNERS = """
brave bright calm careful cheerful clear clever cosy curious daring eager early easy fair fond free
fresh friendly gentle glad golden good happy honest humble jolly keen kind lively lucky mellow merry
mild neat nimble patient plucky polite proud quick quiet ready rosy serene sharp shy silver sincere
smart snug sober steady sunny swift tender tidy warm wise witty young
"""
ANIMALS = """
badger bear beaver bee bison bunny camel cat colt cricket crane deer dingo dolphin donkey dove duck
eagle egret falcon ferret finch fox frog gecko goat goose hare hawk hedgehog heron horse ibis jay
koala lamb lark lemur lion llama lynx magpie marten mole moose mouse newt otter owl panda panther
parrot pony puffin quail rabbit raven robin seal sparrow stork swan tiger toad trout turtle walrus
weasel whale wolf wren yak zebra
"""

OTHERS_WAIT_S = 5.0
"""How long a process waits for another one that has begun to make their folder, which takes milliseconds."""
FORGOTTEN_S = 600.0
"""Where the maker of an unfinished agreement cannot be asked, an older one belongs to a launch that died."""


def database_name(rank: int) -> str:
    """Name of the file that a process writes."""
    return f"process-{rank}.db"


def make_folder(store: Path) -> Path:
    """A new empty run folder: date, time and two words. Raises OSError when it cannot be made.

    Names stand in the order in which runs began: a second that a run has already goes on to the next one.
    """
    store.mkdir(parents=True, exist_ok=True)
    for _ in range(1000):
        # `secrets` asks the system: the random state of the user's program is not touched.
        words = f"{secrets.choice(MANNERS.split())}-{secrets.choice(ANIMALS.split())}"
        folder = store / f"{_free_second(store)}_{words}"
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise FileExistsError(f"no free name was found in {store}")


def _free_second(store: Path) -> str:
    """The time of now, or the first one after it that no run of the store has."""
    taken = {name.rpartition("_")[0] for name in os.listdir(store)}
    moment = datetime.now()
    while (stamp := moment.strftime("%Y-%m-%d_%H%M%S")) in taken:
        moment += timedelta(seconds=1)
    return stamp


def share_folder(store: Path, group: str, rank: int, world_size: int) -> Path:
    """The folder that all processes of a launch write to, made by whichever comes first.

    They agree through a file in the store, named after `group`, that one of them creates exclusively. One
    that an earlier launch with the same `group` left over is passed over by every process alike: its maker is
    gone, or this rank has been there already. Such files are never replaced, only counted past, so that two
    processes cannot remove each other's; who completes the launch removes them all.

    Raises: OSError, when neither file nor folder can be made.
    """
    store.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(group.encode("utf-8", "replace")).hexdigest()[:16]
    for attempt in range(1000):
        agreement = store / f".launch-{key}-{attempt}"
        folder = _propose(agreement, store) or _accept(agreement, store, rank)
        if folder is not None:
            (folder / database_name(rank)).touch(exist_ok=False)
            if all((folder / database_name(other)).exists() for other in range(world_size)):
                for old in range(attempt + 1):
                    (store / f".launch-{key}-{old}").unlink(missing_ok=True)
            return folder
    raise FileExistsError(f"{store} is full of unfinished launches: remove its files named .launch-{key}-*")


def _propose(agreement: Path, store: Path) -> Path | None:
    """Make the folder and write its name down; None when another process was first."""
    try:
        descriptor = os.open(agreement, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return None
    with open(descriptor, "w", encoding="utf-8") as file:
        folder = make_folder(store)
        file.write(json.dumps({"folder": folder.name, "maker": pack(Process.current())}))
    return folder


def _accept(agreement: Path, store: Path, rank: int) -> Path | None:
    """The folder that another process wrote down; None when that was an earlier launch."""
    until = time.monotonic() + OTHERS_WAIT_S
    while time.monotonic() < until:
        try:
            text = agreement.read_text(encoding="utf-8")
            age_s = time.time() - agreement.stat().st_mtime
        except FileNotFoundError:
            return None  # completed and removed a moment ago, so it was not ours
        with suppress(ValueError, KeyError, BadFile):
            data = json.loads(text)
            folder: Path = store / data["folder"]
            alive = unpack(Process, data["maker"]).is_alive()
            left_over = alive is False or (alive is None and age_s > FORGOTTEN_S)
            if left_over or not folder.is_dir() or (folder / database_name(rank)).exists():
                return None
            return folder
        time.sleep(0.01)
    return None


def write_atomically(path: Path, content: str) -> None:
    """Replace a file as a whole, so that a reader sees the old text or the new one. Raises OSError."""

    def write(draft: Path) -> None:
        draft.write_text(content, encoding="utf-8", errors="surrogateescape", newline="\n")

    replace_atomically(path, write)


def replace_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """The same, with a function that writes a whole file. Raises what it raises."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        write(draft)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
