"""`stethoscope diagnose`: judge a recorded run again."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("diagnose")
@click.argument("run")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the findings here; - is stdout.")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path), help="Write them here for a CI; - is stdout.")
@click.option("--github", "github_file", type=click.Path(path_type=Path), help="Write them here as GitHub's commands.")
@click.option("--fail-on", type=click.Choice(["error", "warning", "note"]), help="Exit with 1 on such a finding.")
def command(
    run: str, json_file: Path | None, junit_file: Path | None, github_file: Path | None, fail_on: str | None
) -> int:  # fmt: skip
    """Judge a recorded RUN (a folder, an id, its beginning, or `last`) by the rules of today; needs no torch."""
    from stethoscope import api
    from stethoscope.render.terminal import print_diagnosis

    loaded = api.load_run(run)
    diagnosis = api.diagnose(loaded)
    api.write_also(diagnosis, loaded.record, loaded.history, json_file, None, junit_file, github_file)
    print_diagnosis(diagnosis, loaded.history, stream=sys.stderr, run=loaded.path)
    return api.exit_code_for(diagnosis, fail_on or "")
