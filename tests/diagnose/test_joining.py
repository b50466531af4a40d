"""What is read in the code meets what is seen in the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stethoscope.core.finding import CannotTell, Evidence, Finding, Kind, Link, Place, Proof, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.diagnose.join import READ, join, lines_that_ran
from stethoscope.diagnose.run import diagnose
from stethoscope.diagnose.suppress import Suppressions
from stethoscope.facts.code import Site
from stethoscope.facts.loss import LossFacts
from stethoscope.facts.training import History

Loss = LossFacts.Call if hasattr(LossFacts, "Call") else None


def finding(rule: str = "some-rule", line: int | None = 3, what: str = "seen", **more: object) -> Finding:
    place = Place(file="a.py", line=line, text="x") if line else Place()
    made = Finding(
        rule, Kind.CAUSE, Severity.ERROR, Sureness.LIKELY, f"title of {what}", "why", (Evidence(what, 1, 2),), (), place
    )
    return replace(made, **more)  # type: ignore[arg-type]


def ran(*lines: int) -> History:
    """A history in which these lines were executed."""
    return replace(History(), hidden_for_test=()) if False else _with_sites(*lines)


def _with_sites(*lines: int) -> History:
    from stethoscope.facts.flow import BackwardFacts

    return replace(History(), backwards=tuple(BackwardFacts(site=Site("a.py", line)) for line in lines))


class Silent(Rule):
    """It judges and finds nothing."""

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        yield from ()


class Speaks(Rule):
    """It always finds something."""

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        yield self.finding("wrong", cause="c", evidence=[Evidence("e", 1, 2)], fixes=["f"])
