"""`stethoscope runs`: list the recorded runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from stethoscope.core.errors import UsageError
from stethoscope.core.settings import read_settings
from stethoscope.render.tables import Column, print_line, print_table, shown
from stethoscope.store.listing import Listed, list_runs
from stethoscope.store.packing import pack

COLUMNS = (
    Column("run", whole=True),
    Column("state", whole=True),
    Column("steps", right=True, whole=True),
    Column("loss", right=True, whole=True),
    Column("script"),
)


@click.command("runs")
@click.option("--store", type=click.Path(path_type=Path), help="Folder of all runs.  [default: runs]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write it here; - is stdout.")
def command(store: Path | None, json_file: Path | None) -> int:
    """List the recorded runs, newest last."""
    place = store or Path(read_settings(Path.cwd()).store)
    listed = list_runs(place)
    if json_file is not None:
        write_json({"schema": 1, "runs": [_entry(run) for run in listed]}, json_file)
        if str(json_file) == "-":
            return 0
    if not listed:
        print_line(f"There are no runs in {place} yet: `stethoscope run train.py` records one.", sys.stdout)
        return 0
    print_table(COLUMNS, [_row(run) for run in listed], sys.stdout)
    for run in listed:
        if run.problem:
            print_line(f"broken: {run.problem}", sys.stdout)
    return 0


def write_json(document: dict[str, Any], file: Path) -> None:
    """Write strict JSON into a file, or to standard output for `-`. Raises UsageError."""
    text = json.dumps(pack(document), indent=2, allow_nan=False) + "\n"
    if str(file) == "-":
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error


def _entry(run: Listed) -> dict[str, Any]:
    record = run.record
    return {
        "id": record.id,
        "path": str(run.path.absolute()),
        "started": record.started,
        "ended": record.ended,
        "state": record.state,
        "exit_code": record.exit_code,
        "command": record.command,
        "script": record.script,
        "steps": record.steps,
        "world_size": record.world_size,
        "commit": record.git.get("commit", ""),
        "results": record.results,
        "problem": run.problem,
    }


def _row(run: Listed) -> list[str]:
    record = run.record
    loss = record.results.get("final training loss")
    script = Path(record.script).name or " ".join(record.command)
    steps = str(record.steps) if record.ended else "-"  # counted at the end
    return [run.path.name, record.state, steps, shown(loss), script]
