"""The kernel that counts numbers, against the dullest way to compute the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stethoscope.facts.data import Numbers
from stethoscope.facts.grids import BINS, MANTISSA, Grid
from stethoscope.observe.data.arrays import BLOCK, Tally, numbers_of, numbers_of_counted, survey_of

DOUBLES = arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e6, 1e6))
ANYTHING = arrays(np.float64, st.integers(0, 100), elements=st.floats(allow_nan=True, allow_infinity=True))
GRIDS = st.builds(Grid, st.sampled_from([0.0, -3.0, 1e9, 0.1]), st.integers(-60, 40))


def plain(values: np.ndarray) -> Numbers:
    """The statistics of finite numbers, each by its definition."""
    distance = values - values.mean()
    return Numbers(
        count=values.size, least=values.min(), greatest=values.max(), mean=values.mean(),
        squares=(distance**2).sum(), cubes=(distance**3).sum(), fourths=(distance**4).sum(),
        zeros=int((values == 0).sum()), negative=int((values < 0).sum()), whole=int((values % 1 == 0).sum()),
        distinct=len(set(values.tolist())),
    )  # fmt: skip


def agree(found: Numbers, meant: Numbers) -> None:
    """Whether counts are equal and moments are but for rounding."""
    for part in ("count", "least", "greatest", "zeros", "negative", "whole"):
        assert getattr(found, part) == getattr(meant, part), part
    size = max(abs(meant.least), abs(meant.greatest), 1e-300)
    for part, power in (("mean", 1), ("squares", 2), ("cubes", 3), ("fourths", 4)):
        assert getattr(found, part) == pytest.approx(
            getattr(meant, part), rel=1e-6, abs=1e-300 + 1e-9 * meant.count * size**power
        )


@given(DOUBLES)
def test_a_column_is_counted(values: np.ndarray) -> None:
    nans, found = numbers_of(values)
    assert nans == 0
    agree(found, plain(values))
    assert found.distinct_is_exact
    assert found.distinct == len(set(values.tolist()))
    assert (found.counts == np.bincount(found.grid.bins(values), minlength=BINS)).all()


@pytest.mark.parametrize("make", [
    lambda rng, n: rng.normal(3, 2, n), lambda rng, n: rng.poisson(3, n), lambda rng, n: rng.integers(0, 5, n) / 2,
    lambda rng, n: rng.integers(-10**9, 10**9, n), lambda rng, n: rng.normal(1e12, 1e-1, n),
    lambda rng, n: np.where(rng.random(n) < 0.5, 7.25, rng.normal(0, 1, n)), lambda rng, n: np.full(n, -2.0),
    lambda rng, n: np.sort(rng.poisson(900, n)) + np.where(np.arange(n) > n // 2, 0.5, 0.0),
])  # fmt: skip
def test_long_columns_of_many_kinds_are_counted(make) -> None:
    values = np.asarray(make(np.random.default_rng(0), 3 * BLOCK + 17), np.float64)
    _, found = numbers_of(values)
    agree(found, plain(values))
    if found.distinct_is_exact:
        assert found.distinct == len(set(values.tolist()))
    assert all(count == (values == value).sum() for value, count in found.spikes)
    different, counts = np.unique(values, return_counts=True)
    frequent = {value: count for value, count in zip(different, counts, strict=True) if count >= 0.02 * values.size}
    assert {value: count for value, count in found.spikes if count >= 0.02 * values.size} == frequent
    assert (found.counts == np.bincount(found.grid.bins(values), minlength=BINS)).all()


@given(ANYTHING)
def test_nan_and_infinite_are_counted_apart(values: np.ndarray) -> None:
    nans, found = numbers_of(values)
    assert nans == np.isnan(values).sum()
    assert found.infinite == np.isinf(values).sum()
    assert found.count == np.isfinite(values).sum() == found.counts.sum()


@given(DOUBLES, st.lists(st.integers(0, 200), max_size=4))
def test_parts_in_any_cut_give_the_whole(values: np.ndarray, cuts: list[int]) -> None:
    survey, finite = survey_of(values)
    tally = Tally(survey)
    for part in np.split(finite, sorted(min(cut, finite.size) for cut in cuts)):
        tally.add(part)
    _, whole = numbers_of(values)
    agree(tally.numbers(), whole)
    assert (tally.numbers().counts == whole.counts).all()


@given(arrays(np.float64, 12, elements=st.sampled_from([-1.5, 0.0, 2.0, 3.0, np.nan, np.inf])))
def test_values_with_their_counts_are_counted_as_if_repeated(values: np.ndarray) -> None:
    counts = np.arange(values.size) + 1
    nans, found = numbers_of_counted(values, counts)
    other_nans, meant = numbers_of(np.repeat(values, counts))
    assert (nans, found.infinite, found.distinct) == (other_nans, meant.infinite, meant.distinct)
    if meant.count:
        agree(found, meant)
        assert found.spikes == meant.spikes


@given(GRIDS, arrays(np.float64, 50, elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_looked_up_bins_are_those_that_are_computed(grid: Grid, values: np.ndarray) -> None:
    with np.errstate(over="ignore"):
        distance = values - grid.centre
        finite = distance[np.isfinite(distance)]
        usual = finite[(np.abs(finite) >= np.finfo(float).tiny) | (finite == 0)]
        looked_up = grid.places()[np.ascontiguousarray(usual).view(np.uint64) >> np.uint64(MANTISSA)]
        assert (looked_up == Grid(0.0, grid.octave).bins(usual)).all()


@given(GRIDS, arrays(np.float64, 50, elements=st.floats(-1e9, 1e9, allow_subnormal=False)))
def test_bins_grow_with_values_and_lie_below_their_edges(grid: Grid, values: np.ndarray) -> None:
    ordered = np.sort(values)
    bins = grid.bins(ordered)
    assert (np.diff(bins) >= 0).all()
    inside = (bins > 0) & (bins < BINS - 1)
    edges = grid.edges()
    size = 4e-16 * (abs(grid.centre) + np.abs(ordered))
    assert (ordered[inside] <= edges[bins[inside]] + size[inside]).all()
    assert (ordered[inside] >= edges[bins[inside] - 1] - size[inside]).all()


@settings(max_examples=20)
@given(st.sampled_from([1e300, 1e-300, 1e18]))
def test_sizes_at_the_ends_of_what_doubles_hold(size: float) -> None:
    values = size * np.random.default_rng(0).normal(0, 1, 500)
    _, found = numbers_of(values)
    assert found.count == 500 == found.counts.sum()
    assert found.quantile(0.5) == pytest.approx(np.median(values), abs=0.1 * np.abs(values).max())


def test_minus_zero_is_zero() -> None:
    _, found = numbers_of(np.array([-0.0, 0.0, -0.0]))
    assert (found.zeros, found.negative, found.distinct) == (3, 0, 1)
    assert str(found.least) in ("0.0", "-0.0")


def test_equal_numbers_as_small_as_doubles_get_lie_where_their_grid_has_them() -> None:
    values = np.full(113, -5.798100818991727e-305)  # whose mean is off by its last digit: a distance that is subnormal
    _, found = numbers_of(values)
    assert (found.counts == np.bincount(found.grid.bins(values), minlength=BINS)).all()


def test_a_quantile_is_a_value_where_values_are_known_or_frequent() -> None:
    rng = np.random.default_rng(0)
    _, counts = numbers_of(rng.poisson(0.1, 5000).astype(float))
    assert [counts.quantile(share) for share in (0.01, 0.5, 0.95)] == [0, 0, 1]
    _, mostly = numbers_of(np.where(rng.random(50_000) < 0.8, 0.0, rng.lognormal(3, 1, 50_000)))
    assert mostly.values == ()
    assert mostly.quantile(0.5) == 0
