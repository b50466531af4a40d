"""Joins what was read in the code with what was seen in the run: one mistake is one finding, with both kinds of
evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from stethoscope.core.finding import Evidence, Finding, Kind, Link, Place, Severity, Sureness
from stethoscope.diagnosing.verdict import NO_EFFECT
from stethoscope.facts.code import Site
from stethoscope.facts.training import History

READ = "read in the code"
"""Where evidence comes from that no run has shown."""
Line = tuple[str, int]


@dataclass(frozen=True)
class Joined:
    """What became of the findings of the code."""

    seen: tuple[Finding, ...]
    """The findings of the run, those that the code bears out with its evidence."""
    only_read: tuple[Finding, ...] = ()
    """Findings of the code on which the run has no say."""
    refuted: tuple[Finding, ...] = ()
    """Findings of the code on lines that ran, and on which the rule found nothing when it judged the run."""


def join(seen: Sequence[Finding], code: Sequence[Finding], silent: Collection[str], history: History) -> Joined:
    """Bring both together.

    Args:
        seen: what the rules said of the run.
        code: what they said of its files.
        silent: rules that have judged the run and found nothing.
        history: what was heard; it tells which lines ran.
    """
    if not code:
        return Joined(tuple(seen))
    findings = list(seen)
    taken: set[int] = set()
    left: list[Finding] = []
    # Those that share a line first: what is left over may be the same thing, seen from somewhere else.
    for one in code:
        places = [i for i, it in enumerate(findings) if it.rule == one.rule and _lines(it) & _lines(one)]
        if not places:
            if one.sureness is not Sureness.POSSIBLE:  # what is only possible counts where the run has seen it, too
                left.append(one)
            continue
        findings[places[0]] = confirmed(findings[places[0]], one)
        taken.add(places[0])
    others: list[Finding] = []
    for one in left:
        free = [i for i, it in enumerate(findings) if it.rule == one.rule]
        if len(free) == 1 and free[0] not in taken:
            findings[free[0]] = confirmed(findings[free[0]], one)
            taken.add(free[0])
        else:
            others.append(one)
    doubted = [one for one in others if one.rule in silent and history.ended_by in ("", "check")]
    ran = set(lines_that_ran(history)) if doubted else set()
    refuted = [one for one in doubted if _lines(one) & ran]
    return Joined(
        tuple(findings), tuple(_as_read(one) for one in others if one not in refuted), tuple(refuted)
    )  # fmt: skip


def confirmed(seen: Finding, read: Finding) -> Finding:
    """The finding of the run with the evidence and the lines of the one in the code."""
    known = {evidence.what for evidence in seen.evidence} | {_amount(evidence) for evidence in seen.evidence} - {""}
    new = tuple(each for each in _as_read(read).evidence if not {each.what, _amount(each)} & known)
    has_line = bool(seen.place.file and seen.place.line)
    chain = read.chain
    if not chain and has_line and not _lines(replace(seen, chain=())) & _lines(read):
        chain = (Link(read.place, READ),)
    return replace(
        seen,
        evidence=(*seen.evidence, *new),
        chain=(*seen.chain, *chain),
        place=seen.place if has_line else _put(seen.place, read.place),
        sureness=_sureness(seen, read),
        unless=seen.unless or read.unless,
    )


def _amount(evidence: Evidence) -> str:
    """The measured number, where it is one that is hardly met twice by chance."""
    return f"{evidence.seen:.3g}" if isinstance(evidence.seen, float) and evidence.seen % 1 else ""


def _sureness(seen: Finding, read: Finding) -> Sureness:
    """Two witnesses leave no doubt, unless one is not sure, or an experiment has shown that it does not matter."""
    is_vain = seen.proof is not None and seen.proof.verdict == NO_EFFECT
    is_weak = read.sureness is Sureness.POSSIBLE
    if is_vain or is_weak or seen.severity is Severity.NOTE or seen.kind is Kind.SYMPTOM:
        return seen.sureness
    return Sureness.LIKELY if seen.sureness is Sureness.POSSIBLE else Sureness.CERTAIN


def _put(place: Place, line: Place) -> Place:
    """A place in the run, at a line of the code."""
    return replace(
        place, file=line.file, line=line.line, text=line.text, column=line.column, end_line=line.end_line,
        end_column=line.end_column, cell=line.cell,
    )  # fmt: skip


def _as_read(finding: Finding) -> Finding:
    return replace(
        finding, evidence=tuple(replace(each, source=each.source or READ) for each in finding.evidence)
    )  # fmt: skip


def _lines(finding: Finding) -> set[Line]:
    """The lines that a finding is about."""
    lines: set[Line] = set()
    for place in (finding.place, *(link.place for link in finding.chain)):
        if place.file and place.line:
            lines |= {(place.file, number) for number in range(place.line, (place.end_line or place.line) + 1)}
    return lines


def lines_that_ran(seen: object) -> Iterator[Line]:
    """Lines of the user's that are known to have been executed: those at which something was heard."""
    if isinstance(seen, Site):
        yield seen.file, seen.line
    elif isinstance(seen, tuple | list):
        for each in seen:
            yield from lines_that_ran(each)
    elif dataclasses.is_dataclass(seen):
        for field in dataclasses.fields(seen):
            yield from lines_that_ran(getattr(seen, field.name))
