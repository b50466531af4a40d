"""Fixes for runs whose loop is a trainer's: in its words, and only where it has other words than torch."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from stethoscope.core.finding import Finding
from stethoscope.diagnosing.run import diagnose
from stethoscope.facts.code import Site
from stethoscope.facts.training import History
from stethoscope.rules import all_rules
from stethoscope.rules.optimization.learning_rate_too_high import LearningRateTooHigh
from stethoscope.rules.trainer_words import TABLES, in_trainer_words

RULES = {rule.name: rule for rule in all_rules()}
EACH = [(trainer, rule) for trainer, table in TABLES.items() for rule in table]
CALLED = {
    "TrainingArguments": ("transformers", "TrainingArguments"),
    "L.Trainer": ("lightning", "Trainer"),
}


def _findings(trainer: str, rule: str) -> list[Finding]:
    """What the rule says of its bad examples, of runs of that trainer."""
    said: list[Finding] = []
    for facts in RULES[rule].bad.values():
        if isinstance(facts, History):
            seen = replace(facts, optimizers=tuple(replace(o, site=None) for o in facts.optimizers))
            seen = replace(seen, loop=replace(seen.loop, clip_site=None))
            said += [each for each in RULES[rule]().judge(seen) if isinstance(each, Finding)]
    return [in_trainer_words(each, replace(History(), trainer=trainer)) for each in said if each.fixes[0].edit is None]


def _code(finding: Finding) -> str:
    lines = "\n".join(fix.text for fix in finding.fixes).splitlines()
    return "\n".join(line[4:] for line in lines if line.startswith("    "))


@pytest.mark.parametrize(("trainer", "rule"), EACH)
def test_each_fix_is_python_with_all_of_its_numbers(trainer: str, rule: str) -> None:
    found = _findings(trainer, rule)
    assert found
    for finding in found:
        assert "<" not in _code(finding)
        ast.parse(_code(finding))
        assert "torch.nn.utils" not in _code(finding)


@pytest.mark.parametrize(("trainer", "rule"), EACH)
def test_a_trainer_takes_what_is_advised(trainer: str, rule: str) -> None:
    calls = [node for each in _findings(trainer, rule) for node in ast.walk(ast.parse(_code(each)))]
    for call in calls:
        if isinstance(call, ast.Call) and (known := CALLED.get(ast.unparse(call.func))):
            pytest.importorskip(known[0])
            made: Any = getattr(import_module(known[0]), known[1])
            taken = inspect.signature(made).parameters
            assert {each.arg for each in call.keywords} <= set(taken)


def test_the_rate_that_a_rule_advises_stands_in_the_trainers_arguments() -> None:
    seen = next(iter(LearningRateTooHigh.bad.values()))
    own = diagnose(seen, rules=(LearningRateTooHigh,)).findings[0]
    unknown = replace(seen, trainer="transformers", optimizers=tuple(replace(o, site=None) for o in seen.optimizers))
    told = diagnose(unknown, rules=(LearningRateTooHigh,)).findings[0]

    assert "learning_rate=0.02" in told.fixes[0].text
    assert "warmup_steps" in told.fixes[1].text
    assert "TrainingArguments" not in own.fixes[0].text


def test_an_optimizer_of_the_users_own_keeps_its_line() -> None:
    seen = next(iter(LearningRateTooHigh.bad.values()))
    line = Site("train.py", 7, "", "optimizer = torch.optim.Adam(model.parameters(), lr=1.0)")
    seen = replace(seen, trainer="transformers", optimizers=tuple(replace(o, site=line) for o in seen.optimizers))

    fix = diagnose(seen, rules=(LearningRateTooHigh,)).findings[0].fixes[0]
    assert fix.edit == "optimizer = torch.optim.Adam(model.parameters(), lr=0.02)"
