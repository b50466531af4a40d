"""A fork of the warm interpreter finds and leaves what a Python that was started would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import warm

WHO_AM_I = """
import os, signal, sys, threading
print(sys.argv, __name__, __file__, sys.path[0], "here" in sys.path[1], os.getcwd(), sys.dont_write_bytecode)
print(sorted(os.environ), sys.modules["__main__"].__dict__ is globals(), sys.stdin.read(), threading.active_count())
print(signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
print("warned", file=sys.stderr)
"""
ENDINGS = {
    "at its end": "print(1, end='')",
    "with a number": "import sys; sys.exit(3)",
    "with a word": "import sys; sys.exit('a last word')",
    "with an exception": "def fail():\n    {}['missing']\nfail()",
    "at exit": "import atexit; atexit.register(print, 'at exit')",
    "by itself": "import os; os._exit(7)",
    "by a signal": "import os; os.kill(os.getpid(), 9)",
    "with a thread": "import threading, time; threading.Timer(0.01, print, ['later']).start()",
}


def both(program: Path, *words: str, stdin: bytes = b"") -> tuple[object, object]:
    """Exit code and output of a Python that is started, and of a fork."""
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONPATH": "here", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(program), *words]
    started = subprocess.run(command, cwd=program.parent, env=env, input=stdin, capture_output=True, check=False)
    forked = warm.run([program, *words], cwd=program.parent, env=env, stdin=stdin)
    return (started.returncode, started.stdout, started.stderr), (forked.returncode, forked.stdout, forked.stderr)


def written(folder: Path, text: str) -> Path:
    program = folder / "program.py"
    program.write_text(text)
    return program


def test_a_program_finds_the_same_world(tmp_path: Path) -> None:
    started, forked = both(written(tmp_path, WHO_AM_I), "--epochs", "3", stdin=b"given")
    assert forked == started


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_ends_the_same(ending: str, tmp_path: Path) -> None:
    started, forked = both(written(tmp_path, ENDINGS[ending]))
    assert forked == started


def test_random_numbers_are_drawn_anew_in_each(tmp_path: Path) -> None:
    program = written(
        tmp_path, "import random, numpy, torch\nprint(random.random(), numpy.random.rand(), torch.rand(1).item())\n"
    )
    first, second = (warm.run([program], cwd=tmp_path).stdout.split() for _ in range(2))
    assert not set(first) & set(second)


def test_two_processes_meet_and_one_that_fails_ends_the_other(tmp_path: Path) -> None:
    text = """
import sys, torch, torch.distributed as dist
dist.init_process_group("gloo")
rank = dist.get_rank()
total = torch.tensor(rank + 1.0)
dist.all_reduce(total)
for part in "total ", str(total.item()), "\\n":
    sys.stdout.write(part)
    sys.stdout.flush()
    dist.barrier()
if rank == 0:
    sys.exit(5)
import time
time.sleep(100)
"""
    ended = warm.two_ranks([written(tmp_path, text)], cwd=tmp_path)
    assert ended.returncode == 5
    assert ended.stdout.count(b"total 3.0\n") == 2
