"""What the numbers of an experiment mean: a paired comparison of copies that were treated and copies that were not."""

from __future__ import annotations

import math
from statistics import median

from stethoscope.core.finding import Proof
from stethoscope.core.treatment import Trial

CURED = "cured"
HELPED = "helped"
NO_EFFECT = "no effect"
NOT_POSSIBLE = "not possible"

LEARNED = 0.75
"""A treated copy that has at most this share of its loss left learns."""
CURING = 0.7
"""A cure leaves at most this share of the loss that is left without it."""
HELPING = 0.93
NOTICEABLE = 0.01
"""A difference of less than this share of where learning begins counts for neither side."""
NOTHING = 0.97
"""A treatment that leaves more than this share of the loss that is left without it did nothing."""
LEARNS_ANYWAY = 0.6
"""An unchanged copy with this little of its loss left shows that the fault does not bite within a few steps."""


def verdict_of(trial: Trial) -> Proof:
    """The proof that an experiment is: what was changed, both losses, and the verdict.

    `cured`: in every pair of replays the treated copy ended lower, it learns, and it has at most 0.7 of the loss that
    the unchanged one has left. `helped`: lower in every pair, at most 0.93. `no effect`: not lower in most pairs, or
    by less than 3 %, though the unchanged copy is in trouble. `not possible`: none of these can be said.
    """
    if trial.why_not:
        return Proof(trial.words, None, None, NOT_POSSIBLE, why=trial.why_not)
    left, left_treated = _left(trial.before, trial.reference), _left(trial.after, trial.reference_after)
    if left is None or left_treated is None:
        return Proof(trial.words, None, None, NOT_POSSIBLE, why="the loss has no lower end to measure it against")
    pairs = list(zip(left, left_treated, strict=True))
    better = sum(1 for one, other in pairs if other < one - NOTICEABLE)
    worse = sum(1 for one, other in pairs if other > one + NOTICEABLE)
    untreated, with_it = median(left), median(left_treated)
    verdict, why = NOT_POSSIBLE, ""
    if better == len(pairs) and with_it <= LEARNED and with_it <= CURING * untreated:
        verdict = CURED
    elif better == len(pairs) and with_it <= HELPING * untreated:
        verdict = HELPED
    elif untreated <= LEARNS_ANYWAY:
        why = f"an unchanged copy learns within {trial.steps} steps, too"
    elif worse >= better or with_it >= NOTHING * untreated:
        verdict = NO_EFFECT
    else:
        why = f"the replays disagree: {better} of {len(pairs)} were better with it"
    return Proof(
        trial.words,
        median(_finite(trial.before)),
        median(_finite(trial.after)),
        verdict,
        start=trial.reference,
        steps=trial.steps,
        agreeing=better,
        replays=len(pairs),
        measure=trial.measure,
        why=why,
    )


def _left(values: tuple[float, ...], reference: float) -> list[float] | None:
    """The share of the loss that is left, replay by replay; None when that has no meaning."""
    if not values or not math.isfinite(reference) or reference <= 0 or any(value < 0 for value in values):
        return None
    return [min(value / reference, 1e9) if math.isfinite(value) else 1e9 for value in values]


def _finite(values: tuple[float, ...]) -> list[float]:
    """NaN counts as infinitely bad."""
    return [math.inf if math.isnan(value) else value for value in values]
