"""`stethoscope data`: checks a data set, alone or beside another one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from stethoscope.cli.writing import write_json, write_text
from stethoscope.core.errors import UsageError
from stethoscope.core.finding import Severity
from stethoscope.core.settings import read_settings
from stethoscope.core.text import sendable


@click.command("data")
@click.argument("train", metavar="TRAIN", required=False)
@click.option("--test", metavar="TEST", help="Compare it with this one: test, validation, or newer data.")
@click.option("--target", metavar="COLUMN", help="The column to be predicted; of pictures, their folder by default.")
@click.option("--text", metavar="COLUMN", help="The column that holds the texts.  [default: found by itself]")
@click.option("--sensitive", metavar="COLUMNS", help="Compare the groups of these columns (a, b).")
@click.option("--predictions", metavar="COLUMN", help="The column with a model's predictions.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the findings here; - is stdout.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write the page here.")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path), help="Write them here for a CI; - is stdout.")
@click.option("--suspects", type=click.Path(path_type=Path), metavar="FILE", help="Write the suspicious rows as CSV.")
@click.option("--profile", type=click.Path(path_type=Path), metavar="FILE", help="Save the profile of TRAIN here.")
@click.option(
    "--suggest",
    metavar="LIBRARY",
    is_flag=False,
    flag_value="pandas",
    help="Print the lines of pandas (or polars) that repair it.",
)
@click.option("--schema", type=click.Path(path_type=Path), metavar="FILE", help="Save what new data has to keep to.")
@click.option("--pandera", type=click.Path(path_type=Path), metavar="FILE", help="The same as a schema for pandera.")
@click.option("--run", "recorded", metavar="RUN", help="In the place of TRAIN: what this run has shown of its data.")
@click.option("--against", type=click.Path(path_type=Path), metavar="SCHEMA", help="Hold TRAIN against a saved schema.")
@click.option("--fail-on", type=click.Choice(["error", "warning", "note"]), help="Exit with 1 on it.  [default: error]")
@click.option("--only", multiple=True, metavar="RULE", help="Ask this rule or subject only (again for more).")
@click.option("--without", multiple=True, metavar="RULE", help="Leave this rule or subject out.")
@click.option("--verbose", is_flag=True, help="Print each check that was not possible, and why.")
@click.option("--quiet", is_flag=True, help="Print nothing.")
def command(
    train: str | None,
    test: str | None,
    target: str | None,
    text: str | None,
    sensitive: str | None,
    predictions: str | None,
    json_file: Path | None,
    html_file: Path | None,
    junit_file: Path | None,
    suspects: Path | None,
    profile: Path | None,
    suggest: str | None,
    schema: Path | None,
    pandera: Path | None,
    recorded: str | None,
    against: Path | None,
    fail_on: str | None,
    only: tuple[str, ...],
    without: tuple[str, ...],
    verbose: bool,
    quiet: bool,
) -> int:
    """Check the data in TRAIN: a table, a folder of pictures, or texts; with --test beside another set.

    \b
        stethoscope data train.parquet --target price
        stethoscope data train.csv --test test.csv --target label --sensitive sex,region
        stethoscope data images/train --test images/test
        stethoscope data reviews.jsonl --text body --target stars
        stethoscope data train.csv --target label --suggest polars > repair.py
        stethoscope data train.csv --target label --schema schema.json
        stethoscope data today.csv --against schema.json
        stethoscope data --run last --suspects rows.csv
    """
    if recorded is not None:
        of_files = {
            "TRAIN": train, "--test": test, "--target": target, "--text": text, "--sensitive": sensitive,
            "--predictions": predictions, "--profile": profile, "--suggest": suggest, "--schema": schema,
            "--pandera": pandera, "--against": against, "--only": only, "--without": without,
        }  # fmt: skip
        if unfit := [name for name, value in of_files.items() if value]:
            raise UsageError(f"{', '.join(unfit)} cannot be given with `--run`: a run has shown what it has shown")
        return _of_run(recorded, json_file, html_file, junit_file, suspects, fail_on, quiet)
    if train is None:
        raise UsageError("what data? Give a file or a folder, or a recorded run with `--run`")
    from stethoscope.cli.waiting import shown_progress
    from stethoscope.inspecting import enforce, inspect_data
    from stethoscope.render.inspection import inspection_json, suspects_csv

    settings = read_settings(Path.cwd())
    settings = replace(settings, only=only or settings.only, without=without or settings.without)
    if against is not None:
        inspection = enforce(train, against, settings=settings)
    else:
        with shown_progress(quiet) as progress:
            inspection = inspect_data(
                train,
                test,
                target=target,
                text=text,
                sensitive=[name.strip() for name in (sensitive or "").split(",") if name.strip()],
                predictions=predictions,
                settings=settings,
                progress=progress,
            )
    if suggest is not None:
        sys.stdout.write(sendable(inspection.suggest(suggest)))
        quiet = True
    diagnosis = inspection.diagnosis
    if json_file is not None:
        write_json(inspection_json(diagnosis, inspection.data, inspection.took), json_file)
    if html_file is not None:
        write_text(inspection.to_html(), html_file)
    if junit_file is not None:
        from stethoscope.render.junit import to_junit

        write_text(to_junit(diagnosis, inspection.data.train.name), junit_file)
    if suspects is not None:
        write_text(suspects_csv(diagnosis), suspects)
    if profile is not None:
        inspection.save_profile(profile)
    if schema is not None:
        inspection.save_schema(schema)
    if pandera is not None:
        from stethoscope.render.pandera import to_pandera

        write_text(to_pandera(inspection.schema()), pandera)
    if not quiet and "-" not in (str(json_file), str(junit_file), str(suspects)):
        inspection.show(sys.stdout, verbose=verbose)
    worst = diagnosis.worst()
    least = Severity(fail_on or settings.fail_on or "error")
    return int(worst is not None and worst.gravity >= least.gravity)


def _of_run(
    run: str,
    json_file: Path | None,
    html_file: Path | None,
    junit_file: Path | None,
    suspects: Path | None,
    fail_on: str | None,
    quiet: bool,
) -> int:
    """What a recorded run has shown of its data, by the rules that are about data."""
    from stethoscope import api
    from stethoscope.render.inspection import suspects_csv
    from stethoscope.render.terminal import print_diagnosis

    loaded = api.load_run(run)
    settings = replace(read_settings(Path.cwd()), only=("data",))
    diagnosis = api.diagnose(loaded, settings=settings)
    api.write_also(diagnosis, loaded.record, loaded.history, json_file, html_file, junit_file)
    if suspects is not None:
        write_text(suspects_csv(diagnosis), suspects)
    if not quiet and "-" not in (str(json_file), str(junit_file), str(suspects)):
        print_diagnosis(diagnosis, loaded.history, stream=sys.stdout, run=loaded.path)
    return api.exit_code_for(diagnosis, fail_on or settings.fail_on or "error")
