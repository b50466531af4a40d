"""`stethoscope rules` and `stethoscope explain`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from stethoscope.cli.explain import command as explain
from stethoscope.cli.lint import command as lint
from stethoscope.cli.rules import command as rules
from stethoscope.core.errors import UsageError
from stethoscope.rules import all_rules


def test_every_rule_is_listed_within_80_columns() -> None:
    text = CliRunner().invoke(rules).output
    assert all(rule.name in text for rule in all_rules())
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_list_as_json_holds_the_limits() -> None:
    document = json.loads(CliRunner().invoke(rules, ["--json", "-"]).output)
    (entry,) = [each for each in document["rules"] if each["name"] == "missing-zero-grad"]
    assert document["schema"] == 1
    assert entry["limits"]["share"]["value"] == 0.5
    assert entry["subject"] == "loop"


def test_a_rule_is_explained() -> None:
    text = CliRunner().invoke(explain, ["missing-zero-grad"]).output
    assert text.startswith("missing-zero-grad ")
    assert "Why it hurts" in text


def test_a_name_copied_with_its_backticks_is_understood() -> None:
    assert CliRunner().invoke(explain, ["`missing-zero-grad`"]).output.startswith("missing-zero-grad ")


def test_an_unknown_rule_is_wrong_use() -> None:
    result = CliRunner().invoke(explain, ["missing-zero-grat"])
    assert isinstance(result.exception, UsageError)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("missing-zero-grat", "did you mean `missing-zero-grad` or "),
        ("zero", "did you mean `missing-zero-grad`? "),
        ("double softmax", "did you mean `double-activation` or "),
        ("softmx", "did you mean `wrong-softmax-dim` or "),
        ("xyzzy", "there is no rule `xyzzy`; `stethoscope rules` lists all of them"),
    ],
)
def test_of_an_unknown_rule_the_closest_few_are_named_and_where_all_stand(name: str, meant: str) -> None:
    said = str(CliRunner().invoke(explain, [name]).exception)
    assert meant in said
    assert said.endswith("`stethoscope rules` lists all of them")
    assert said.count("`") <= 2 * (1 + 3 + 1)
    for option in ("--only", "--without"):
        assert str(CliRunner().invoke(lint, [option, name]).exception).endswith("lists all of them")
