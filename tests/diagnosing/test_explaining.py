"""What follows from a cause is folded under it."""

from __future__ import annotations

from made_up import NOTE, SYMPTOM, WARNING, finding, rule

from stethoscope.core.finding import CannotTell, Finding, Severity, Sureness
from stethoscope.diagnosing.explain import explain
from stethoscope.diagnosing.run import diagnose
from stethoscope.facts.training import History
from stethoscope.render.document import text_of


def folded(*findings: Finding, **explains: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Name of each finding that is left, with what it explains. Keyword `a` stands for rule `a`."""
    return {f.rule: f.explains for f in explain(findings, explains, History())}


def test_a_symptom_goes_under_its_cause() -> None:
    assert folded(finding("cause"), finding("pain", **SYMPTOM), cause=("pain",)) == {"cause": ("pain",)}


def test_the_folded_finding_is_kept_whole() -> None:
    pain = finding("pain", **SYMPTOM)
    (cause,) = explain((finding("cause"), pain), {"cause": ("pain",)}, History())
    assert cause.follows == (pain,)


def test_what_nothing_explains_stays() -> None:
    assert folded(finding("cause"), finding("pain", **SYMPTOM), cause=("other",)) == {"cause": (), "pain": ()}


def test_a_cause_may_explain_another_cause() -> None:
    assert folded(finding("scale"), finding("rate"), scale=("rate",)) == {"scale": ("rate",)}


def test_a_chain_of_causes_ends_under_the_first() -> None:
    left = folded(finding("scale"), finding("rate"), finding("pain", **SYMPTOM), scale=("rate",), rate=("pain",))
    assert left == {"scale": ("pain", "rate")} or left == {"scale": ("rate", "pain")}


def test_a_note_never_folds_an_error() -> None:
    assert len(folded(finding("cause", **NOTE), finding("pain", **SYMPTOM), cause=("pain",))) == 2


def test_a_possible_cause_folds_nothing_surer() -> None:
    doubt = finding("cause", sureness=Sureness.POSSIBLE)
    assert len(folded(doubt, finding("pain", **SYMPTOM), cause=("pain",))) == 2


def test_a_likely_cause_does_not_fold_a_certain_cause() -> None:
    sure = finding("rate", sureness=Sureness.CERTAIN)
    assert len(folded(finding("scale"), sure, scale=("rate",))) == 2


def test_a_warning_that_explains_an_error_becomes_one() -> None:
    pain = finding("pain", **SYMPTOM)
    (cause,) = explain((finding("cause", **WARNING), pain), {"cause": ("pain",)}, History())
    assert cause.severity is Severity.ERROR


def test_what_came_clearly_before_the_cause_is_not_folded() -> None:
    assert len(folded(finding("cause", (100, 200)), finding("pain", (80, 90), **SYMPTOM), cause=("pain",))) == 2


def test_a_cause_may_be_seen_a_little_later_than_its_symptom() -> None:
    assert len(folded(finding("cause", (100, 200)), finding("pain", (90, 95), **SYMPTOM), cause=("pain",))) == 1


def test_late_looks_leave_more_room() -> None:
    assert len(folded(finding("cause", (1000, 2000)), finding("pain", (900, 950), **SYMPTOM), cause=("pain",))) == 1


def test_of_two_that_explain_each_other_the_higher_in_rank_leads() -> None:
    early, late = finding("late", (50, 60)), finding("early", (45, 60))
    assert folded(early, late, early=("late",), late=("early",)) == {"early": ("late",)}


def test_a_ring_of_three_keeps_one_leader() -> None:
    left = folded(finding("a"), finding("b"), finding("c"), a=("b",), b=("c",), c=("a",))
    assert left == {"a": ("b", "c")}


def test_of_two_causes_the_higher_in_rank_takes_the_symptom() -> None:
    sure = finding("sure", sureness=Sureness.CERTAIN)
    left = folded(finding("likely"), sure, finding("pain", **SYMPTOM), sure=("pain",), likely=("pain",))
    assert left == {"sure": ("pain",), "likely": ()}


def test_two_findings_of_one_symptom_are_named_once() -> None:
    pains = (finding("pain", title="one", **SYMPTOM), finding("pain", title="two", **SYMPTOM))
    (cause,) = explain((finding("cause"), *pains), {"cause": ("pain",)}, History())
    assert cause.explains == ("pain",)
    assert len(cause.follows) == 2


def test_a_rule_does_not_explain_itself() -> None:
    assert len(explain((finding("a"), finding("a", title="other")), {"a": ("a",)}, History())) == 2


def test_a_symptom_that_stands_alone_says_which_causes_were_looked_for() -> None:
    pain = finding("pain", **SYMPTOM)
    rules = (
        rule("pain", says=[pain]),
        rule("absent", explains=("pain",)),
        rule("blind", says=[CannotTell("blind", "no validation data")], explains=("pain",)),
        rule("unrelated"),
    )
    (alone,) = diagnose(History(), rules=rules).findings
    assert (alone.ruled_out, alone.not_ruled_out) == (("absent",), ("blind",))
    text = text_of(alone)
    assert "looked for, and not there: absent\n" in text
    assert "could not be judged: blind\n" in text


def test_a_cause_rules_nothing_out() -> None:
    rules = (rule("cause", says=[finding("cause")]), rule("absent", explains=("cause",)))
    (alone,) = diagnose(History(), rules=rules).findings
    assert alone.ruled_out == ()
