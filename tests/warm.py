"""Runs `python WORDS...` as a fork of an interpreter that has imported torch already: seconds cheaper each time.

That interpreter is a fresh one in which nothing but imports has happened, and a process of its own. A command in it
finds its arguments, directory, environment, standard streams and random numbers as if Python had been started for it,
and ends as Python ends. What it cannot see is an empty `sys.modules`: whoever tests how an import is met, or how a
process starts or is ended from outside, starts Python itself.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import IO, Any, NoReturn

TORCH = (
    "torch", "torch._dynamo", "torch.utils.data", "torch.nn.parallel", "torch.distributed.fsdp", "sklearn.datasets",
)  # fmt: skip
"""What programs import, for one that must not find us; the second is what the first optimizer imports."""
LISTENING = (
    *TORCH, "numpy.ma", "safetensors.torch", "stethoscope.cli.*", "stethoscope.recording", "stethoscope.linting",
    "stethoscope.checking", "stethoscope.core.*", "stethoscope.facts.*", "stethoscope.rules.*",
    "stethoscope.diagnosing.*", "stethoscope.observe.code.*", "stethoscope.observe.model.*",
    "stethoscope.observe.preflight.*", "stethoscope.observe.training.*", "stethoscope.observe.arrays.session",
    "stethoscope.observe.data.arrays", "stethoscope.observe.data.dynamics", "stethoscope.observe.data.flowing",
    "stethoscope.store.*", "stethoscope.render.*",
)  # fmt: skip
"""For commands of ours."""
PATIENCE_S = 60
"""Ends a command that hangs; none takes a fifth of it."""
_REQUEST_BYTES = 1 << 20
_MOST_STREAMS = 16
"""Received with a request: standard input and error, an output for each environment, a socket to be told the end."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: bytes
    stderr: bytes


def run(
    words: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    imported: tuple[str, ...] = LISTENING,
) -> Ended:
    """`python WORDS...`, as `subprocess.run` would do it; `words` are a script, or `-m` and a module, and arguments."""
    return launch(words, cwd=cwd, env=[{**os.environ} if env is None else {**env}], stdin=stdin, imported=imported)


def launch(
    words: Sequence[str | Path], *, cwd: Path, env: Sequence[Mapping[str, str]], stdin: bytes = b"",
    imported: tuple[str, ...] = LISTENING,
) -> Ended:  # fmt: skip
    """The command once in each of these environments, at the same time; the exit code is the first that is not 0.

    As under torchrun, the others are ended when one fails. What they say on standard error stands in order of time.
    What each prints stands behind what the one before it has: a line could stand in the middle of another's else.
    """
    with ExitStack() as opened:
        given, err, *printed = (opened.enter_context(tempfile.TemporaryFile()) for _ in range(2 + len(env)))
        given.write(stdin)
        given.seek(0)
        request = {"words": [str(word) for word in words], "cwd": str(cwd), "env": [dict(each) for each in env]}
        code = _server(imported).ask(request, (given, err, *printed))
        for stream in (err, *printed):
            stream.seek(0)
        return Ended(code, b"".join(stream.read() for stream in printed), err.read())


