"""Findings about a log that counts epochs, in that word: rules judge points of curves, whatever these count."""

from __future__ import annotations

import re
from dataclasses import replace

from stethoscope.core.finding import Evidence, Finding

_STEP = re.compile(r"\b(S|s)tep(s?)\b(?!\()")


def in_epochs(finding: Finding) -> Finding:
    """The finding with its steps called epochs; code in the fixes stays."""
    return replace(
        finding,
        title=_named(finding.title),
        cause=_named(finding.cause),
        evidence=tuple(_of_epochs(each) for each in finding.evidence),
        place=replace(finding.place, unit="epoch"),
        unless=_named(finding.unless),
    )


def _of_epochs(evidence: Evidence) -> Evidence:
    return replace(
        evidence,
        what=_named(evidence.what),
        seen=_named(evidence.seen) if isinstance(evidence.seen, str) else evidence.seen,
        healthy=_named(evidence.healthy) if isinstance(evidence.healthy, str) else evidence.healthy,
        source=_named(evidence.source),
    )


def _named(text: str) -> str:
    return _STEP.sub(lambda found: f"{'E' if found[1] == 'S' else 'e'}poch{found[2]}", text)
