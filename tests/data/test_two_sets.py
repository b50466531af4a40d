"""Two halves of real tables: silent as they are, and each planted difference named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stethoscope.core.finding import Finding, Severity
from stethoscope.core.settings import Settings
from stethoscope.inspecting import inspect_data
from stethoscope.observe.data import label_errors
from stethoscope.rules.budget import SHARES

datasets = pytest.importorskip("sklearn.datasets")

TABLES = {
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "digits": datasets.load_digits,
}
TWO_SETS = {
    *SHARES, "inconsistent-preprocessing", "schema-violation", "train-test-overlap", "preprocessing-leakage",
}  # fmt: skip
Frames = tuple[pd.DataFrame, pd.DataFrame]


@pytest.fixture(autouse=True)
def _labels_are_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No models are trained to find wrong labels: most of the time, and nothing that is compared here."""
    monkeypatch.setattr(label_errors, "label_suspects", lambda *_: None)


def halves(name: str, seed: int) -> Frames:
    """The two halves of a shuffled table."""
    frame = TABLES[name](as_frame=True).frame
    if name == "digits":
        frame = frame.loc[:, frame.nunique() > 5]
    order = np.random.default_rng(seed).permutation(len(frame))
    first, second = order[: len(frame) // 2], order[len(frame) // 2 :]
    return frame.iloc[first].reset_index(drop=True), frame.iloc[second].reset_index(drop=True)


def said(frames: Frames, **options: str) -> list[Finding]:
    """What comparing the two says; options of `inspect_data`."""
    found = inspect_data(*frames, settings=Settings(), **options)
    assert not found.diagnosis.broken
    return [each for each in found.diagnosis.findings if each.rule in TWO_SETS]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", TABLES)
def test_random_halves_are_no_finding(name: str, seed: int) -> None:
    assert not [each for each in said(halves(name, seed), target="target") if each.severity is not Severity.NOTE]


def test_a_second_set_alone_is_not_needed() -> None:
    first, _ = halves("wine", 0)
    assert not [each for each in inspect_data(first, settings=Settings()).diagnosis.findings if each.rule in TWO_SETS]


def _shifted(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    return first, second.assign(**{"mean texture": second["mean texture"] + first["mean texture"].std()})


def _wider(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    centre = first["mean texture"].mean()
    return first, second.assign(**{"mean texture": centre + 2.5 * (second["mean texture"] - centre)})


def _other_units(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    return first, second.assign(**{"worst area": second["worst area"] / 1000})


def _all_other_units(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    inputs = [column for column in second if column != "target"]
    return first, second.assign(**{column: second[column] * 255 for column in inputs})


def _standardized_once(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    inputs = [column for column in second if column != "target"]
    mean, spread = first[inputs].mean(), first[inputs].std()
    return first.assign(**((first[inputs] - mean) / spread)), second


def _swapped(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    names = {"mean radius": "mean texture", "mean texture": "mean radius"}
    return first, second.rename(columns=names)[list(first)]


def _fitted_apart(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    inputs = [column for column in second if column != "target"]
    return tuple(each.assign(**((each[inputs] - each[inputs].mean()) / each[inputs].std())) for each in (first, second))  # type: ignore[return-value]


def _fitted_together(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    inputs = [column for column in second if column != "target"]
    both = pd.concat([first, second])[inputs]
    return tuple(each.assign(**((each[inputs] - both.mean()) / both.std(ddof=0))) for each in (first, second))  # type: ignore[return-value]


def _labels(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    kept = (second["target"] == 1) | (np.arange(len(second)) % 5 == 0)
    return first, second[kept]


def _missing(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    return first, second.assign(**{"mean area": second["mean area"].where(np.arange(len(second)) % 5 > 0)})


def _empty(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    return first, second.assign(**{"mean area": np.nan})


def _error_codes(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    return first, second.assign(**{"mean area": second["mean area"].where(np.arange(len(second)) % 12 > 0, -5555.0)})


def _infinite(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    return first, second.assign(**{"mean area": second["mean area"].where(np.arange(len(second)) > 0, np.inf)})


def _grades(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    """A column of categories: low, middle, high."""
    edges = first["mean area"].quantile([0.3, 0.7])
    names = np.array(["low", "middle", "high"])
    return tuple(  # type: ignore[return-value]
        each.assign(grade=names[np.searchsorted(edges, each["mean area"])]).astype({"grade": object})
        for each in (first, second)
    )


def _new_category(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    first, second = _grades(first, second)
    return first, second.assign(grade=second["grade"].where(np.arange(len(second)) % 10 > 0, "extreme"))


def _new_spelling(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    first, second = _grades(first, second)
    return first, second.assign(grade=second["grade"].replace("low", "Low "))


def _category_shares(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    first, second = _grades(first, second)
    return first, second.assign(grade=second["grade"].where(np.arange(len(second)) % 2 > 0, "low"))


def _spelled_missing(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    first, second = _grades(first, second)
    rows = np.arange(len(first)) % 10 > 0, np.arange(len(second)) % 10 > 0
    return first.assign(grade=first["grade"].where(rows[0], None)), second.assign(
        grade=second["grade"].where(rows[1], "N/A")
    )


def _dates(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    days = [pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(len(each)) % 300, "D") for each in (first, second)]
    return first.assign(day=days[0].strftime("%Y-%m-%d")), second.assign(day=days[1].strftime("%d/%m/%Y"))


def _lost(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    return first, second.drop(columns="mean area")


def _renamed(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    return first, second.rename(columns={"mean area": "mean_area"})


def _as_text(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    text = "about " + second["mean area"].round(-2).astype(str)
    return first, second.assign(**{"mean area": text.astype(object)})


def _apart(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    mixed = second["mean radius"].to_numpy()[np.random.default_rng(0).permutation(len(second))]
    return first, second.assign(**{"mean radius": mixed})


def _predicted(first: pd.DataFrame, second: pd.DataFrame) -> Frames:
    return tuple(each.assign(score=each["target"] * 0.8 + 0.1 * i) for i, each in enumerate((first, second)))  # type: ignore[return-value]


PLANTED: dict[str, tuple[Callable[[pd.DataFrame, pd.DataFrame], Frames], str, str]] = {
    "a standard deviation": (_shifted, "distribution-shift", "mean texture"),
    "wider": (_wider, "distribution-shift", "mean texture"),
    "category shares": (_category_shares, "distribution-shift", "grade"),
    "pairs that fell apart": (_apart, "distribution-shift", "mean radius"),
    "thousandths": (_other_units, "inconsistent-preprocessing", "worst area"),
    "times 255": (_all_other_units, "inconsistent-preprocessing", "mean area"),
    "standardized in one set": (_standardized_once, "inconsistent-preprocessing", "mean area"),
    "columns changed places": (_swapped, "inconsistent-preprocessing", "mean radius"),
    "dates in another form": (_dates, "inconsistent-preprocessing", "day"),
    "missing in another spelling": (_spelled_missing, "inconsistent-preprocessing", "grade"),
    "a scaler for each set": (_fitted_apart, "preprocessing-leakage", "mean area"),
    "a scaler for both": (_fitted_together, "preprocessing-leakage", "mean area"),
    "class shares": (_labels, "label-shift", "target"),
    "missing values": (_missing, "missing-values-rise", "mean area"),
    "an empty column": (_empty, "missing-values-rise", "mean area"),
    "error codes": (_error_codes, "out-of-range-values", "mean area"),
    "an infinite value": (_infinite, "out-of-range-values", "mean area"),
    "a new category": (_new_category, "new-categories", "grade"),
    "a new spelling": (_new_spelling, "new-categories", "grade"),
    "a lost column": (_lost, "schema-violation", "mean area"),
    "a renamed column": (_renamed, "schema-violation", "mean area"),
    "numbers as texts": (_as_text, "schema-violation", "mean area"),
}


@pytest.mark.parametrize(("seed", "clinic"), [(0, ""), (1, "measured in the clinic: ")], ids=["0", "1, long names"])
@pytest.mark.parametrize("name", PLANTED)
def test_what_was_planted_is_named_with_its_column_in_a_short_title(name: str, seed: int, clinic: str) -> None:
    plant, rule, column = PLANTED[name]
    first, second = (
        each.rename(columns=lambda column: column if column == "target" else f"{clinic}{column}")
        for each in plant(*halves("breast cancer", seed))
    )
    found = said((first, second), target="target")
    named = column if column == "target" else f"{clinic}{column}"
    about = [each for each in found if each.rule == rule and named in (each.place.columns or ())]
    assert about, [(each.rule, each.title) for each in found]
    assert about[0].severity is not Severity.NOTE
    assert len([each for each in found if each.severity is not Severity.NOTE]) <= 2, [each.title for each in found]
    assert all(len(each.title) <= 72 for each in found), [each.title for each in found]


@pytest.mark.parametrize("plant", [_grades, lambda first, second: (first, second)])
def test_what_is_the_same_in_both_sets_is_no_finding(plant: Callable[[pd.DataFrame, pd.DataFrame], Frames]) -> None:
    for seed in range(3):
        found = said(plant(*halves("breast cancer", seed)), target="target")
        assert not [each for each in found if each.severity is not Severity.NOTE]


def test_predictions_that_moved_are_named_and_are_no_input() -> None:
    found = said(_predicted(*halves("breast cancer", 0)), target="target", predictions="score")
    assert [each.rule for each in found] == ["prediction-shift"]


def test_vectors_that_moved_a_little_in_all_directions_lie_elsewhere() -> None:
    waves = np.random.default_rng(0).normal(size=(200, 48))
    first, second = (
        each.drop(columns="target").to_numpy(float) @ waves[: each.shape[1] - 1] for each in halves("digits", 0)
    )
    frames = [pd.DataFrame(each).rename(columns="x{}".format) for each in (first, second, second + 0.25 * first.std(0))]
    assert not [each for each in said((frames[0], frames[1])) if each.severity is not Severity.NOTE]
    found = said((frames[0], frames[2]))
    assert "embedding-shift" in {each.rule for one in found for each in (one, *one.follows)}


def test_vectors_of_which_some_classes_are_gone_lie_elsewhere() -> None:
    first, second = halves("digits", 0)
    second = second[second["target"] > 2]
    rules = {each.rule for each in said((first.drop(columns="target"), second.drop(columns="target")))}
    assert "distribution-shift" in rules


def test_a_table_that_was_cut_in_its_order() -> None:
    frame = TABLES["wine"](as_frame=True).frame
    rules = {each.rule for each in said((frame[:110], frame[110:]), target="target")}
    assert {"distribution-shift", "label-shift"} <= rules


def test_columns_that_only_follow_the_labels_are_a_note() -> None:
    found = said(_labels(*halves("breast cancer", 0)), target="target")
    severities = {each.rule: each.severity for each in found}
    assert severities == {"label-shift": Severity.WARNING, "distribution-shift": Severity.NOTE}
    moved = said(_shifted(*_labels(*halves("breast cancer", 0))), target="target")
    assert {each.rule: each.severity for each in moved}["distribution-shift"] is Severity.WARNING


def test_numbers_of_the_rows_are_not_compared() -> None:
    first, second = halves("wine", 0)
    first, second = first.assign(id=range(len(first))), second.assign(id=range(len(first), len(first) + len(second)))
    assert not said((first, second), target="target")


@pytest.mark.parametrize("of_words", [True, False])
def test_a_cut_by_patients_is_no_shift_of_their_names(of_words: bool) -> None:
    first, second = halves("breast cancer", 0)
    rng = np.random.default_rng(0)
    for each, low in ((first, 100), (second, 200)):
        numbers = rng.integers(low, low + 60, len(each))
        each["patient_id"] = [f"p{one}" for one in numbers] if of_words else numbers
    assert not said((first, second), target="target")


def test_categories_that_only_the_second_set_has_are_told_once() -> None:
    first, second = halves("breast cancer", 0)
    rng = np.random.default_rng(0)
    for each, names in ((first, "ab"), (second, "abcd")):
        each["clinic"] = rng.choice(list(names), len(each))
    assert [each.rule for each in said((first, second), target="target")] == ["new-categories"]


def test_a_new_class_is_told_once_and_classes_by_other_names_are_an_error() -> None:
    first, second = halves("breast cancer", 0)
    second.loc[::4, "target"] = 2
    assert [each.rule for each in said((first, second), target="target")] == ["new-categories"]
    first, second = halves("breast cancer", 0)
    second["target"] = np.where(second["target"] == 1, "benign", "malignant")
    (found,) = said((first, second), target="target")
    assert (found.rule, found.severity) == ("new-categories", Severity.ERROR)


def test_what_follows_is_put_under_the_cause() -> None:
    found = said(_all_other_units(*halves("breast cancer", 0)), target="target")
    assert [each.rule for each in found] == ["inconsistent-preprocessing"]
    assert found[0].severity is Severity.ERROR
    found = said(_error_codes(*halves("breast cancer", 1)), target="target")
    assert [each.rule for each in found] == ["out-of-range-values"]


def test_facts_are_not_changed_by_comparing(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = halves("wine", 0)
    kept = first.copy(), second.copy()
    once, again = (inspect_data(first, second, target="target", settings=Settings()) for _ in range(2))
    pd.testing.assert_frame_equal(first, kept[0])
    pd.testing.assert_frame_equal(second, kept[1])
    assert repr(once.diagnosis) == repr(again.diagnosis)
    assert repr(once.data.joint) == repr(again.data.joint)
    assert not capsys.readouterr().out
