"""The zoo's own arithmetic: pairs are read as they are meant, halves stay where they are, intervals are Wilson's."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType

import pytest

ZOO = Path(__file__).parent.parent / "zoo"
NAMED = {"one_unit_softmax": "develop", "wine_raw_features": "develop", "sgd_rate_of_ten": "report"}


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The zoo's modules stand beside its program, in no package."""
    monkeypatch.syspath_prepend(str(ZOO))
    return importlib.import_module("collection")


def test_every_pair_is_python_with_its_fault_and_without(zoo: ModuleType) -> None:
    found = zoo.pairs()

    for pair in found:
        faulty, twin = pair.faulty.text(3), pair.twin.text(3)
        compile(faulty, pair.name, "exec")
        compile(twin, pair.name, "exec")
        assert faulty != twin
        for text in (faulty, twin):
            assert "SEED" not in text, f"{pair.name}: the blank for the seed is left"
            assert not any(mark in text for mark in ("# fix:", "# add:", "# fault:", "# about:")), pair.name
        assert "metric " in twin, f"{pair.name} prints no metric"
    assert len(found) >= 70


def test_the_halves_are_fixed_by_the_name(zoo: ModuleType) -> None:
    named = {name: zoo.half_of(name) for name in ("one_unit_softmax", "wine_raw_features", "sgd_rate_of_ten")}
    assert named == NAMED
    shares = [zoo.half_of(f"program_{number}") == "report" for number in range(1000)]
    assert 430 < sum(shares) < 570


def test_a_fault_hurts_only_when_the_twin_is_clearly_better_at_every_seed(zoo: ModuleType) -> None:
    hurting = importlib.import_module("hurting")

    def verdict(faulty: list[float], twin: list[float], higher: bool = True) -> str:
        outcomes = [tuple(hurting.Outcome(value, higher) for value in values) for values in (faulty, twin)]
        return str(hurting.Hurt(*outcomes).verdict)

    assert verdict([0.5, 0.6, 0.5], [0.9, 0.8, 0.9]) == "hurts"
    assert verdict([0.5, 0.9, 0.5], [0.9, 0.8, 0.9]) == "the twin is not better at every seed"
    assert verdict([0.5, 0.79, 0.5], [0.9, 0.8, 0.9]) == "the twin is hardly better"
    assert verdict([2.0, 3.0], [1.0, 1.0], higher=False) == "hurts"
    assert verdict([math.nan, math.inf], [1.0, 1.0], higher=False) == "hurts"
    assert verdict([1.0, 1.0], [0.5, math.nan], higher=False) == "the twin's metric is not finite"


def test_the_metric_is_the_last_line(zoo: ModuleType) -> None:
    hurting = importlib.import_module("hurting")

    assert hurting.outcome_of("epoch 1\nmetric loss 0.25 lower\n", 0, 1.0) == hurting.Outcome(0.25, False, "", 1.0)
    assert "no metric" in hurting.outcome_of("metric loss 0.25 lower\nbye\n", 0, 1.0).failure
    assert "exit code 1" in hurting.outcome_of("ValueError: x", 1, 1.0).failure


def test_wilsons_interval(zoo: ModuleType) -> None:
    report = importlib.import_module("report")

    low, high = report.wilson_interval(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.49, 0.943)
    assert report.wilson_interval(0, 0) == (0.0, 1.0)
