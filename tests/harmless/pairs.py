"""Runs a program as Python would, and again under `stethoscope run`, each in a directory of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import warm

PROGRAMS = Path(__file__).parent.parent / "programs"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
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

    def __init__(self, tmp_path: Path, *, fork: bool = False) -> None:
        self._root = tmp_path
        self._fork = fork

    @property
    def forked(self) -> Pair:
        """The same in forks of a warm interpreter, for what does not hang on how Python starts and ends."""
        return Pair(self._root, fork=True)

    def write(self, text: str, name: str = "program.py") -> Path:
        """Put a program where both runs find it."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def plainly(self, *command: str | Path, stdin: bytes = b"") -> Ended:
        """`python command...`"""
        return self._run("plain", command, stdin, imported=warm.TORCH)

    def listened(self, *command: str | Path, options: tuple[str, ...] = (), stdin: bytes = b"") -> Ended:
        """`python -m stethoscope run options... command...`"""
        return self._run("listened", (*listening(*options)[1:], *command), stdin, imported=warm.LISTENING)

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

    def two_ranks(self, *command: str | Path, options: tuple[str, ...] | None = None) -> Ended:
        """Both processes of a launch by torchrun; listened to with these options, or plainly without any.

        It is tried again where torch 2.13 itself aborts while gloo's threads end, as it does once in a while.
        """
        words = command if options is None else (*listening(*options)[1:], *command)
        name = "plain" if options is None else "listened"
        for _ in range(4):
            ended = self._launched(name, words)
            if "terminate called without an active exception" not in ended.stderr:
                break
        return ended

    def _launched(self, name: str, words: tuple[str | Path, ...]) -> Ended:
        if not self._fork:
            return self._run(name, (*TORCHRUN, *words), b"", imported=())
        directory = self.place(name)
        imported = warm.TORCH if name == "plain" else warm.LISTENING
        done = warm.two_ranks(words, cwd=directory, env=environment(self._root), imported=imported)
        return Ended(done.returncode, done.stdout, done.stderr.decode(), directory)

    def _run(self, name: str, words: tuple[str | Path, ...], stdin: bytes, imported: tuple[str, ...]) -> Ended:
        directory, env = self.place(name), environment(self._root)
        done: warm.Ended | subprocess.CompletedProcess[bytes]
        if self._fork:
            done = warm.run(words, cwd=directory, env=env, stdin=stdin, imported=imported)
        else:
            done = subprocess.run(
                [sys.executable, *words], cwd=directory, env=env, input=stdin, capture_output=True, timeout=PATIENCE_S
            )
        return Ended(done.returncode, done.stdout, done.stderr.decode(), directory)


def listening(*options: str) -> list[str | Path]:
    """The command in front of a script."""
    return [sys.executable, "-m", "stethoscope", "run", *options]


def environment(root: Path) -> dict[str, str]:
    """One thread, no caches, and the root of a test's programs as the place to import from."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(root)}
