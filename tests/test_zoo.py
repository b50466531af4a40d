"""The zoo's own arithmetic: pairs are read as they are meant, halves stay where they are, intervals are Wilson's."""

from __future__ import annotations

import importlib
import json
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
        assert "metric" in twin, f"{pair.name} prints no metric"
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


def test_what_was_kept_is_not_run_again(zoo: ModuleType, tmp_path: Path) -> None:
    from listening import listen

    finding = {"severity": "error", "rule": "missing-zero-grad", "explains": ["loss-not-decreasing"], "proof": None}
    document = {"run": {"exit_code": 0}, "summary": {"announced": [{"rule": "dying-relu"}]}, "findings": [finding]}
    (tmp_path / "demo-0.json").write_text(json.dumps(document))

    def text(seed: int) -> str:
        raise AssertionError("it was run")

    heard = listen(zoo.Program("demo", text), 0, tmp_path)

    assert (heard.failure, heard.first, heard.announced) == ("", "missing-zero-grad", ("dying-relu",))
    with pytest.raises(AssertionError, match="it was run"):
        listen(zoo.Program("demo", text), 1, tmp_path)


def test_a_program_whose_packages_are_missing_is_left_out(zoo: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text("# needs: json, no_such_package\nprint(1)\n")
    assert zoo.missing(path) == ["no_such_package"]
