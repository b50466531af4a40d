"""Runs every door's program, healthy and with each of its faults, under `stethoscope run`: the table in the docs.

python bench/doors.py                      all doors, one program after the other (about a quarter of an hour)
python bench/doors.py ddp_two_ranks        these doors; the others keep their rows
python bench/doors.py --overhead           instead: what listening costs at each door (bench/door_overhead.py)

Findings come from listening alone: reading the script's code is switched off.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "doors.md"
sys.path.insert(0, str(ROOT / "tests" / "doors"))

import door_overhead  # noqa: E402
from door_loops import LOOPS  # noqa: E402

from doors import NAMES, Door, Heard, door, hear  # noqa: E402

BEGIN, END = "<!-- doors: begin -->", "<!-- doors: end -->"
PACKAGES = {"ignite": "pytorch-ignite"}
"""Names of packages whose import has another."""


def row_of(one: Door) -> str:
    """A line of the table, from four real runs."""
    with tempfile.TemporaryDirectory() as folder:
        heard = {rule: hear(one, Path(folder) / (rule or "healthy"), rule) for rule in ("", *one.faults)}
    return as_row(one, heard)


def as_row(one: Door, heard: dict[str, Heard]) -> str:
    """Its runs by the rule whose fault was planted, empty for the healthy one, as a line of the table."""
    faults = dict(heard)
    healthy = faults.pop("")
    found = []
    for rule, run in faults.items():
        name = f"`{rule}`"
        if not run.names(rule):
            said = ", ".join(f"`{alarm['rule']}`" for alarm in run.alarms) or "nothing"
            found.append(f"{name}: no ({said})")
            continue
        first = run.alarms[0]["rule"] == rule
        place = next(alarm["place"] for alarm in run.alarms if alarm["rule"] == rule)
        where = f"{place['file']}:{place['line']}" if place["file"] else f"`{place['module']}`"
        found.append(f"{name}: {'first' if first else 'yes'}, {where}")
    versions = ", ".join(f"{name} {_version(name)}" for name in one.needs)
    silent = "yes" if not healthy.alarms else "no: " + ", ".join(f"`{alarm['rule']}`" for alarm in healthy.alarms)
    observed = "yes" if healthy.observed and all(run.observed for run in faults.values()) else "no"
    return f"| {one.name} | {observed} | {silent} | {'<br>'.join(found)} | {versions or 'torch alone'} |"


def _version(name: str) -> str:
    for package in (PACKAGES.get(name, name), f"{name}-cpu"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def main() -> int:
    """Run the doors that are asked for, and put their rows into the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("doors", nargs="*", help="all of them when none is named")
    parser.add_argument("--overhead", action="store_true", help="measure what listening costs instead")
    parser.add_argument("--rounds", type=int, default=5, help="with --overhead")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a block, with --overhead")
    options = parser.parse_args()
    known = tuple(LOOPS) if options.overhead else NAMES
    if strange := [name for name in options.doors if name not in known]:
        parser.error(f"there is no door {strange[0]}; there are {', '.join(known)}")
    asked = options.doors or known
    if options.overhead:
        door_overhead.main(asked, options.rounds, options.seconds)
        return 0
    for one in map(door, asked):
        if one.missing:
            print(f"{one.name}: left out, {', '.join(one.missing)} not installed", flush=True)
            continue
        row = row_of(one)
        print(row, flush=True)
        put(one.name, row)
    return 0


def put(name: str, row: str) -> None:
    """Put a door's line into the page's table; the others stay."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    table, _, after = rest.partition(END)
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if re.match(r"\| \w+_\w+ \|", line)}
    rows[name] = row
    head = "| door | observed | healthy silent | faults found | packages |\n| --- | --- | --- | --- | --- |"
    lines = "\n".join(rows[known] for known in sorted(rows))
    PAGE.write_text(f"{before}{BEGIN}\n{head}\n{lines}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
