"""Findings and rules for the tests of the engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stethoscope.core.finding import Evidence, Finding, Fix, Kind, Place, Severity, Sureness
from stethoscope.core.rule import Rule


def finding(rule: str, steps: tuple[int, int] | None = None, **fields: Any) -> Finding:
    """An error, a likely cause, unless told otherwise."""
    usual: dict[str, Any] = {
        "kind": Kind.CAUSE,
        "severity": Severity.ERROR,
        "sureness": Sureness.LIKELY,
        "title": f"{rule} was seen",
        "cause": "It was made up.",
        "evidence": (Evidence("things", 1, 0),),
        "fixes": (Fix("Do it."),),
        "place": Place(steps=steps),
    }
    return Finding(rule=rule, **(usual | fields))


def rule(name: str, says: Iterable[Any] = (), **fields: Any) -> type[Rule]:
    """A rule that says the same about every history; raises what is an exception."""

    def in_training(self: Rule, seen: Any) -> Any:
        for each in says:
            if isinstance(each, Exception):
                raise each
            yield each

    module = f"made_up.loop.{name.replace('-', '_')}"
    return type("MadeUp", (Rule,), {"__module__": module, "in_training": in_training, **fields})


SYMPTOM: dict[str, Any] = {"kind": Kind.SYMPTOM, "sureness": Sureness.CERTAIN}
NOTE: dict[str, Any] = {"severity": Severity.NOTE}
WARNING: dict[str, Any] = {"severity": Severity.WARNING}
