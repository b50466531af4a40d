"""What a diagnosis says of itself: how much was checked, how the run was heard, and what that cost."""

from __future__ import annotations

from collections.abc import Iterable

from stethoscope.core.finding import CannotTell, Diagnosis, Severity
from stethoscope.core.text import Line, Piece, Role, amount, clean, number
from stethoscope.facts.training import History, Sampling
from stethoscope.render.document import ROLE_OF

SHORTEST_STEP_S = 1e-6
"""Below it no ordinary step was timed: what is left of the looks is no more than their noise."""


def summary(diagnosis: Diagnosis, reasons_are: str = "above") -> Line:
    """`1 error, 2 notes in 16 checks (3 more not possible: no validation data passed)`."""
    line: Line = ()
    for severity in sorted(Severity, key=lambda severity: -severity.gravity):
        count = diagnosis.count(severity)
        if count:
            comma = (Piece(", "),) if line else ()
            line = (*line, *comma, Piece(amount(count, severity.value), ROLE_OF[severity]))
    if not diagnosis.checked and not line:
        return (Piece("nothing could be checked", Role.TITLE), Piece(_left_out(diagnosis, reasons_are)))
    found = line or (Piece("nothing wrong found", Role.HEALTHY),)
    return (*found, Piece(f" in {judged(diagnosis, reasons_are)}"))


def judged(diagnosis: Diagnosis, reasons_are: str = "above") -> str:
    """`16 checks (3 more not possible: no validation data passed)`."""
    return amount(len(diagnosis.checked), "check") + _left_out(diagnosis, reasons_are)


def _left_out(diagnosis: Diagnosis, reasons_are: str) -> str:
    """What is missing from the count, in brackets; empty where nothing is."""
    parts = []
    if diagnosis.not_checked:
        reasons = {cannot.why for cannot in diagnosis.not_checked}
        why = f": {clean(reasons.pop())}" if len(reasons) == 1 else f", reasons {reasons_are}"
        parts.append(f"{len(diagnosis.not_checked)} more not possible{why}")
    if diagnosis.broken:
        parts.append(f"{amount(len(diagnosis.broken), 'check')} failed")
    if diagnosis.silenced:
        parts.append(f"{len(diagnosis.silenced)} silenced")
    if diagnosis.withdrawn:
        parts.append(f"{len(diagnosis.withdrawn)} withdrawn")
    return f" ({'; '.join(parts)})" if parts else ""


def listening(history: History) -> str:
    """How the run was listened to, and what that cost."""
    sampling = history.sampling
    steps = max(history.steps, sampling.steps)
    if history.imported:
        return (
            f"{amount(len(history.curves), 'curve')} of {amount(steps, history.unit)}, from a log of {history.imported}"
        )
    if not sampling.looks:
        return f"{amount(steps, 'step')}; layers and parameters were not measured"
    often = f"every {amount(sampling.every, 'step')}" if sampling.every > 1 else "every step"
    how = often if sampling.every else f"a budget of {percent(sampling.budget)}"
    return (
        f"{amount(steps, 'step')}, {amount(sampling.looks, 'look')} at layers and parameters ({how}), "
        f"up to {sampling.values_per_layer:,} sampled values a layer and {sampling.values_per_parameter:,} "
        "a parameter"
    )


def cost(sampling: Sampling) -> str:
    """The tool's own estimate of what listening cost, in words; empty where nothing was measured."""
    if not sampling.looks:
        return ""
    times = f"a look {milliseconds(sampling.look_seconds)}"
    if sampling.step_seconds > SHORTEST_STEP_S:
        times = f"a step {milliseconds(sampling.step_seconds)}, {times} more"
    opening = f"the opening looks and the first verdicts took {number(float(f'{sampling.opening_seconds:.2g}'))} s"
    if sampling.looks <= sampling.burst_looks:
        return f"{opening}, and there were no others ({times})"
    share = percent(sampling.estimated_cost)
    return f"{share} of the training time, by its own estimate ({times}); {opening}"


def percent(share: float) -> str:
    """`0.8%`, from a share of 0..1."""
    return f"{number(float(f'{100 * share:.2g}'))}%"


def milliseconds(seconds: float) -> str:
    """`3.1 ms`."""
    return f"{number(float(f'{1000 * seconds:.2g}'))} ms"


def reasons(not_checked: Iterable[CannotTell]) -> dict[str, list[str]]:
    """Rules that could not judge, under the reason that they share."""
    grouped: dict[str, list[str]] = {}
    for cannot in not_checked:
        grouped.setdefault(cannot.why, []).append(cannot.rule)
    return grouped
