"""Full disks, missing folders, forks and hurried ends: the training goes on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from writing_program import only_run, run_program

from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import History
from stethoscope.store import writer as writing
from stethoscope.store.folder import make_folder
from stethoscope.store.reader import load_run
from stethoscope.store.writer import RunWriter

Start = Callable[..., RunWriter]


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


def test_a_disk_that_is_really_full_is_named_as_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
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
        subprocess.run(["umount", "--lazy", disk], check=True)


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
if not child and writer._points:
    sys.exit("a child gathers points that nobody will write")
writer.flush(wait_s=30)
writer.close()
if child:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), writer.trouble)
"""
    done = run_program(body, tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("0", "")
    assert load_run(only_run(tmp_path)).curves["loss"].values.tolist() == [1.0, 2.0]


def test_a_fork_waits_until_a_write_has_ended(tmp_path: Path) -> None:
    body = """
import threading
writer._writing.__enter__()  # a write has begun
ended = []
threading.Timer(0.2, lambda: (ended.append(True), writer._writing.__exit__(None, None, None))).start()
child = os.fork()
if not child:
    os._exit(10 + len(ended))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
writer.points("loss", 0, 1.0)
writer.close()
print(writer.trouble)
"""
    done = run_program(body, tmp_path)
    assert (done.stdout.split(), done.stderr) == (["11"], "")
    assert load_run(only_run(tmp_path)).curves["loss"].values.tolist() == [1.0]


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


def test_a_file_that_cannot_be_written_costs_itself_alone(tmp_path: Path) -> None:
    def fail(draft: Path) -> None:
        draft.write_bytes(b"half")
        raise OSError("No space left on device")

    writer = RunWriter.create(tmp_path, RunRecord())
    writer.file("ring", fail)
    writer.text("findings.json", "{}")
    writer.close()
    folder = only_run(tmp_path)
    assert writer.trouble.startswith(f"`ring` cannot be kept in {folder} (No space left on device)")
    assert (folder / "findings.json").exists()
    assert not list(folder.glob("*ring*"))


def test_a_file_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    body = """
def half(draft):
    draft.write_bytes(b"half")
    os.kill(os.getpid(), 9)
writer.file("ring", half)
writer.close()
"""
    assert run_program(body, tmp_path).returncode == -9
    assert not (only_run(tmp_path) / "ring").exists()
