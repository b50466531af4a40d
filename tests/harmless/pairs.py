"""Runs a program as Python would, and again under `stethoscope run`, each in a directory of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).parent.parent / "programs"
PATIENCE_S = 120
"""Ends a program that hangs; none takes a tenth of it."""


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    exit_code: int
    stdout: bytes
    stderr: str
    directory: Path

    @property
    def own_stderr(self) -> str:
        """What the program itself wrote to standard error: all that stands before our report."""
        return self.stderr.partition("\n── stethoscope ─")[0]

    @property
    def runs(self) -> list[Path]:
        """The run folders that it left."""
        return sorted((self.directory / "runs").glob("*/"))


class Pair:
    """Runs programs with and without us."""

    def __init__(self, tmp_path: Path) -> None:
        self._root = tmp_path

    def write(self, text: str, name: str = "program.py") -> Path:
        """Put a program where both runs find it."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def plainly(self, *command: str | Path, stdin: bytes = b"") -> Ended:
        """`python command...`"""
        return self._run("plain", [sys.executable, *command], stdin)

    def listened(self, *command: str | Path, options: tuple[str, ...] = (), stdin: bytes = b"") -> Ended:
        """`python -m stethoscope run options... command...`"""
        return self._run("listened", [*listening(*options), *command], stdin)

    def both(self, *command: str | Path, options: tuple[str, ...] = (), stdin: bytes = b"") -> tuple[Ended, Ended]:
        """Once plainly, once listened to; exit code and all that the program prints must agree to the last byte."""
        plain = self.plainly(*command, stdin=stdin)
        listened = self.listened(*command, options=options, stdin=stdin)
        moved = listened.stdout.replace(bytes(listened.directory), bytes(plain.directory))
        assert (listened.exit_code, moved) == (plain.exit_code, plain.stdout), listened.stderr
        assert listened.own_stderr == plain.stderr
        return plain, listened

    def place(self, name: str) -> Path:
        """An empty directory to run in."""
        directory = self._root / name
        directory.mkdir(exist_ok=True)
        return directory

    def _run(self, name: str, command: list[str | Path], stdin: bytes) -> Ended:
        directory = self.place(name)
        done = subprocess.run(
            command,
            cwd=directory,
            input=stdin,
            capture_output=True,
            timeout=PATIENCE_S,
            env=environment(self._root),
        )
        return Ended(done.returncode, done.stdout, done.stderr.decode(), directory)


def listening(*options: str) -> list[str | Path]:
    """The command in front of a script."""
    return [sys.executable, "-m", "stethoscope", "run", *options]


def environment(root: Path) -> dict[str, str]:
    """One thread, no caches, and the root of a test's programs as the place to import from."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(root)}
