"""What to look at first."""

from __future__ import annotations

import random

import pytest
from made_up import NOTE, SYMPTOM, WARNING, finding

from stethoscope.core.finding import Finding, Place, Sureness
from stethoscope.diagnosing.rank import rank
from stethoscope.facts.training import History, Layer, Parameter

NETWORK = History(
    layers=(Layer("input", "Linear", order=0), Layer("output", "Linear", order=1)),
    parameters=(Parameter("input.weight", layer=0), Parameter("output.weight", layer=1)),
)
CERTAIN = Sureness.CERTAIN


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(finding("z"), finding("a", sureness=CERTAIN, **WARNING), id="errors before warnings"),
        pytest.param(finding("z", **WARNING), finding("a", **NOTE), id="warnings before notes"),
        pytest.param(finding("z", sureness=CERTAIN), finding("a", (0, 9)), id="certain before likely"),
        pytest.param(finding("z", sureness=CERTAIN), finding("a", **SYMPTOM), id="causes before symptoms"),
        pytest.param(finding("z", (3, 9)), finding("a", (4, 9)), id="the earliest step"),
        pytest.param(finding("z", (3, 9)), finding("a"), id="a known step before an unknown one"),
        pytest.param(
            finding("z", place=Place(module="input")),
            finding("a", place=Place(module="output")),
            id="nearest the input",
        ),
        pytest.param(
            finding("z", place=Place(parameter="input.weight")),
            finding("a", place=Place(parameter="output.weight")),
            id="the parameter nearest the input",
        ),
        pytest.param(finding("a"), finding("z"), id="by name, when all else is equal"),
    ],
)
def test_the_first_comes_first(first: Finding, second: Finding) -> None:
    assert [f.rule for f in rank((second, first), NETWORK)] == [first.rule, second.rule]


def test_ranks_count_from_one() -> None:
    assert [f.rank for f in rank((finding("a"), finding("b"), finding("c")), NETWORK)] == [1, 2, 3]


def test_the_order_of_the_rules_does_not_matter() -> None:
    findings = [finding(name, (step, 9)) for name in "abc" for step in range(3)]
    shuffled = random.Random(0).sample(findings, len(findings))
    assert rank(findings, NETWORK) == rank(shuffled, NETWORK)
