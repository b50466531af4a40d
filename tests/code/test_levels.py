"""How sure rules are of code: what other people's code was seen to do without a fault is possible at most."""

from __future__ import annotations

from code_programs import code_of
from stethoscope.core.finding import Finding, Severity
from stethoscope.core.review import Level
from stethoscope.core.rule import Rule
from stethoscope.diagnose.review import review
from stethoscope.rules.loop.forward_called_directly import ForwardCalledDirectly


def test_a_method_forward_that_is_called_is_on_trial() -> None:
    text = ForwardCalledDirectly.bad_code["a model"]
    (found,) = _told(ForwardCalledDirectly, text)
    assert found.severity is Severity.WARNING
    assert not Level().shows(found)


def _told(rule: type[Rule], text: str) -> tuple[Finding, ...]:
    return review(code_of(text), rules=[rule]).findings
