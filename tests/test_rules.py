"""Every rule, whatever it is about: its page, its examples, its limits, and how its findings read.

No rule is named here. The bug programs are run in `test_bugs.py`.
"""

from __future__ import annotations

import itertools
import pickle
import re
from collections.abc import Iterator

import pytest

from code_programs import bad_lines, code_of
from stethoscope.core.finding import CannotTell, Finding
from stethoscope.core.rule import HEADINGS, Rule
from stethoscope.facts.code import Code
from stethoscope.facts.data import Data, DataSet
from stethoscope.facts.training import PARTS, History
from stethoscope.rules import all_rules

RULES = all_rules()
BANNED = re.compile(
    r"\b(illegal|simply|just|obvious\w*|stupid|wrongly|forgot\w*|careless\w*|mistake\w*|oops|sorry)\b"
    r"|!(?!=)|[\U0001F300-\U0001FAFF]",
    re.I,
)
EXAMPLES = [
    pytest.param(rule, should_speak, facts, id=f"{rule.name}::{name}")
    for rule in RULES
    for should_speak, examples in ((True, rule.bad), (False, rule.good))
    for name, facts in examples.items()
]
CODE_EXAMPLES = [
    pytest.param(rule, should_speak, text, id=f"{rule.name}::{name}")
    for rule in RULES
    for should_speak, examples in ((True, rule.bad_code), (False, rule.good_code))
    for name, text in examples.items()
]
LIMITS = [
    pytest.param(rule, name, direction, id=f"{rule.name}.{name} {word}")
    for rule in RULES
    for name in rule.limits()
    for direction, word in ((-1, "down"), (1, "up"))
]
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


def verdict(rule: type[Rule], facts: History | Data | Code, **overrides: float) -> list[str]:
    """What the rule says, without its words: how bad and how sure, or that it cannot tell."""
    return sorted(
        "cannot tell" if isinstance(said, CannotTell) else f"{said.severity.value}, {said.sureness.value}"
        for said in rule(overrides).judge(facts)
    )


def texts(finding: Finding) -> Iterator[str]:
    """Everything in a finding that a person reads, fixes and quoted code left out."""
    yield finding.title
    yield finding.cause
    yield finding.unless
    for evidence in finding.evidence:
        yield from (evidence.what, str(evidence.seen), str(evidence.healthy), evidence.source)


def a_title_states_in_one_line(finding: Finding) -> None:
    title = finding.title
    assert 10 <= len(title) <= 72, len(title)
    assert "\n" not in title
    assert not title.endswith(".")
    assert title[0] in "`'0123456789" or title[0].islower() or title.split()[0] in {"NaN", "infinity"}, title


def evidence_is_a_measured_value_beside_a_healthy_one(finding: Finding) -> None:
    assert finding.evidence
    for evidence in finding.evidence:
        assert all((evidence.what, str(evidence.seen), str(evidence.healthy)))
    measured = " ".join(f"{e.what} {e.seen}" for e in finding.evidence)
    assert re.search(r"\d", measured), "no number in the evidence"


def a_finding_says_why_and_what_to_do_in_code(finding: Finding) -> None:
    assert finding.cause.endswith(".")
    assert finding.cause[0].isupper() or finding.cause[0] in "`0123456789"
    assert finding.fixes
    assert any("    " in fix.text or "`" in fix.text or fix.edit for fix in finding.fixes)


def a_finding_blames_nobody_and_advises_only_in_its_fixes(finding: Finding) -> None:
    for text in texts(finding):
        quoted = re.sub(r"`[^`]*`", "", text)
        assert not BANNED.search(quoted), text
        assert not re.search(r"\byour?\b", quoted, re.I), text
    for fix in finding.fixes:
        assert not BANNED.search("\n".join(ln for ln in fix.text.splitlines() if not ln.startswith("    ")))


def a_finding_prints_whole_numbers_not_representations(finding: Finding) -> None:
    for text in (*texts(finding), *(fix.text for fix in finding.fixes)):
        assert not re.search(r"\bnan\b|np\.|float\d\d\(|\d\.\d{7,}|None\b", text), text


PROMISES = (
    a_title_states_in_one_line,
    evidence_is_a_measured_value_beside_a_healthy_one,
    a_finding_says_why_and_what_to_do_in_code,
    a_finding_blames_nobody_and_advises_only_in_its_fixes,
    a_finding_prints_whole_numbers_not_representations,
)


def keeps_every_promise(findings: list[Finding]) -> None:
    """Of how the first of them reads; the traceback names the promise that is broken."""
    for promise in PROMISES:
        for finding in findings[:1]:
            promise(finding)


@each_rule
def test_a_rule_that_is_seen_at_work_has_a_program_with_its_fault(rule: type[Rule]) -> None:
    assert hasattr(rule, "bug") or set(rule.eyes()) <= {"in_code", "in_data"}


