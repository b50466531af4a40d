"""What is read in the code meets what is seen in the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Kind, Link, Place, Proof, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.diagnosing.join import READ, join, lines_that_ran
from stethoscope.diagnosing.run import diagnose
from stethoscope.diagnosing.suppress import Suppressions
from stethoscope.facts.code import Site
from stethoscope.facts.flow import Backward
from stethoscope.facts.training import History, Loop


def finding(rule: str = "some-rule", line: int = 3, what: str = "a value", **more: Any) -> Finding:
    place = Place(file="a.py", line=line, text="x") if line else Place(steps=(0, 9))
    made = Finding(
        rule, Kind.CAUSE, Severity.ERROR, Sureness.LIKELY, f"wrong by {what}", "why", (Evidence(what, 1, 2),), (), place
    )
    return replace(made, **more)


def ran(*lines: int, **more: Any) -> History:
    """A history in which these lines of `a.py` were executed."""
    heard = tuple(Backward(site=Site("a.py", line)) for line in lines)
    return replace(History(), loop=Loop(backwards=heard), **more)


class Silent(Rule):
    """Judges, and finds nothing."""

    __module__ = "rules.made_up.silent"

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        yield from ()


class Unsure(Rule):
    """Cannot judge."""

    __module__ = "rules.made_up.unsure"

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        yield self.cannot_tell("there is nothing to see")


class Speaks(Rule):
    """Finds something."""

    __module__ = "rules.made_up.speaks"

    severity = Severity.NOTE

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        yield self.finding("it is so", cause="why", evidence=[Evidence("a share", 1, 2)], fixes=["f"])


def test_one_mistake_that_is_seen_and_read_is_one_certain_finding() -> None:
    chain = (Link(Place(file="a.py", line=3), "is here"),)

    joined = join([finding()], [finding(what="a call", chain=chain)], (), History())

    (one,) = joined.seen
    assert [(each.what, each.source) for each in one.evidence] == [("a value", ""), ("a call", READ)]
    assert (one.sureness, one.chain, one.title) == (Sureness.CERTAIN, chain, "wrong by a value")
    assert not joined.only_read
    assert not joined.refuted


def test_what_is_only_possible_in_the_code_counts_where_the_run_has_seen_it() -> None:
    read = finding(what="a call", sureness=Sureness.POSSIBLE)

    (one,) = join([finding()], [read], (), History()).seen
    assert [each.what for each in one.evidence] == ["a value", "a call"]
    assert one.sureness is Sureness.LIKELY, "as sure as the run alone"
    for seen, silent in (([], ()), ([finding(line=9)], ()), ([], ("some-rule",))):
        joined = join(seen, [read], silent, ran(3))
        assert joined.seen == tuple(seen)
        assert not joined.only_read
        assert not joined.refuted


def test_a_finding_of_the_run_without_a_line_gets_that_of_the_code() -> None:
    (one,) = join([finding(line=0)], [finding(line=7, what="a call")], (), History()).seen

    assert (one.place.source, one.place.steps) == ("a.py:7", (0, 9))


def test_the_line_that_was_read_stays_beside_another_one_that_was_seen() -> None:
    (one,) = join([finding(line=3)], [finding(line=7, what="a call")], (), History()).seen

    assert one.place.line == 3
    assert [link.place.line for link in one.chain] == [7]


def test_each_of_two_places_finds_its_own() -> None:
    seen = [finding(line=3), finding(line=9)]

    joined = join(seen, [finding(line=9, what="a call"), finding(line=20, what="a word")], (), History())

    assert [len(each.evidence) for each in joined.seen] == [1, 2]
    assert [each.place.line for each in joined.only_read] == [20]


def test_an_experiment_that_shows_no_effect_outweighs_the_code() -> None:
    vain = finding(proof=Proof("t", 1.0, 1.0, "no effect"))

    assert join([vain], [finding(what="a call")], (), History()).seen[0].sureness is Sureness.LIKELY


def test_what_a_rule_did_not_see_on_a_line_that_ran_is_refuted() -> None:
    read = finding(line=7)

    assert join([], [read], {"some-rule"}, ran(7)).refuted == (read,)
    assert not join([], [read], {"some-rule"}, ran(8)).refuted, "the line did not run"
    assert not join([], [read], (), ran(7)).refuted, "the rule could not judge"
    assert not join([], [read], {"some-rule"}, ran(7, ended_by="ValueError")).refuted, "there was little to judge"


def test_lines_are_found_at_any_depth() -> None:
    assert set(lines_that_ran((ran(3, 4), [ran(5)]))) == {("a.py", 3), ("a.py", 4), ("a.py", 5)}


def test_what_only_the_code_says_comes_last_and_leads_nothing() -> None:
    read = finding("no-such-eye", sureness=Sureness.CERTAIN)

    found = diagnose(ran(3), rules=[Speaks, Silent, Unsure], code=[read, finding("unsure"), finding("silent")])

    assert [each.rule for each in found.findings] == ["speaks", "no-such-eye", "unsure"]
    assert [each.rank for each in found.findings] == [1, 2, 3]
    assert [each.rule for each in found.withdrawn] == ["silent"]


def test_what_is_allowed_is_silenced_in_the_code_too() -> None:
    found = diagnose(
        ran(3), rules=[], code=[finding("call-forgotten")], suppressions=Suppressions({"call-forgotten": "so"})
    )

    assert not found.findings
    assert [each.rule for each in found.silenced] == ["call-forgotten"]
