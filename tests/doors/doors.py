"""The doors: one healthy program for each way people train, and the faults that its own lines can plant in it.

A line `# plant RULE: code` stands above the line that it replaces in the program with that fault.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parent / "programs"
SOURCE = Path(__file__).parents[2] / "src"
NAMES = tuple(sorted(path.stem for path in PROGRAMS.glob("*.py")))
_PLANT = re.compile(r"^(?P<indent> *)# plant (?P<rule>[a-z-]+): (?P<code>.*)$")
TOLD = """
from stethoscope.render.json import json_text, to_json

HANDLE.stop()
with open("told.json", "w") as file:
    file.write(json_text(to_json(HANDLE.diagnosis, HANDLE._recording.record, HANDLE.history)))
"""
"""Behind the last line of a program that listens by itself."""


@dataclass(frozen=True)
class Door:
    """One way to train."""

    name: str
    text: str
    """The healthy program with the lines that plant faults."""
    needs: tuple[str, ...] = ()
    """Packages, by the name under which they are imported."""
    ranks: int = 1
    """Processes that torchrun starts; 1 for a program run by itself."""
    handle: str = ""
    """What the program listens with by itself, as it names it; then it runs without `stethoscope run`."""

    @property
    def faults(self) -> tuple[str, ...]:
        """The rules whose faults can be planted, in the program's order."""
        found = (_PLANT.match(line) for line in self.text.splitlines())
        return tuple(dict.fromkeys(match["rule"] for match in found if match))

    @property
    def missing(self) -> tuple[str, ...]:
        """What it needs and is not installed."""
        return tuple(name for name in self.needs if importlib.util.find_spec(name) is None)

    def planted(self, rule: str = "") -> tuple[str, tuple[int, ...]]:
        """The program with this fault, or healthy; and the numbers of the lines that hold the fault."""
        lines: list[str] = []
        guilty: list[int] = []
        instead = ""
        for line in self.text.splitlines():
            match = _PLANT.match(line)
            if match:
                instead = match["indent"] + match["code"] if match["rule"] == rule else instead
                continue
            if instead:
                guilty.append(len(lines) + 1)
            lines.append(instead or line)
            instead = ""
        return "\n".join(lines) + "\n", tuple(guilty)


@dataclass(frozen=True)
class Heard:
    """What a run of a door's program came to."""

    exit_code: int
    seconds: float
    report: dict[str, Any] = field(default_factory=dict)
    """The findings as JSON; empty when none was written."""
    printed: str = ""

    @property
    def observed(self) -> bool:
        """Whether training was heard at all."""
        return bool(self.report) and self.report["run"].get("steps", 0) > 0

    @property
    def alarms(self) -> tuple[dict[str, Any], ...]:
        """Errors and warnings, the first first."""
        found = self.report.get("findings", ())
        return tuple(one for one in found if one["severity"] in ("error", "warning"))

    def names(self, rule: str) -> bool:
        """Whether the rule is among the first three alarms."""
        return any(one["rule"] == rule for one in self.alarms[:3])


def door(name: str) -> Door:
    """The door of this name."""
    text = (PROGRAMS / f"{name}.py").read_text("utf-8")
    needs = re.search(r"^# needs: (.*)$", text, re.M)
    launch = re.search(r"^# launch: (\d+)$", text, re.M)
    handle = re.search(r"^# heard through: (.*)$", text, re.M)
    packages = tuple(needs[1].split(", ")) if needs else ()
    return Door(name, text, packages, int(launch[1]) if launch else 1, handle[1] if handle else "")


def hear(
    door: Door, folder: Path, rule: str = "", seed: int = 0, timeout_s: float = 300.0, python: str = sys.executable,
    forked: bool = False,
) -> Heard:  # fmt: skip
    """Run the door's program, healthy or with a fault, under `stethoscope run`, unmodified otherwise.

    One that listens by itself is run as it is, and what it heard is written down behind its last line. Another
    environment's `python` finds this Stethoscope where it lies, and need not have it installed. When `forked`, nothing
    is started for a program of two processes: they are forks that have imported torch already, as `warm` makes them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    script, told = folder / "train.py", folder / "told.json"
    script.write_text(door.planted(rule)[0] + (TOLD.replace("HANDLE", door.handle) if door.handle else ""), "utf-8")
    (folder / "pyproject.toml").write_text("[tool.stethoscope]\ncode = false\n", "utf-8")  # heard, and not read
    words = ["train.py"] if door.handle else ["-m", "stethoscope", "run", "--json", str(told), "train.py"]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={door.ranks}"]
    environment = {**os.environ, "SEED": str(seed), "OMP_NUM_THREADS": "1"}
    if python != sys.executable:
        environment["PYTHONPATH"] = str(SOURCE)
    began = time.perf_counter()
    if forked and door.ranks == 2:
        exit_code, printed = _in_forks(words, folder, environment)
    else:
        command = [python, *(launcher if door.ranks > 1 else ()), *words]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        exit_code, printed = done.returncode, done.stdout + done.stderr
    report = json.loads(told.read_text("utf-8")) if told.exists() else {}
    return Heard(exit_code, time.perf_counter() - began, report, printed)


def _in_forks(words: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    import warm  # which only tests find

    done = warm.two_ranks(words, cwd=folder, env=environment)
    return done.returncode, (done.stdout + done.stderr).decode()
