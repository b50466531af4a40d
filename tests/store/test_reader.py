"""A run can be read at any time, in any state, and reading it changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stethoscope.core.errors import BadFile
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import History, RankSummary
from stethoscope.store.database import Database, Look, Points
from stethoscope.store.packing import pack
from stethoscope.store.process import Process
from stethoscope.store.reader import load_run, read_ranks
from stethoscope.store.writer import RunWriter

Start = Callable[..., RunWriter]

KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from stethoscope.facts.run import RunRecord
from stethoscope.store.writer import RunWriter
writer = RunWriter.create(Path(sys.argv[1]), RunRecord())
for step in range(50):
    writer.points("loss", step, step)
    writer.look(step, np.ones((20, 10)), np.ones((20, 8)))
    writer.flush(wait_s=30)
os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("store")
    done = subprocess.run([sys.executable, "-c", KILLED, store], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    (folder,) = store.iterdir()
    return folder


@pytest.fixture
def killed(killed_once: Path, tmp_path: Path) -> Path:
    """A run that was killed while it was written, with the log that SQLite left beside its file."""
    folder = tmp_path / killed_once.name
    shutil.copytree(killed_once, folder)
    assert (folder / "process-0.db-wal").stat().st_size > 0
    return folder


def finished(store: Path, name: str, **record: object) -> Path:
    """A run folder without telemetry."""
    folder = store / name
    folder.mkdir(parents=True)
    body = {"schema": 1, **vars(RunRecord(id=name, **record))}  # type: ignore[arg-type]
    (folder / "run.json").write_text(json.dumps(pack(body)))
    return folder


def test_a_run_is_read_while_it_is_written(start: Start, history: History) -> None:
    writer = start()
    seen = []
    for step in range(30):
        writer.points("loss", step, step)
        writer.look(step, np.full((step + 1, 10), step), np.ones((2, 8)))
        writer.facts(replace(history, steps=step))
        writer.flush(wait_s=10)
        run = load_run(writer.path or "")
        assert run.damage == ()
        assert run.history.telemetry.layers.shape == (step + 1, step + 1, 10)
        seen.append((run.curves["loss"].steps[-1], run.history.steps, run.record.state))
    assert seen == [(step, step, "running") for step in range(30)]
    assert writer.trouble == ""


def test_a_reader_that_stays_in_the_file_does_not_hold_the_writer_up(start: Start) -> None:
    writer = start()
    writer.points("loss", 0, 1.0)
    writer.flush(wait_s=10)
    assert writer.path is not None
    reader = sqlite3.connect(f"file:{writer.path / 'process-0.db'}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM points").fetchall()
    writer.points("loss", 1, 1.0)
    assert writer.flush(wait_s=3)
    assert load_run(writer.path).curves["loss"].steps.tolist() == [0, 1]
    reader.close()
    assert writer.trouble == ""


def test_a_run_that_has_only_just_begun_is_empty(start: Start) -> None:
    run = load_run(start().path or "")
    assert (run.record.state, run.curves, run.history.finished, run.damage) == ("running", {}, False, ())


def test_layers_that_came_later_are_nan_before(start: Start) -> None:
    writer = start()
    writer.look(0, np.ones((1, 10)), np.ones((0, 8)))
    writer.look(5, np.ones((2, 10)), np.ones((1, 8)))
    writer.close()
    telemetry = load_run(writer.path or "").history.telemetry
    assert np.array_equal(telemetry.layer("std"), [[1.0, np.nan], [1.0, 1.0]], equal_nan=True)
    assert np.array_equal(telemetry.parameter("descent"), [[np.nan], [1.0]], equal_nan=True)


def test_statistics_are_found_by_name_when_another_version_had_others(start: Start) -> None:
    writer = start()
    writer.look(0, np.arange(10.0)[None], np.zeros((0, 8)))
    writer.close()
    assert writer.path is not None
    with sqlite3.connect(writer.path / "process-0.db") as connection:
        names = ["std", "unknown", "mean"]
        connection.execute("UPDATE meta SET body = ? WHERE key = 'layer statistics'", (json.dumps(names),))
        connection.execute("UPDATE looks SET layers = ?", (np.array([1, 2, 3], "<f4").tobytes(),))
    connection.close()
    telemetry = load_run(writer.path).history.telemetry
    assert (telemetry.layer("mean")[0, 0], telemetry.layer("std")[0, 0]) == (3.0, 1.0)
    assert np.isnan(telemetry.layer("rms")[0, 0])


def test_reading_a_killed_run_changes_none_of_its_files(killed: Path) -> None:
    before = {path.name: path.read_bytes() for path in killed.iterdir() if not path.name.endswith("-shm")}
    assert load_run(killed).curves["loss"].values.size == 50
    after = {path.name: path.read_bytes() for path in killed.iterdir() if not path.name.endswith("-shm")}
    assert after == before


def test_a_killed_run_whose_shared_memory_was_not_copied_is_read(killed: Path) -> None:
    (killed / "process-0.db-shm").unlink()
    assert load_run(killed).curves["loss"].values.size == 50


def test_a_torn_log_loses_only_its_end(killed: Path) -> None:
    log = killed / "process-0.db-wal"
    os.truncate(log, log.stat().st_size * 2 // 3)
    values = load_run(killed).curves["loss"].values
    assert 0 < values.size < 50
    assert values.tolist() == list(range(values.size))


def test_a_torn_file_is_read_as_far_as_it_goes_and_said_to_be_torn(start: Start) -> None:
    writer = start()
    for step in range(200):
        writer.look(step, np.ones((20, 10)), np.ones((20, 8)))
    writer.close()
    assert writer.path is not None
    file = writer.path / "process-0.db"
    os.truncate(file, file.stat().st_size // 2)
    run = load_run(writer.path)
    assert 0 < run.history.telemetry.steps.size < 200
    assert "process-0.db is damaged" in run.damage[0]


def test_a_file_of_nonsense_is_said_to_be_damaged(start: Start) -> None:
    writer = start()
    writer.close()
    assert writer.path is not None
    (writer.path / "process-0.db").write_bytes(b"nonsense" * 999)
    run = load_run(writer.path)
    assert (run.curves, len(run.damage)) == ({}, 1)


def test_a_write_that_was_cut_short_on_a_network_drive_is_undone_on_a_copy(tmp_path: Path) -> None:
    folder = finished(tmp_path, "cut", state="running")
    database = Database(tmp_path / "whole.db", wal=False)
    database.write([Points("loss", np.arange(3), np.ones(3))], [], {})
    connection = sqlite3.connect(tmp_path / "whole.db", isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")  # so that unfinished changes reach the file
    connection.execute("BEGIN")
    connection.execute("UPDATE points SET amounts = zeroblob(24)")
    connection.executemany("INSERT INTO looks VALUES (NULL, 0, 0, 0, zeroblob(5000), '')", [()] * 50)
    for ending in ("", "-journal"):
        shutil.copy(tmp_path / f"whole.db{ending}", folder / f"process-0.db{ending}")
    connection.close()
    database.close()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    run = load_run(folder)
    assert (run.curves["loss"].values.tolist(), run.history.telemetry.steps.size) == ([1.0, 1.0, 1.0], 0)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_run_is_read_from_a_file_in_it_too(killed: Path) -> None:
    assert load_run(str(killed / "run.json")).curves["loss"].values.size == 50


def test_where_there_is_no_run_the_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"no run in .*nowhere.*stethoscope runs"):
        load_run(tmp_path / "nowhere")


def test_a_damaged_record_alone_is_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"id": "x", "comm')
    with pytest.raises(BadFile, match=r"run.json is damaged .*put back a copy"):
        load_run(tmp_path)


def test_a_damaged_record_does_not_hide_what_was_heard(killed: Path) -> None:
    (killed / "run.json").write_text("")
    run = load_run(killed)
    assert (run.record.state, run.curves["loss"].values.size) == ("lost", 50)
    assert "run.json is damaged" in run.damage[0]


def test_a_run_is_lost_when_its_process_is_gone_or_its_number_was_given_away(tmp_path: Path) -> None:
    here = Process.current()
    other_start, other_boot = replace(here, started=here.started + 1), replace(here, boot="earlier")
    elsewhere = replace(other_boot, host="elsewhere")  # of which nothing can be known from here
    states = []
    for number, process in enumerate([here, other_start, other_boot, elsewhere]):
        folder = finished(tmp_path, str(number), state="running")
        data = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**data, "process": pack(process)}))
        states.append(load_run(folder).record.state)
    assert states == ["running", "lost", "lost", "running"]


def test_findings_are_those_of_the_file(start: Start) -> None:
    writer = start()
    assert load_run(writer.path or "").findings is None
    writer.text("findings.json", '{"schema": 1, "findings": []}')
    writer.flush(wait_s=10)
    assert load_run(writer.path or "").findings == {"schema": 1, "findings": []}


def test_torn_findings_are_said_to_be_torn(start: Start) -> None:
    writer = start()
    writer.text("findings.json", '{"schema": 1, "fin')
    writer.close()
    run = load_run(writer.path or "")
    assert run.findings is None
    assert "findings.json is damaged" in run.damage[0]


def test_every_process_of_a_launch_can_be_read(start: Start, history: History) -> None:
    writers = [start(rank=rank, world_size=2, group="g") for rank in (0, 1)]
    for rank, writer in enumerate(writers):
        writer.points("training loss", [0, 1], [5.0, float(rank)])
        writer.facts(replace(history, steps=10 + rank, finished=True, ended_by="ValueError" if rank else ""))
        writer.close()
    run = load_run(writers[0].path or "")
    assert (run.ranks, run.record.world_size, run.history.steps, run.rank(1).steps) == ((0, 1), 2, 10, 11)
    assert run.history.ranks == (RankSummary(1, 11, 1.0, "failed"),)
    assert read_ranks(run.path) == run.history.ranks
    with pytest.raises(BadFile, match="no process 2: there is 0, 1"):
        run.rank(2)


def test_another_process_that_has_told_nothing_yet_is_running(start: Start) -> None:
    writers = [start(rank=rank, world_size=2, group="g") for rank in (0, 1)]
    writers[1].points("loss", 0, 1.0)
    writers[1].flush(wait_s=10)
    assert [rank.state for rank in read_ranks(writers[0].path or Path())] == ["running"]


def test_a_million_points_are_two_thousand_rows(start: Start) -> None:
    writer = start()
    for begin in range(0, 1_000_000, 1000):
        writer.points("loss", np.arange(begin, begin + 1000), np.ones(1000))
        if begin % 50_000 == 0:
            writer.flush(wait_s=10)
    writer.close()
    assert writer.path is not None
    with sqlite3.connect(writer.path / "process-0.db") as connection:
        ((rows,),) = connection.execute("SELECT count(*) FROM points").fetchall()
    connection.close()
    assert rows == 1954
    assert np.array_equal(load_run(writer.path).curves["loss"].steps, np.arange(1_000_000))


def test_a_failed_write_leaves_the_series_whole(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    database.write([Points("loss", np.arange(3), np.ones(3))], [], {})
    look = Look(0, np.ones((1, 1), np.float32), np.ones((1, 1), np.float32))
    with pytest.raises(sqlite3.IntegrityError):
        database.write([Points("loss", np.arange(3), np.ones(3))], [look], {"x": None})  # type: ignore[dict-item]
    database.write([Points("loss", np.array([3]), np.ones(1))], [], {})
    database.close()
    folder = finished(tmp_path, "run")
    shutil.copy(tmp_path / "a.db", folder / "process-0.db")
    run = load_run(folder)
    assert (run.curves["loss"].steps.tolist(), run.history.telemetry.steps.size) == ([0, 1, 2, 3], 0)
