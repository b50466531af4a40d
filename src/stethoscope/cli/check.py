"""`stethoscope check`: experiments on a model before it trains."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from stethoscope.core.settings import read_settings


@click.command("check", context_settings={"allow_interspersed_args": False})
@click.option("-m", "--module", is_flag=True, help="Check a module, as `python -m` runs it.")
@click.option("--quick", "profile", flag_value="quick", help="Structure, loss, connections, one sample: some seconds.")
@click.option("--thorough", "profile", flag_value="thorough", help="Take all the time that the experiments need.")
@click.option("--simplify", is_flag=True, help="If it does not learn: build it up from its smallest version.")
@click.option("--store", type=click.Path(file_okay=True), help="Folder of all runs.  [default: runs]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the findings here; - is stdout.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write the report here, too.")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path), help="Write them here for a CI; - is stdout.")
@click.option("--github", "github_file", type=click.Path(path_type=Path), help="Write them here as GitHub's commands.")
@click.option("--fail-on", type=click.Choice(["error", "warning", "note"]), help="Exit with 1 on it.  [default: error]")
@click.option("--no-lint", is_flag=True, help="Do not read the files that run as well.")
@click.option("--only", multiple=True, metavar="RULE", help="Ask this rule or subject only (again for more).")
@click.option("--without", multiple=True, metavar="RULE", help="Leave this rule or subject out.")
@click.option("--quiet", is_flag=True, help="Print nothing of our own.")
@click.argument("target", metavar="SCRIPT|PACKAGE.MODULE:FUNCTION")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(
    target: str,
    arguments: tuple[str, ...],
    module: bool,
    profile: str | None,
    simplify: bool,
    store: str | None,
    json_file: Path | None,
    html_file: Path | None,
    junit_file: Path | None,
    github_file: Path | None,
    fail_on: str | None,
    no_lint: bool,
    only: tuple[str, ...],
    without: tuple[str, ...],
    quiet: bool,
) -> Callable[[], int]:
    """Try the model of SCRIPT before it trains: structure, loss, gradients, a few samples learned by heart.

    The script runs until its first optimizer steps and is ended there; all experiments are made on copies. A FUNCTION
    returns (model, loss, data) or (model, loss, data, optimizer).
    """
    settings = read_settings(Path.cwd())
    settings = replace(
        settings,
        store=store or settings.store,
        fail_on=fail_on or settings.fail_on or "error",
        code=settings.code and not no_lint,
        only=only or settings.only,
        without=without or settings.without,
    )

    def examine() -> int:
        from stethoscope.api import exit_code_for, write_also
        from stethoscope.checking import check_function, check_script

        if ":" in target and not Path(target).exists():
            checked = check_function(
                target, settings=settings, profile=profile or "default", simplify=simplify, quiet=quiet
            )
            if not quiet:
                checked.show(sys.stderr)
            files = (json_file, html_file, junit_file, github_file)
            write_also(checked.diagnosis, checked.record, checked.history, *files)
            return exit_code_for(checked.diagnosis, settings.fail_on)
        ran = check_script(
            target, arguments, module=module, settings=settings, profile=profile or "default", simplify=simplify,
            json=json_file, html=html_file, junit=junit_file, github=github_file, quiet=quiet,
        )  # fmt: skip
        if ran.interrupted:
            sys.excepthook = lambda *_: None
            raise KeyboardInterrupt
        return ran.exit_code

    return examine
