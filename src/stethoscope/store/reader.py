"""Reads a recorded run, while it is written or long after, however it ended. Never changes its files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stethoscope.core.errors import BadFile
from stethoscope.core.finding import Finding
from stethoscope.facts.ranks import copy_of
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import History, RankSummary
from stethoscope.store.folder import CODE, FINDINGS, RECORD, database_name
from stethoscope.store.packing import unpack
from stethoscope.store.process import Process
from stethoscope.store.recorded import Heard, Series, read_process
from stethoscope.store.standings import read_standings


@dataclass(frozen=True)
class Run:
    """A recorded run."""

    path: Path
    record: RunRecord
    history: History
    """What process 0 heard."""
    curves: dict[str, Series] = field(default_factory=dict)
    """Every series of process 0, by name, in the order in which they began."""
    ranks: tuple[int, ...] = ()
    """Processes that recorded something."""
    findings: dict[str, Any] | None = None
    """What `findings.json` says; None while there is none."""
    code: tuple[Finding, ...] = ()
    """What was found by reading the files that ran."""
    damage: tuple[str, ...] = ()
    """What could not be read and why, a sentence each."""

    def rank(self, number: int) -> History:
        """What another process heard. Raises BadFile when it left nothing."""
        if number == 0 and 0 in self.ranks:
            return self.history
        if number not in self.ranks:
            known = ", ".join(map(str, self.ranks)) or "none"
            raise BadFile(f"{self.path} holds no process {number}: there is {known}")
        return read_process(self.path, number).history


def load_run(path: str | Path) -> Run:
    """Read the run in a folder (or the one that a file of it belongs to).

    A run that is still being written is read up to its last write. One whose process is gone without a word
    has the state `lost`. What is torn is left out and named in `damage`.

    Raises: BadFile, when there is no run.
    Cost: 0.1 s for 1,000,000 points.
    """
    folder = Path(path)
    folder = folder.parent if folder.is_file() else folder
    ranks = ranks_in(folder)
    damage: list[str] = []
    try:
        record = read_record(folder)
    except BadFile as error:
        if not ranks:
            raise
        record = RunRecord(id=folder.resolve().name, state="lost")
        damage.append(str(error))
    heard = read_process(folder, 0) if 0 in ranks else Heard(History(), {}, Process())
    history = heard.history
    if record.state in ("running", "lost"):
        history = replace(history, finished=False)
    if len(ranks) > 1 and not history.ranks:
        history = replace(history, ranks=read_ranks(folder), standings=read_standings(folder))
    findings = _read_findings(folder / FINDINGS, damage)
    damage.extend(heard.damage)
    code = _read_code(folder / CODE, damage)
    return Run(folder, record, history, heard.curves, ranks, findings, code, tuple(damage))


def find_run(store: Path, name: str) -> Path:
    """The folder of a run: `last`, an id, the beginning of one, or its two words. Raises BadFile."""
    folders = run_folders(store)
    if not folders:
        raise BadFile(f"there is no run `{name}`: {store} holds no runs")
    if name == "last":
        return folders[-1]
    fitting = [folder for folder in folders if folder.name == name]
    fitting = fitting or [f for f in folders if f.name.startswith(name) or f.name.endswith(f"_{name}")]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise BadFile(f"there is no run `{name}` in {store}: `stethoscope runs` lists those that there are")
    some = " and ".join(folder.name for folder in fitting[:2])
    raise BadFile(f"`{name}` fits {len(fitting)} runs in {store}, {some} among them: write more of the name")


def run_folders(store: Path) -> list[Path]:
    """Folders of a store that hold a run, whole or broken; oldest first."""
    try:
        inside = sorted(store.iterdir())  # names begin with date and time
    except OSError:
        return []
    return [folder for folder in inside if (folder / RECORD).exists() or ranks_in(folder)]


def read_ranks(folder: Path) -> tuple[RankSummary, ...]:
    """What the processes beside process 0 have recorded so far."""
    return tuple(_summary(folder, rank) for rank in ranks_in(folder) if rank)


def read_record(folder: Path) -> RunRecord:
    """What a run was, with the state as it is now. Raises BadFile."""
    file = folder / RECORD
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        record = unpack(RunRecord, data)
        process = unpack(Process, data.get("process", {}))
    except (FileNotFoundError, NotADirectoryError):
        hint = "`stethoscope runs` lists the recorded ones"
        raise BadFile(f"there is no run in {folder}: it holds no {RECORD}; {hint}") from None
    except OSError as error:
        raise BadFile(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, AttributeError, BadFile) as error:
        raise BadFile(f"{file} is damaged ({error}): put back a copy, or remove the folder") from error
    if record.state == "running" and process.is_alive() is False:
        record = replace(record, state="lost")
    return record


def ranks_in(folder: Path) -> tuple[int, ...]:
    """Numbers of the processes that left a file in a run's folder."""
    names = [path.stem.removeprefix("process-") for path in folder.glob(database_name(0).replace("0", "*"))]
    return tuple(sorted(int(name) for name in names if name.isdecimal()))


def _summary(folder: Path, rank: int) -> RankSummary:
    """What another process did, and what of it is compared with process 0."""
    heard = read_process(folder, rank)
    history = heard.history
    state = "finished" if history.finished else "running"
    if history.ended_by:
        state = "interrupted" if history.ended_by == "KeyboardInterrupt" else "failed"
    elif not history.finished and heard.process.is_alive() is False:
        state = "lost"
    loss = history.curve("loss")
    last = float(loss.values[-1]) if loss is not None and loss.values.size else float("nan")
    return RankSummary(rank, history.steps, last, state, copy_of(history), history.times, history.batches)


def _read_code(file: Path, damage: list[str]) -> tuple[Finding, ...]:
    try:
        return unpack(tuple[Finding, ...], json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, BadFile) as error:
        damage.append(f"{file} is damaged ({error}): what was read in the code is left out")
        return ()


def _read_findings(file: Path, damage: list[str]) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        damage.append(f"{file} is damaged ({error}): `stethoscope diagnose` writes it again")
        return None
    return found if isinstance(found, dict) else None
