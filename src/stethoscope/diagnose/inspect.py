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
    ordered = sorted(stay, key=_key)
    return Diagnosis(
        findings=tuple(replace(finding, rank=place) for place, finding in enumerate(ordered, start=1)),
        checked=tuple(checked),
        not_checked=tuple(unsure),
        silenced=tuple(silenced),
        broken=tuple(broken),
        notices=allowed.notices,
    )


def _key(finding: Finding) -> tuple[int, int, bool, str, str]:
    """Gravest first, then surest; name and title only break ties, so that the order never varies."""
    symptom = finding.kind is Kind.SYMPTOM
    return -finding.severity.gravity, -finding.sureness.strength, symptom, finding.rule, finding.title
