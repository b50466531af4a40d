"""What a check says less of than a run: its steps are the first of a training that was ended."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from stethoscope.core.finding import Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.model import Memory, Preflight
from stethoscope.facts.training import History
from stethoscope.observe.preflight import given as giving
from stethoscope.rules import all_rules

RULES = {rule.name: rule for rule in all_rules()}


def said(rule: type[Rule], seen: History, **shown: Any) -> list[Finding]:
    """What a rule finds in the first steps of a check that showed this."""
    seen = replace(seen, preflight=Preflight(is_check=True, **shown))
    return [each for each in rule().in_training(seen) if isinstance(each, Finding)]


def test_answers_that_are_all_the_same_are_early_unless_nothing_can_be_learned_by_heart() -> None:
    rule = RULES["collapsed-predictions"]
    for seen in rule.bad.values():
        assert not said(rule, seen)
        assert not said(rule, seen, memory=(Memory(16, learned=True), Memory(2, falling=True)))
        assert said(rule, seen, memory=(Memory(16, learned=True), Memory(2, learned=False)))


def test_a_rate_under_which_the_loss_falls_is_only_suspect() -> None:
    rule = RULES["learning-rate-too-high"]
    sure = []
    for seen in rule.bad.values():
        of_run = [each for each in rule().in_training(seen) if isinstance(each, Finding)]
        sure += [(late.sureness, early.sureness) for late, early in zip(of_run, said(rule, seen), strict=True)]
    assert (Sureness.LIKELY, Sureness.SUSPECTED) in sure
    assert (Sureness.LIKELY, Sureness.LIKELY) in sure  # a loss that is stuck, or is no number, is no early one


@pytest.mark.parametrize("most", [{"MOST_DRAWN_BYTES": 3000}, {"MOST_DRAWING_S": 0.0}])
def test_no_more_is_drawn_than_there_is_room_and_time_for(
    most: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in most.items():
        monkeypatch.setattr(giving, name, value)
    batch = torch.ones(32, 8), torch.zeros(32).long()

    taken = giving.given(nn.Linear(8, 3), nn.CrossEntropyLoss(), [batch] * 40, None)

    assert 1 <= len(taken.batches) < 5


def test_the_gradient_is_compared_in_one_direction_at_least_and_in_no_more_than_there_is_time_for() -> None:
    from stethoscope.observe.preflight.gradients import check_model

    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    subject = giving.given(model, nn.CrossEntropyLoss(), (torch.randn(32, 8), torch.arange(32) % 3), None).subject()

    assert check_model(subject, time.perf_counter()).tested == 1
    assert check_model(subject).tested > 1
