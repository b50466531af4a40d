"""Folds what follows from a cause under that cause, so that one mistake is one message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from stethoscope.core.finding import Finding, Kind, Severity, Sureness
from stethoscope.diagnosing.rank import Ranking
from stethoscope.facts.training import History

SLACK_STEPS = 10
SLACK_SHARE = 0.1
"""A cause may first be *seen* this much later than its symptom: layers are looked at only now and then."""


def explain(
    findings: Sequence[Finding], explains: Mapping[str, Sequence[str]], history: History
) -> tuple[Finding, ...]:
    """The findings that nothing explains, with the explained ones folded under them.

    Where several findings explain one, the highest in rank takes it. Of findings that explain each other,
    the highest in rank leads. A cause takes on the severity of the gravest thing that follows from it.

    Args:
        findings: what the rules said.
        explains: rule name to the rules whose findings follow from it.
    """
    ordered = sorted(findings, key=Ranking(history).key)
    parent: dict[int, int] = {}
    # From the least important upwards: of two that explain each other the lesser is folded first.
    for child in reversed(range(len(ordered))):
        for candidate in range(len(ordered)):
            leads = _root(candidate, parent) != child
            if leads and _accounts_for(ordered[candidate], ordered[child], explains):
                parent[child] = candidate
                break
    leaders: dict[int, Finding] = {i: f for i, f in enumerate(ordered) if i not in parent}
    for i, finding in enumerate(ordered):
        if i in parent:
            root = _root(i, parent)
            leaders[root] = _under(leaders[root], finding)
    return tuple(leaders.values())


def rule_out(
    finding: Finding, explains: Mapping[str, Sequence[str]], checked: Sequence[str], unsure: Sequence[str]
) -> Finding:
    """A symptom that stands alone, with the causes of it that were looked for; any other finding as it is."""
    if finding.kind is not Kind.SYMPTOM:
        return finding
    causes = [rule for rule, symptoms in explains.items() if finding.rule in symptoms and rule != finding.rule]
    return replace(
        finding,
        ruled_out=tuple(rule for rule in causes if rule in checked),
        not_ruled_out=tuple(rule for rule in causes if rule in unsure),
    )


def _accounts_for(cause: Finding, finding: Finding, explains: Mapping[str, Sequence[str]]) -> bool:
    """Whether `finding` follows from `cause`: listed, no weaker, and not from before it."""
    if finding.rule == cause.rule or finding.rule not in explains.get(cause.rule, ()):
        return False
    if cause.severity is Severity.NOTE and finding.severity is not Severity.NOTE:
        return False
    if cause.sureness is Sureness.POSSIBLE and finding.sureness is not Sureness.POSSIBLE:
        return False
    if finding.kind is Kind.CAUSE and cause.sureness.strength < finding.sureness.strength:
        return False
    return not _clearly_before(finding, cause)


def _clearly_before(finding: Finding, cause: Finding) -> bool:
    if not finding.place.steps or not cause.place.steps:
        return False
    began, cause_began = finding.place.steps[0], cause.place.steps[0]
    return began < cause_began - max(SLACK_STEPS, SLACK_SHARE * cause_began)


def _root(index: int, parent: Mapping[int, int]) -> int:
    while index in parent:
        index = parent[index]
    return index


def _under(leader: Finding, finding: Finding) -> Finding:
    graver = max(leader.severity, finding.severity, key=lambda severity: severity.gravity)
    folded = replace(leader, severity=graver).folded(finding)
    return replace(folded, explains=tuple(dict.fromkeys(folded.explains)))
