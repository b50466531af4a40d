"""Groups of sensitive columns, and segments in which predictions are weak: planted ones, and none by chance."""

from __future__ import annotations

import numpy as np
import pytest

from stethoscope.core.finding import Finding
from stethoscope.facts.data import Data, DataSet, Rows
from stethoscope.observe.data.groups import errors, gap, groups, outcomes, parts, wilson
from stethoscope.observe.data.segments import weak_segments
from stethoscope.rules.data.biased_subgroup import BiasedSubgroup
from stethoscope.rules.data.weak_segment import WeakSegment

N = 2000
SENSITIVE = ("sex", "age", "region")
INPUTS = ["a", "b", "c", "d", "e", "sex", "age", "region"]


def rows(
    seed: int, task: str = "classification", *, weak: bool = False, biased: bool = False, rare: bool = False
) -> Rows:
    """People with a target and a model's predictions of it; weak for women above 60, or biased against women."""
    draws = np.random.default_rng(seed)
    inputs = draws.normal(size=(5, N))
    sex = np.where(draws.random(N) < 0.5, "f", "m").astype(object)
    age = draws.integers(18, 90, N).astype(float)
    region = draws.choice(list("abcdefgh"), N).astype(object)
    if rare:
        region[:12] = "z"
    concerned = (sex == "f") & (age > 60)
    if task == "regression":
        y = 3 * inputs[0] + draws.normal(size=N) + (2 * (sex == "f") if biased else 0)
        said = y + draws.standard_t(4, N) * np.where(concerned & weak, 3, 1)
    else:
        y = (inputs[0] + draws.normal(0, 0.5, N) + (0.5 * (sex == "f") if biased else 0) > 0).astype(float)
        said = np.where(draws.random(N) < np.where(concerned & weak, 0.5, 0.1), 1 - y, y)
    values = {**dict(zip("abcde", inputs, strict=True)), "sex": sex, "age": age, "region": region, "y": y, "p": said}
    return Rows(np.arange(N), values)


def judged(sample: Rows, task: str) -> tuple[list[Finding], list[Finding]]:
    told = groups(sample, "y", task, SENSITIVE, "p")
    weak = weak_segments(sample, "y", task, INPUTS, "p")
    seen = Data(DataSet("people", groups=told, weak=weak), target="y", task=task, sensitive=SENSITIVE, predictions="p")
    return (
        [one for one in BiasedSubgroup().in_data(seen) if isinstance(one, Finding)],
        [one for one in WeakSegment().in_data(seen) if isinstance(one, Finding)],
    )


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("seed", range(12))
def test_groups_that_do_not_differ_raise_no_alarm(task: str, seed: int) -> None:
    assert judged(rows(seed, task), task) == ([], [])


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_a_model_is_weak_is_named(task: str, seed: int) -> None:
    biased, weak = judged(rows(seed, task, weak=True), task)

    assert "worse for" in biased[0].title
    assert biased[0].place.columns is not None
    assert biased[0].place.columns[0] in ("sex", "age")
    assert weak[0].place.columns is not None
    assert set(weak[0].place.columns) <= {"sex", "age"}


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_target_that_differs_by_group_is_noted(task: str, seed: int) -> None:
    biased, weak = judged(rows(seed, task, biased=True), task)

    assert [(one.severity.value, one.place.columns) for one in biased] == [("note", ("sex", "y"))]
    assert not weak


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_errors_to_one_side_are_named(task: str, seed: int) -> None:
    sample = rows(seed, task)
    women = sample.values["sex"] == "f"
    y, said = sample.values["y"].astype(float), sample.values["p"]
    wrong = np.flatnonzero(y != said)
    if task == "regression":
        sample.values["p"][:] = said + 0.4 * women
    else:  # as many errors as before: of women, ones are missed; of men, noughts
        draws = np.random.default_rng(seed)
        said[:] = y
        for group, label in ((women, 1), (~women, 0)):
            places = np.flatnonzero(group & (y == label))
            said[draws.choice(places, len(wrong) // 2, replace=False)] = 1 - label
    biased, _ = judged(sample, task)

    told = {
        "classification": {"too few predicted `y = 1` for `sex = f`", "too many predicted `y = 1` for `sex = m`"},
        "regression": {"predictions are too high for `sex = f`", "predictions are too low for `sex = m`"},
    }
    assert len(biased) == 1
    assert biased[0].title in told[task]


def test_a_rare_group_is_noted() -> None:
    biased, _ = judged(rows(0, rare=True), "classification")

    assert [one.title for one in biased] == ["only 12 of 2,000 rows have `region = z`"]


def test_the_expression_of_a_segment_selects_its_rows() -> None:
    pandas = pytest.importorskip("pandas")
    sample = rows(0, weak=True)
    sample.values["age"][:50] = np.nan  # type: ignore[index]
    frame = pandas.DataFrame(dict(sample.values))
    for name in ("age", "sex", "region", "a"):
        made = parts(name, sample.values[name])
        assert made is not None
        for code, expression in enumerate(made.frames):
            chosen = eval(expression, {"frame": frame})
            assert chosen.to_numpy().tolist() == (made.codes == code).tolist(), expression


def test_parts_are_values_or_quarters_or_none() -> None:
    numbers = parts("n", np.arange(100.0))
    few = parts("n", np.array([1.0, 2.0, np.nan] * 10))
    assert numbers is not None
    assert few is not None
    assert len(numbers.names) == 4
    assert few.names == ("1", "2")
    assert few.codes[2] == -1
    assert parts("n", np.ones(10)) is None
    mostly = parts("n", np.concatenate([np.arange(9.0), np.full(91, 9.0)]))
    assert mostly is not None
    assert mostly.names == ("up to 8", "above 8")
    assert parts("n", np.array([f"user {i}" for i in range(10)], dtype=object)) is None


def test_probabilities_and_words_count_as_predictions() -> None:
    y = np.array([0.0, 1.0, 1.0, np.nan])
    words = np.array(["yes", "no", "no", None], dtype=object)
    said = {"y": y, "p": np.array([0.1, 0.8, 0.3, 0.2]), "w": words, "v": np.array(["yes", "no", "yes", "no"], object)}
    sample = Rows(np.arange(4), said)

    assert errors(sample, "y", "classification", "p")[0].tolist()[:3] == [0, 0, 1]  # type: ignore[union-attr]
    assert errors(sample, "w", "classification", "v")[0].tolist()[:3] == [0, 0, 1]  # type: ignore[union-attr]
    assert errors(sample, "w", "classification", "y")[0] is None
    assert outcomes(sample, "w", "classification")[1] == "share with w = yes"
    assert groups(sample, "y", "classification", (), "p") is None
    assert weak_segments(sample, "y", "classification", ["p"], "") is None


def test_intervals_hold() -> None:
    draws = np.random.default_rng(0)
    missed = 0
    for _ in range(400):
        inside, outside = (draws.random(60) < 0.1).astype(float), (draws.random(500) < 0.1).astype(float)
        low, high = gap(inside, outside, 1.96)
        missed += not low <= 0 <= high
    assert missed <= 32
    assert wilson(0.0, 100, 1.96) == pytest.approx((0, 0.037), abs=1e-3)
