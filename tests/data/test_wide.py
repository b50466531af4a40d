"""Tables with hundreds of columns: what a line through all other columns explains is asked of narrower ones alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("narwhals")

from stethoscope.facts.data import DataSet
from stethoscope.inspecting import inspect_data
from stethoscope.observe.data import contradicted, units


def _set(rows: int, columns: int) -> DataSet:
    """Columns that follow from three others, and one value that they contradict; nothing is beyond the others."""
    rng = np.random.default_rng(0)
    causes = rng.normal(size=(rows, 3))
    table = causes @ rng.normal(size=(3, columns)) + 0.05 * rng.normal(size=(rows, columns))
    table[7, 0] = -table[7, 0] + np.sign(table[7, 0]) * -1.0
    return inspect_data({f"c{place}": table[:, place] for place in range(columns)}).data.train


def test_a_value_that_others_contradict_is_told_where_there_are_rows_enough() -> None:
    assert [one.row for one in _set(400, 20).contradicted] == [7]


def test_more_columns_than_a_quarter_of_the_rows_explain_each_other_by_chance() -> None:
    assert _set(400, 101).contradicted == ()


def test_thousands_of_columns_are_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inverse of a matrix of 5,000 columns takes half a minute, and is asked for twice."""

    def inverse(matrix: np.ndarray) -> np.ndarray:
        raise AssertionError(f"an inverse of {matrix.shape} numbers")

    monkeypatch.setattr(np.linalg, "inv", inverse)
    wide = _set(220, 501)
    assert contradicted.contradicted(wide) == ()
    assert units.mixtures(wide) == ()
