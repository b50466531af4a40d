"""Orders findings: what to look at first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from stethoscope.core.finding import Finding, Kind
from stethoscope.facts.training import History

Key = tuple[int, int, bool, int, int, str, str]

LAST = 1 << 62


def rank(findings: Iterable[Finding], history: History) -> tuple[Finding, ...]:
    """The findings, most important first, numbered from 1."""
    ordered = sorted(findings, key=Ranking(history).key)
    return tuple(replace(finding, rank=place) for place, finding in enumerate(ordered, start=1))


class Ranking:
    """The order of findings in one history.

    Errors come before warnings before notes, certain before likely, causes before symptoms; then what
    began first, and what lies nearest the input.
    """

    def __init__(self, history: History) -> None:
        self._depth = {layer.name: layer.order for layer in history.layers if layer.order >= 0}
        for parameter in history.parameters:
            if 0 <= parameter.layer < len(history.layers):
                self._depth.setdefault(parameter.name, history.layers[parameter.layer].order)

    def key(self, finding: Finding) -> Key:
        """Smaller is more important; name and title only break ties, so that the order never varies."""
        place = finding.place
        return (
            -finding.severity.gravity,
            -finding.sureness.strength,
            finding.kind is Kind.SYMPTOM,
            place.steps[0] if place.steps else LAST,
            min(self._depth.get(place.module or "", LAST), self._depth.get(place.parameter or "", LAST)),
            finding.rule,
            finding.title,
        )
