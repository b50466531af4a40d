"""`stethoscope report`: write the HTML report of a recorded run."""

from __future__ import annotations

from pathlib import Path

import click

from stethoscope.core.errors import UsageError


@click.command("report")
@click.argument("run")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Where.  [default: report.html in the run]")
def command(run: str, html_file: Path | None) -> int:
    """Write the report of a recorded RUN again, judged by the rules of today, and print where it is."""
    from stethoscope import api
    from stethoscope.render.html import to_html

    loaded = api.load_run(run)
    target = html_file or Path(loaded.path) / "report.html"
    try:
        target.write_text(to_html(api.diagnose(loaded), loaded.record, loaded.history), "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from error
    click.echo(target)
    return 0
