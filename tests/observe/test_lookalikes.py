"""Rows that are nearly the same: by nature, or as copies."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from stethoscope.observe.training.lookalikes import lookalikes, nearly_equal


def test_pairs_that_differ_in_one_or_two_values_are_counted_as_pair_by_pair() -> None:
    rows = np.random.default_rng(0).integers(0, 2, (120, 7)).astype(np.float32)
    differ = [(rows[i] != rows[j]).sum() for i in range(120) for j in range(i)]

    assert nearly_equal(rows) == (len(differ), sum(1 <= count <= 2 for count in differ))


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
def test_measured_rows_have_no_near_twins(load: object) -> None:
    pairs, near = nearly_equal(load().data[:500].astype(np.float32))  # type: ignore[operator]

    assert pairs == 500 * 499 // 2
    assert near == 0


def test_one_hot_codes_nearly_agree_by_nature() -> None:
    pairs, near = nearly_equal(np.eye(50, dtype=np.float32))

    assert near == pairs


@pytest.mark.parametrize("features", [1, 2, 5, 20])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_separate_rows_are_as_near_as_chance_gives(features: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    said = lookalikes(draw.normal(size=(800, features)), draw.normal(size=(300, features)))

    assert said.compared == 300
    assert said.near <= 3 * said.expected + 5


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("features", [8, 64])
def test_copies_with_noise_are_near(seed: int, features: int) -> None:
    draw = np.random.default_rng(seed)
    training = draw.normal(size=(800, features))
    others = np.concatenate(
        [training[:100] + draw.normal(size=(100, features)) * 0.03, draw.normal(size=(200, features))]
    )
    said = lookalikes(training, others)

    assert said.near >= 95
    assert said.near > 3 * said.expected


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rows_some_of_which_lie_on_a_line_are_as_near_as_chance_gives(seed: int) -> None:
    draw = np.random.default_rng(seed)
    line = draw.random((1400, 1))
    on_a_line = np.concatenate([np.sin((k + 1) * 2 * line) for k in range(20)], 1)
    rows = np.where(draw.random((1400, 1)) < 0.4, on_a_line, draw.normal(size=(1400, 20)))
    said = lookalikes(rows[:1000], rows[1000:])

    assert said.near > 100
    assert said.near <= 3 * said.expected


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_copies_of_every_twelfth_row_are_more_than_chance_gives(seed: int) -> None:
    draw = np.random.default_rng(seed)
    training = draw.normal(size=(1000, 8))
    others = draw.normal(size=(400, 8))
    others[:33] = training[:33] + draw.normal(size=(33, 8)) * 0.03
    said = lookalikes(training, others)

    assert said.near >= 31
    assert said.near > 3 * said.expected


def test_values_that_are_no_numbers_or_very_large_cost_their_column_or_row_and_no_warning() -> None:
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(500, 8)).astype(np.float32)
    rows[::50, 2] *= 1e25
    rows[7, 3], rows[450, 4] = np.inf, np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = lookalikes(rows[:300], rows[300:])

    assert said.compared == 199
