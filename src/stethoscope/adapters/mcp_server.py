"""A server of the Model Context Protocol: what an agent asks of a training program, each bounded in time and output.

Every tool is the command of the same name in a process of its own, so that a script that hangs, prints without end or
takes the interpreter down with it harms nobody. Needs the package `mcp` (`pip install 'stethoscope[mcp]'`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stethoscope.core.errors import UsageError

if TYPE_CHECKING:
    from mcp.server import MCPServer

MOST_CHARACTERS = 20_000
"""Of an answer: beyond, its middle is left out. The findings stand at the end of what a run prints."""
MOST_SECONDS = 1800
LINT_SECONDS = 120
RUN_SECONDS = 600
PATIENCE = 30.0
"""Seconds that a run has to say what it found after it was interrupted, before it is ended."""
LINGER = 2.0
"""Seconds that are waited for the last words of a command that has ended: what it started may hold its output open."""
ABOUT = (
    "Stethoscope says what is wrong with the training of a neural network, where, why, and what to change. Begin with "
    "lint (reads source, runs nothing) or check (experiments before training); run listens to a whole training script. "
    "explain tells what a rule means."
)


def make_server() -> MCPServer:
    """The server with its tools. Raises UsageError where the package `mcp` is missing."""
    try:
        from mcp.server import MCPServer
    except ImportError as missing:
        raise UsageError("the server for agents needs the package mcp: pip install 'stethoscope[mcp]'") from missing
    server = MCPServer("stethoscope", instructions=ABOUT)
    for tool in (lint, check, run, data, diagnose, explain, runs):
        server.tool(structured_output=False)(tool)
    return server


async def lint(paths: list[str], all_levels: bool = False, seconds: int = LINT_SECONDS) -> str:
    """Review Python files, folders or notebooks without running them: what will train badly, with lines and fixes.

    Args:
        paths: files, folders or globs.
        all_levels: also what is only possible.
        seconds: most that it may take.
    """
    return await _stethoscope(["lint", *_all(all_levels), "--", *paths], seconds)


async def check(script: str, arguments: list[str] | None = None, quick: bool = True, seconds: int = RUN_SECONDS) -> str:
    """Try the model of a training script before it trains: structure, loss, gradients, a few samples learned by heart.

    Args:
        script: a script, which is ended after its first steps, or `package.module:function`.
        arguments: of the script.
        quick: only the experiments that take some seconds.
        seconds: most that it may take.
    """
    return await _stethoscope(["check", *(["--quick"] if quick else []), "--", script, *(arguments or [])], seconds)


async def run(
    script: str, arguments: list[str] | None = None, max_steps: int = 0, seconds: int = RUN_SECONDS
) -> str:  # fmt: skip
    """Run an unmodified training script, listen to it, and say what is wrong, ranked and proven.

    Args:
        script: the script.
        arguments: its own.
        max_steps: end it after so many optimizer steps; 0 lets it go on.
        seconds: after these it is interrupted, and what is known by then is said.
    """
    limit = ["--max-steps", str(max_steps)] if max_steps > 0 else []
    return await _stethoscope(["run", *limit, "--", script, *(arguments or [])], seconds)


async def data(train: str, test: str = "", target: str = "", seconds: int = LINT_SECONDS) -> str:
    """Check a data set, alone or beside another one: missing values, leaks, label errors, shift.

    Args:
        train: a table, or a folder of pictures.
        test: what it is compared with.
        target: the column to be predicted.
        seconds: most that it may take.
    """
    more = [*(["--test", test] if test else []), *(["--target", target] if target else [])]
    return await _stethoscope(["data", *more, "--", train], seconds)


async def diagnose(recorded: str = "last", seconds: int = LINT_SECONDS) -> str:
    """Say again what was wrong in a recorded run.

    Args:
        recorded: a folder, an id, the beginning of one, or `last`.
        seconds: most that it may take.
    """
    return await _stethoscope(["diagnose", "--", recorded], seconds)


async def explain(rule: str) -> str:
    """The page of a rule: what it sees, why it hurts, how to fix it, and when it is not a fault."""
    return await _stethoscope(["explain", "--", rule], LINT_SECONDS)


async def runs(condition: str = "") -> str:
    """The recorded runs; with a condition those that fit, such as `lr > 0.01 and best.val_loss < 0.3`."""
    return await _stethoscope(["runs", "--", *([condition] if condition else [])], LINT_SECONDS)


def _all(all_levels: bool) -> list[str]:
    return ["--all"] if all_levels else []


async def _stethoscope(words: Sequence[str], seconds: int) -> str:
    """What the command prints and how it ended, within bounds."""
    limit = max(1, min(seconds, MOST_SECONDS))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stethoscope", *words,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "NO_COLOR": "1"}, start_new_session=True,
    )  # fmt: skip
    kept = _Ends()
    reader = asyncio.create_task(_read(process, kept))
    try:
        said = await _in_time(process, limit)
        await asyncio.wait({reader}, timeout=LINGER)
        if not reader.done():
            said += "\n(what it started still runs, and may print more)"
        return f"{kept.text()}{said}\n(exit code {process.returncode})".lstrip()
    finally:  # whoever asked may have gone
        reader.cancel()
        if process.returncode is None:
            _signal(process, signal.SIGKILL)


async def _in_time(process: asyncio.subprocess.Process, limit: int) -> str:
    """Wait for it, and end it where it takes longer; what is to be said of that."""
    if await _ends(process, limit):
        return ""
    _signal(process, signal.SIGINT)
    if await _ends(process, PATIENCE):
        return f"\n(interrupted after {limit} s)"
    _signal(process, signal.SIGKILL)
    await _ends(process, LINGER)
    return f"\n(ended after {limit} s)"


async def _ends(process: asyncio.subprocess.Process, seconds: float) -> bool:
    """Whether it ends within so many seconds; `wait` of some versions of Python waits for what it started, too."""
    clock = asyncio.get_running_loop().time
    last = clock() + seconds
    while process.returncode is None and clock() < last:
        await asyncio.sleep(0.05)
    return process.returncode is not None


def _signal(process: asyncio.subprocess.Process, which: int) -> None:
    """To the whole group: a script may have started others."""
    try:
        os.killpg(process.pid, which)
    except (ProcessLookupError, PermissionError):
        return


async def _read(process: asyncio.subprocess.Process, kept: _Ends) -> None:
    assert process.stdout is not None
    while part := await process.stdout.read(1 << 16):
        kept.add(part)


class _Ends:
    """The beginning and the end of a text that may have no end."""

    def __init__(self) -> None:
        self._first, self._last, self._gone = b"", b"", 0

    def add(self, part: bytes) -> None:
        """Take some more, and forget what is neither."""
        room = MOST_CHARACTERS // 4 - len(self._first)
        self._first, part = self._first + part[: max(0, room)], part[max(0, room) :]
        self._last += part
        most = MOST_CHARACTERS - MOST_CHARACTERS // 4
        if len(self._last) > most:
            self._gone += len(self._last) - most
            self._last = self._last[-most:]

    def text(self) -> str:
        """What was kept, with what was left out between."""
        gap = f"\n... {self._gone:,} bytes left out ...\n" if self._gone else ""
        return self._first.decode("utf-8", "replace") + gap + self._last.decode("utf-8", "replace")
