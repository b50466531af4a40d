"""What is seen in the rows of a table: ties to the target, order, rows far from all others."""

from __future__ import annotations

import numpy as np
import pytest

from stethoscope.facts.data import Rows
from stethoscope.observe.data.far import far_rows
from stethoscope.observe.data.ordering import order
from stethoscope.observe.data.ties import ties

N = 600


def rows(**values: object) -> Rows:
    """A sample of all rows."""
    arrays = {name: np.asarray(some) for name, some in values.items()}
    return Rows(np.arange(len(next(iter(arrays.values())))), arrays)


@pytest.fixture(params=[0, 1, 2])
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    return np.random.default_rng(request.param)


def test_a_column_that_is_the_class_in_other_words_puts_nearly_all_errors_right(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 3, N).astype(float)
    found = ties(
        rows(y=labels, leak=labels * 7 - 2 + rng.normal(0, 0.1, N), noise=rng.normal(size=N)), "y", "classification"
    )

    assert [tie.column for tie in found] == ["leak", "noise"]
    assert found[0].low > 0.9
    assert found[1].low == 0
    assert found[1].strength < 0.1


def test_a_class_that_begins_within_a_stretch_is_told_of_all_its_rows(rng: np.random.Generator) -> None:
    labels = (rng.random(600) < 0.37).astype(float)
    copy = labels * 3 + rng.normal(0, 0.01, 600)
    slips = np.where(rng.random(600) < 0.3, rng.normal(1.5, 1.5, 600), copy)
    leak, some = ties(rows(y=labels, leak=copy, some=slips), "y", "classification")

    assert (leak.column, leak.strength) == ("leak", 1.0)
    assert leak.low > 0.95
    assert 0.6 < some.strength < 0.9


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0, 3.0])
def test_a_copy_of_a_target_with_a_long_tail_tells_it(rng: np.random.Generator, spread: float) -> None:
    target = rng.lognormal(0, spread, 3000)
    related = np.log(target) + rng.normal(0, spread, 3000)
    copy, other = ties(rows(y=target, copy=3 * target + 1, related=related), "y", "regression")

    assert (copy.column, copy.low > 0.95) == ("copy", True)
    assert 0.1 < other.strength < 0.6


def test_a_column_of_words_can_tell_a_number(rng: np.random.Generator) -> None:
    place = rng.integers(0, 4, N)
    words = np.array(["north", "south", "east", "west"], dtype=object)[place]
    found = ties(rows(y=place * 10.0 + rng.normal(0, 1, N), region=words), "y", "regression")

    assert found[0].strength > 0.95


def test_names_that_are_different_in_each_row_tell_nothing(rng: np.random.Generator) -> None:
    names = np.array([f"user {i}" for i in range(N)], dtype=object)

    assert ties(rows(y=rng.integers(0, 2, N).astype(float), name=names), "y", "classification") == ()


def test_too_few_rows_tell_nothing() -> None:
    assert ties(rows(y=[0.0, 1.0] * 10, a=[0.0, 1.0] * 10), "y", "classification") == ()


def test_shuffled_labels_have_the_expected_number_of_runs(rng: np.random.Generator) -> None:
    seen = order(rows(y=rng.integers(0, 4, N).astype(float)), "y", "classification")

    assert seen is not None
    assert abs(seen.runs - seen.expected_runs) < 4 * seen.spread


def test_sorted_labels_have_as_many_runs_as_classes(rng: np.random.Generator) -> None:
    seen = order(rows(y=np.sort(rng.integers(0, 4, N)).astype(float)), "y", "classification")

    assert seen is not None
    assert seen.runs == 4


def test_a_column_that_grows_along_the_rows_drifts(rng: np.random.Generator) -> None:
    seen = order(rows(time=np.arange(N) + rng.normal(0, 50, N), still=rng.normal(size=N)), "", "")

    assert seen is not None
    assert [name for name, _ in seen.drift] == ["time"]


def test_a_row_that_breaks_with_how_columns_go_together_is_far(rng: np.random.Generator) -> None:
    base = rng.normal(size=N)
    columns = {f"c{i}": base + rng.normal(0, 0.3, N) for i in range(4)}
    columns["c0"][17], columns["c1"][17] = 4.0, -4.0
    found = far_rows(rows(**columns))

    assert found[0].row == 17


def test_no_row_of_a_normal_table_is_far(rng: np.random.Generator) -> None:
    assert far_rows(rows(**{f"c{i}": rng.normal(size=N) for i in range(8)})) == ()


def test_columns_without_any_number_have_no_far_row() -> None:
    assert far_rows(rows(a=np.full(N, np.nan), b=np.full(N, np.inf))) == ()
