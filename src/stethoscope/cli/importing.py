"""`stethoscope import`: judge runs that another tool has logged."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from stethoscope.adapters.importing import TOOLS
from stethoscope.core.settings import read_settings


@click.command("import")
@click.argument("tool", type=click.Choice(list(TOOLS)))
@click.argument("place", type=click.Path(exists=True, path_type=Path))
@click.option("--store", type=click.Path(file_okay=True), help="Folder of all runs.  [default: runs]")
@click.option("--last", "last", type=click.IntRange(1), help="Only the newest so many runs.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the last findings here; - is stdout.")
@click.option("--fail-on", type=click.Choice(["error", "warning", "note"]), help="Exit with 1 on such a finding.")
def command(
    tool: str, place: Path, store: str | None, last: int | None, json_file: Path | None, fail_on: str | None
) -> int:
    """Judge the runs that a TOOL has logged at PLACE by their curves, and keep them like recorded ones.

    \b
        stethoscope import tfevents lightning_logs/
        stethoscope import wandb wandb/offline-run-20261121_140503-a1b2c3
        stethoscope import mlflow mlruns.db
    """
    from stethoscope import api
    from stethoscope.adapters.importing import keep, read
    from stethoscope.render.terminal import print_diagnosis

    settings = read_settings(Path.cwd())
    runs = sorted(read(tool, place), key=lambda run: run.started)
    code = 0
    for run in runs[-last:] if last else runs:
        kept = keep(run, tool, Path(store or settings.store), settings)
        api.write_also(kept.diagnosis, kept.record, kept.history, json_file, None)
        report = None if kept.path is None else kept.path / "report.html"
        print_diagnosis(kept.diagnosis, kept.history, stream=sys.stderr, report=report, run=kept.path)
        code = max(code, api.exit_code_for(kept.diagnosis, fail_on or settings.fail_on))
    return code
