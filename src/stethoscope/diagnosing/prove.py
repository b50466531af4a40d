"""Proves findings by experiment: a cause whose cure is seen is certain, one whose cure does nothing is a note."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from stethoscope.core.finding import Finding, Kind, Proof, Severity, Sureness
from stethoscope.core.treatment import Lab, Treatment
from stethoscope.diagnosing.explain import explain
from stethoscope.diagnosing.rank import rank
from stethoscope.diagnosing.verdict import CURED, HELPED, NO_EFFECT, NOT_POSSIBLE, verdict_of
from stethoscope.facts.training import History

MOST_FINDINGS = 4
"""Tried, most important first."""
_WORTH = {CURED: 3, HELPED: 2, NO_EFFECT: 1, NOT_POSSIBLE: 0}


def prove(
    findings: Sequence[Finding],
    history: History,
    explains: Mapping[str, Sequence[str]],
    treatments: Mapping[str, Sequence[Treatment]],
    lab: Lab,
) -> tuple[Finding, ...]:
    """The findings, with what experiments showed of them.

    Those that lead are tried first, in their order. What follows from a leader is tried only when its own cure did
    nothing: then another cause may be the true one. Where no single cure does anything, all are tried together,
    since two faults can hide each other. Suspicions and notes are tried where no cause is beyond doubt: the first that
    is confirmed is said, and other suspicions are dropped.

    Args:
        findings: what the rules said, not folded yet.
        explains: rule name to the rules whose findings follow from it.
        treatments: rule name to what is to be tried, one after the other.
        lab: tries treatments on copies.
    """
    suspected = [each for each in findings if each.sureness is Sureness.SUSPECTED]
    findings = without_suspicions(findings)
    leaders = rank(explain(findings, explains, history), history)
    proofs: dict[str, tuple[Proof, Treatment]] = {}
    for leader in leaders:
        if leader.severity is Severity.NOTE or not treatments.get(leader.rule):
            continue
        for name in [leader.rule, *(follower.rule for follower in leader.follows)]:
            if not treatments.get(name) or (name not in proofs and len(proofs) >= MOST_FINDINGS):
                continue
            if name not in proofs:
                proofs[name] = best(treatments[name], lab)
            if proofs[name][0].verdict != NO_EFFECT:
                break
    proofs = _together(proofs, lab)
    said = [judged(finding, *proofs[finding.rule]) if finding.rule in proofs else finding for finding in findings]
    if any(_is_settled(each) for each in said):
        return tuple(said)
    notes = [each for each in said if each.kind is Kind.CAUSE and each.severity is Severity.NOTE and not each.proof]
    confirmed = _confirmed([*rank(suspected, history), *rank(notes, history)], proofs, treatments, lab)
    if confirmed is None:
        return tuple(said)
    others = (each for each in said if (each.rule, each.title) != (confirmed.rule, confirmed.title))
    return (*others, confirmed)


def _is_settled(finding: Finding) -> bool:
    """Whether it is the cause beyond doubt."""
    was_seen = finding.proof is not None and finding.proof.verdict in (CURED, HELPED)
    is_loud = finding.kind is Kind.CAUSE and finding.severity is not Severity.NOTE
    return is_loud and (was_seen or finding.sureness is Sureness.CERTAIN)


def without_suspicions(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What may be said without an experiment."""
    return tuple(each for each in findings if each.sureness is not Sureness.SUSPECTED)


def _confirmed(
    findings: Sequence[Finding],
    proofs: Mapping[str, tuple[Proof, Treatment]],
    treatments: Mapping[str, Sequence[Treatment]],
    lab: Lab,
) -> Finding | None:
    """The first suspicion or note that an experiment confirms: a note whose cure does far better is a warning."""
    tried = [each for each in findings if each.rule not in proofs and treatments.get(each.rule)]
    for finding in tried[: MOST_FINDINGS - len(proofs)]:
        proof, treatment = _best_within(treatments[finding.rule], lab, longer=False)
        if proof.verdict == CURED:
            severity = Severity.WARNING if finding.severity is Severity.NOTE else finding.severity
            return replace(judged(finding, proof, treatment), severity=severity, rank=0)
    return None


def best(treatments: Sequence[Treatment], lab: Lab) -> tuple[Proof, Treatment]:
    """The best of several treatments, over more steps where few show nothing."""
    first = _best_within(treatments, lab, longer=False)
    if first[0].verdict in (CURED, HELPED) or not first[0].steps:
        return first
    again = _best_within(treatments, lab, longer=True)
    if again[0].steps:
        return again
    if first[0].verdict == NO_EFFECT:  # so few steps refute nothing
        why = f"the {first[0].steps} steps that there was time for show nothing"
        return replace(first[0], verdict=NOT_POSSIBLE, why=why), first[1]
    return first


def _best_within(treatments: Sequence[Treatment], lab: Lab, *, longer: bool) -> tuple[Proof, Treatment]:
    """The first that cures ends the search, unless the next one does still better."""
    best: tuple[Proof, Treatment] | None = None
    for treatment in treatments:
        proof = verdict_of(lab((treatment,), longer))
        is_better = best is None or _merit(proof) > _merit(best[0])
        if best is not None and best[0].verdict == CURED and not is_better:
            break
        if is_better:
            best = proof, treatment
    assert best is not None
    return best


def _merit(proof: Proof) -> tuple[int, bool, float]:
    return _WORTH[proof.verdict], bool(proof.steps), -(proof.after if proof.after is not None else math.inf)


def _together(proofs: dict[str, tuple[Proof, Treatment]], lab: Lab) -> dict[str, tuple[Proof, Treatment]]:
    """When several cures do nothing one by one: all at once, and each is believed when that cures."""
    vain = [name for name, (proof, _) in proofs.items() if proof.verdict == NO_EFFECT]
    if len(vain) < 2 or any(proof.verdict == CURED for proof, _ in proofs.values()):
        return proofs
    proof = verdict_of(lab(tuple(dict.fromkeys(proofs[name][1] for name in vain)), False))
    if proof.verdict != CURED:
        return proofs
    return {name: (proof, treatment) if name in vain else (was, treatment) for name, (was, treatment) in proofs.items()}


def judged(finding: Finding, proof: Proof, treatment: Treatment) -> Finding:
    """The finding as sure as its experiment makes it. What is wrong by arithmetic stays certain."""
    proven = replace(finding, proof=proof)
    if proof.verdict == CURED and finding.kind is Kind.CAUSE:
        return replace(proven, sureness=Sureness.CERTAIN)
    if proof.verdict in (CURED, HELPED) and finding.sureness is Sureness.POSSIBLE:
        return replace(proven, sureness=Sureness.LIKELY)
    if proof.verdict == NO_EFFECT and finding.sureness is not Sureness.CERTAIN:
        return replace(proven, sureness=Sureness.POSSIBLE, severity=Severity.NOTE)
    if proof.verdict == NO_EFFECT:
        return replace(finding, proof=replace(proof, why="it is wrong all the same, and not all that is wrong"))
    return proven
