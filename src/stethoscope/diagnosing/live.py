"""Decides what may be said while training goes on: little, once, and only what the end will not take back."""

from __future__ import annotations

from stethoscope.core.finding import Announcement, Diagnosis, Finding, Kind, Severity, Sureness

FIRST_STEP = 60
"""Steps before the first verdict: by then the loop has been watched in full for 50 of them."""
FEWEST_STEPS = 200
"""Steps before anything is said that is not certain: a prefix of a healthy run may look like a sick one."""


class Live:
    """What was announced of a run so far."""

    def __init__(self) -> None:
        self.announced: list[Announcement] = []
        self._before: set[str] = set()
        """Rules whose findings led at the verdict before."""

    def news(self, diagnosis: Diagnosis, steps: int) -> tuple[Announcement, ...]:
        """What is to be said now.

        A finding that is certain is said at once; an error with a likely cause when it stands at two verdicts in a row.
        All else is for the report: a healthy run that has just begun shows symptoms, too. Each rule speaks once.
        """
        leading = {
            finding.rule: finding for finding in reversed(diagnosis.findings) if finding.severity is not Severity.NOTE
        }
        said = {one.rule for one in self.announced}
        new = tuple(
            Announcement(finding.rule, steps, finding.title, finding.place.source)
            for finding in reversed(leading.values())
            if finding.rule not in said and self._stands(finding, steps)
        )
        self._before = set(leading)
        self.announced += new
        return new

    def _stands(self, finding: Finding, steps: int) -> bool:
        if finding.sureness is Sureness.CERTAIN:
            return True
        is_grave = finding.kind is Kind.CAUSE and finding.severity is Severity.ERROR
        return is_grave and steps >= FEWEST_STEPS and finding.rule in self._before


def in_a_line(one: Announcement) -> str:
    """An announcement as it is printed."""
    where = f" ({one.source})" if one.source else ""
    return f"stethoscope, step {one.step}: {one.title}{where} [{one.rule}]"
