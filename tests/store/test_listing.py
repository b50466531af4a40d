"""The list of runs is complete, in order, and never stumbles over a broken one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stethoscope.core.errors import BadFile
from stethoscope.facts.run import RunRecord
from stethoscope.store.listing import list_runs
from stethoscope.store.packing import pack
from stethoscope.store.reader import find_run


def put(store: Path, name: str) -> None:
    (store / name).mkdir(parents=True)
    (store / name / "run.json").write_text(json.dumps(pack(RunRecord(id=name, state="finished"))))


def test_the_newest_run_is_last(tmp_path: Path) -> None:
    for name in ("2026-11-21_140503_b", "2025-01-01_000000_z", "2026-11-21_140502_c"):
        put(tmp_path, name)
    assert [run.record.id[:17] for run in list_runs(tmp_path)] == [
        "2025-01-01_000000", "2026-11-21_140502", "2026-11-21_140503",
    ]  # fmt: skip


def test_a_broken_run_is_listed_as_broken_with_the_reason(tmp_path: Path) -> None:
    put(tmp_path, "2026-11-21_140503_a")
    (tmp_path / "2026-11-21_140504_b").mkdir()
    (tmp_path / "2026-11-21_140504_b" / "run.json").write_text("{")
    whole, broken = list_runs(tmp_path)
    assert (whole.record.state, whole.problem) == ("finished", "")
    assert (broken.record.state, broken.record.id) == ("broken", "2026-11-21_140504_b")
    assert "is damaged" in broken.problem


def test_a_run_of_which_only_the_other_processes_began_is_broken_and_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "2026-11-21_140504_b").mkdir()
    (tmp_path / "2026-11-21_140504_b" / "process-1.db").touch()
    (broken,) = list_runs(tmp_path)
    assert "holds no run.json" in broken.problem


def test_other_folders_and_files_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / ".launch-1-0").touch()
    assert list_runs(tmp_path) == []


def test_a_store_that_does_not_exist_has_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "runs") == []


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadFile, match="--store"):
        list_runs(tmp_path / "file")


def test_runs_are_found_by_id_beginning_words_or_last(tmp_path: Path) -> None:
    old, new = tmp_path / "2026-11-20_090000_quiet-otter", tmp_path / "2026-11-21_090000_merry-seal"
    put(tmp_path, old.name)
    put(tmp_path, new.name)
    (tmp_path / "notes").mkdir()
    assert find_run(tmp_path, old.name) == old
    assert find_run(tmp_path, "2026-11-20") == old
    assert find_run(tmp_path, "merry-seal") == new
    assert find_run(tmp_path, "last") == new


@pytest.mark.parametrize(
    ("name", "words"), [("2026", "fits 2 runs"), ("2025", "no run `2025`"), ("notes", "no run `notes`")]
)
def test_a_name_that_fits_not_exactly_one_run_says_so(tmp_path: Path, name: str, words: str) -> None:
    put(tmp_path, "2026-11-20_090000_quiet-otter")
    put(tmp_path, "2026-11-21_090000_merry-seal")
    (tmp_path / "notes").mkdir()
    with pytest.raises(BadFile, match=words):
        find_run(tmp_path, name)


def test_an_empty_store_says_that_it_is_empty(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="holds no runs"):
        find_run(tmp_path / "runs", "last")
