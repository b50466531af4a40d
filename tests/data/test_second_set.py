"""Faults that only the second set has: each is named there, once, and a second set without one is silent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stethoscope.core.finding import Finding, Severity
from stethoscope.core.settings import Settings
from stethoscope.facts.data import Column
from stethoscope.facts.sentinels import as_missing, sentinel_of
from stethoscope.inspecting import inspect_data
from stethoscope.rules.columns import of_numbers


def table(rows: int, seed: int) -> pd.DataFrame:
    """A healthy table with a column of each kind."""
    rng = np.random.default_rng(seed)
    days = np.datetime64("2021-01-01") + rng.integers(0, 700, rows)
    age = rng.normal(45, 12, rows).round(1)
    return pd.DataFrame({
        "age": age,
        "city": rng.choice(["Paris", "Rome", "Oslo"], rows),
        "price": [f"{one:.2f}" for one in rng.lognormal(3, 1, rows)],
        "when": [str(day) for day in days],
        "y": np.where(age + rng.normal(0, 8, rows) > 45, "yes", "no"),
    })  # fmt: skip


def _in(column: str, value: object, share: float = 0.1) -> Callable[[pd.DataFrame], None]:
    def plant(frame: pd.DataFrame) -> None:
        frame.loc[np.arange(len(frame)) % round(1 / share) == 0, column] = value

    return plant


def _comma(frame: pd.DataFrame) -> None:
    rows = np.arange(len(frame)) % 2 == 0
    frame.loc[rows, "price"] = frame.loc[rows, "price"].str.replace(".", ",")


def _slashes(frame: pd.DataFrame) -> None:
    rows = np.arange(len(frame)) % 3 == 0
    frame.loc[rows, "when"] = [f"{one[8:]}/{one[5:7]}/{one[:4]}" for one in frame.loc[rows, "when"]]


def _slip(frame: pd.DataFrame) -> None:
    frame.loc[7, "age"] = 4.5e6


def _repeated(frame: pd.DataFrame) -> None:
    frame.iloc[-60:] = frame.iloc[:60].to_numpy()


def _conflicting(frame: pd.DataFrame) -> None:
    _repeated(frame)
    frame.loc[frame.index[-60:], "y"] = np.where(frame["y"].iloc[:60] == "yes", "no", "yes")


def _lower(frame: pd.DataFrame) -> None:
    rows = np.arange(len(frame)) % 2 == 0
    frame.loc[rows, "city"] = frame.loc[rows, "city"].str.lower()


FAULTS = {
    "a sentinel": (_in("age", -999), "missing-values", "age"),
    "a sentinel in a third of the rows": (_in("age", -999, 1 / 3), "missing-values", "age"),
    "a word for nothing": (_in("city", "N/A"), "missing-values-rise", "city"),
    "words among numbers": (_in("price", "call us", 0.05), "mixed-formats", "price"),
    "decimal commas": (_comma, "mixed-formats", "price"),
    "dates": (_slashes, "mixed-formats", "when"),
    "damaged letters": (_in("city", "MÃ¼nchen"), "mixed-formats", "city"),
    "a slip": (_slip, "outliers", "age"),
    "rows twice": (_repeated, "duplicate-samples", None),
    "rows twice with other labels": (_conflicting, "conflicting-labels", "y"),
    "no target": (_in("y", None), "missing-values", "y"),
    "categories in another spelling": (_lower, "new-categories", "city"),
    "a new category in a third of the rows": (_in("city", "Bonn", 1 / 3), "new-categories", "city"),
    "another class": (_in("y", "maybe"), "new-categories", "y"),
}


def said(second: pd.DataFrame) -> list[Finding]:
    """Errors and warnings."""
    found = inspect_data(table(2000, 0), second, target="y", settings=Settings()).diagnosis
    assert not found.broken
    return [each for each in found.findings if each.severity is not Severity.NOTE]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_second_set_is_named_there_and_once(fault: str) -> None:
    plant, rule, name = FAULTS[fault]
    second = table(600, 1)
    plant(second)
    found = said(second)
    assert [(each.rule, each.place.file) for each in found] == [(rule, "test")], [each.title for each in found]
    assert name is None or found[0].place.columns == (name,)


def test_a_shift_of_other_columns_is_not_put_under_new_values() -> None:
    second = table(600, 1)
    _in("city", "Bonn", 1 / 5)(second)
    second["age"] += 12
    found = {each.rule: each for each in said(second)}
    assert found["distribution-shift"].place.columns == ("age",)
    assert found["new-categories"].explains == ("distribution-shift",)


def test_a_second_set_without_a_fault_is_silent() -> None:
    assert not said(table(600, 1))


def test_a_sentinel_of_the_second_set_is_repaired() -> None:
    second = table(600, 1)
    _in("age", -999)(second)
    script = inspect_data(table(2000, 0), second, target="y", settings=Settings()).suggest()
    frames: dict[str, object] = {}
    exec(compile(script, "repair", "exec"), frames)  # the script is what is tested
    assert "-999" in script


def test_a_column_without_its_sentinel_is_as_if_it_had_never_been_written() -> None:
    values = [0.5 * i for i in range(60)]
    clean = of_numbers("a", [*values, *[float("nan")] * 5])
    dirty = of_numbers("a", [*values, *[-999.0] * 5], grid=clean.numbers.grid if clean.numbers else None)
    found = sentinel_of(dirty)
    assert found is not None
    left: Column = as_missing(dirty, found)
    one, other = left.numbers, clean.numbers
    assert one is not None
    assert other is not None
    assert (left.nulls, one.count, one.least, one.greatest) == (5, 60, 0.0, 29.5)
    assert (one.counts == other.counts).all()
    assert one.values == other.values
    for name in ("mean", "squares", "cubes", "fourths"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-6 * other.fourths), name


def test_of_a_number_far_beyond_all_others_no_digits_are_made_up() -> None:
    values = [i / 600 for i in range(60)]
    dirty = of_numbers("a", [*values, 999999.0])
    found = sentinel_of(dirty)
    assert found is not None
    numbers = as_missing(dirty, found).numbers
    assert numbers is not None
    assert numbers.std == pytest.approx(np.std(values), rel=0.01)
    assert np.isnan(numbers.skewness)


def test_missing_values_of_several_columns_are_said_to_be_of_several() -> None:
    frame = table(1000, 0)
    coded = frame.assign(size=frame["age"] + 1)
    for name in ("age", "size"):
        coded.loc[::20, name] = -999.0
    worded = frame.assign(town=frame["city"])
    for name in ("city", "town"):
        worded.loc[::20, name] = "N/A"
        worded.loc[1::20, name] = "?"

    for made, title in (
        (coded, "2 columns have numbers for nothing, first `age`"),
        (worded, "2 columns write nothing in several ways, first `city`"),
    ):
        said = inspect_data(made, target="y", settings=Settings()).diagnosis.findings
        assert [one.title for one in said if one.rule == "missing-values"] == [title]
        assert "skewed-feature" not in {one.rule for one in said if "age" in (one.place.columns or ())}
