"""`stethoscope run`: listen to an unmodified script."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from stethoscope.core.settings import read_settings


class _Share(click.ParamType[float]):
    """`1%` or `0.01`."""

    name = "SHARE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value)
        try:
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            self.fail(f"{text!r} is no share; write 1% or 0.01", param, ctx)
        if not 0 < share <= 1:
            self.fail(f"{text!r} is not between 0 and 100%", param, ctx)
        return share


@click.command("run", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False})
@click.option("-m", "--module", is_flag=True, help="Run a module, as `python -m` does.")
@click.option("--store", type=click.Path(file_okay=True), help="Folder of all runs.  [default: runs]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the findings here; - is stdout.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write the report here, too.")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path), help="Write them here for a CI; - is stdout.")
@click.option("--github", "github_file", type=click.Path(path_type=Path), help="Write them here as GitHub's commands.")
@click.option("--fail-on", type=click.Choice(["error", "warning", "note"]), help="Exit with 1 on such a finding.")
@click.option("--budget", type=_Share(), help="Share of the training time to spend.  [default: 1%]")
@click.option("--every", type=click.IntRange(1), help="Look at every N-th step instead.")
@click.option("--max-steps", type=click.IntRange(1), help="End the run after this many steps.")
@click.option("--to", multiple=True, metavar="TRACKER", help="Tell tensorboard, wandb, mlflow, ... (again for more).")
@click.option("--no-proof", is_flag=True, help="Try no cures on copies when training has ended.")
@click.option("--no-lint", is_flag=True, help="Do not read the files that run as well.")
@click.option("--only", multiple=True, metavar="RULE", help="Run this rule or subject only (again for more).")
@click.option("--without", multiple=True, metavar="RULE", help="Leave this rule or subject out.")
@click.option("--quiet", is_flag=True, help="Print nothing of our own.")
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(
    script: str,
    arguments: tuple[str, ...],
    module: bool,
    store: str | None,
    json_file: Path | None,
    html_file: Path | None,
    junit_file: Path | None,
    github_file: Path | None,
    fail_on: str | None,
    budget: float | None,
    every: int | None,
    max_steps: int | None,
    to: tuple[str, ...],
    no_proof: bool,
    no_lint: bool,
    only: tuple[str, ...],
    without: tuple[str, ...],
    quiet: bool,
) -> Callable[[], int]:
    """Run SCRIPT with its ARGUMENTS, unmodified, and say what is wrong with its training.

    Its output and exit code stay its own; findings go to standard error and into the run's folder.
    """
    settings = read_settings(Path.cwd())
    settings = replace(
        settings,
        store=store or settings.store,
        fail_on=fail_on or settings.fail_on,
        budget=budget or settings.budget,
        every=every or settings.every,
        code=settings.code and not no_lint,
        only=only or settings.only,
        without=without or settings.without,
        proof=settings.proof and not no_proof,
        to=to or settings.to,
    )

    if settings.to:
        from stethoscope.adapters.trackers import check_trackers, not_installed

        check_trackers(settings.to)
        for sentence in not_installed(settings.to) if os.environ.get("RANK", "0") == "0" else ():
            print(f"stethoscope: {sentence}", file=sys.stderr)

    def listen() -> int:
        from stethoscope.api import run

        ran = run(
            script, arguments, module=module, settings=settings, json=json_file, html=html_file, junit=junit_file,
            github=github_file, max_steps=max_steps or 0, quiet=quiet,
        )  # fmt: skip
        if settings.to and ran.history is not None and ran.diagnosis is not None:
            from stethoscope.adapters.trackers import publish

            publish(settings.to, ran.diagnosis, ran.record, ran.history, ran.path)
        if ran.interrupted:
            # Python prints the traceback (we have), runs its exit handlers, and dies of the signal.
            sys.excepthook = lambda *_: None
            raise KeyboardInterrupt
        return ran.exit_code

    return listen
