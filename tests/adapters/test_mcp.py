"""The server for agents, driven by a client of the official package over standard input and output."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

mcp = pytest.importorskip("mcp")

from stethoscope.adapters.mcp_server import MOST_CHARACTERS, _stethoscope  # noqa: E402

FAULTY = """
import torch
from torch import nn

model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x, y = torch.randn(64, 4), torch.zeros(64).long()
for step in range(30):
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
"""


def asked(folder: Path, *calls: tuple[str, dict[str, object]]) -> list[str]:
    """What the tools answer, called one after the other in one session."""

    async def session() -> list[str]:
        here = mcp.StdioServerParameters(
            command=sys.executable, args=["-m", "stethoscope", "mcp"], cwd=str(folder),
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        async with mcp.stdio_client(here) as (read, write), mcp.ClientSession(read, write) as client:
            await client.initialize()
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert names == {"lint", "check", "run", "data", "diagnose", "explain", "runs"}
            answers = [await client.call_tool(name, arguments) for name, arguments in calls]
            return ["\n".join(part.text for part in answer.content) for answer in answers]

    return asyncio.run(session())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(FAULTY)
    return tmp_path


def test_source_is_reviewed_and_a_rule_explained(folder: Path) -> None:
    review, page = asked(folder, ("lint", {"paths": ["train.py"]}), ("explain", {"rule": "missing-zero-grad"}))

    assert "missing-zero-grad" in review
    assert "train.py:11" in review
    assert "What it sees" in page


def test_a_script_is_run_then_diagnosed_again_and_listed(folder: Path) -> None:
    ran, again, listed = asked(
        folder, ("run", {"script": "train.py"}), ("diagnose", {}), ("runs", {"condition": "finished"})
    )

    assert "missing-zero-grad" in ran
    assert "(exit code 0)" in ran
    assert "missing-zero-grad" in again
    assert "train.py" in listed


def test_a_model_is_checked(folder: Path) -> None:
    (said,) = asked(folder, ("check", {"script": "train.py"}))

    assert "missing-zero-grad" in said


def test_a_script_that_does_not_end_is_interrupted(folder: Path) -> None:
    (folder / "slow.py").write_text("import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.1)\n")
    (said,) = asked(folder, ("run", {"script": "slow.py", "seconds": 8}))

    assert "begun" in said
    assert "interrupted after 8 s" in said


def test_what_a_script_leaves_running_is_not_waited_for(folder: Path) -> None:
    (folder / "leaves.py").write_text(
        "import subprocess, sys\n"
        "left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "print('left', left.pid)\n"
    )
    began = time.monotonic()
    (said,) = asked(folder, ("run", {"script": "leaves.py", "seconds": 50}))
    took = time.monotonic() - began
    os.kill(int(said.split()[1]), signal.SIGKILL)

    assert "still runs" in said
    assert "(exit code 0)" in said
    assert took < 45


def test_a_script_ends_with_whoever_asked_for_it(folder: Path) -> None:
    (folder / "deaf.py").write_text(
        "import os, signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "open('pid', 'w').write(str(os.getpid()))\nwhile True: time.sleep(0.1)\n"
    )

    async def given_up() -> int:
        asking = asyncio.create_task(_stethoscope(["run", "deaf.py"], 600))
        while not (folder / "pid").exists() or not (folder / "pid").read_text():
            await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.wait({asking})
        await asyncio.sleep(1.0)
        return int((folder / "pid").read_text())

    here = Path.cwd()
    os.chdir(folder)
    try:
        number = asyncio.run(given_up())
    finally:
        os.chdir(here)

    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("check", {"script": "--html=other", "arguments": ["train.py"]}),
        ("run", {"script": "--json=other", "arguments": ["train.py"]}),
        ("diagnose", {"recorded": "--html=other"}),
        ("explain", {"rule": "--help"}),
        ("runs", {"condition": "--csv=other"}),
    ],
)
def test_what_an_agent_names_is_never_an_option(folder: Path, tool: str, arguments: dict[str, object]) -> None:
    (said,) = asked(folder, (tool, arguments))

    assert "(exit code 2)" in said
    assert "Usage" not in said
    assert not (folder / "other").exists()


def test_what_is_printed_without_end_is_cut(folder: Path) -> None:
    (folder / "loud.py").write_text("for i in range(100_000): print('line', i)\n")
    (said,) = asked(folder, ("run", {"script": "loud.py"}))

    assert len(said) < MOST_CHARACTERS + 500
    assert "bytes left out" in said
    assert "line 0" in said
    assert "line 99999" in said


def test_a_wrong_use_is_an_answer_and_no_crash(folder: Path) -> None:
    unknown, missing = asked(folder, ("explain", {"rule": "no-such-rule"}), ("lint", {"paths": ["gone.py"]}))

    assert "(exit code 2)" in unknown
    assert "gone.py" in missing
