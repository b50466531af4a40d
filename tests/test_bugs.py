"""Every rule's bug program, run for real: the fault is named first, and its repaired twin raises no alarm."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from programs_run import alarms, findings_of
from stethoscope.core.rule import Rule
from stethoscope.rules import all_rules

RULES = [pytest.param(rule, id=rule.name) for rule in all_rules() if hasattr(rule, "bug")]


def skip_without_keras(rule: type[Rule]) -> None:
    """Some faults are made in Keras only."""
    if "import keras" in rule.bug.text and find_spec("keras") is None:
        pytest.skip("Keras is not installed; `make test` installs it")


def is_for_checks(rule: type[Rule]) -> bool:
    """Whether it speaks of a model before it trains, and not of a run."""
    return "in_training" not in rule.eyes()


@pytest.mark.parametrize("rule", RULES)
def test_the_faulty_program_is_told_by_its_name(rule: type[Rule], tmp_path: Path) -> None:
    skip_without_keras(rule)
    document = findings_of(rule.bug.faulty(seed=0), tmp_path, check=is_for_checks(rule))

    first = document["findings"][0] if document["findings"] else {"rule": "", "explains": []}
    assert rule.name in (first["rule"], *first["explains"]), [f["title"] for f in document["findings"]]
    assert alarms(document)


@pytest.mark.parametrize("rule", RULES)
def test_its_repaired_twin_raises_no_alarm(rule: type[Rule], tmp_path: Path) -> None:
    skip_without_keras(rule)
    document = findings_of(rule.bug.fixed(seed=0), tmp_path, check=is_for_checks(rule))

    assert alarms(document) == []
