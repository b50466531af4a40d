"""How far apart columns lie: beside SciPy on the rows themselves, and verdicts on draws."""

from __future__ import annotations

import numpy as np
import pytest

from stethoscope.core.finding import Finding
from stethoscope.facts.data import Data, DataSet, Words
from stethoscope.facts.gaps import numbers_gap, pooled, words_gap
from stethoscope.facts.images import PROPERTIES, ImageSet
from stethoscope.facts.texts import PROPERTIES as TEXTS
from stethoscope.facts.texts import TextSet
from stethoscope.rules.columns import numbers_of, of_numbers, of_words
from stethoscope.rules.data.distribution_shift import DistributionShift
from stethoscope.rules.shifting import judged
from stethoscope.rules.two_sets import column

stats = pytest.importorskip("scipy.stats")
DRAWS = {
    "normal": lambda random, rows: random.normal(3, 2, rows),
    "lognormal": lambda random, rows: random.lognormal(size=rows),
    "Pareto": lambda random, rows: random.pareto(2.2, rows),
    "Poisson": lambda random, rows: random.poisson(4, rows).astype(float),
}


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_gap_and_distance_are_those_of_the_rows(kind: str, shift: float) -> None:
    random = np.random.default_rng(0)
    one, other = DRAWS[kind](random, 2000), DRAWS[kind](random, 1500) + shift
    first = numbers_of(one)
    gap = numbers_gap(first, numbers_of(other, first.grid))
    assert gap is not None
    assert gap.size == pytest.approx(stats.ks_2samp(one, other).statistic, abs=0.01)
    assert gap.size <= stats.ks_2samp(one, other).statistic + 1e-12
    distance = stats.wasserstein_distance(one, other) / one.std()
    assert gap.wasserstein == pytest.approx(distance, rel=0.05, abs=0.01)
    assert gap.above == pytest.approx(stats.mannwhitneyu(other, one).statistic / 2000 / 1500, abs=0.01)


def test_a_column_beside_itself_has_no_gap() -> None:
    numbers = numbers_of([1.0, 2.0, 3.0] * 20)
    gap = numbers_gap(numbers, numbers)
    assert gap is not None
    assert (gap.size, gap.chance, gap.wasserstein, gap.above) == (0, 1, 0, 0.5)


def test_other_grids_cannot_be_compared() -> None:
    assert numbers_gap(numbers_of([1.0, 2.0]), numbers_of([100.0, 200.0])) is None


def test_rare_categories_are_pooled() -> None:
    one = of_words("a", {"x": 500, "y": 480} | {f"r{i}": 1 for i in range(20)}).words
    other = of_words("a", {"x": 490, "y": 490} | {f"s{i}": 1 for i in range(20)}).words
    assert one is not None
    assert other is not None
    names, first, second = pooled(one, other)
    assert names == ["x", "y", "all others"]
    assert (first.sum(), second.sum()) == (1000, 1000)
    gap = words_gap(one, other, 0.05)
    assert gap is not None
    assert gap.chance == pytest.approx(1, abs=0.2)


def test_a_value_that_may_be_hidden_below_the_list_makes_the_smallest_difference() -> None:
    listed = tuple((f"v{i}", 10) for i in range(10))
    one = Words(count=1000, distinct=100, distinct_is_exact=False, top=listed)
    other = Words(count=1000, distinct=100, distinct_is_exact=False, top=(("new", 10), *listed[1:]))
    names, first, second = pooled(one, other)
    assert first[names.index("new")] == second[names.index("new")] == 10


@pytest.mark.parametrize("categories", [2, 50, 500])
def test_categories_that_did_not_change_are_within_the_tolerance_or_cannot_be_told(categories: int) -> None:
    random = np.random.default_rng(0)
    shares = 1 / np.arange(1, categories + 1)
    shares /= shares.sum()
    for rows in (200, 2000):
        for _ in range(100):
            drawn = [random.multinomial(rows, shares) for _ in range(2)]
            one, other = (of_words("a", {str(i): int(n) for i, n in enumerate(each) if n}) for each in drawn)
            assert all(shift.verdict != "shift" for shift in judged([(one, other)], 0.002))


def test_three_verdicts_and_the_rows_that_would_settle_it() -> None:
    random = np.random.default_rng(0)

    def verdict(rows: int, shift: float) -> tuple[str, int]:
        one = of_numbers("a", random.normal(size=rows))
        found = judged([(one, column("a", (random.normal(size=rows) + shift).tolist(), one))], 0.002)[0]
        return found.verdict, found.gap.needed

    assert verdict(1000, 0.5)[0] == "shift"
    assert verdict(20_000, 0.0)[0] == "none beyond tolerance"
    word, needed = verdict(500, 0.0)
    assert word == "cannot tell"
    assert verdict(needed, 0.0)[0] == "none beyond tolerance"


def test_darker_pictures_are_called_darker() -> None:
    random = np.random.default_rng(0)
    sets = []
    for brightness in (0.6, 0.4):
        values = np.full((400, len(PROPERTIES)), np.nan)
        values[:, PROPERTIES.index("brightness")] = random.normal(brightness, 0.1, 400)
        sets.append(DataSet("photos", images=ImageSet(values=values)))
    found = [each for each in DistributionShift().in_data(Data(*sets)) if isinstance(each, Finding)]
    assert [each.place.columns for each in found] == [("brightness",)]
    assert "darker" in found[0].cause
    assert not list(DistributionShift().in_data(Data(sets[0], sets[0])))


def test_texts_are_compared_by_their_properties() -> None:
    random = np.random.default_rng(0)
    values = random.normal(40, 10, (600, len(TEXTS)))
    longer = values + 15 * (np.arange(len(TEXTS)) == TEXTS.index("characters"))
    sets = [DataSet("reviews", texts=TextSet("body", 600, each)) for each in (values, longer)]
    found = [each for each in DistributionShift().in_data(Data(*sets)) if isinstance(each, Finding)]
    assert [each.place.columns for each in found] == [("body: characters",)]