def stethoscope(
    *words: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`stethoscope WORDS...`, and what it wrote as text."""
    done = run(["-m", "stethoscope", *words], cwd=cwd, env=env)
    told = done.stdout.decode(), done.stderr.decode()
    return subprocess.CompletedProcess([*map(str, words)], done.returncode, *told)


def two_ranks(
    words: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    imported: tuple[str, ...] = LISTENING,
) -> Ended:
    """What `torchrun --nproc_per_node 2 WORDS...` starts: two processes that meet at a port of ours."""
    from torch.distributed import TCPStore

    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        **(os.environ if env is None else env),
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(meeting.port),
        "TORCHELASTIC_RUN_ID": "warm", "TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_USE_AGENT_STORE": "True",
    }  # fmt: skip
    ranks = [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    return launch(words, cwd=cwd, env=ranks, imported=imported)


class _Server:
    """The interpreter that is forked, seen from the tests."""

    def __init__(self, imported: tuple[str, ...]) -> None:
        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(there.fileno()), *imported]
        self._process = subprocess.Popen(command, pass_fds=[there.fileno()], env={**os.environ, "OMP_NUM_THREADS": "1"})
        there.close()
        atexit.register(self.end)

    def ask(self, request: dict[str, Any], streams: Sequence[IO[bytes]]) -> int:
        """Send a command, and wait for its exit code."""
        mine, its = socket.socketpair()
        with mine, its:
            files = [*(stream.fileno() for stream in streams), its.fileno()]
            socket.send_fds(self._here, [json.dumps(request).encode()], files)
            its.close()
            mine.settimeout(PATIENCE_S)
            keeper = _number(mine)
            try:
                return _number(mine)
            except TimeoutError:
                os.killpg(keeper, signal.SIGKILL)
                raise

    def end(self) -> None:
        """The server ends where nobody can ask any more."""
        self._here.close()
        self._process.wait()


def _number(told: socket.socket) -> int:
    received = told.recv(4)
    assert received, "the warm interpreter has ended; what it printed says why"
    return int.from_bytes(received, signed=True)


@functools.cache
def _server(imported: tuple[str, ...]) -> _Server:
    return _Server(imported)


# What follows runs in the server and its forks.


def _serve(asked: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Answer requests until nobody can ask; returns in a fork that is to become a command, with its streams."""
    while True:
        message, files, _, _ = socket.recv_fds(asked, _REQUEST_BYTES, _MOST_STREAMS)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            asked.close()
            return _keep(json.loads(message), files)
        for file in files:
            os.close(file)
        _collect_ended()


def _collect_ended() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                return
        except ChildProcessError:
            return


def _import(name: str) -> None:
    """Import a module, or with `.*` behind it a package and all of its modules."""
    package = importlib.import_module(name.removesuffix(".*"))
    if name.endswith(".*"):
        for part in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(part.name)


def _keep(request: dict[str, Any], files: list[int]) -> tuple[dict[str, Any], list[int]]:
    """Fork a command for each environment, wait for them, tell the exit code; returns in those forks."""
    given, err, *printed, told = files
    os.setsid()
    running = set()
    for number, environment in enumerate(request["env"]):
        child = os.fork()
        if child == 0:
            for file in {told, *printed} - {printed[number]}:
                os.close(file)
            return {**request, "env": environment}, [given, printed[number], err]
        running.add(child)
    os.write(told, os.getpid().to_bytes(4, signed=True))
    first = 0
    while running:
        child, status = os.wait()
        running.discard(child)
        if status and not first:
            first = os.waitstatus_to_exitcode(status)
            for other in running:
                os.kill(other, signal.SIGTERM)
    os.write(told, first.to_bytes(4, signed=True))
    os._exit(0)


def _become(request: dict[str, Any], streams: list[int], paths: list[str]) -> None:
    """Run a command in this process, to whose end Python comes by itself."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    _draw_seeds()
    words = request["words"]
    as_module = words[0] == "-m"
    first = os.getcwd() if as_module else os.path.dirname(os.path.realpath(words[0]))
    more = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [first, *more, *paths]
    main = sys.modules["__main__"] = ModuleType("__main__")
    if as_module:
        sys.argv[:] = words[1:]
        runpy._run_module_as_main(words[1])  # type: ignore[attr-defined]  # what `python -m` does
        return
    sys.argv[:] = words
    main.__dict__.update(__file__=words[0], __builtins__=__builtins__)
    exec(compile(Path(words[0]).read_bytes(), words[0], "exec", dont_inherit=True), main.__dict__)


def _end(work: Callable[[], None]) -> NoReturn:
    """Do this and end the process as Python does, but for taking the modules of torch apart: a fifth of a second."""
    code: object = 0
    try:
        work()
    except SystemExit as leave:
        code = leave.code
    except BaseException as error:
        error.__traceback__ = _from_the_command(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit((code or 0) & 0xFF)


def _from_the_command(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of this file."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    return traceback


def _draw_seeds() -> None:
    """Random numbers begin anew in each process; Python's own do so after a fork by themselves."""
    sys.modules["numpy"].random.seed()
    sys.modules["torch"].default_generator.seed()


if __name__ == "__main__":
    sys.argv, (descriptor, *modules) = sys.argv[:1], sys.argv[1:]
    given_paths = {os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path}
    for module in modules:
        _import(module)
    gc.freeze()
    command, streams = _serve(socket.socket(fileno=int(descriptor)))
    _end(lambda: _become(command, streams, [path for path in sys.path[1:] if path not in given_paths]))
