"""`stethoscope lint`: reads source files without running them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from stethoscope.cli.runs import write_json
from stethoscope.core.finding import Severity
from stethoscope.core.settings import read_settings

CACHE = Path(".stethoscope_cache") / "lint.json"
FORMATS = ("text", "json")


@click.command("lint")
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option("--all", "possible", is_flag=True, help="Also show what is only possible.")
@click.option("--notes", is_flag=True, help="Also show what is only worth knowing.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", help="How to print.  [default: text]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the findings here; - is stdout.")
@click.option("--fail-on", type=click.Choice(["error", "warning", "note"]), help="Exit with 1 on it.  [default: note]")
@click.option("--only", multiple=True, metavar="RULE", help="Ask this rule or subject only (again for more).")
@click.option("--without", multiple=True, metavar="RULE", help="Leave this rule or subject out.")
@click.option("--fix", "fix", is_flag=True, help="Repair what can be repaired within an expression.")
@click.option("--unsafe", is_flag=True, help="With --fix or --diff: add and move statements, too.")
@click.option("--diff", is_flag=True, help="Print what --fix would change, and change nothing.")
@click.option("--stdin-filename", metavar="FILE", help="Where the text on standard input stands; with - as PATH.")
@click.option("--processes", type=click.IntRange(1), help="Files read at the same time.  [default: processors]")
@click.option("--no-cache", is_flag=True, help=f"Read unchanged files again; do not write {CACHE.as_posix()}.")
def command(
    paths: tuple[str, ...],
    possible: bool,
    notes: bool,
    form: str,
    json_file: Path | None,
    fail_on: str | None,
    only: tuple[str, ...],
    without: tuple[str, ...],
    fix: bool,
    unsafe: bool,
    diff: bool,
    stdin_filename: str | None,
    processes: int | None,
    no_cache: bool,
) -> int:
    """Review Python files, folders and notebooks without running them; the working directory without PATH.

    PATH - reads standard input. Exit codes: 0 nothing found (nothing left with --fix, nothing to change with --diff),
    1 findings, 2 wrong use or a PATH that does not exist.
    """
    from stethoscope import linting
    from stethoscope.render.review import print_review, review_json

    settings = read_settings(Path.cwd())
    settings = replace(settings, only=only or settings.only, without=without or settings.without)
    if unsafe and not (fix or diff):
        raise click.UsageError("--unsafe says which changes --fix or --diff may make: it needs one of them")
    if (fix or diff) and (paths == ("-",) or stdin_filename):
        raise click.UsageError("--fix and --diff change files; standard input is none")
    if paths == ("-",) or (stdin_filename and not paths):
        data = sys.stdin.buffer.read()
        file = stdin_filename or "<stdin>"
        review = linting.lint_text(data, file, possible=possible, notes=notes, settings=settings)
    else:
        cache = None if no_cache else CACHE
        review = linting.lint(
            *paths, possible=possible, notes=notes, settings=settings, processes=processes, cache=cache
        )  # fmt: skip
        if fix or diff:
            from stethoscope.fixing import fixes_of, write

            fixed = fixes_of(review, unsafe=unsafe)
            if diff:
                sys.stdout.write("".join(one.diff() for one in fixed))
                return int(bool(fixed))
            for sentence in write(fixed):
                print(sentence, file=sys.stderr)
            review = linting.lint(
                *paths, possible=possible, notes=notes, settings=settings, processes=processes, cache=cache
            )  # fmt: skip
    if json_file is not None:
        write_json(review_json(review), json_file)
    if form == "json":
        write_json(review_json(review), Path("-"))
    elif json_file is None or str(json_file) != "-":
        print_review(review, sys.stdout)
    if review.missing:
        return 2
    worst = review.worst()
    return int(worst is not None and worst.gravity >= Severity(fail_on or settings.fail_on or "note").gravity)
