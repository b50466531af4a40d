"""What was written is there, whatever happens to the process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from writing_program import only_run, run_program

from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import History
from stethoscope.store.reader import load_run
from stethoscope.store.writer import RunWriter

Start = Callable[..., RunWriter]


def test_points_looks_and_facts_can_be_read_back(start: Start, history: History) -> None:
    writer = start()
    writer.points("training loss", [0, 1], [2.0, np.nan])
    writer.points("training loss", 2, 1.5)
    writer.look(1, np.full((1, 10), 3.0), np.full((1, 8), 4.0))
    writer.facts(history)
    writer.close()
    read = load_run(writer.path or "").history
    assert read.curves[0].steps.tolist() == [0, 1, 2]
    assert np.array_equal(read.curves[0].values, [2.0, np.nan, 1.5], equal_nan=True)
    assert read.telemetry.steps.tolist() == [1]
    assert read.telemetry.layer("mean").tolist() == [[3.0]]
    assert read.telemetry.parameter("descent").tolist() == [[4.0]]
    assert read.layers == history.layers
    assert read.optimizers == history.optimizers
    assert read.batches.steps.tolist() == [0, 2]


def test_the_newest_facts_replace_the_older_ones(start: Start, history: History) -> None:
    writer = start()
    writer.facts(history)
    writer.flush(wait_s=10)
    writer.facts(replace(history, steps=9, layers=()))
    writer.close()
    read = load_run(writer.path or "").history
    assert (read.steps, read.layers, repr(read.parameters)) == (9, (), repr(history.parameters))


def test_the_caller_may_use_its_arrays_again(start: Start) -> None:
    writer = start()
    values = np.ones(2)
    writer.points("loss", np.arange(2), values)
    values[:] = 7
    writer.close()
    assert load_run(writer.path or "").curves["loss"].values.tolist() == [1.0, 1.0]


def test_the_record_keeps_the_id_and_the_start_it_began_with(start: Start) -> None:
    writer = start()
    writer.record(RunRecord(state="finished", exit_code=0))
    writer.close()
    record = load_run(writer.path or "").record
    assert (record.id, record.state) == (writer.id, "finished")
    assert record.started


def test_a_text_becomes_a_file(start: Start) -> None:
    writer = start()
    writer.text("report.html", "<p>\udcff grün</p>")
    writer.close()
    assert writer.path is not None
    assert (writer.path / "report.html").read_bytes() == b"<p>\xff gr\xc3\xbcn</p>"


def test_a_text_cannot_leave_the_folder(start: Start, tmp_path: Path) -> None:
    writer = start()
    writer.text("../outside.html", "x")
    writer.close()
    assert "no plain file name" in writer.trouble
    assert not (tmp_path / "runs" / "outside.html").exists()


def test_after_kill_9_everything_flushed_is_there(tmp_path: Path) -> None:
    body = """
for step in range(1000):
    writer.points("loss", step, step)
    writer.look(step, np.ones((2, 10)), np.ones((3, 8)))
writer.flush(wait_s=30)
os.kill(os.getpid(), 9)
"""
    assert run_program(body, tmp_path).returncode == -signal.SIGKILL
    run = load_run(only_run(tmp_path))
    assert run.record.state == "lost"
    assert run.curves["loss"].values.tolist() == list(range(1000))
    assert run.history.telemetry.layers.shape == (1000, 2, 10)
    assert not run.history.finished
    assert run.damage == ()


def test_kill_9_in_the_middle_of_writing_leaves_a_whole_beginning(tmp_path: Path) -> None:
    body = """
import threading
writer.points("loss", 0, 0)
writer.look(0, np.zeros((50, 10)), np.zeros((50, 8)))
writer.flush(wait_s=30)
threading.Timer(0.3, os.kill, (os.getpid(), 9)).start()
step = 1
while True:
    writer.points("loss", step, step)
    writer.look(step, np.full((50, 10), step), np.full((50, 8), step))
    step += 1
    writer.flush()
"""
    assert run_program(body, tmp_path).returncode == -signal.SIGKILL
    run = load_run(only_run(tmp_path))
    values = run.curves["loss"].values
    assert len(values) > 0
    assert values.tolist() == list(range(len(values)))
    assert (run.history.telemetry.layer("mean")[:, 0] == run.history.telemetry.steps).all()
    assert run.damage == ()


def test_without_being_asked_it_writes_once_a_second(tmp_path: Path) -> None:
    body = """
from stethoscope.store.reader import load_run
writer.points("loss", 0, 1.0)
until = time.monotonic() + 30
while not load_run(writer.path).curves and time.monotonic() < until:
    time.sleep(0.02)
os.kill(os.getpid(), 9)
"""
    run_program(body, tmp_path)
    assert load_run(only_run(tmp_path)).curves["loss"].values.tolist() == [1.0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_closing_twice_does_nothing_more(start: Start) -> None:
    writer = start()
    writer.close()
    writer.close()
    writer.points("loss", 0, 1.0)
    assert writer.trouble == ""


def test_a_finished_run_is_a_single_file_without_a_log(start: Start) -> None:
    writer = start()
    writer.points("loss", 0, 1.0)
    writer.close()
    assert writer.path is not None
    assert {path.name for path in writer.path.iterdir()} == {"run.json", "process-0.db"}


def test_the_record_is_strict_json(start: Start) -> None:
    writer = start()
    writer.record(RunRecord(results={"final training loss": float("nan")}))
    writer.close()
    assert writer.path is not None
    text = (writer.path / "run.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["results"] == {"final training loss": "NaN"}
