"""Runs every door's program, healthy and with each of its faults, under `stethoscope run`: the table in the docs.

python bench/doors.py                      all doors, one program after the other (about a quarter of an hour)
python bench/doors.py ddp_two_ranks        these doors; the others keep their rows
python bench/doors.py --python OTHER/bin/python
                                           doors whose packages are not installed here run there: packages that do
                                           not go together, one environment for each; this table is whole in one run
python bench/doors.py --overhead           instead: what listening costs at each door (bench/door_overhead.py)

Findings come from listening alone: reading the script's code is switched off.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "doors.md"
sys.path.insert(0, str(ROOT / "tests" / "doors"))

import door_overhead  # noqa: E402

from doors import NAMES, Door, Heard, door, hear  # noqa: E402

BEGIN, END = "<!-- doors: begin -->", "<!-- doors: end -->"
PACKAGES = {"ignite": "pytorch-ignite"}
"""Names of packages whose import has another."""
ASKED = """
import importlib.metadata, importlib.util, json, sys
found = {}
for name, *packages in json.loads(sys.argv[1]):
    if importlib.util.find_spec(name) is not None:
        found[name] = "of unknown version"
        for package in reversed(packages):
            try:
                found[name] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                pass
print(json.dumps(found))
"""
"""Asks another Python which of these packages it has, and which versions of them."""


@dataclass(frozen=True)
class Environment:
    """A Python and what is installed beside it."""

    python: str

    @cached_property
    def versions(self) -> dict[str, str]:
        """Version of each package that a door needs and that is installed, by the name of its import."""
        needed = sorted({name for each in map(door, NAMES) for name in (*each.needs, "torch")})
        asked = [(name, PACKAGES.get(name, name), f"{name}-cpu") for name in needed]
        done = subprocess.run(
            [self.python, "-c", ASKED, json.dumps(asked)], capture_output=True, text=True, check=True
        )  # fmt: skip
        found: dict[str, str] = json.loads(done.stdout)
        return found

    def has(self, one: Door) -> bool:
        """Whether the door's program runs here."""
        return all(name in self.versions for name in (*one.needs, "torch"))


def row_of(one: Door, environment: Environment) -> str:
    """A line of the table, from four real runs or more."""
    with tempfile.TemporaryDirectory() as folder:
        heard = {
            rule: hear(one, Path(folder) / (rule or "healthy"), rule, python=environment.python)
            for rule in ("", *one.faults)
        }
    return as_row(one, heard, environment.versions)


def as_row(one: Door, heard: dict[str, Heard], versions: dict[str, str]) -> str:
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
    packages = ", ".join(f"{name} {versions[name]}" for name in one.needs)
    silent = "yes" if not healthy.alarms else "no: " + ", ".join(f"`{alarm['rule']}`" for alarm in healthy.alarms)
    observed = "yes" if healthy.observed and all(run.observed for run in faults.values()) else "no"
    return f"| {one.name} | {observed} | {silent} | {'<br>'.join(found)} | {packages or 'torch alone'} |"


def main() -> int:
    """Run the doors that are asked for, and put their rows into the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("doors", nargs="*", help="all of them when none is named")
    parser.add_argument("--python", action="append", default=[], metavar="PATH", help="of a further environment")
    parser.add_argument("--overhead", action="store_true", help="measure what listening costs instead")
    parser.add_argument("--pairs", type=int, default=60, help="of stretches of steps, with --overhead")
    options = parser.parse_args()
    known = tuple(door_overhead.NEEDED) if options.overhead else NAMES
    if strange := [name for name in options.doors if name not in known]:
        parser.error(f"there is no door {strange[0]}; there are {', '.join(known)}")
    asked = options.doors or known
    if options.overhead:
        door_overhead.main(asked, options.pairs)
        return 0
    environments = [Environment(path) for path in (sys.executable, *options.python)]
    made = [name for name in asked if made_row(door(name), environments)]
    if set(made) == set(NAMES):
        put_date(environments)
    return 0


def made_row(one: Door, environments: Sequence[Environment]) -> bool:
    """Run a door where its packages are, and put its line into the page; False where they are nowhere."""
    environment = next((each for each in environments if each.has(one)), None)
    if environment is None:
        missing = [name for name in one.needs if not any(name in each.versions for each in environments)]
        print(f"{one.name}: left out, {', '.join(missing) or 'its packages together'} not installed", flush=True)
        return False
    row = row_of(one, environment)
    print(row, flush=True)
    put(one.name, row)
    return True


def put_date(environments: Sequence[Environment]) -> None:
    """All doors were run in one go: the page says when, and on what."""
    text = PAGE.read_text("utf-8")
    torch = ", ".join(dict.fromkeys(each.versions["torch"].partition("+")[0] for each in environments))
    python = ".".join(map(str, sys.version_info[:3]))
    line = f"All rows are of one run, on {date.today():%-d %B %Y}, with Python {python} and torch {torch} on a CPU."
    PAGE.write_text(re.sub(r"^(All|The) rows are of .*$", line, text, flags=re.M), "utf-8")


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
