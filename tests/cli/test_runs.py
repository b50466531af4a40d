"""`stethoscope runs` lists every run, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stethoscope.cli.runs import command
from stethoscope.core.errors import BadFile, UsageError
from stethoscope.facts.run import RunRecord
from stethoscope.store.packing import pack


def put(store: Path, name: str, **record: object) -> None:
    (store / name).mkdir(parents=True)
    body = pack(RunRecord(id=name, **record))  # type: ignore[arg-type]
    (store / name / "run.json").write_text(json.dumps(body))


def runs(*words: object) -> Result:
    result = CliRunner().invoke(command, [str(word) for word in words], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


@pytest.fixture
def store(tmp_path: Path) -> Path:
    put(
        tmp_path, "2026-11-20_140503_quiet-otter", started="2026-11-20T14:05:03+00:00", ended="x", steps=360,
        state="failed", script="/home/me/projects/a-long-path/train_the_classifier_on_digits.py",
        results={"final training loss": 0.12345},
    )  # fmt: skip
    put(tmp_path, "2026-11-21_090000_merry-seal", script="b.py", results={"final training loss": float("nan")})
    return tmp_path


def test_the_table_shows_the_newest_last(store: Path) -> None:
    head, *lines = runs("--store", store).output.splitlines()
    assert head.split() == ["run", "state", "steps", "loss", "script"]
    assert lines[0].split()[:4] == ["2026-11-20_140503_quiet-otter", "failed", "360", "0.123"]
    assert lines[-1].split() == ["2026-11-21_090000_merry-seal", "running", "-", "-", "b.py"]


def test_the_table_fits_80_columns_and_keeps_names_whole(store: Path) -> None:
    put(store, "2026-11-21_090001_cheerful-hedgehog", state="interrupted", ended="x", steps=123_456_789)
    output = runs("--store", store).output
    assert max(map(len, output.splitlines())) <= 80
    assert "2026-11-21_090001_cheerful-hedgehog" in output


def test_a_broken_run_is_listed_with_what_to_do(store: Path) -> None:
    (store / "2026-11-21_090000_merry-seal" / "run.json").write_text("{")
    output = runs("--store", store).output
    assert "broken" in output
    assert "put back a copy, or remove the folder" in " ".join(output.split())


def test_json_on_standard_output_is_nothing_but_json(store: Path) -> None:
    found = json.loads(runs("--store", store, "--json", "-").output, parse_constant=pytest.fail)
    assert found["schema"] == 1
    first, second = found["runs"]
    assert (first["id"], first["state"], first["started"]) == (
        "2026-11-20_140503_quiet-otter", "failed", "2026-11-20T14:05:03+00:00",
    )  # fmt: skip
    assert first["path"] == str(store / "2026-11-20_140503_quiet-otter")
    assert second["results"] == {"final training loss": "NaN"}


def test_json_into_a_file_leaves_the_table_on_the_screen(store: Path, tmp_path: Path) -> None:
    result = runs("--store", store, "--json", tmp_path / "list.json")
    assert len(json.loads((tmp_path / "list.json").read_text())["runs"]) == 2
    assert "quiet-otter" in result.output


def test_a_file_that_cannot_be_written_is_a_wrong_use(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        runs("--store", store, "--json", tmp_path / "no" / "list.json")


def test_an_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    result = runs("--store", tmp_path / "runs")
    assert "no runs in" in result.output
    assert result.return_value == 0
    assert json.loads(runs("--store", tmp_path / "runs", "--json", "-").output) == {"schema": 1, "runs": []}


def test_a_store_that_is_a_file_is_a_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadFile, match="no folder of runs"):
        runs("--store", tmp_path / "file")


def test_a_script_is_found_by_its_name_and_a_text_beside_numbers_is_told(store: Path) -> None:
    found = runs("--store", store, "script == 'train_the_classifier_on_digits.py'").output
    assert "quiet-otter" in found
    assert "merry-seal" not in found
    with pytest.raises(UsageError, match=r"write steps > 100"):
        runs("--store", store, "steps > '100'")
