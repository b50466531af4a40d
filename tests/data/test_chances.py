"""Tails, bands and intervals beside SciPy and beside draws."""

from __future__ import annotations

import numpy as np
import pytest

from stethoscope.facts import statistics as ours
from stethoscope.rules.budget import REPORT, SHARES

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("freedom", [1, 2, 9, 99, 999])
@pytest.mark.parametrize("shift", [0.0, 0.5, 5.0, 500.0, 50_000.0])
@pytest.mark.parametrize("chance", [0.9, 0.05, 1e-3, 1e-6])
def test_chi_square_tails_are_scipys(freedom: int, shift: float, chance: float) -> None:
    value = stats.ncx2.isf(chance, freedom, shift) if shift else stats.chi2.isf(chance, freedom)
    assert ours.chi_square_above(value, freedom, shift) == pytest.approx(chance, rel=1e-6)


@pytest.mark.parametrize(("shape", "value"), [(0.5, 0.1), (3, 10), (100, 60), (1000, 1100), (2, 0)])
def test_gamma_tails_are_scipys(shape: float, value: float) -> None:
    assert ours.gamma_above(shape, value) == pytest.approx(stats.gamma.sf(value, shape), rel=1e-9)


@pytest.mark.parametrize("value", [-3.0, 0.0, 1.96, 6.0, 12.0])
def test_normal_tails_are_scipys(value: float) -> None:
    assert ours.normal_above(value) == pytest.approx(stats.norm.sf(value), rel=1e-9)


@pytest.mark.parametrize(
    ("count", "mean"), [(1, 0.1), (5, 0.5), (10, 12), (100, 60), (3, 1e-4), (10, 200), (0, 3), (2, 0)]
)
def test_poisson_tails_are_scipys(count: int, mean: float) -> None:
    assert ours.at_least_chance(count, mean) == pytest.approx(stats.poisson.sf(count - 1, mean), rel=1e-4, abs=1e-300)


def test_wilson_and_newcombe_are_the_published_ones() -> None:
    # R. G. Newcombe 1998, part 1, table I, and part 2, table II, method 10.
    assert ours.share_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert ours.rise_interval((48, 80), (56, 70)) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert ours.rise_interval((0, 10), (9, 10)) == pytest.approx((0.3963 + 0.1, 0.9821), abs=0.1)


def test_dealt_rows_are_bounded_by_the_hypergeometric() -> None:
    for found, picked, first, second in ((5, 6, 20, 10), (8, 8, 20, 30), (30, 40, 100, 100), (3, 3, 1000, 1000)):
        exact = stats.hypergeom.sf(found - 1, first + second, second, picked)
        assert exact <= ours.dealt_chance(found, picked, first, second) * 1.0000001
    assert ours.all_in_one_chance(3, 4, 6) == pytest.approx(stats.hypergeom.sf(2, 10, 6, 3))
    assert ours.all_in_one_chance(7, 4, 6) == 0


@pytest.mark.parametrize("rows", [(20, 20), (50, 200), (500, 500)])
def test_gaps_of_equal_columns_stay_in_their_band(rows: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    gaps = [stats.ks_2samp(random.normal(size=rows[0]), random.normal(size=rows[1])).statistic for _ in range(1000)]
    assert np.mean(np.array(gaps) > ours.gap_band(0.05, *rows)) <= 0.05
    assert ours.gap_chance(ours.gap_band(0.01, *rows), *rows) == pytest.approx(0.01)


def test_rank_sums_are_scipys() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=300), random.normal(size=400) + 0.2
    tested = stats.mannwhitneyu(first, second, method="asymptotic", use_continuity=False)
    size = abs(tested.statistic / 300 / 400 - 0.5)
    assert ours.rank_chance(size, 300, 400) == pytest.approx(tested.pvalue, rel=1e-6)


def test_benjamini_and_hochberg_choose_as_scipy_does() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        chances = random.uniform(size=20) ** 3
        assert ours.chosen(chances.tolist(), 0.05) == (stats.false_discovery_control(chances) <= 0.05).tolist()
    assert ours.chosen([], 0.05) == []


def test_the_budget_of_a_report_is_not_overspent() -> None:
    assert sum(SHARES.values()) <= REPORT + 1e-12
