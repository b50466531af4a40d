"""Which rules run, and with which limits."""

from __future__ import annotations

import pytest
from made_up import rule

from stethoscope.core.errors import UsageError
from stethoscope.core.rule import EYES, Limit
from stethoscope.diagnosing.select import needed_parts, read_limits, select, select_with
from stethoscope.rules import all_rules, rule_named, rules_with, subjects

STEEP = rule("too-steep", reads=("updates", "loop"), slope=Limit(2.0, unit="rise", why="it is steep then"))
FLAT = rule("too-flat", reads=("losses",))
RULES = (STEEP, FLAT)


def test_all_rules_run_when_none_is_named() -> None:
    assert select() == all_rules()


@pytest.mark.parametrize("eye", EYES)
def test_the_rules_with_an_eye_are_found_without_a_look_at_the_others(eye: str) -> None:
    assert rules_with(eye) == tuple(rule for rule in all_rules() if eye in rule.eyes())


def test_the_subject_of_each_rule_is_known_before_it_is_imported() -> None:
    assert list(subjects().items()) == [(rule.name, rule.subject) for rule in all_rules()]


def test_of_the_rules_with_an_eye_some_are_chosen_and_left_out() -> None:
    chosen = select_with("in_code", only=["loop"], without=["missing-zero-grad"])
    assert chosen == tuple(rule for rule in select(["loop"], ["missing-zero-grad"]) if "in_code" in rule.eyes())
    assert select_with("in_code", only=["loss-spike"]) == ()


def test_a_name_that_no_rule_has_is_an_error_whatever_the_eye() -> None:
    with pytest.raises(UsageError, match="`dying-rel` is neither a rule nor a subject; did you mean `dying-relu`"):
        select_with("in_code", without=["dying-rel"])


def test_rules_are_chosen_by_name() -> None:
    assert select(only=["too-flat"], rules=RULES) == (FLAT,)


def test_rules_are_chosen_by_subject() -> None:
    assert select(only=["loop"], rules=RULES) == RULES


def test_rules_are_left_out_by_name() -> None:
    assert select(without=["too-flat"], rules=RULES) == (STEEP,)


def test_leaving_out_wins_over_choosing() -> None:
    assert select(only=["loop"], without=["too-steep"], rules=RULES) == (FLAT,)


def test_an_unknown_name_is_an_error_that_suggests_a_near_one() -> None:
    with pytest.raises(UsageError, match="did you mean `too-steep`"):
        select(without=["to-steep"], rules=RULES)


def test_needed_parts_are_those_that_some_rule_reads() -> None:
    assert needed_parts(RULES) == ("loop", "losses", "updates")


@pytest.mark.parametrize("settings", [{"too-steep.slope": 3}, {"too-steep": {"slope": 3}}])
def test_limits_are_read_from_dotted_names_and_from_tables(settings: dict[str, object]) -> None:
    assert read_limits(settings, RULES) == {"too-steep": {"slope": 3.0}}


def test_an_unknown_limit_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"its limits: `too-steep\.slope`"):
        read_limits({"too-steep.height": 3}, RULES)


def test_a_limit_of_an_unknown_rule_is_an_error() -> None:
    with pytest.raises(UsageError, match="did you mean `too-steep`"):
        read_limits({"two-steep.slope": 3}, RULES)


@pytest.mark.parametrize("value", ["3", True, None, [3]])
def test_a_limit_that_is_no_number_is_an_error(value: object) -> None:
    with pytest.raises(UsageError, match="should be a number"):
        read_limits({"too-steep.slope": value}, RULES)


def test_a_rule_is_found_by_name() -> None:
    assert rule_named(all_rules()[0].name) is all_rules()[0]


def test_an_unknown_rule_is_an_error_that_suggests_a_near_one() -> None:
    with pytest.raises(UsageError, match="did you mean `missing-zero-grad`"):
        rule_named("missing-zerograd")
