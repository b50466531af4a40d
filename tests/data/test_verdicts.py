"""Verdicts on tables like those in which rules once warned of nothing, or read a file in another way than its frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from stethoscope.core.finding import Severity
from stethoscope.core.settings import Settings
from stethoscope.inspecting import inspect_data

pytest.importorskip("narwhals")


def warned(data: object, target: str | None = None, test: object = None) -> set[str]:
    """Rules that give more than a note."""
    found = inspect_data(data, test, target=target).diagnosis.findings
    return {finding.rule for finding in found if finding.severity is not Severity.NOTE}


def test_optional_columns_and_small_counts_are_no_fault() -> None:
    rng = np.random.default_rng(0)
    pool = np.zeros(3000)
    pool[:13] = rng.integers(144, 800, 13)
    columns = {
        "alley": np.where(rng.random(3000) < 0.9, None, "Gravel"),
        "pool": pool,
        "motorcycles": rng.choice([0, 1, 2], 3000, p=[0.96, 0.038, 0.002]),
        "kind": rng.choice(["1Fam", "2Fam", "Twin"], 3000, p=[0.8, 0.1, 0.1]),
    }
    assert not warned(columns)


def test_equal_cases_of_a_coarse_table_are_not_called_copies_or_wrong_labels() -> None:
    rng = np.random.default_rng(0)
    columns = {
        "sex": rng.choice(["female", "male"], 1300), "age": rng.integers(1, 60, 1300),
        "survived": rng.choice(["no", "yes"], 1300, p=[0.6, 0.4]),
    }  # fmt: skip
    train, test = ({name: values[part] for name, values in columns.items()} for part in (slice(900), slice(900, 1300)))
    assert not warned(train, "survived", test)


def test_copies_with_other_labels_are_wrong_labels() -> None:
    rng = np.random.default_rng(0)
    columns = {"a": rng.normal(0, 1, 500), "b": rng.normal(0, 1, 500), "y": rng.choice(["no", "yes"], 500)}
    doubled = {name: np.concatenate([values, values[:80]]) for name, values in columns.items()}
    doubled["y"][500:510] = np.where(doubled["y"][:10] == "no", "yes", "no")
    assert {"conflicting-labels", "duplicate-samples"} <= warned(doubled, "y")


@pytest.mark.parametrize(("values", "task"), [
    (np.arange(400) % 19 + 69, "regression"), (np.arange(400) % 19, "classification"),
    (np.arange(400) % 6 + 3, "classification"), (np.arange(60) % 40, "regression"),
])  # fmt: skip
def test_whole_numbers_are_classes_where_they_start_as_classes_do_or_are_few(values: np.ndarray, task: str) -> None:
    assert (
        inspect_data({"x": np.random.default_rng(0).normal(0, 1, values.size), "y": values}, target="y").data.task
        == task
    )


def test_amounts_of_things_name_no_entities() -> None:
    rng = np.random.default_rng(0)
    names = ("num_open_accounts", "accounts_opened", "n_user", "user_id")
    train, test = ({name: rng.integers(0, 40, 500) for name in names} for _ in range(2))
    overlap = inspect_data(train, test).data.overlap
    assert overlap is not None
    assert [name for name, _, _ in overlap.shared_keys] == ["user_id"]


def test_a_file_of_text_has_truths_answers_and_dates_as_they_are_written(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    lines = (f"{'Yes' if i % 3 else 'No'},{str(i % 2 == 0).lower()},2012/{i % 12 + 1:02}/1" for i in range(60))
    file = tmp_path / "a.csv"
    file.write_text("\n".join(["bought,member,day", *lines]) + "\n", "utf-8")
    profile = inspect_data(file).data.train.profile
    assert [column.kind for column in profile.columns] == ["category", "truth", "date"]
    frame = {"day": np.array([f"2012/{i % 12 + 1:02}/1" for i in range(60)], object)}
    assert inspect_data(frame).data.train.profile.columns[0].kind == "date"


def _fixes(frame: pd.DataFrame, rule: str, target: str) -> str:
    found = inspect_data(frame, target=target, settings=Settings()).diagnosis.findings
    return "\n".join(fix.text for one in found if one.rule == rule for fix in one.fixes)


def test_the_line_for_spellings_that_case_does_not_tell_apart_unites_them() -> None:
    names = ["datsun b-210", "datsun b210", "ford pinto", "fiat 128"] * 60
    frame = pd.DataFrame({"name": names, "y": np.arange(240) % 7 / 3})
    line = _fixes(frame, "mixed-formats", "y").splitlines()[-1].strip()
    exec(line, {"frame": frame})  # what a reader would paste
    assert frame["name"].nunique() == 3


def test_what_is_said_of_a_class_with_one_row_can_be_done() -> None:
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=300), "y": ["a"] * 200 + ["b"] * 99 + ["c"]})
    lines = _fixes(frame, "class-imbalance", "y").splitlines()
    space = {"frame": frame}
    exec("\n".join(one.strip() for one in lines if one.startswith("    ") and "split" not in one), space)
    train_test_split(space["frame"], stratify=space["frame"]["y"])


def test_rows_that_conflict_name_another_row() -> None:
    frame = pd.DataFrame({"x": [*np.random.default_rng(0).normal(size=298), 9.0, 9.0], "y": ["a", "b"] * 150})
    found = inspect_data(frame, target="y", settings=Settings()).diagnosis.findings
    rows = next(one for one in found if one.rule == "conflicting-labels").suspects
    assert {(one.row, one.why) for one in rows} == {(298, "equal inputs: row 299"), (299, "equal inputs: row 298")}


def test_a_rare_large_target_that_a_line_explains_is_no_wrong_label() -> None:
    rng = np.random.default_rng(0)
    fare = rng.lognormal(2.3, 0.6, 2000)
    fare[:12] = rng.uniform(90, 150, 12)
    frame = pd.DataFrame({
        "fare": fare, "tip": 0.15 * fare * rng.random(2000), "hour": rng.integers(0, 24, 2000).astype(float),
        "passengers": rng.integers(1, 6, 2000).astype(float),
    })  # fmt: skip
    frame["total"] = frame["fare"] + frame["tip"] + rng.normal(1, 0.5, 2000)
    frame.loc[900, "total"] = 140.0
    found = [
        one
        for one in inspect_data(frame, target="total", settings=Settings()).diagnosis.findings
        if one.rule == "label-errors"
    ]
    assert [[row.row for row in one.suspects] for one in found] == [[900]]


def test_a_column_that_drifts_along_the_rows_is_told_and_what_rows_are_sorted_by_is_not() -> None:
    rng = np.random.default_rng(0)
    drifting = pd.DataFrame({"a": rng.normal(size=1000) + np.linspace(0, 3, 1000), "b": rng.normal(size=1000)})
    ordered = pd.DataFrame({"a": np.sort(rng.normal(size=1000)), "b": rng.normal(size=1000)})

    told = [each.title for each in inspect_data(drifting).diagnosis.findings if each.rule == "unshuffled-data"]
    assert len(told) == 1
    assert "`a` drifts" in told[0]
    assert not [each for each in inspect_data(ordered).diagnosis.findings if each.rule == "unshuffled-data"]
