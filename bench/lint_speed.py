"""How fast `stethoscope lint` reads, beside other tools on the same files, in rounds of all: a Markdown table.

    python bench/lint_speed.py FOLDER                          all tools that are found, 3 rounds
    python bench/lint_speed.py FOLDER --peers VENV/bin         where the others are
    python bench/lint_speed.py FOLDER --rounds 1 --without torch-preflight

The others live in an environment of their own:

    python -m venv peers && peers/bin/pip install ruff pyflakes torchfix torch-preflight

The Python files of FOLDER are copied into an empty folder first, so that every tool reads the same files and finds no
settings. A tool's seconds are those of the processor, of it and all processes that it starts; a round runs each tool
once, and the next round runs them in the opposite order. All caches of results are off; Python may keep the bytecode
of the tools, as it does wherever they are installed. What is said of files is thrown away.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

US = "stethoscope, 1 process"
PARSE = "ast.parse of every file"
# -P: what is read must not be imported, and torch has a `types.py`.
OURS = [
    sys.executable,
    "-P",
    "-m",
    "stethoscope",
    "lint",
    ".",
    "--no-cache",
    "--format",
    "json",
    "--output",
    os.devnull,
]
RUFF = ["ruff", "check", ".", "--no-cache", "--isolated", "--quiet", "--exit-zero"]
PARSING = """
import ast, pathlib
for path in pathlib.Path(".").rglob("*.py"):
    try:
        ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        pass
"""
"""What any tool in Python that looks at every file has to do first: to compare machines by."""
TOOLS = {
    US: [*OURS, "--processes", "1"],
    PARSE: [sys.executable, "-P", "-W", "ignore", "-c", PARSING],
    "stethoscope": OURS,
    "ruff, all rules": [*RUFF, "--select", "ALL", "--preview"],
    "ruff, NPY and PD": [*RUFF, "--select", "NPY,PD"],
    "pyflakes": ["pyflakes", "."],
    "torchfix": ["torchfix", ".", "--select", "ALL"],
    "torch-preflight": ["torch-preflight", "check", ".", "--format", "json"],
}
MB = 1e6


@dataclass
class Measured:
    """The rounds of a tool."""

    processor: list[float] = field(default_factory=list)
    """Seconds."""
    wall: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Of the processor's seconds."""
        return statistics.median(self.processor)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", type=Path, help="folder of the other tools' commands")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(TOOLS), choices=list(TOOLS), metavar="TOOL")
    parser.add_argument("--without", nargs="*", default=[], choices=list(TOOLS), metavar="TOOL")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        count, size = copied(given.folder, Path(name))
        print(f"{count:,} Python files, {size / MB:.1f} MB; {os.cpu_count()} processors, {given.rounds} rounds\n")
        measured: dict[str, Measured] = {}
        for number in range(given.rounds):
            order = [tool for tool in TOOLS if tool in given.only and tool not in given.without]
            for tool in order if number % 2 == 0 else reversed(order):
                command = found(TOOLS[tool], given.peers)
                if command is None:
                    if number == 0:
                        print(f"{tool} is left out: there is no command {TOOLS[tool][0]!r} (--peers says where).\n")
                    continue
                one = measured.setdefault(tool, Measured())
                processor, wall = timed(command, Path(name))
                one.processor.append(processor)
                one.wall.append(wall)
                print(f"round {number + 1}, {tool}: {processor:.2f} s", file=sys.stderr, flush=True)
    print(table({tool: measured[tool] for tool in TOOLS if tool in measured}, size))


def copied(source: Path, target: Path) -> tuple[int, int]:
    """Copy the Python files of a folder; how many there are, and their bytes."""
    count = size = 0
    for path in sorted(source.rglob("*.py")):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            count, size = count + 1, size + place.stat().st_size
    return count, size


def found(command: Sequence[str], peers: Path | None) -> list[str] | None:
    """The command with its full path; None where it is not installed."""
    path = shutil.which(command[0], path=str(peers.absolute()) if peers else None) or shutil.which(command[0])
    return [path, *command[1:]] if path else None


def timed(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Seconds of the processor and of the clock that a command takes."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1) or b"Traceback" in done.stderr:
        print(f"{Path(command[0]).name} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def table(measured: dict[str, Measured], size: int) -> str:
    """A row for each tool."""
    ours = measured[US].median if US in measured else None
    rows = [
        "| tool | processor s | lowest to highest | MB/s per core | ours is | clock s |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for tool, one in measured.items():
        beside = "" if ours is None or tool == US else f"{one.median / ours:.2g} times as fast"
        rows.append(
            f"| {tool} | {one.median:.2f} | {min(one.processor):.2f} to {max(one.processor):.2f} | "
            f"{size / MB / one.median:.2f} | {beside} | {statistics.median(one.wall):.2f} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
