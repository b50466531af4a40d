"""Every run has a folder of its own, and all processes of one launch share one."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from datetime import datetime, tzinfo
from pathlib import Path

import pytest

from stethoscope.facts.run import RunRecord
from stethoscope.store import folder as folders
from stethoscope.store.folder import make_folder, share_folder, write_atomically
from stethoscope.store.packing import pack
from stethoscope.store.process import Process
from stethoscope.store.writer import RunWriter

RANK = """
import sys
from datetime import datetime, tzinfo
from pathlib import Path
from stethoscope.facts.run import RunRecord
from stethoscope.store.writer import RunWriter
sys.stdin.readline()  # both ranks wait here, so that they start together
rank = int(sys.argv[2])
record = RunRecord(command=(f"rank {rank}",))
writer = RunWriter.create(Path(sys.argv[1]), record, rank=rank, world_size=2, group="g")
writer.points("loss", [rank], [1.0])
print(writer.path, writer.trouble, flush=True)
sys.stdin.readline()  # and here, so that neither is gone before the other has come
writer.close()
"""


def launch(store: Path) -> set[str]:
    """Two ranks at the same instant; the folders that they used."""
    line = [sys.executable, "-c", RANK, str(store)]
    pipe = subprocess.PIPE
    ranks = [subprocess.Popen([*line, rank], stdin=pipe, stdout=pipe, text=True) for rank in "01"]
    for rank in ranks:
        print("start", file=rank.stdin, flush=True)
    used = {rank.stdout.readline().strip() for rank in ranks if rank.stdout}
    for rank in ranks:
        rank.communicate("end\n", timeout=60)
    return used


def maker_gone() -> Process:
    """A process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    here = Process.current()
    return Process(child.pid, 1, here.host, here.boot, here.namespace)


class Noon(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Noon:
        return cls(2026, 11, 21, 12, 0, 59, tzinfo=tz)


def test_runs_of_the_same_second_stand_in_the_order_in_which_they_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = iter(["wise", "zebra", "mild", "moose", "brave", "ant"])
    monkeypatch.setattr(secrets, "choice", lambda known: next(words))
    monkeypatch.setattr(folders, "datetime", Noon)
    made = [make_folder(tmp_path).name for _ in range(3)]
    assert made == ["2026-11-21_120059_wise-zebra", "2026-11-21_120100_mild-moose", "2026-11-21_120101_brave-ant"]


def test_two_runs_that_begin_at_once_get_different_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = iter(["quiet", "otter", "quiet", "otter", "quiet", "owl"])
    monkeypatch.setattr(secrets, "choice", lambda known: next(words))
    monkeypatch.setattr(folders, "_free_second", lambda store: "2026-11-21_120059")  # neither sees the other one
    assert make_folder(tmp_path).name == "2026-11-21_120059_quiet-otter"
    assert make_folder(tmp_path).name == "2026-11-21_120059_quiet-owl"


def test_two_ranks_that_start_together_share_a_folder(tmp_path: Path) -> None:
    (used,) = launch(tmp_path)
    names = {path.name for path in Path(used).iterdir()}
    assert names == {"run.json", "process-0.db", "process-1.db"}
    assert json.loads((Path(used) / "run.json").read_text())["command"] == ["rank 0"]


def test_a_finished_launch_leaves_nothing_but_its_folder(tmp_path: Path) -> None:
    (used,) = launch(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [Path(used).name]


def test_a_second_launch_with_the_same_name_gets_its_own_folder(tmp_path: Path) -> None:
    assert launch(tmp_path).isdisjoint(launch(tmp_path))


def test_a_launch_that_died_half_way_is_passed_over(tmp_path: Path) -> None:
    dead = share_folder(tmp_path, "g", 0, 2)
    (agreement,) = tmp_path.glob(".launch-*")
    agreement.write_text(json.dumps({"folder": dead.name, "maker": pack(maker_gone())}))
    assert {dead}.isdisjoint({share_folder(tmp_path, "g", 1, 2), share_folder(tmp_path, "g", 0, 2)})


def test_after_a_launch_that_died_both_ranks_meet_again(tmp_path: Path) -> None:
    dead = share_folder(tmp_path, "g", 1, 2)
    (agreement,) = tmp_path.glob(".launch-*")
    agreement.write_text(json.dumps({"folder": dead.name, "maker": pack(maker_gone())}))
    assert share_folder(tmp_path, "g", 1, 2) == share_folder(tmp_path, "g", 0, 2) != dead


def test_a_rank_that_has_been_there_before_starts_a_new_folder(tmp_path: Path) -> None:
    first = share_folder(tmp_path, "g", 0, 2)
    assert share_folder(tmp_path, "g", 0, 2) != first


def test_launches_with_different_names_do_not_meet(tmp_path: Path) -> None:
    assert share_folder(tmp_path, "g", 0, 2) != share_folder(tmp_path, "h", 1, 2)


def test_ranks_without_a_common_name_have_a_folder_each(tmp_path: Path) -> None:
    writers = [RunWriter.create(tmp_path, RunRecord(), rank=0, world_size=2) for _ in range(2)]
    for writer in writers:
        writer.close()
    assert writers[0].path != writers[1].path


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", "old")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "inside").touch()
    write_atomically(tmp_path / "a.txt", "new")
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "b", "text")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "b"}
