"""The whole engine: run, silence, explain, rank."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_up import SYMPTOM, finding, rule

from stethoscope.core.errors import UsageError
from stethoscope.core.finding import CannotTell, Evidence, Place
from stethoscope.core.rule import Limit, Rule
from stethoscope.diagnosing.run import diagnose
from stethoscope.diagnosing.suppress import Suppressions
from stethoscope.facts.model import Preflight
from stethoscope.facts.training import PARTS, History

SEEN = History(steps=10)
PAIN = rule("pain", [finding("pain", **SYMPTOM)])
CAUSE = rule("cause", [finding("cause")], explains=("pain",))


def test_findings_are_explained_and_ranked() -> None:
    found = diagnose(SEEN, rules=(PAIN, CAUSE)).findings
    assert [(f.rank, f.rule, f.explains) for f in found] == [(1, "cause", ("pain",))]


def test_every_rule_that_judged_is_named() -> None:
    assert diagnose(SEEN, rules=(PAIN, rule("calm"))).checked == ("pain", "calm")


def test_a_rule_that_cannot_tell_did_not_judge() -> None:
    doubt = CannotTell("blind", "nothing was seen")
    result = diagnose(SEEN, rules=(rule("blind", [doubt]),))
    assert (result.checked, result.not_checked) == ((), (doubt,))


def test_a_rule_that_found_something_has_judged_whatever_else_it_could_not_see() -> None:
    result = diagnose(SEEN, rules=(rule("half", [CannotTell("half", "one eye shut"), finding("half")]),))
    assert (result.checked, result.not_checked) == (("half",), ())


def test_a_failing_rule_is_told_and_the_others_go_on() -> None:
    result = diagnose(SEEN, rules=(rule("weak", [finding("weak"), ZeroDivisionError("division by zero")]), PAIN))
    assert [f.rule for f in result.findings] == ["pain"]
    assert result.broken[0].rule == "weak"
    assert result.broken[0].why.startswith("ZeroDivisionError: division by zero (made_up.py:")


def test_a_run_recorded_without_a_part_cannot_be_judged_by_what_reads_it() -> None:
    lean = History(parts=tuple(part for part in PARTS if part != "units"))
    result = diagnose(lean, rules=(rule("cells", [finding("cells")], reads=("units",)),))
    assert result.not_checked == (CannotTell("cells", "the run was recorded without its units"),)


def test_what_two_eyes_see_of_one_place_is_one_finding_with_the_evidence_of_both() -> None:
    """The eye for the run and the one for the experiments say the same, each with what it measured."""
    seen = finding("both", evidence=(Evidence("in the run", "1", "0"),))
    tried = finding("both", evidence=(Evidence("in the run", "1", "0"), Evidence("on a copy", "2", "0")))
    elsewhere = finding("both", place=Place(module="head"), evidence=(Evidence("in the run", "3", "0"),))

    found = diagnose(SEEN, rules=(rule("both", [seen, tried, elsewhere]),)).findings

    assert sorted([e.what for e in f.evidence] for f in found) == [["in the run"], ["in the run", "on a copy"]]


def test_a_rule_that_only_reads_code_is_no_check_of_a_run() -> None:
    reads = type("Reads", (Rule,), {"__module__": "made_up.loop.reads", "in_code": lambda self, file: iter(())})
    tries = type("Tries", (Rule,), {"__module__": "made_up.loop.tries", "before_training": lambda self, seen: iter(())})

    assert diagnose(SEEN, rules=(reads, tries)).checked == ()
    assert diagnose(SEEN, rules=(reads, rule("both", in_code=reads.in_code))).checked == ("both",)


def test_a_rule_that_judges_a_run_by_its_end_is_not_asked_of_one_that_a_check_has_ended() -> None:
    late = rule("late", [finding("late")], to_the_end=True)
    ended = replace(SEEN, preflight=Preflight(is_check=True))

    assert diagnose(SEEN, rules=(late,)).checked == ("late",)
    assert diagnose(ended, rules=(late,)).not_checked == (
        CannotTell("late", "a check ends the script after its first steps"),
    )


def test_silenced_findings_are_kept_apart() -> None:
    result = diagnose(SEEN, rules=(PAIN,), suppressions=Suppressions({"pain": "it is only tired"}))
    assert (result.findings, [f.rule for f in result.silenced]) == ((), ["pain"])


def test_a_symptom_of_an_allowed_cause_is_shown_by_itself() -> None:
    result = diagnose(SEEN, rules=(PAIN, CAUSE), suppressions=Suppressions({"cause": "known"}))
    assert [f.rule for f in result.findings] == ["pain"]


def test_what_was_not_honoured_is_told() -> None:
    assert diagnose(SEEN, rules=(), suppressions=Suppressions({}, ("no reason",))).notices == ("no reason",)


def test_an_override_reaches_the_rule() -> None:
    class Probe:
        seen = 0.0

    limited = rule("limited", limit=Limit(1.0, unit="things", why="one is enough"))
    limited.in_training = lambda self, seen: iter([setattr(Probe, "seen", self.limit)][:0])  # type: ignore
    diagnose(SEEN, rules=(limited,), overrides={"limited": {"limit": 7.0}})
    assert Probe.seen == 7.0


def test_an_unknown_override_is_an_error() -> None:
    with pytest.raises(UsageError, match="has no limit `slope`"):
        diagnose(SEEN, rules=(PAIN,), overrides={"pain": {"slope": 1.0}})


def test_all_rules_are_silent_about_a_run_of_which_nothing_was_heard() -> None:
    result = diagnose(History())
    assert (result.findings, result.broken) == ((), ())
