"""Faults of tables that no single statistic shows, planted in a made-up table; and the healthy table beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from stethoscope.core.finding import Finding, Severity  # noqa: E402
from stethoscope.inspecting import inspect_data  # noqa: E402

ROWS = 1000
Frame = Any


def people(seed: int = 0) -> tuple[np.random.Generator, Frame]:
    """Heights in metres, weights in kilograms, ages, incomes, a blood pressure, and a risk that they tell."""
    random = np.random.default_rng(seed)
    height = random.normal(1.71, 0.09, ROWS)
    weight = 22.5 * height**2 * np.exp(random.normal(0, 0.13, ROWS))
    age = np.clip(random.normal(45, 15, ROWS), 18, 85).round()
    frame = pd.DataFrame({
        "height": height.round(2),
        "weight": weight.round(1),
        "age": age,
        "income": random.lognormal(10, 0.5, ROWS).round(),
        "pressure": (90 + 0.6 * age + random.normal(0, 10, ROWS)).round(),
        "born": pd.Timestamp("1930-01-01") + pd.to_timedelta(random.integers(0, 25_000, ROWS), "D"),
        "city": random.choice(["Rome", "Oslo", "Bonn", "Lyon"], ROWS),
        "risk": (30 + 2 * age + 200 * (height - 1.7) + 0.4 * weight + random.normal(0, 5, ROWS)).round(2),
    })  # fmt: skip
    return random, frame


def some(random: np.random.Generator, share: float = 0.03) -> Any:
    return random.random(ROWS) < share


def found(frame: Frame, rule: str, **asked: Any) -> list[Finding]:
    diagnosis = inspect_data(frame, **asked).diagnosis
    assert not diagnosis.broken
    return [one for one in diagnosis.findings if one.rule == rule]


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_table_has_no_error_and_no_warning(seed: int) -> None:
    _, frame = people(seed)
    diagnosis = inspect_data(frame, target="risk").diagnosis

    assert {one.rule for one in diagnosis.findings} <= {"unnormalized-input", "unnormalized-target", "outliers"}
    assert {one.severity for one in diagnosis.findings} <= {Severity.NOTE}


@pytest.mark.parametrize("value", [-1, -9, 999])
def test_numbers_for_nothing_among_ages_are_told_and_repaired(value: float) -> None:
    random, frame = people()
    frame.loc[some(random), "age"] = value
    told = inspect_data(frame)

    assert [one.title for one in told.diagnosis.findings if one.severity is Severity.WARNING] == [
        f"column `age` has {value} where a value is missing"
    ]
    assert repaired(told, frame)["age"].min() >= (18 - 45) / 10


@pytest.mark.parametrize("name", ["age", "weight"])
def test_a_zero_far_below_all_others_is_worth_a_note(name: str) -> None:
    random, frame = people()
    frame.loc[some(random), name] = 0
    told = found(frame, "missing-values")

    assert [one.severity for one in told] == [Severity.NOTE]
    assert told[0].place.columns == (name,)


def test_a_zero_that_means_none_says_nothing() -> None:
    random, frame = people()
    frame["pool"] = np.where(random.random(ROWS) < 0.9, 0, random.uniform(20, 90, ROWS))
    frame["debt"] = np.where(random.random(ROWS) < 0.3, 0, random.lognormal(8, 1, ROWS))
    frame["visits"] = random.poisson(2, ROWS) - 1.0
    frame["change"] = random.normal(0, 1, ROWS).round()

    assert found(frame, "missing-values") == []


@pytest.mark.parametrize("day", ["1900-01-01", "1970-01-01", "2099-12-31"])
@pytest.mark.parametrize("written", [False, True], ids=["dates", "texts"])
def test_days_for_nothing_are_told_and_repaired(day: str, written: bool) -> None:
    random, frame = people()
    frame.loc[some(random), "born"] = pd.Timestamp(day)
    if written:
        frame["born"] = frame["born"].dt.strftime("%d/%m/%Y")
    told = inspect_data(frame)

    assert [one.title for one in told.diagnosis.findings if one.rule == "missing-values"] == [
        f"column `born` has {day} where a value is missing"
    ]
    assert pd.Timestamp(day) not in set(repaired(told, frame)["born"])


def test_a_series_of_days_that_begins_in_1970_is_healthy() -> None:
    _, frame = people()
    frame["day"] = np.tile(pd.date_range("1970-01-01", periods=ROWS // 4), 4)

    assert found(frame, "missing-values") == []


@pytest.mark.parametrize("word", ["TBD", "[deleted]", "n.a", "not available"])
def test_words_for_nothing_are_missing_values(word: str) -> None:
    random, frame = people()
    frame["born"] = frame["born"].dt.strftime("%Y-%m-%d")
    frame["income"] = frame["income"].astype(int).astype(str)
    for name in ("income", "born", "city"):
        frame.loc[some(random), name] = word
    told = found(frame, "missing-values")

    assert [one.place.columns and set(one.place.columns) for one in told] == [{"income", "born", "city"}]


def test_a_word_among_dates_and_among_numbers_is_told() -> None:
    random, frame = people()
    frame["born"] = frame["born"].dt.strftime("%Y-%m-%d")
    frame["income"] = frame["income"].astype(int).astype(str)
    for name in ("income", "born"):
        frame.loc[some(random), name] = "pending"

    assert sorted(one.title for one in found(frame, "mixed-formats")) == [
        "column `born` holds dates, and words such as 'pending'",
        "column `income` holds numbers, and words such as 'pending'",
    ]


def test_an_address_that_many_share_is_worth_a_note() -> None:
    random, frame = people()
    frame["mail"] = [f"m{place}@example.com" for place in range(ROWS)]
    assert found(frame, "missing-values") == []

    frame.loc[some(random), "mail"] = "none@example.com"
    told = found(frame, "missing-values")
    assert [one.severity for one in told] == [Severity.NOTE]


def repaired(told: Any, frame: Frame) -> Frame:
    """The frame after the script that repairs it."""
    space: dict[str, Callable[..., list[Frame]]] = {}
    exec(told.suggest(), space)
    return space["repair"](frame)[0]


@pytest.mark.parametrize("share", [0.05, 0.4])
def test_centimetres_among_metres_are_told_with_their_border(share: float) -> None:
    random, frame = people()
    odd = some(random, share)
    frame.loc[odd, "height"] *= 100
    (told,) = found(frame, "mixed-units", target="risk")

    assert told.severity is Severity.WARNING
    assert told.place.columns == ("height",)
    assert {one.row for one in told.suspects} <= set(np.flatnonzero(odd).tolist())
    exec(next(line for line in told.fixes[0].text.splitlines() if "odd =" in line).strip(), {"frame": frame})


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_pounds_among_kilograms_are_told_by_what_height_says_of_weight(share: float) -> None:
    random, frame = people()
    frame.loc[some(random, share), "weight"] *= 2.20462
    (told,) = found(frame, "mixed-units", target="risk")

    assert (told.severity, told.place.columns) == (Severity.WARNING, ("weight",))


def test_two_kinds_of_things_are_not_two_units() -> None:
    random, frame = people()
    is_large = random.random(ROWS) < 0.4
    frame["engine"] = np.where(is_large, 100, 1) * np.exp(random.normal(0, 0.1, ROWS))
    frame["wheel"] = np.where(is_large, 3, 1) * np.exp(random.normal(0, 0.1, ROWS))
    frame["dose"] = random.choice([1.0, 10.0, 100.0], ROWS)

    assert found(frame, "mixed-units") == []


def test_units_in_texts_are_converted_and_not_cut_off() -> None:
    random, frame = people()
    kilograms, pounds = frame["weight"], some(random, 0.3)
    frame["weight"] = np.where(pounds, (kilograms * 2.20462).map("{:.1f} lb".format), kilograms.map("{:.1f} kg".format))
    told = inspect_data(frame)
    after = repaired(told, frame)["weight"]

    assert [one.rule for one in told.diagnosis.findings if one.severity is Severity.WARNING] == ["mixed-units"]
    assert np.corrcoef(after, kilograms)[0, 1] > 0.9999


def test_currencies_are_left_to_a_person() -> None:
    random, frame = people()
    frame["income"] = np.where(
        some(random, 0.3), frame["income"].map("€ {:.0f}".format), frame["income"].map("$ {:.0f}".format)
    )
    told = inspect_data(frame)

    assert [one.rule for one in told.diagnosis.findings if one.severity is Severity.WARNING] == ["mixed-units"]
    assert "as_number" not in told.suggest()
    assert "# mixed-units:" in told.suggest()


def test_numbers_without_a_unit_among_others_are_taken_for_it_in_so_many_words() -> None:
    random, frame = people()
    plain = some(random, 0.3)
    frame["weight"] = np.where(plain, frame["weight"].map("{:.1f}".format), frame["weight"].map("{:.1f} kg".format))

    assert "# those without a unit are taken for kg: look before you trust it" in inspect_data(frame).suggest()


@pytest.mark.parametrize("factor", [10, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_one_in_a_hundred_targets_with_a_slip_of_the_point_is_listed(seed: int, factor: float) -> None:
    random, frame = people(seed)
    odd = random.choice(ROWS, 10, replace=False)
    frame.loc[odd, "risk"] *= factor
    (told,) = found(frame, "label-errors", target="risk")
    listed = {one.row for one in told.suspects}

    assert told.severity is Severity.WARNING
    assert len(listed & set(odd.tolist())) >= 8
    assert len(listed - set(odd.tolist())) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_targets_with_long_tails_have_no_slips(seed: int) -> None:
    random, frame = people(seed)
    frame["risk"] += 10 * random.standard_t(3, ROWS)
    assert [one for one in found(frame, "label-errors", target="risk") if one.severity is not Severity.NOTE] == []

    frame["risk"] = np.exp(frame["risk"] / 40 + random.normal(0, 0.5, ROWS))
    assert [one for one in found(frame, "label-errors", target="risk") if one.severity is not Severity.NOTE] == []


def test_a_column_that_hardly_varies_is_worth_a_note_and_stays() -> None:
    random, frame = people()
    frame["rare"] = (random.random(ROWS) < 0.012).astype(int)
    assert found(frame, "constant-feature") == []

    frame["flag"] = 0
    frame.loc[:2, "flag"] = 1
    told = inspect_data(frame)
    (note,) = (one for one in told.diagnosis.findings if one.rule == "constant-feature")
    assert (note.severity, note.title) == (Severity.NOTE, "column `flag` is 0 in all but 3 rows")
    assert "flag" in repaired(told, frame)


def test_a_cut_by_speakers_has_no_new_categories() -> None:
    random, frame = people()
    who = random.integers(0, 40, ROWS)
    frame["speaker"] = [f"s{one}" for one in who]
    diagnosis = inspect_data(frame[who < 30], frame[who >= 30], target="risk").diagnosis

    assert {one.severity for one in diagnosis.findings} <= {Severity.NOTE}


def test_spellings_of_a_class_lead_the_conflicts_and_wrong_labels_that_they_make() -> None:
    random, frame = people()
    frame["risk"] = np.where(frame["age"] > 45, "old", "young")
    frame = pd.concat([frame, frame.iloc[:200]], ignore_index=True)
    odd = random.random(len(frame)) < 0.2
    frame.loc[odd, "risk"] = frame.loc[odd, "risk"].str.upper()
    first = inspect_data(frame, target="risk").diagnosis.findings[0]

    assert first.rule == "mixed-formats"
    assert {one.rule for one in first.follows} == {"label-errors", "conflicting-labels"}


def test_wrong_labels_lead_the_conflicts_that_they_make_among_copies() -> None:
    random, frame = people()
    frame["risk"] = np.where(frame["age"] > 45, "old", "young")
    frame = pd.concat([frame, frame.iloc[:200]], ignore_index=True)
    odd = random.random(len(frame)) < 0.15
    frame.loc[odd, "risk"] = np.where(frame.loc[odd, "risk"] == "old", "young", "old")
    first = inspect_data(frame, target="risk").diagnosis.findings[0]

    assert first.rule == "label-errors"
    assert {one.rule for one in first.follows} == {"conflicting-labels"}


def test_empty_rows_are_neither_copies_nor_conflicts() -> None:
    random, frame = people()
    frame["risk"] = np.where(frame["age"] > 45, "old", "young")
    frame.loc[some(random, 0.05), frame.columns[:-1].tolist()] = None
    rules = {one.rule for one in inspect_data(frame, target="risk").diagnosis.findings}

    assert "missing-values" in rules
    assert not rules & {"conflicting-labels", "duplicate-samples"}


def test_an_embedding_that_has_moved_is_one_finding_and_what_else_moved_another() -> None:
    random, _ = people()
    mixing = random.normal(size=(64, 64)) / 8
    sets = []
    for shift in (0.0, 0.3):
        frame = pd.DataFrame(random.normal(size=(ROWS, 64)) @ mixing + shift).add_prefix("emb_")
        sets.append(frame.assign(price=random.normal(4 * shift, 1, ROWS), size=random.normal(0, 1, ROWS)))
    diagnosis = inspect_data(*sets).diagnosis
    loud = [one for one in diagnosis.findings if one.severity is Severity.WARNING]

    assert [one.rule for one in loud] == ["embedding-shift", "distribution-shift"]
    assert loud[1].place.columns == ("price",)
    assert not inspect_data(sets[0][:500], sets[0][500:]).diagnosis.count(Severity.WARNING)


@pytest.mark.parametrize("seed", range(3))
def test_values_that_only_together_are_odd_are_listed(seed: int) -> None:
    random, frame = people(seed)
    frame = frame.drop(columns="risk")
    odd = random.choice(ROWS, 5, replace=False)
    frame.loc[odd, "height"] = [1.55, 1.9, 1.58, 1.93, 1.54]
    frame.loc[odd, "weight"] = [110, 45, 105, 47, 112]
    told = [one for one in found(frame, "outliers") if "contradict" in one.title]

    assert [one.severity for one in told] == [Severity.NOTE]
    assert {one.row for one in told[0].suspects} == set(odd.tolist())


@pytest.mark.parametrize("seed", range(3))
def test_long_tails_together_contradict_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    together = random.multivariate_normal(np.zeros(5), 0.7 + 0.3 * np.eye(5), ROWS)
    wild = together / np.sqrt(random.chisquare(6, ROWS) / 6)[:, None]
    size = random.lognormal(size=ROWS)
    frame = pd.DataFrame(wild).add_prefix("x").assign(a=size, b=size * random.lognormal(0, 0.3, ROWS))

    assert not [one for one in found(frame, "outliers") if "contradict" in one.title]
