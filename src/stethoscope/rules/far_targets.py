"""Targets of numbers that lie far from what models that did not see them say."""

from __future__ import annotations

from collections.abc import Sequence

from stethoscope.core.finding import Evidence, Finding, Place, Severity, Sureness, SuspectRow
from stethoscope.core.rule import Rule
from stethoscope.core.text import amount, number
from stethoscope.facts.data import Data, LabelSuspects
from stethoscope.rules.columns import named
from stethoscope.rules.sites import code

LOOK = code("stethoscope data TRAIN --target TARGET --suspects rows.csv")


def far_off(
    rule: Rule, seen: Data, labels: LabelSuspects, slips: float, place: Place, rows: Sequence[SuspectRow]
) -> Finding:
    """The finding about these rows: a warning where a slip of the point explains them.

    Args:
        rule: whose finding it is.
        seen: the data.
        labels: what the models said.
        slips: rows from which on a slip explains them, half of all at least.
        place: of the rows.
        rows: with their columns.
    """
    worst = labels.suspects[0]
    slipped = labels.slips >= max(slips, 0.5 * len(labels.suspects))
    title = f"{amount(len(labels.suspects), 'row')} where {named(seen.target)} is far from what the rest says"
    if slipped:
        times = f"{labels.factor:g} times too large" if labels.factor > 1 else f"{1 / labels.factor:g} times too small"
        title = f"{labels.slips:,} values of {named(seen.target)} seem to be {times}"
    return rule.finding(
        title,
        severity=Severity.WARNING if slipped else Severity.NOTE,
        sureness=Sureness.LIKELY if slipped else Sureness.POSSIBLE,
        place=place,
        evidence=[
            Evidence(
                f"distance of row {worst.row} from its prediction",
                number(labels.usual / worst.score),
                f"below {number(labels.usual)} in 99 % of {labels.rows:,} rows",
                labels.method,
            ),
            Evidence("share of the distance from the median that is explained", f"{labels.explained:.2f}", "0 to 1"),
        ],
        cause="Models that did not see a row's target miss these by several times what they miss others by: a slip in "
        "the target, or in the inputs." + (" Moved by the point they would be as the rest says." if slipped else ""),
        fixes=[f"Look at them, and correct what is wrong:\n{LOOK}"],
        unless="they are rare cases, and right.",
        suspects=rows,
    )
