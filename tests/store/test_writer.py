"""What is written is there, whatever happens to the process, and nothing of it ever harms the training."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import History
from stethoscope.store import writer as writing
from stethoscope.store.folder import make_folder
from stethoscope.store.reader import load_run
from stethoscope.store.writer import RunWriter

Start = Callable[..., RunWriter]

OPENING = """
import os, resource, sys, time
from pathlib import Path
import numpy as np
from stethoscope.facts.run import RunRecord
from stethoscope.store.writer import RunWriter
writer = RunWriter.create(Path(sys.argv[1]), RunRecord())
"""


def run_program(body: str, store: Path) -> subprocess.CompletedProcess[str]:
    """A real program of its own that writes a run."""
    line = [sys.executable, "-c", OPENING + body, str(store)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def only_run(store: Path) -> Path:
    (folder,) = [path for path in store.iterdir() if path.is_dir()]
    return folder


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
    assert (read.steps, read.layers, read.parameters) == (9, (), history.parameters)


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
threading.Timer(0.3, os.kill, (os.getpid(), 9)).start()
step = 0
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


def test_a_full_disk_is_told_once_and_training_goes_on(tmp_path: Path) -> None:
    body = """
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # writing beyond this fails, as on a full disk
writer.points("loss", 0, 1.0)
writer.flush(wait_s=30)
for step in range(1, 200):
    writer.look(step, np.ones((100, 10)), np.ones((100, 8)))
    writer.points("loss", step, 1.0)
    writer.flush(wait_s=30)
writer.text("report.html", "x" * 300_000)
writer.close()
print("trained to the end")
print(writer.trouble)
"""
    done = run_program(body, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("trained to the end\nThe run can no longer be recorded in ")
    assert "training goes on" in done.stdout
    assert done.stderr == ""
    run = load_run(only_run(tmp_path))
    assert run.curves["loss"].values.size > 1
    assert run.damage == ()
    assert not list(only_run(tmp_path).glob(".*draft"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_is_really_full_is_named_as_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("this system mounts no tmpfs")
    try:
        writer = RunWriter.create(disk, RunRecord())
        for step in range(200):
            writer.look(step, np.ones((100, 10)), np.ones((100, 8)))
            writer.flush(wait_s=30)
        writer.close()
        assert "full" in writer.trouble
        assert "free some space" in writer.trouble
        assert load_run(writer.path or "").history.telemetry.steps.size > 0
    finally:
        subprocess.run(["umount", disk], check=True)


def test_where_no_folder_can_be_made_everything_is_dropped(tmp_path: Path, history: History) -> None:
    (tmp_path / "file").touch()
    writer = RunWriter.create(tmp_path / "file" / "runs", RunRecord())
    writer.points("loss", 0, 1.0)
    writer.facts(history)
    writer.text("findings.json", "{}")
    assert not writer.flush(wait_s=1)
    writer.close()
    assert writer.path is None
    assert writer.trouble.startswith("No run folder can be made in ")
    assert "--store" in writer.trouble


def test_a_folder_that_cannot_be_shared_is_no_error_either(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    writer = RunWriter.create(tmp_path / "file", RunRecord(), rank=1, world_size=2, group="g")
    assert (writer.path, writer.trouble == "") == (None, False)


def test_a_deleted_folder_is_told(start: Start) -> None:
    writer = start()
    writer.points("loss", 0, 1.0)
    writer.flush(wait_s=10)
    assert writer.path is not None
    shutil.rmtree(writer.path)
    writer.points("loss", 1, 1.0)
    writer.flush(wait_s=10)
    assert "was deleted" in writer.trouble
    assert not writer.path.exists()


def test_a_mistake_in_a_call_is_told_and_not_raised(start: Start) -> None:
    writer = start()
    writer.points("loss", [0, 1], [1.0])
    writer.look(0, "nonsense", None)  # type: ignore[arg-type]
    assert "2,) steps" in writer.trouble


def test_when_the_disk_is_too_slow_looks_are_thinned_and_the_rest_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: History
) -> None:
    monkeypatch.setattr(writing, "MOST_PENDING_BYTES", 1_000_000)
    folder = make_folder(tmp_path)
    writer = RunWriter(folder, RunRecord())  # its thread is not started yet: the slowest disk there is
    for step in range(1000):
        writer.points("loss", step, 1.0)
        writer.look(step, np.ones((10, 10)), np.ones((10, 8)))
    writer.facts(history)
    assert "slower than the run" in writer.trouble
    writer._thread.start()
    writer.close()
    run = load_run(folder)
    steps = run.history.telemetry.steps
    assert run.curves["loss"].values.size == 1000
    assert run.history.layers == history.layers
    assert 200 < steps.size < 500
    assert set(np.diff(steps)) == {1, 2}


def test_a_forked_child_writes_nothing_and_ends_like_any_other(tmp_path: Path) -> None:
    body = """
writer.points("loss", 0, 1.0)
writer.flush(wait_s=30)
child = os.fork()
writer.points("loss", 1, 2.0 if child else 99.0)
writer.flush(wait_s=30)
writer.close()
if child:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), writer.trouble)
"""
    done = run_program(body, tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("0", "")
    assert load_run(only_run(tmp_path)).curves["loss"].values.tolist() == [1.0, 2.0]


def test_children_forked_while_it_writes_can_use_sqlite_and_end(tmp_path: Path) -> None:
    body = """
import sqlite3
codes = set()
for step in range(40):
    writer.look(step, np.ones((200, 10)), np.ones((200, 8)))
    writer.flush()
    child = os.fork()
    if not child:
        sqlite3.connect(":memory:").execute("CREATE TABLE t (x)")
        sys.exit(3)
    codes.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
writer.close()
print(codes, writer.trouble)
"""
    done = run_program(body, tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("{3}", "")
    assert load_run(only_run(tmp_path)).history.telemetry.steps.size == 40


def test_a_program_that_forgets_to_close_ends_with_everything_written(tmp_path: Path) -> None:
    done = run_program("writer.points('loss', 0, 1.0)", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert load_run(only_run(tmp_path)).curves["loss"].values.tolist() == [1.0]


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
