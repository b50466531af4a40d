"""Each way people train: observed, silent about what is healthy, and a fault of the user's named at the user's line.

The other faults of each door are run by `bench/doors.py`, which makes the table in the docs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from doors import NAMES, Door, door, hear

CALLBACKS = sorted((Path(__file__).parent / "callbacks").glob("*.py"))

AT_EVERY_DOOR = "softmax-before-cross-entropy"
"""The fault that each program has; the others are told in the table of docs/doors.md."""


@pytest.fixture(params=NAMES)
def way(request: pytest.FixtureRequest) -> Door:
    found = door(request.param)
    if found.missing:
        pytest.skip(f"{', '.join(found.missing)} not installed")
    return found


def test_a_healthy_program_is_heard_and_nothing_is_said_of_it(way: Door, tmp_path: Path) -> None:
    heard = hear(way, tmp_path, forked=way.name.startswith("fsdp"))  # DDP of forks hangs in torch now and then

    assert heard.exit_code == 0, heard.printed
    assert heard.observed
    assert [one["title"] for one in heard.alarms] == []


def test_a_fault_is_named_first_and_at_a_line_of_the_users(way: Door, tmp_path: Path) -> None:
    heard = hear(way, tmp_path, AT_EVERY_DOOR, forked=way.name.startswith("fsdp"))

    assert heard.exit_code == 0, heard.printed
    assert [one["rule"] for one in heard.alarms[:1]] == [AT_EVERY_DOOR]
    assert heard.alarms[0]["place"]["file"] == "train.py"


def test_a_cure_is_told_in_the_words_of_the_trainer_and_tried_behind_its_warm_up(tmp_path: Path) -> None:
    way = door("transformers_trainer")
    if way.missing:
        pytest.skip(f"{', '.join(way.missing)} not installed")
    heard = hear(way, tmp_path, "learning-rate-too-high")

    first = heard.alarms[0]
    assert first["rule"] == "learning-rate-too-high", heard.printed
    assert "TrainingArguments(..., learning_rate=" in first["fixes"][0]["text"]
    assert first["proof"]["treatment"].endswith("instead of 1 after the warm-up")


def test_every_door_has_three_faults_each_of_which_changes_its_program() -> None:
    for one in map(door, NAMES):
        healthy, nothing = one.planted()
        assert len(one.faults) >= 3
        assert AT_EVERY_DOOR in one.faults
        assert nothing == ()
        for rule in one.faults:
            faulty, lines = one.planted(rule)
            assert lines
            assert faulty != healthy
            compile(faulty, one.name, "exec")
            assert len(faulty.splitlines()) == len(healthy.splitlines())


@pytest.mark.parametrize("program", CALLBACKS, ids=lambda path: path.stem)
def test_a_callback_listens_to_a_fit_and_reports_at_its_end(program: Path, tmp_path: Path) -> None:
    package = program.stem.removeprefix("callback_")
    pytest.importorskip(package)

    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("── stethoscope ─") == 1
    assert int(done.stdout.split("steps heard: ")[1].split()[0]) >= 80
    assert "findings: []" in done.stdout


@pytest.mark.parametrize("program", CALLBACKS, ids=lambda path: path.stem)
def test_a_callback_stands_back_where_a_run_listens(program: Path, tmp_path: Path) -> None:
    package = program.stem.removeprefix("callback_")
    pytest.importorskip(package)

    done = subprocess.run(
        [sys.executable, "-m", "stethoscope", "run", str(program)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("stands back") == 1
    assert done.stderr.count("── stethoscope ─") == 1
    assert int(done.stdout.split("steps heard: ")[1].split()[0]) >= 80
    assert "findings: []" in done.stdout
