"""`stethoscope rerun`: the same command on the same code once more, and whether the curves repeat."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from stethoscope.core.errors import UsageError
from stethoscope.core.settings import read_settings
from stethoscope.facts.run import RunRecord
from stethoscope.render.tables import Column, print_line, print_table, shown
from stethoscope.store.comparing import Comparison, compare
from stethoscope.store.reader import find_run, load_run, run_folders
from stethoscope.store.writer import amend_record

CUT_SHORT = ("interrupted", "lost")
"""States of a run that did not come to its own end."""


@click.command("rerun")
@click.argument("run")
@click.option("--here", is_flag=True, help="Run the code as it is now, and not that of the run's commit.")
@click.option("--store", type=click.Path(path_type=Path), help="Folder of all runs.  [default: runs]")
def command(run: str, here: bool, store: Path | None) -> int:
    """Run the command of a recorded RUN again and say whether the curves repeat, bit for bit or within what.

    The code is that of the run: its commit in a git worktree of its own, with what was not committed then. What git
    does not track (data) is reached from there. Exit code 1 when the curves do not repeat bit for bit.
    """
    place = (store or Path(read_settings(Path.cwd()).store)).absolute()
    folder = Path(run) if Path(run).is_dir() else find_run(place, run)
    first = load_run(folder)
    record = first.record
    if not record.command or not record.directory:
        raise UsageError(f"{folder.name} does not say how it was started, so it cannot be run again")
    before = set(run_folders(place))
    with _code_of(record, here) as directory:
        words = [*_launcher(record.world_size), "stethoscope", "run", "--quiet", "--store", str(place)]
        words += ["--max-steps", str(record.max_steps)] if record.max_steps else []
        target = ["-m", record.module] if record.module else [_moved(record, directory)]
        print_line(f"running {' '.join(target + list(record.command[1:]))} in {directory}", sys.stderr)
        whole = [*words, *target, *record.command[1:]]
        done = subprocess.run(whole, cwd=directory, env=_environment(record), check=False)
    new = [path for path in run_folders(place) if path not in before]
    if not new:
        raise UsageError(f"the command recorded nothing this time; it ended with {done.returncode}")
    if directory != Path(record.directory):  # which is gone, so that this run could not be run again
        with contextlib.suppress(OSError, ValueError):
            amend_record(new[-1], directory=record.directory, script=record.script)
    found = compare(first, load_run(new[-1]))
    _print(found)
    return int(not _repeats(found))


def _repeats(found: Comparison) -> bool:
    """Whether all curves are the same, to the end: a run that was cut short may be longer now."""
    same = bool(found.curves) and all(curve.first_difference is None for curve in found.curves)
    longer = found.a.state in CUT_SHORT and found.b.steps > found.a.steps
    return same and (found.b.steps == found.a.steps or longer)


@contextlib.contextmanager
def _code_of(record: RunRecord, here: bool) -> Iterator[Path]:
    """The directory to run in: as it is, or in a worktree of the run's commit. Raises UsageError."""
    home = Path(record.directory)
    commit = str(record.git.get("commit", ""))
    if here or not commit:
        if not home.is_dir():
            raise UsageError(f"the folder {home}, where it was run, is gone")
        if not commit:
            print_line("The run was outside of git: its code is taken as it is now.", sys.stderr)
        yield home
        return
    top = Path(_git(home, "rev-parse", "--show-toplevel"))
    with tempfile.TemporaryDirectory(prefix="stethoscope-rerun-") as temporary:
        tree = Path(temporary) / "code"
        _git(top, "worktree", "add", "--detach", "--quiet", str(tree), commit)
        try:
            difference = str(record.git.get("diff", ""))
            if difference:
                _git(tree, "apply", "--whitespace=nowarn", "-", text=difference)
            _reach(top, tree)
            yield tree / home.resolve().relative_to(top.resolve())
        finally:
            _git(top, "worktree", "remove", "--force", str(tree))


def _reach(top: Path, tree: Path) -> None:
    """Links to what git does not track, so that data is found where the script looks for it."""
    untracked = _git(top, "ls-files", "--others", "--directory", "--no-empty-directory")
    for name in untracked.splitlines():
        path = tree / name.rstrip("/")
        if not path.exists() and path.parent.is_dir():
            path.symlink_to(top / name.rstrip("/"))


def _git(folder: Path, *words: str, text: str | None = None) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=folder, input=text, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UsageError(f"cannot run git in {folder}: {error.strerror}") from error
    if done.returncode:
        raise UsageError(f"git {words[0]} failed in {folder}: {done.stderr.strip().splitlines()[-1:] or ['no reason']}")
    return done.stdout.strip()


def _launcher(processes: int) -> list[str]:
    """What stands before the name of a module that is to run in so many processes."""
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    return start


def _moved(record: RunRecord, directory: Path) -> str:
    """The script's path in that directory."""
    script, home = Path(record.script), Path(record.directory)
    if not script.is_absolute():
        return str(script)
    with contextlib.suppress(ValueError):
        return str(directory / script.resolve().relative_to(home.resolve()))
    return str(script)


def _environment(record: RunRecord) -> dict[str, str]:
    return {**os.environ, **record.environment}


def _print(found: Comparison) -> None:
    columns = Column("curve"), Column("then", right=True), Column("now", right=True), Column("")
    rows = []
    for curve in found.curves:
        if curve.first_difference is None:
            words = "the same bits at every step"
        else:
            words = f"parts at step {curve.first_difference}"
        rows.append((curve.name, shown(curve.final_a), shown(curve.final_b), words))
    if rows:
        print_table(columns, rows, sys.stdout)
    else:
        print_line("The two runs have no curve in common.", sys.stdout)
    differences = [entry for entry in found.differences if entry.subject not in ("command", "git")]
    if rows and all(curve.first_difference is None for curve in found.curves):
        if found.a.steps == found.b.steps:
            words = "The run repeats bit for bit."
        else:
            ended = "" if found.b.state == found.a.state else f" ({found.a.state} then, {found.b.state} now)"
            words = f"As far as both went they are the same: {found.a.steps} steps then, {found.b.steps} now{ended}."
        print_line(words, sys.stdout)
    elif differences:
        named = ", ".join(f"{entry.subject} {entry.name}".strip() for entry in differences[:6])
        print_line(f"What was recorded as different: {named}.", sys.stdout)
    elif rows:
        print_line("Nothing that was recorded differs: the run does not repeat (a seed, or threads).", sys.stdout)
