"""`stethoscope data`, as a user starts it: files in, findings, files and an exit code out."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from stethoscope.cli.main import main

pytest.importorskip("narwhals")
pytest.importorskip("duckdb")


class Said(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def rules(self) -> set[str]:
        return {finding["rule"] for finding in json.loads(self.out)["findings"]}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`stethoscope data` with these words, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def started(*words: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["stethoscope", "data", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return started


def table(rows: int = 400, *, seed: int = 0, moved: float = 0.0) -> dict[str, list[object]]:
    """Ages, fares and a target that depends on them; half the ages' spread or more may be added."""
    rng = np.random.default_rng(seed)
    age, fare = rng.normal(40 + moved, 10, rows), rng.normal(30, 9, rows)
    bought = age + fare + rng.normal(0, 10, rows) > 70
    return {
        "age": age.tolist(),
        "fare": fare.tolist(),
        "city": rng.choice(["Oslo", "Lima", "Pune"], rows).tolist(),
        "bought": np.where(bought, "Yes", "No").tolist(),
    }


def write(path: str, columns: dict[str, list[object]]) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def test_a_sound_table_gives_no_error_and_no_warning(data) -> None:
    said = data(write("a.csv", table()), "--target", "bought", "--fail-on", "warning")
    assert said.code == 0
    assert "400 rows, 4 columns" in said.out
    assert "`bought`, classification" in said.out


def test_parquet_and_csv_say_the_same(data, tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    columns = table()
    columns["age"][7] = 4000.0
    write("a.csv", columns)
    pl.DataFrame(columns).write_parquet(tmp_path / "a.parquet")
    both = [data(name, "--target", "bought", "--json", "-") for name in ("a.csv", "a.parquet")]
    first, second = (
        [(one["rule"], one["severity"], one["title"]) for one in json.loads(said.out)["findings"]] for said in both
    )
    assert first == second
    assert "outliers" in both[0].rules


def test_the_answers_of_people_stay_words(data) -> None:
    columns = table()
    columns["bought"] = ["Yes"] * 390 + ["No"] * 10
    said = data(write("a.csv", columns), "--target", "bought", "--json", "-")
    (finding,) = (one for one in json.loads(said.out)["findings"] if one["rule"] == "class-imbalance")
    assert "`Yes`" in finding["title"]


def test_exit_codes_follow_fail_on(data) -> None:
    columns = table()
    columns["age"][7] = 4000.0
    write("a.csv", columns)
    assert [data("a.csv", *words).code for words in ((), ("--fail-on", "warning"), ("--fail-on", "note"))] == [0, 1, 1]
    columns["bought"][3] = ""
    said = data(write("b.csv", columns), "--target", "bought", "--quiet")
    assert (said.code, said.out) == (1, "")


def test_a_shifted_second_set_is_told(data) -> None:
    write("train.csv", table(2000))
    write("same.csv", table(2000, seed=1))
    write("other.csv", table(2000, seed=1, moved=8.0))
    assert "distribution-shift" not in data("train.csv", "--test", "same.csv", "--json", "-").rules
    said = data("train.csv", "--test", "other.csv", "--json", "-")
    assert "distribution-shift" in said.rules
    assert [one["rows"] for one in json.loads(said.out)["data"]["sets"]] == [2000, 2000]


def test_a_saved_profile_stands_in_for_the_training_set(data) -> None:
    write("train.csv", table(2000))
    assert data("train.csv", "--profile", "train.profile", "--quiet").code == 0
    write("other.csv", table(2000, seed=1, moved=8.0))
    write("same.csv", table(2000, seed=2))
    assert "distribution-shift" in data("train.profile", "--test", "other.csv", "--json", "-").rules
    assert "distribution-shift" not in data("train.profile", "--test", "same.csv", "--json", "-").rules


def test_suspects_are_a_table_of_rows(data) -> None:
    columns = table()
    columns["age"][7] = 4000.0
    columns["city"][7] = "=cmd"
    data(write("a.csv", columns), "--suspects", "rows.csv", "--quiet")
    found = [row for row in csv.DictReader(io.StringIO(Path("rows.csv").read_text("utf-8"))) if row["row"] == "7"]
    assert found[0]["rule"] == "outliers"
    assert found[0]["age"] == "4000"
    assert found[0]["city"] == "'=cmd"


def test_html_and_junit_are_written(data) -> None:
    write("a.csv", table())
    assert data("a.csv", "--html", "a.html", "--junit", "a.xml", "--quiet").code == 0
    assert "a.csv" in Path("a.html").read_text("utf-8")
    assert "<testsuite" in Path("a.xml").read_text("utf-8")


def test_only_and_without_choose_rules(data) -> None:
    columns = table()
    columns["age"][7] = 4000.0
    columns["fare"] = [1.5] * 400
    write("a.csv", columns)
    assert data("a.csv", "--json", "-", "--only", "outliers").rules == {"outliers"}
    assert "outliers" not in data("a.csv", "--json", "-", "--without", "outliers").rules


@pytest.mark.parametrize(("words", "told"), [
    (("a.csv", "--target", "bougt"), "did you mean 'bought'"),
    (("a.csv", "--sensitive", "city,sex"), "has no column 'sex'"),
    (("a.cvs",), "there is no file"),
    (("empty.csv",), "is empty"),
    (("head.csv",), "has a header and no rows"),
    (("a.csv", "--test", "nowhere.csv"), "there is no file nowhere.csv"),
    (("a.csv", "--json", "nowhere/a.json"), "cannot write"),
    (("--run", "last", "--target", "bought", "--schema", "a.json"), "--target, --schema cannot be given with `--run`"),
])  # fmt: skip
def test_wrong_use_is_told_in_a_sentence(data, words: tuple[str, ...], told: str) -> None:
    write("a.csv", table(60))
    Path("empty.csv").touch()
    Path("head.csv").write_text("a,b\n", "utf-8")
    said = data(*words)
    assert said.code == 2
    assert told in " ".join(said.err.split())
    assert "Traceback" not in said.err


def test_the_command_itself_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    write(str(tmp_path / "a.csv"), table())
    said = subprocess.run(
        [sys.executable, "-m", "stethoscope", "data", "a.csv", "--target", "bought"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "stethoscope data" in said.stdout
    assert said.stderr == ""  # DuckDB tells of objects that are left when Python ends
