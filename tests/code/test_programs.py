"""Whole programs, read and not run: the healthy ones, and those with a fault beside their repaired twins."""

from __future__ import annotations

from pathlib import Path

import pytest

from stethoscope.core.finding import Finding
from stethoscope.core.rule import Rule
from stethoscope.core.settings import Settings
from stethoscope.linting import lint, lint_text
from stethoscope.rules import all_rules

HEALTHY = Path(__file__).parents[2] / "zoo" / "programs" / "healthy"
READING = [
    pytest.param(rule, id=rule.name) for rule in all_rules() if "in_code" in rule.eyes() and hasattr(rule, "bug")
]
UNREAD = {
    "batch-leakage": "rows are reshaped by a number that is written out",
    "dropout-too-strong": "0.85 is below what is never meant",
    "frozen-batch-norm-updates": "a note, and its backbone trains before it is frozen",
    "inconsistent-preprocessing": "rows of one tensor are scaled, others not",
    "learning-rate-too-low": "1e-5 is a usual rate elsewhere",
    "missing-distributed-sampler": "a sampler that is None by a variable says that it was thought of",
    "loss-unfit-for-task": "a softmax over one unit has a rule of its own in code",
    "momentum-too-high": "0.999 may go with a rate to match",
    "numerical-instability": "a square root at 0 hangs on the data",
    "parameters-not-in-optimizer": "a part that is left out may be meant to stay",
    "target-leakage": "columns of an array have no names",
    "validation-trains-model": "which data is for validation is known by its use",
    "bce-without-sigmoid": "a clamp stands between the scores and the loss",
    "cross-entropy-without-softmax": "the loss is written out by hand",
    "scheduler-before-optimizer": "steps behind the optimizer, but once a batch",
}
"""Programs whose fault cannot be read off their source, and why: it is heard when they run."""


def said(text: str) -> tuple[Finding, ...]:
    review = lint_text(text.encode(), "train.py", possible=True, settings=Settings())
    assert not review.files[0].broken
    return review.findings


def test_healthy_programs_are_silent_even_about_what_is_only_possible() -> None:
    review = lint(HEALTHY, possible=True, settings=Settings(), processes=1)

    assert len(review.files) > 100
    assert [(finding.place.source, finding.rule) for finding in review.findings] == []
    assert not review.not_analysed


@pytest.mark.parametrize("rule", READING)
def test_a_fault_is_read_off_its_program(rule: type[Rule]) -> None:
    told = rule.name in {finding.rule for finding in said(rule.bug.faulty())}

    assert told == (rule.name not in UNREAD), UNREAD.get(rule.name)


@pytest.mark.parametrize("rule", READING)
def test_its_repaired_twin_is_silent(rule: type[Rule]) -> None:
    review = lint_text(rule.bug.fixed().encode(), "train.py", settings=Settings())

    assert [finding.title for finding in review.findings] == []