@each_rule
def test_a_page_has_a_summary_and_the_five_headings_in_order(rule: type[Rule]) -> None:
    page = rule.page()
    assert tuple(page) == ("", *HEADINGS)
    assert all(page.values()), "an empty section"
    summary = page[""].splitlines()[0]
    assert len(summary) <= 100
    assert summary.endswith(".")


@each_rule
def test_a_rule_has_examples_of_both_kinds_and_no_two_are_equal(rule: type[Rule]) -> None:
    examples = [*rule.bad.values(), *rule.good.values(), *rule.bad_code.values(), *rule.good_code.values()]
    seen_otherwise = set(rule.eyes()) - {"in_code"}
    assert bool(rule.bad) == bool(rule.good) == bool(seen_otherwise)
    assert bool(rule.bad_code) == bool(rule.good_code) == ("in_code" in rule.eyes())
    assert not set(rule.bad) & set(rule.good)
    assert not set(rule.bad_code) & set(rule.good_code)
    assert len({pickle.dumps(facts) for facts in examples}) == len(examples)


@each_rule
def test_a_rule_reads_known_parts_and_explains_known_rules(rule: type[Rule]) -> None:
    assert rule.eyes()
    assert bool(rule.reads) == ("in_training" in rule.eyes())
    assert set(rule.reads) <= set(PARTS)
    assert set(rule.explains) <= {other.name for other in RULES} - {rule.name}


@each_rule
def test_a_rule_is_silent_when_nothing_was_heard(rule: type[Rule]) -> None:
    assert not [said for said in rule().judge(History()) if isinstance(said, Finding)]
    assert not [said for said in rule().judge(Code("empty.py")) if isinstance(said, Finding)]
    assert not [said for said in rule().judge(Data(DataSet("empty.csv"))) if isinstance(said, Finding)]


@pytest.mark.parametrize(("rule", "should_speak", "text"), CODE_EXAMPLES)
def test_code_is_told_at_its_guilty_lines_and_nowhere_else(rule: type[Rule], should_speak: bool, text: str) -> None:
    code = code_of(text)
    findings = [said for said in rule().judge(code) if isinstance(said, Finding)]

    assert {found.place.line for found in findings if found.place.file == code.file} == bad_lines(code), findings
    assert bool(findings) == should_speak
    assert all(found.place.file and found.place.line and found.place.text for found in findings)
    assert repr(list(rule().judge(code_of(text)))) == repr(list(rule().judge(code)))
    keeps_every_promise(findings)


@pytest.mark.parametrize("rule", [rule for rule in RULES if hasattr(rule, "bug")], ids=lambda rule: rule.name)
def test_a_bug_program_is_python_before_and_after_its_repair(rule: type[Rule]) -> None:
    faulty, fixed = rule.bug.faulty(seed=1), rule.bug.fixed(seed=1)
    compile(faulty, "faulty", "exec")
    compile(fixed, "fixed", "exec")
    assert faulty != fixed
    assert "SEED" in rule.bug.text
    assert "SEED" not in faulty
    assert len(faulty.splitlines()) <= 45


@pytest.mark.parametrize(("rule", "should_speak", "facts"), EXAMPLES)
def test_bad_examples_speak_and_good_ones_are_silent_in_the_same_words_each_time(
    rule: type[Rule], should_speak: bool, facts: History | Data
) -> None:
    before = pickle.dumps(facts)
    said = list(rule().judge(facts))
    findings = [each for each in said if isinstance(each, Finding)]

    assert bool(findings) == should_speak, said
    # As text, since a NaN in a plot is not equal to itself.
    assert repr(list(rule().judge(facts))) == repr(said)
    assert pickle.dumps(facts) == before, "the rule changed its facts"
    keeps_every_promise(findings)


@pytest.mark.parametrize(("rule", "name", "direction"), LIMITS)
def test_a_limit_moved_a_little_changes_the_verdict_of_some_example(
    rule: type[Rule], name: str, direction: int
) -> None:
    value = rule.limits()[name].value
    little = 0.05 * abs(value)
    if value >= 2 and value == int(value):  # a count: it moves by whole numbers
        little = max(1.0, little)
    sources = (*rule.bad_code.values(), *rule.good_code.values())
    examples = itertools.chain(rule.bad.values(), rule.good.values(), map(code_of, sources))
    moved = {name: value + direction * little}
    assert any(verdict(rule, facts) != verdict(rule, facts, **moved) for facts in examples), (
        f"no example stands next to {rule.name}.{name} = {value:g}"
    )


@each_rule
def test_limits_say_their_unit_and_their_reason(rule: type[Rule]) -> None:
    for limit in rule.limits().values():
        assert limit.unit, limit.name
        assert len(limit.why) > 10, limit.name
