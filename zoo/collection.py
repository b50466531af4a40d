"""What is in the zoo: pairs of a faulty program and its repaired twin, healthy programs, the rules' own bug programs.

A pair is one file: its first lines say `# fault: rule-name` (several names, separated by commas, where each of them
is right) and `# about: one sentence`; a wrong line ends in `# fix: <right line>`, as in `stethoscope.core.rule.Bug`.
The last line that it prints is `metric NAME VALUE higher|lower`; the last word says which way is better.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from stethoscope.core.rule import Bug
from stethoscope.rules import all_rules

HERE = Path(__file__).parent / "programs"
REMARKS = ("# fault:", "# about:")
NEEDS = "# needs:"
"""Before the names of packages, separated by commas, without which a program is left out."""


@dataclass(frozen=True)
class Program:
    """A program and how to get its text at a seed."""

    name: str
    text: Callable[[int], str]


@dataclass(frozen=True)
class Pair:
    """A faulty program, its repaired twin, and what the fault is called."""

    name: str
    faults: tuple[str, ...]
    """Names of the rules of which one must lead the report."""
    about: str
    faulty: Program
    twin: Program


def half_of(name: str) -> str:
    """`develop` or `report`, fixed by the file's name: the one is for work on the rules, the other for the record."""
    return "report" if hashlib.sha256(f"{name}.py".encode()).digest()[-1] % 2 else "develop"


def pairs() -> list[Pair]:
    """All pairs whose packages are there, by name."""
    return [read_pair(path) for path in sorted((HERE / "pairs").glob("*.py")) if not missing(path)]


def missing(path: Path) -> list[str]:
    """Packages that a program needs and that are not installed."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line.startswith(NEEDS)]
    names = [name.strip() for line in lines for name in line.removeprefix(NEEDS).split(",")]
    return [name for name in names if find_spec(name) is None]


def left_out() -> list[Path]:
    """Programs that cannot be run here."""
    return [path for path in sorted(HERE.glob("*/*.py")) if missing(path)]


def read_pair(path: Path) -> Pair:
    """One pair from its file."""
    lines = path.read_text("utf-8").splitlines()
    said = {mark: line[len(mark) :].strip() for line in lines for mark in REMARKS if line.startswith(mark)}
    lacking = [mark for mark in REMARKS if not said.get(mark)]
    if lacking:
        raise ValueError(f"{path.name} lacks a line `{lacking[0]} ...`")
    bug = Bug("\n".join(line for line in lines if not line.startswith((*REMARKS, NEEDS))))
    faults = tuple(name.strip() for name in said["# fault:"].split(","))
    if bug.faulty() == bug.fixed():
        raise ValueError(f"{path.name} has no line with `# fix:` or `# add:`")
    return Pair(
        path.stem,
        faults,
        said["# about:"],
        Program(path.stem, lambda seed: without_remarks(bug.faulty(seed))),
        Program(f"{path.stem}-twin", bug.fixed),
    )


def without_remarks(text: str) -> str:
    """The faulty program as someone wrote it, without our remarks on it."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("# add: ")]
    return "\n".join(line.split("# fix:", 1)[0].rstrip() for line in lines) + "\n"


def healthy() -> list[Program]:
    """All healthy programs whose packages are there, by name; they read the seed from the environment."""
    return [_healthy(path) for path in sorted((HERE / "healthy").glob("*.py")) if not missing(path)]


def _healthy(path: Path) -> Program:
    text = path.read_text("utf-8")
    return Program(path.stem, lambda seed: text)


def bug_programs() -> list[Pair]:
    """The rules' own bug programs."""
    return [
        Pair(
            rule.name,
            (rule.name,),
            "",
            Program(rule.name, rule.bug.faulty),
            Program(f"{rule.name}-twin", rule.bug.fixed),
        )
        for rule in all_rules()
        if hasattr(rule, "bug")
    ]
