"""What may have been filled in for nothing, though no spelling says so: zeros apart, and texts that many rows share."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.core.text import amount
from stethoscope.facts.data import Column, Data
from stethoscope.facts.sentinels import Tells, Zero, zero_of
from stethoscope.rules.columns import named, taken
from stethoscope.rules.sites import code

NAMED = 5
"""Columns that are named in the evidence."""
LONGEST = 40
"""Letters of a text that are shown."""


def zeros(rule: Rule, seen: Data, tells: Tells, apart: float) -> Iterator[Finding]:
    """A 0 where nothing was measured, perhaps: in some columns it means none.

    Args:
        rule: whose findings they are.
        seen: the data.
        tells: rows from which on it is told, and distance of 0 from the next value over the range of the others.
        apart: or over the width of the middle half of the others.
    """
    found = [
        (column, zero)
        for column in seen.inputs(seen.train)
        if (zero := zero_of(column, tells)) is not None
        and (zero.least >= apart * zero.width or zero.least >= tells.gap * zero.span)
    ]
    if not found:
        return
    column, zero = found[0]
    masked = (_masked(seen, one, "0") for one, _ in found[:NAMED])
    yield rule.finding(
        f"column {named(column.name)} is 0 in {amount(zero.rows, 'row')}, far below all others",
        severity=Severity.NOTE,
        sureness=Sureness.POSSIBLE,
        place=Place(file=seen.train.name, columns=tuple(one.name for one, _ in found)),
        evidence=[_zero(one, each) for one, each in found[:NAMED]],
        cause="All other values lie far above, so that a 0 is no small one of them. It may stand for what was not "
        "measured, and is then taken for a measurement.",
        fixes=["Where it stands for nothing, take it for missing:\n" + code(*masked)],
        unless="0 means none, as of a dose or a loan.",
    )


def defaults(rule: Rule, seen: Data, tells: Tells, own: float) -> Iterator[Finding]:
    """Texts that many rows share where nearly all others have one of their own: what is filled in for nothing.

    Args:
        rule: whose findings they are.
        seen: the data.
        tells: rows from which on it is told, and how much more of them than of the next most frequent text.
        own: share of the other rows with a text of their own.
    """
    for column in seen.inputs(seen.train):
        words = column.words
        if words is None or column.numbers is not None or column.kind == "empty":
            continue
        present = [pair for pair in words.top if pair not in words.missing]
        others = words.count - present[0][1] if present else 0
        if len(present) < 2 or others < present[0][1] or words.distinct - 1 < own * others:
            continue  # where it is most of the column, the others are the rare case
        (text, rows), (_, usual) = present[:2]
        if rows >= max(tells.fewest, tells.share * column.rows, tells.often * usual):
            yield _default(rule, seen, column, (text, rows), usual)


def _default(rule: Rule, seen: Data, column: Column, most: tuple[str, int], usual: int) -> Finding:
    text, rows = most[0][:LONGEST], most[1]
    different = column.words.distinct if column.words is not None else 0
    return rule.finding(
        f"{amount(rows, 'row')} of {named(column.name)} share one value, most others none",
        severity=Severity.NOTE,
        sureness=Sureness.POSSIBLE,
        place=Place(file=seen.train.name, columns=(column.name,)),
        evidence=[
            Evidence(f"rows with {text!r}", f"{rows:,}", f"{usual:,}, as the next most frequent"),
            Evidence(f"different values of {named(column.name)}", f"{different:,}", "about one a row"),
        ],
        cause="Nearly every row has a value of its own, and these share one: it may be what a form or a program fills "
        "in for nothing.",
        fixes=["Where it stands for nothing, take it for missing:\n" + code(_masked(seen, column, repr(text)))],
        unless="so many rows are of one thing.",
    )


def _masked(seen: Data, column: Column, value: str) -> str:
    """The line that makes a value of the training set's column missing."""
    values = taken(seen, column.name)
    return f"{values} = {values}.mask({values} == {value})"


def _zero(column: Column, zero: Zero) -> Evidence:
    greatest = column.numbers.greatest if column.numbers is not None else 0.0
    return Evidence(
        f"rows of {named(column.name)} that are 0", f"{zero.rows:,} ({zero.rows / column.rows:.1%})", "0",
        f"all others are {zero.least:.4g} to {greatest:.4g}",
    )  # fmt: skip
