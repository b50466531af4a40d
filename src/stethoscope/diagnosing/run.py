"""Puts a history before the rules and gathers what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from stethoscope.core.errors import describe
from stethoscope.core.finding import CannotTell, Diagnosis, Finding
from stethoscope.core.rule import Rule
from stethoscope.core.treatment import Lab
from stethoscope.diagnosing.explain import explain, rule_out
from stethoscope.diagnosing.join import join
from stethoscope.diagnosing.prove import prove, without_suspicions
from stethoscope.diagnosing.rank import rank
from stethoscope.diagnosing.select import check_limits
from stethoscope.diagnosing.suppress import Suppressions, suppress
from stethoscope.facts.training import History
from stethoscope.rules import all_rules
from stethoscope.rules.epoch_words import in_epochs
from stethoscope.rules.jax_words import in_jax_words
from stethoscope.rules.keras_words import in_keras_words
from stethoscope.rules.trainer_words import in_trainer_words


def diagnose(
    history: History,
    *,
    rules: Sequence[type[Rule]] | None = None,
    overrides: Mapping[str, Mapping[str, float]] | None = None,
    suppressions: Suppressions | None = None,
    lab: Lab | None = None,
    code: Sequence[Finding] = (),
) -> Diagnosis:
    """What the rules say about a run. Pure without a lab, and never raises because of a rule: a failing one is
    reported.

    Findings are silenced before they are explained: a symptom whose cause is allowed is shown by itself.

    Args:
        history: what was heard of the run.
        rules: the rules to run; all when None.
        overrides: rule name to limit name to value.
        suppressions: what the user allowed.
        lab: tries the findings' treatments on copies of the run; None proves nothing.
        code: what rules said of the files that ran. Where the same rule speaks of the run both are one finding; one
            that the run refutes is withdrawn; others come last, whatever they are.

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
        if not _has_something(rule, history):
            continue  # it has nothing to look at, and is no check that was left out
        try:
            findings, doubts = _ask(rule(limits.get(rule.name)), history)
        except Exception as error:  # a rule of ours must not take the others with it
            broken.append(CannotTell(rule.name, describe(error)))
            continue
        said += findings
        unsure += doubts
        if findings or not doubts:
            checked.append(rule.name)
    stay, silenced = suppress(said, allowed)
    explains = {rule.name: rule.explains for rule in chosen}
    notices = allowed.notices
    said_at_once = without_suspicions(stay)
    if lab is not None and stay:
        try:
            stay = prove(stay, history, explains, {rule.name: rule.treatments for rule in chosen}, lab)
        except Exception as error:  # a failing lab costs the proof, and never the findings
            notices = (*notices, f"nothing was proven because of a fault in stethoscope ({describe(error)})")
            stay = said_at_once
    else:
        stay = said_at_once
    silent = [name for name in checked if not any(finding.rule == name for finding in said)]
    doubtful = [] if history.imported else [one.rule for one in unsure]  # of a log that is nearly all of them
    read, read_silenced = suppress(code, allowed)
    joined = join(stay, read, silent, history)
    alone = [rule_out(finding, explains, silent, doubtful) for finding in explain(joined.seen, explains, history)]
    return Diagnosis(
        findings=_numbered((*rank(alone, history), *rank(joined.only_read, history))),
        checked=tuple(checked),
        not_checked=tuple(unsure),
        silenced=(*silenced, *read_silenced),
        withdrawn=joined.refuted,
        broken=tuple(broken),
        notices=notices,
    )


def _has_something(rule: type[Rule], history: History) -> bool:
    """Whether there is anything that it looks at."""
    eyes = rule.eyes()
    early = "before_training" in eyes and history.preflight.made
    return "in_training" in eyes or early or (rule.in_batches and history.fed is not None)


def _numbered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(replace(finding, rank=place) for place, finding in enumerate(findings, start=1))


def _ask(rule: Rule, history: History) -> tuple[list[Finding], list[CannotTell]]:
    missing = [part for part in rule.reads if part not in history.parts]
    if history.imported:
        if not rule.from_curves:
            return [], [rule.cannot_tell(f"a log of {history.imported} holds curves only")]
    elif missing:
        return [], [rule.cannot_tell(f"the run was recorded without its {' and '.join(missing)}")]
    with np.errstate(all="ignore"):
        said = list(rule.judge(history))
    findings = _merged([each for each in said if isinstance(each, Finding)])
    if history.framework == "keras":
        findings = [in_keras_words(each, history) for each in findings]
    elif history.framework == "jax":
        findings = [in_jax_words(each, history) for each in findings]
    elif history.trainer:
        findings = [in_trainer_words(each, history) for each in findings]
    if history.unit == "epoch":
        findings = [in_epochs(each) for each in findings]
    # A rule that found something in one place has judged, whatever it could not see elsewhere.
    doubts = [each for each in said if isinstance(each, CannotTell)]
    return findings, [] if findings else list(dict.fromkeys(doubts))  # its eyes may say the same


def _merged(findings: list[Finding]) -> list[Finding]:
    """Findings of one rule, where those that say the same of one place are one: what several eyes see adds up."""
    by_words: dict[tuple[str, str, str | None], Finding] = {}
    for finding in findings:
        words = finding.title, finding.place.source, finding.place.module
        first = by_words.get(words)
        if first is None:
            by_words[words] = finding
            continue
        known = {evidence.what for evidence in first.evidence}
        new = tuple(evidence for evidence in finding.evidence if evidence.what not in known)
        by_words[words] = replace(first, evidence=(*first.evidence, *new))
    return list(by_words.values())
