"""What the terms of the first loss showed, as one of the experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stethoscope.core.text import number
from stethoscope.facts.model import Experiment, LossTerm, Preflight
from stethoscope.observe.training.terms import Terms

NAME, TITLE, BEFORE = "terms", "part the loss", "effect"
"""It is told before the experiment that takes a step."""
DROWNED = 0.01
"""Share of the largest term's gradient below which a loss function hardly moves the weights."""


def with_terms(made: Preflight, heard: Terms) -> Preflight:
    """The experiments, and that one among them."""
    said, good = _say(heard.found) if heard.found else ("", True)
    one = Experiment(NAME, TITLE, said=said, good=good, why_not=heard.why_not)
    names = [each.name for each in made.experiments]
    at = names.index(BEFORE) if BEFORE in names else len(names)
    experiments = (*made.experiments[:at], one, *made.experiments[at:])
    return replace(made, terms=heard.found, experiments=experiments)


def _say(terms: Sequence[LossTerm]) -> tuple[str, bool]:
    """A line, and whether no loss function is drowned by another term."""
    if len(terms) == 1:
        return f"`{terms[0].function}` is all of it", True
    each = [
        f"{f'`{one.function}`' if one.function else 'what is added'} {number(float(f'{one.value:.3g}'))} "
        f"(gradient {number(float(f'{one.gradient_norm:.2g}'))})"
        for one in terms
    ]
    largest = max(one.gradient_norm for one in terms)
    drowned = any(one.function and one.gradient_norm < DROWNED * largest for one in terms)
    return ", ".join(each), not drowned
