"""`stethoscope compare`: what differs between two recorded runs, and what it did to their curves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields
from itertools import groupby
from pathlib import Path

import click

from stethoscope.cli.writing import write_json
from stethoscope.core.errors import UsageError
from stethoscope.core.settings import read_settings
from stethoscope.facts.run import RunRecord
from stethoscope.render.tables import Column, print_line, print_table, shown
from stethoscope.store.comparing import Comparison, CurveComparison, Difference, compare
from stethoscope.store.many import FEWEST_RUNS, Several, compare_many
from stethoscope.store.reader import Run, find_run, load_run

SETTINGS = ("arguments", "optimizers", "loaders", "seeds", "git", "data", "hardware", "environment")
"""What becomes a column where several runs are compared."""
MOST_SETTINGS = 4
LONGEST_VALUE = 14
MOST_ROWS = 12
"""Rows of one subject that are shown; `--json` has all."""


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--store", type=click.Path(path_type=Path), help="Folder of all runs.  [default: runs]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write it here; - is stdout.")
def command(runs: tuple[str, ...], store: Path | None, json_file: Path | None) -> int:
    """Compare recorded runs: folders, ids, the beginning of one, its two words, or `last`.

    Two are compared in full, with their curves; of more, what differs, and which difference goes with the result.
    """
    place = store or Path(read_settings(Path.cwd()).store)
    if len(runs) < 2:
        raise UsageError("name two runs or more: `stethoscope runs` lists them")
    if len(runs) > 2:
        several = compare_many([_load(name, place).record for name in runs])
        if json_file is not None:
            write_json({"schema": 1, **_several_document(several)}, json_file)
        if str(json_file) != "-":
            _print_several(several)
        return 0
    found = compare(_load(runs[0], place), _load(runs[1], place))
    if json_file is not None:
        write_json(_document(found), json_file)
        if str(json_file) == "-":
            return 0
    _print(found)
    return 0


def _load(name: str, store: Path) -> Run:
    return load_run(name if Path(name).exists() else find_run(store, name))


def _several_document(found: Several) -> dict[str, object]:
    parts = {entry.name: getattr(found, entry.name) for entry in fields(found)}
    return {**parts, "runs": [run.id for run in found.runs]}


def _print_several(found: Several) -> None:
    """A row for each run; in columns what differs, as much as fits, and the result."""
    named = [(_called(subject, name), values) for subject, name, values in found.settings if subject in SETTINGS]
    named = [(name, values) for name, values in named if max(map(len, values)) <= LONGEST_VALUE]
    unique = {values: name for name, values in reversed(named)}  # an argument and the setting that it became are one
    shown_settings = [(name, values) for values, name in list(reversed(unique.items()))[:MOST_SETTINGS]]
    result = found.result or next((name for name, _ in found.results), "")
    outcome = dict(found.results).get(result, tuple(float("nan") for _ in found.runs))
    columns = [Column("run", whole=True), *(Column(name, right=True) for name, _ in shown_settings)]
    rows = [
        [run.id, *(values[place] or "-" for _, values in shown_settings), shown(outcome[place])]
        for place, run in enumerate(found.runs)
    ]
    print_table([*columns, Column(result or "result", right=True)], rows, sys.stdout)
    more = len(found.settings) - len(shown_settings)
    if more > 0:
        print_line(f"{more} more things differ, or repeat one of these; --json has all.", sys.stdout)
    for one in found.relations[:MOST_SETTINGS]:
        how = f"rank correlation {one.strength:+.2f}" if one.is_number else f"{one.strength:.0%} of its variance"
        what = f"`{_called(one.subject, one.name)}` goes with the {found.result}"
        print_line(f"{what} ({how}; by chance 1 in {1 / one.chance:.0f}).", sys.stdout)
    if len(found.runs) < FEWEST_RUNS:
        print_line(f"Which difference goes with the result can be told of {FEWEST_RUNS} runs or more.", sys.stdout)
    elif found.result and not found.relations:
        print_line(f"No single difference goes with the {found.result} beyond chance.", sys.stdout)


def _called(subject: str, name: str) -> str:
    """The setting by its own name, where that says enough."""
    return name.rpartition(".")[2] if subject in ("arguments", "optimizers", "loaders") else f"{subject} {name}".strip()


def _document(found: Comparison) -> dict[str, object]:
    parts = {entry.name: getattr(found, entry.name) for entry in fields(found)}
    return {"schema": 1, **parts, "a": found.a.id, "b": found.b.id}


def _print(found: Comparison) -> None:
    columns = Column(""), Column("run", whole=True), Column("state"), Column("steps", right=True)
    runs = [(name, r.id, r.state, _steps(r)) for name, r in (("A", found.a), ("B", found.b))]
    print_table(columns, runs, sys.stdout)
    print_line("", sys.stdout)
    if found.differences:
        differing = Column("what differs"), Column("A"), Column("B")
        print_table(differing, list(_difference_rows(found.differences)), sys.stdout)
    else:
        print_line("Nothing that was recorded of code, settings and machine differs.", sys.stdout)
    print_line("", sys.stdout)
    if found.curves:
        reached = Column("what came of it"), Column("A", right=True), Column("B", right=True)
        print_table(reached, [row for curve in found.curves for row in _curve_rows(curve)], sys.stdout)
        for curve in found.curves:
            print_line(_parting(curve), sys.stdout)
    for run, only in (("A", found.only_a), ("B", found.only_b)):
        if only:
            print_line(f"Only {run} has: {', '.join(only)}.", sys.stdout)


def _steps(record: RunRecord) -> str:
    return str(record.steps) if record.ended else "-"  # counted at the end


def _difference_rows(differences: tuple[Difference, ...]) -> Iterator[tuple[str, str, str]]:
    for subject, group in groupby(differences, key=lambda difference: difference.subject):
        entries = list(group)
        for entry in entries[:MOST_ROWS]:
            yield f"{subject} {entry.name}".strip(), entry.a or "-", entry.b or "-"
        if len(entries) > MOST_ROWS:
            yield f"{subject}: {len(entries) - MOST_ROWS} more", "", ""


def _curve_rows(curve: CurveComparison) -> Iterator[tuple[str, str, str]]:
    yield f"{curve.name}, final", shown(curve.final_a), shown(curve.final_b)
    yield f"{curve.name}, best", shown(curve.best_a), shown(curve.best_b)
    if curve.target == curve.target:
        what = f"{curve.name}, step that reached {shown(curve.target)}"
        yield what, _step(curve.steps_a), _step(curve.steps_b)


def _step(step: int | None) -> str:
    return "-" if step is None else str(step)


def _parting(curve: CurveComparison) -> str:
    if curve.first_difference is None:
        return f"The {curve.name} is the same number at every step that both have."
    return f"The {curve.name} differs from step {curve.first_difference} on."
