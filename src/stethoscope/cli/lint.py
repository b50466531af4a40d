"""`stethoscope lint`: reads source files without running them."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import click

from stethoscope.cli.watching import changes
from stethoscope.cli.writing import write_json
from stethoscope.core.collecting import without_collecting
from stethoscope.core.errors import BadFile, UsageError
from stethoscope.core.finding import Severity
from stethoscope.core.review import Review
from stethoscope.core.settings import Settings, read_settings
from stethoscope.core.text import sendable

CACHE = Path(".stethoscope_cache") / "lint.json"
FORMATS = ("text", "json", "sarif", "github", "junit", "gitlab")


@click.command("lint")
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option("--all", "possible", is_flag=True, help="Also show what is only possible.")
@click.option("--notes", is_flag=True, help="Also show what is only worth knowing.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", help="How to print.  [default: text]")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write that into a file instead.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the findings here; - is stdout.")
@click.option("--baseline", type=click.Path(path_type=Path), metavar="FILE", help="Count what it knows; show the rest.")
@click.option("--write-baseline", type=click.Path(path_type=Path), metavar="FILE", help="Write what is found as known.")
@click.option("--fail-on", type=click.Choice(["error", "warning", "note"]), help="Exit with 1 on it.  [default: note]")
@click.option("--only", multiple=True, metavar="RULE", help="Ask this rule or subject only (again for more).")
@click.option("--without", multiple=True, metavar="RULE", help="Leave this rule or subject out.")
@click.option("--fix", "fix", is_flag=True, help="Repair what can be repaired within an expression.")
@click.option("--unsafe", is_flag=True, help="With --fix or --diff: add and move statements, too.")
@click.option("--diff", is_flag=True, help="Print what --fix would change, and change nothing.")
@click.option("--stdin-filename", metavar="FILE", help="Where the text on standard input stands; with - as PATH.")
@click.option("--processes", type=click.IntRange(1), help="Files read at the same time.  [default: processors]")
@click.option("--watch", is_flag=True, help="Review again whenever a file changes, until Ctrl-C.")
@click.option("--no-cache", is_flag=True, help=f"Read unchanged files again; do not write {CACHE.as_posix()}.")
def command(
    paths: tuple[str, ...],
    possible: bool,
    notes: bool,
    form: str,
    output: Path | None,
    json_file: Path | None,
    baseline: Path | None,
    write_baseline: Path | None,
    fail_on: str | None,
    only: tuple[str, ...],
    without: tuple[str, ...],
    fix: bool,
    unsafe: bool,
    diff: bool,
    stdin_filename: str | None,
    processes: int | None,
    watch: bool,
    no_cache: bool,
) -> int:
    """Review Python files, folders and notebooks without running them; the working directory without PATH.

    PATH - reads standard input. Exit codes: 0 nothing found (nothing left with --fix, nothing to change with --diff),
    1 findings, 2 wrong use, or a PATH that does not exist or is a file that could not be analysed.
    """
    with without_collecting():
        from stethoscope import linting
        from stethoscope.store import baseline as known

    is_stdin = paths == ("-",) or bool(stdin_filename and not paths)
    if watch and (is_stdin or write_baseline is not None):
        raise UsageError(
            "--watch reads files again and again: it goes with neither standard input nor --write-baseline"
        )
    if unsafe and not (fix or diff):
        raise UsageError("--unsafe says which changes --fix or --diff may make: it needs one of them")
    if (fix or diff) and (is_stdin or watch or write_baseline is not None):
        raise UsageError(
            "--fix and --diff change files once: not standard input, and not with --watch or --write-baseline"
        )

    @without_collecting()
    def look() -> int:
        settings = read_settings(Path.cwd())
        settings = replace(settings, only=only or settings.only, without=without or settings.without)
        remembered = known.read_baseline(baseline) if baseline is not None else None  # it may be missing: before work
        if fix or diff:
            changed = _repair(paths, settings, possible, notes, unsafe, diff)
            if diff:
                return int(changed)
        if is_stdin:
            data = sys.stdin.buffer.read()
            file = stdin_filename or "<stdin>"
            review = linting.lint_text(data, file, possible=possible, notes=notes, settings=settings)
        else:
            cache = None if no_cache else CACHE
            review = linting.lint(
                *paths, possible=possible, notes=notes, settings=settings, processes=processes, cache=cache
            )  # fmt: skip
        if write_baseline is not None:
            count = known.write_baseline(review.findings, write_baseline)
            verb = "finding is" if count == 1 else "findings are"
            click.echo(f"{count:,} {verb} known from now on, in {write_baseline}")
            return 2 if review.is_incomplete else 0
        if baseline is not None and remembered is not None:
            review = known.without_known(review, remembered, baseline)
        _show(review, form, output, json_file)
        return _exit_code(review, fail_on or settings.fail_on or "note")

    if not watch:
        return look()
    code = 0
    with contextlib.suppress(KeyboardInterrupt):
        for _ in changes(lambda: linting.stamps(paths)):
            if form == "text" and sys.stdout.isatty():
                click.clear()
            try:
                code = look()
            except BadFile as error:  # a pyproject.toml in the middle of an edit
                click.echo(f"stethoscope: {error}", err=True)
                code = 2
            sys.stdout.flush()
    return code


def _repair(paths: tuple[str, ...], settings: Settings, possible: bool, notes: bool, unsafe: bool, diff: bool) -> bool:
    """Repair what can be repaired, or print how; whether there is anything."""
    from stethoscope import linting
    from stethoscope.fixing import fixes_of, write

    fixed = fixes_of(linting.lint(*paths, possible=possible, notes=notes, settings=settings, cache=None), unsafe=unsafe)
    if diff:
        _print("".join(one.diff() for one in fixed))
    else:
        for sentence in write(fixed):
            print(sendable(sentence), file=sys.stderr)
    return bool(fixed)


def _exit_code(review: Review, fail_on: str) -> int:
    if review.is_incomplete:
        return 2
    worst = review.worst()
    return int(worst is not None and worst.gravity >= Severity(fail_on).gravity)


def _show(review: Review, form: str, output: Path | None, json_file: Path | None) -> None:
    from stethoscope.render.review import print_review, review_json

    if json_file is not None:
        write_json(review_json(review), json_file)
    if output is not None and str(output) != "-":
        try:
            output.write_text(_text(review, form), "utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {output}: {error.strerror}") from error
    elif str(json_file) == "-":
        return
    elif form == "text":
        print_review(review, sys.stdout)
    else:
        _print(_text(review, form), is_json=form in ("json", "sarif", "gitlab"))


def _print(text: str, *, is_json: bool = False) -> None:
    """Write to standard output, whatever encoding it has."""
    encoding = sys.stdout.encoding or "utf-8"
    shown = sendable(text, encoding)
    sys.stdout.write(json.dumps(json.loads(text), indent=2) + "\n" if is_json and shown != text else shown)


def _text(review: Review, form: str) -> str:
    """The review in a format, as it is written into a file. Each format is loaded when it is asked for."""
    if form == "text":
        import io

        from stethoscope.render.review import print_review

        page = io.StringIO()
        print_review(review, page)
        return page.getvalue()
    if form == "junit":
        from stethoscope.render.junit import review_junit

        return review_junit(review)
    if form in ("github", "gitlab"):
        from stethoscope.render.annotations import to_github, to_gitlab

        return to_github(review) if form == "github" else to_gitlab(review)
    from stethoscope.render.json import json_text

    if form == "sarif":
        from stethoscope.render.sarif import to_sarif

        return json_text(to_sarif(review))
    from stethoscope.render.review import review_json
    from stethoscope.store.packing import pack

    packed = pack(review_json(review))
    return json_text(packed if isinstance(packed, dict) else {})
