"""Two processes under torchrun, one of which never arrives: who waits for whom is said, and kept with the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pairs import PATIENCE_S, TORCHRUN, Ended, Pair, environment

from stethoscope import diagnose, load_run

LAUNCH = (*TORCHRUN, "-m", "stethoscope", "run")
SHORT = "[tool.stethoscope]\ncode = false\n[tool.stethoscope.limits]\n"
SHORT += '"stalled-rank.gone" = 2\n"stalled-rank.locked" = 3\n"stalled-rank.busy" = 3\n'
"""So that a test need not wait as long as a person."""


def _launched(
    pair: Pair, program: Path, way: str, timeout_s: float, limits: str = SHORT, *others: str
) -> tuple[Ended, Any]:
    (pair.place("listened") / "pyproject.toml").write_text(limits)
    ended = pair.two_ranks(program, way, str(timeout_s), *others, options=())
    return ended, json.loads((ended.runs[-1] / "findings.json").read_text())


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("uneven", "gives 19 batches in an epoch, that of process 0 20"),
        ("skips", "Both data loaders give 20 batches in an epoch: a branch that one process alone took"),
        ("alone", "or has an exchange in it (`if rank == 0:`)"),
    ],
)
def test_processes_that_wait_for_each_other_are_told_while_they_wait(
    way: str, why: str, pair: Pair, programs: Path
) -> None:
    pair = pair if way == "skips" else pair.forked  # one launch is torchrun's own
    ended, told = _launched(pair, programs / "of_a_stall.py", way, 6)

    live, _, report = ended.stderr.partition("\n── stethoscope ─")
    assert live.count("wait for each other") == 1
    assert live.index("wait for each other") < live.index("Timed out")
    assert why in " ".join(live.split())
    assert "loss.backward()" in live
    assert "dist.barrier()" in live
    assert report.count("wait for each other") == 1
    assert ended.exit_code == 1
    assert told["findings"][0]["rule"] == "stalled-rank"
    assert [each["rule"] for each in told["findings"] if each["severity"] != "note"] == ["stalled-rank"]


@pytest.mark.parametrize(
    ("way", "why"), [("uneven", "gives 19 batches in an epoch"), ("skips", "a branch that one process alone took")]
)
def test_the_same_is_told_of_sharded_processes_that_wait_in_a_forward_pass(
    way: str, why: str, pair: Pair, programs: Path
) -> None:
    _, told = _launched(pair.forked, programs / "of_a_stall.py", way, 6, SHORT, "sharded")

    first = told["findings"][0]
    assert (first["rule"], first["severity"]) == ("stalled-rank", "error")
    assert "wait for each other" in first["title"]
    assert why in first["cause"]
    assert "model(x)" in first["place"]["text"]


def _stopped_as_soon_as_told(by: signal.Signals, pair: Pair, program: Path, *others: str) -> tuple[str, str, Path]:
    """What was said while it stood still, what when this signal had come, and the run's folder."""
    directory = pair.place("stopped")
    (directory / "pyproject.toml").write_text(SHORT)
    with subprocess.Popen(
        [sys.executable, *LAUNCH, program, "endless", "600", *others], cwd=directory, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(directory), start_new_session=True,
        # What a shell starts in the background ignores Ctrl-C, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        assert process.stderr is not None
        heard = ""
        for line in process.stderr:
            heard += line
            if "what was heard so far" in line:
                break
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in [process.pid, *map(int, workers if by is signal.SIGKILL else ())]:
            os.kill(pid, by)
        report = process.stderr.read()
        process.wait(PATIENCE_S)
    (folder,) = (directory / "runs").glob("*/")
    return heard, report, folder


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_given_no_batch_is_told_however_the_run_ends(
    by: signal.Signals, pair: Pair, programs: Path
) -> None:
    heard, report, folder = _stopped_as_soon_as_told(by, pair, programs / "of_a_stall.py")

    assert ("which is given no batch" in report) == (by is signal.SIGINT), report
    assert "process 0 waits for process 1, which is given no batch" in heard
    assert "of_a_stall.py" in heard
    assert "which is given no batch" in (folder / "report.html").read_text()
    run = load_run(folder)
    assert [(each.rank, each.exchange, each.is_fed) for each in run.history.standings] == [
        (0, "backward", False),
        (1, "", True),
    ]
    assert run.history.standings[1].steps == 5
    os.chdir(folder.parent.parent)
    assert diagnose(folder).findings[0].rule == "stalled-rank"


def test_what_processes_do_about_ctrl_c_is_not_taken_for_where_they_stood(pair: Pair, programs: Path) -> None:
    heard, report, folder = _stopped_as_soon_as_told(signal.SIGINT, pair, programs / "of_a_stall.py", "tidies")

    told = "process 0 waits for process 1, which is given no batch"
    assert (told in heard, told in report) == (True, True), report
    stood = {each.rank: (each.exchange, each.sites[-1].text) for each in load_run(folder).history.standings}
    assert stood == {0: ("backward", "loss.backward()"), 1: ("", "for x, y in loader:")}


def test_a_process_that_has_ended_is_told_where_the_other_one_fails(pair: Pair, programs: Path) -> None:
    _, told = _launched(pair.forked, programs / "of_a_stall.py", "ends", 60)

    first = told["findings"][0]
    assert first["title"] == "process 0 waits for process 1, which ended after 19 steps"
    assert first["place"]["text"] == "loss.backward()"


def test_one_that_does_something_alone_is_waited_for_in_silence(pair: Pair, programs: Path) -> None:
    ended, told = _launched(pair.forked, programs / "of_a_stall.py", "saves", 60, "[tool.stethoscope]\ncode = false\n")

    assert ended.exit_code == 0, ended.stderr
    assert "waits for" not in ended.stderr
    assert not [each for each in told["findings"] if each["rule"] == "stalled-rank"]
    assert not list(ended.runs[-1].glob("standing-*"))
