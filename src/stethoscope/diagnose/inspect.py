"""Puts data sets before the rules and gathers what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Diagnosis, Finding, Kind
from stethoscope.core.rule import Rule
from stethoscope.diagnose.run import describe
from stethoscope.diagnose.select import check_limits
from stethoscope.diagnose.suppress import Suppressions, suppress
from stethoscope.facts.data import Data
from stethoscope.rules import all_rules


def inspect(
    data: Data,
    *,
    rules: Sequence[type[Rule]] | None = None,
    overrides: Mapping[str, Mapping[str, float]] | None = None,
    suppressions: Suppressions | None = None,
) -> Diagnosis:
    """What the rules say about data sets. Pure, and never raises because of a rule: a failing one is reported.

    Args:
        data: one set, or two.
        rules: the rules to run; all when None.
        overrides: rule name to limit name to value.
        suppressions: what the user allowed.

    Raises: UsageError for an override of a rule or limit that does not exist.
    """
    chosen = all_rules() if rules is None else tuple(rules)
    limits = overrides or {}
    check_limits(limits, (*all_rules(), *chosen))
    allowed = suppressions or Suppressions()
    said: list[Finding] = []
    checked: list[str] = []
    unsure: list[CannotTell] = []
    broken: list[CannotTell] = []
    for rule in chosen:
        if "in_data" not in rule.eyes():
            continue
        try:
            with np.errstate(all="ignore"):
                words = list(rule(limits.get(rule.name)).in_data(data))
        except Exception as error:  # a rule of ours must not take the others with it
            broken.append(CannotTell(rule.name, describe(error)))
            continue
        findings = [one for one in words if isinstance(one, Finding)]
        doubts = [one for one in words if isinstance(one, CannotTell)]
        said += findings
        unsure += doubts
        if findings or not doubts:
            checked.append(rule.name)
    stay, silenced = suppress(said, allowed)
    explains = {rule.name: rule.explains for rule in chosen}
    ordered = _folded(sorted(stay, key=_key), explains)
    return Diagnosis(
        findings=tuple(replace(finding, rank=place) for place, finding in enumerate(ordered, start=1)),
        checked=tuple(checked),
        not_checked=tuple(unsure),
        silenced=tuple(silenced),
        broken=tuple(broken),
        notices=allowed.notices,
    )


def _folded(ordered: Sequence[Finding], explains: Mapping[str, Sequence[str]]) -> list[Finding]:
    """The findings without those that follow from another one about the same columns, which are put under it."""
    leaders: list[Finding] = []
    follow = {i for i, each in enumerate(ordered) if any(_accounts_for(one, each, explains) for one in ordered)}
    for i, each in enumerate(ordered):
        if i not in follow:
            leaders.append(each)
    for i in sorted(follow):
        place = next((n for n, one in enumerate(leaders) if _accounts_for(one, ordered[i], explains)), None)
        if place is None:
            leaders.append(ordered[i])
        else:
            leaders[place] = leaders[place].folded(ordered[i])
    return leaders


def _accounts_for(cause: Finding, each: Finding, explains: Mapping[str, Sequence[str]]) -> bool:
    """Whether one finding follows from another: its columns are all among the other's, or it is about no columns."""
    if each.rule not in explains.get(cause.rule, ()) or cause.severity.gravity < each.severity.gravity:
        return False
    return set(each.place.columns or ()) <= set(cause.place.columns or ())


def _key(finding: Finding) -> tuple[int, int, bool, str, str]:
    """Gravest first, then surest; name and title only break ties, so that the order never varies."""
    symptom = finding.kind is Kind.SYMPTOM
    return -finding.severity.gravity, -finding.sureness.strength, symptom, finding.rule, finding.title
