"""Puts data sets before the rules and gathers what they say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from stethoscope.core.errors import describe
from stethoscope.core.finding import CannotTell, Diagnosis, Finding, Kind
from stethoscope.core.rule import Rule
from stethoscope.diagnosing.select import check_limits
from stethoscope.diagnosing.suppress import Suppressions, suppress
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
        findings = [_named(one, data) for one in words if isinstance(one, Finding)]
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


CALL = re.compile(r"stethoscope data TRAIN( --test TEST)?( --target TARGET)?")
"""How rules write the call that led to them."""


def _named(finding: Finding, data: Data) -> Finding:
    """With the names of this call in the commands that it says to run, so that they can be pasted."""
    if not any("data TRAIN" in fix.text for fix in finding.fixes) or data.train.name == "train":  # a frame has no name
        return finding
    call = ["stethoscope data", shlex.quote(data.train.name)]
    if data.test is not None:
        call.append(f"--test {shlex.quote(data.test.name)}")
    if data.target and data.train.images is None:
        call.append(f"--target {shlex.quote(data.target)}")
    words = " ".join(call)
    fixes = (replace(fix, text=CALL.sub(lambda _: words, fix.text)) for fix in finding.fixes)
    return replace(finding, fixes=tuple(fixes))


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
    """Whether one finding follows from another of the same set: its columns are all among that one's, or none."""
    if each.rule not in explains.get(cause.rule, ()) or cause.severity.gravity < each.severity.gravity:
        return False
    if cause.place.file != each.place.file:
        return False
    return set(each.place.columns or ()) <= set(cause.place.columns or ())


FIRST = (
    "train-test-overlap", "target-leakage", "preprocessing-leakage", "inconsistent-preprocessing", "schema-violation",
    "label-errors", "conflicting-labels", "embedding-shift", "distribution-shift", "label-shift", "missing-values",
)  # fmt: skip
"""Of findings as grave and as sure: those that make a score wrong come before those that make learning harder."""


def _key(finding: Finding) -> tuple[int, bool, int, int, str, str]:
    """Gravest first, then what spoils a score, then surest; name and title only break ties: the order never varies."""
    symptom, place = finding.kind is Kind.SYMPTOM, FIRST.index(finding.rule) if finding.rule in FIRST else len(FIRST)
    return -finding.severity.gravity, symptom, place, -finding.sureness.strength, finding.rule, finding.title
