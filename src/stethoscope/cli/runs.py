"""`stethoscope runs`: list the recorded runs, those that fit a condition, or export them."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import click

from stethoscope.cli.writing import write_json, write_text
from stethoscope.core.errors import BadFile, UsageError
from stethoscope.core.settings import read_settings
from stethoscope.render.tables import Column, print_line, print_table, shown
from stethoscope.store.filtering import Condition, Value, values_of
from stethoscope.store.labels import Labels, read_labels
from stethoscope.store.listing import Listed, list_runs

COLUMNS = (
    Column("run", whole=True),
    Column("state", whole=True),
    Column("steps", right=True, whole=True),
    Column("loss", right=True, whole=True),
    Column("script"),
)


@click.command("runs")
@click.argument("condition", required=False)
@click.option("--store", type=click.Path(path_type=Path), help="Folder of all runs.  [default: runs]")
@click.option("--columns", metavar="NAMES", help="Show these, too, such as lr,best.val_loss.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write it here; - is stdout.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write all that is known as CSV; - is stdout.")
@click.option("--parquet", "parquet_file", type=click.Path(path_type=Path), help="The same as Parquet (needs pyarrow).")
def command(
    condition: str | None,
    store: Path | None,
    columns: str | None,
    json_file: Path | None,
    csv_file: Path | None,
    parquet_file: Path | None,
) -> int:
    """List the recorded runs, newest last; with a CONDITION those that fit.

    \b
        stethoscope runs "lr > 0.01 and best.val_loss < 0.3"
        stethoscope runs "tag == 'baseline' and not failed" --columns lr,best.val_loss
    """
    place = store or Path(read_settings(Path.cwd()).store)
    every = list_runs(place)
    known = {str(run.path): values_of(run.record, _labels(run)) for run in every}
    listed = _fitting(every, known, condition)
    if json_file is not None:
        write_json({"schema": 1, "runs": [_entry(run) for run in listed]}, json_file)
    if csv_file is not None:
        _write_csv([known[str(run.path)] for run in listed], csv_file)
    if parquet_file is not None:
        _write_parquet([known[str(run.path)] for run in listed], parquet_file)
    if "-" in (str(json_file), str(csv_file)):
        return 0
    if not every:
        print_line(f"There are no runs in {place} yet: `stethoscope run train.py` records one.", sys.stdout)
        return 0
    if not listed:
        print_line(f"None of the {len(every)} runs in {place} fits {condition}.", sys.stdout)
        return 0
    names = [name.strip() for name in (columns or "").split(",") if name.strip()]
    tagged = any(_labels(run).tags for run in listed)
    shorter = 3 if names else len(COLUMNS)  # what was asked for takes the place of loss and script
    extra = [Column(name, right=True, whole=True) for name in names] + ([Column("tags")] if tagged else [])
    rows = [
        [
            *_row(run)[:shorter],
            *(_cell(known[str(run.path)].get(name)) for name in names),
            *([_tags(run)] if tagged else []),
        ]
        for run in listed
    ]
    print_table((*COLUMNS[:shorter], *extra), rows, sys.stdout)
    for run in listed:
        if run.problem:
            print_line(f"broken: {run.problem}", sys.stdout)
    return 0


def _fitting(listed: list[Listed], known: dict[str, dict[str, Value]], condition: str | None) -> list[Listed]:
    """The runs that fit a condition. Raises UsageError where no run can answer it."""
    if condition is None:
        return listed
    asked = Condition(condition)
    if listed and (why := asked.unanswerable(list(known.values()))):
        raise UsageError(why)
    return [run for run in listed if asked.fits(known[str(run.path)])]


def _labels(run: Listed) -> Labels:
    try:
        return read_labels(run.path)
    except BadFile:
        return Labels()


def _tags(run: Listed) -> str:
    labels = _labels(run)
    return ", ".join(labels.tags) + (f" ({labels.note})" if labels.note else "")


def _cell(value: Value) -> str:
    if isinstance(value, float):
        return shown(value)
    return ", ".join(value) if isinstance(value, tuple) else "-" if value is None else str(value)


def _rows_of(values: list[dict[str, Value]]) -> tuple[list[str], list[list[str | float | bool | None]]]:
    """All that is known of runs as a table: a column for each name that any of them has."""
    names = list(dict.fromkeys(name for one in values for name in one))
    plain = [{name: ", ".join(one) if isinstance(one, tuple) else one for name, one in run.items()} for run in values]
    return names, [[run.get(name) for name in names] for run in plain]


def _write_csv(values: list[dict[str, Value]], file: Path) -> None:
    names, rows = _rows_of(values)
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    write_text(page.getvalue(), file)


def _write_parquet(values: list[dict[str, Value]], file: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as missing:
        raise UsageError("--parquet needs pyarrow: pip install pyarrow, or use --csv") from missing
    names, rows = _rows_of(values)
    table = {}
    for place, name in enumerate(names):
        cells = [row[place] for row in rows]
        kinds = {type(cell) for cell in cells if cell is not None}
        table[name] = cells if len(kinds) <= 1 else [None if cell is None else str(cell) for cell in cells]
    try:
        parquet.write_table(pyarrow.table(table), file)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error}") from error


def _entry(run: Listed) -> dict[str, Any]:
    record, labels = run.record, _labels(run)
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
        "tags": labels.tags,
        "note": labels.note,
        "problem": run.problem,
    }


def _row(run: Listed) -> list[str]:
    record = run.record
    loss = record.results.get("final training loss")
    script = Path(record.script).name or " ".join(record.command)
    steps = str(record.steps) if record.ended else "-"  # counted at the end
    return [run.path.name, record.state, steps, shown(loss), script]
