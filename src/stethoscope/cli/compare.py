"""`stethoscope compare`: what differs between two recorded runs, and what it did to their curves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields
from itertools import groupby
from pathlib import Path

import click

from stethoscope.cli.runs import write_json
from stethoscope.core.settings import read_settings
from stethoscope.facts.run import RunRecord
from stethoscope.render.tables import Column, print_line, print_table, shown
from stethoscope.store.comparing import Comparison, CurveComparison, Difference, compare
from stethoscope.store.reader import Run, find_run, load_run

MOST_ROWS = 12
"""Rows of one subject that are shown; `--json` has all."""


@click.command("compare")
@click.argument("a")
@click.argument("b")
@click.option("--store", type=click.Path(path_type=Path), help="Folder of all runs.  [default: runs]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write it here; - is stdout.")
def command(a: str, b: str, store: Path | None, json_file: Path | None) -> int:
    """Compare the recorded runs A and B: folders, ids, the beginning of one, its two words, or `last`."""
    place = store or Path(read_settings(Path.cwd()).store)
    found = compare(_load(a, place), _load(b, place))
    if json_file is not None:
        write_json(_document(found), json_file)
        if str(json_file) == "-":
            return 0
    _print(found)
    return 0


def _load(name: str, store: Path) -> Run:
    return load_run(name if Path(name).exists() else find_run(store, name))


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
