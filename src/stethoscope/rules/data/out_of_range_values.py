"""Numbers of a second set that lie outside of the range of the training set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Place, Severity, Sureness, SuspectRow
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.comparable import comparable
from stethoscope.facts.data import Data, DataSet, Numbers
from stethoscope.facts.statistics import all_in_one_chance, chosen, share_interval
from stethoscope.rules.budget import SHARES
from stethoscope.rules.columns import named
from stethoscope.rules.scaling import rescaled
from stethoscope.rules.shifting import percent, rows_of
from stethoscope.rules.sites import code
from stethoscope.rules.two_sets import bell, two_sets

MOST_NAMED = 5
FEWEST = 20
"""Numbers of the first set without an infinite one, from which on these are no part of the column."""


@dataclass(frozen=True)
class Outside:
    """The numbers of a column that lie on one side of the range of the first set, or are infinite."""

    name: str
    side: str
    """`above`, `below`, or `infinite`."""
    rows: int
    of: int
    range: tuple[float, float]
    """Of the first set."""
    furthest: float
    chance: float

    @property
    def share(self) -> float:
        """Of the rows of the second set."""
        return self.rows / self.of


class OutOfRangeValues(Rule):
    """Numbers of the second set lie outside of the range that the training set has.

    ## What it sees
    How many numbers of the second set lie above the largest or below the smallest of the training set, column by
    column. A few do by nature: reported is what dealing the rows out at random would not give. Infinite values where
    training has none are reported in any case. Columns in other units are left to inconsistent-preprocessing.
    ## Why it hurts
    A model extrapolates there: a network follows its last straight piece, a tree answers as at the edge.
    ## How to fix it
    Look at the rows: an error code, another unit, a sensor that failed. Clip what is known to be an error.
    ## When it is not a fault
    A quantity that grows by nature, such as a price; then a ratio or a difference is a better input.
    ## Sources
    E. Breck et al., "Data Validation for Machine Learning", MLSys 2019.
    """

    severity = Severity.WARNING

    share = Limit(0.01, unit="share of the rows out of range, at least, for a warning", why="fewer rows cost little")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Count the numbers on both sides of each range."""
        if seen.test is None:
            yield self.cannot_tell("there is only one data set")
            return
        in_other_units = rescaled(seen)
        sides = [
            side
            for one, other in comparable(seen)
            if one.kind == "number" and one.numbers and other.numbers and one.name not in in_other_units
            for side in _outside(one.name, one.numbers, other.numbers)
        ]
        sure = chosen([side.chance for side in sides], SHARES[self.name])
        found = [side for side, is_sure in zip(sides, sure, strict=True) if is_sure]
        if found:
            yield self._report(seen.test, sorted(found, key=lambda side: (side.side != "infinite", -side.share)))

    def _is_clear(self, side: Outside) -> bool:
        """Whether the share of rows out of range is large beyond doubt (95 %)."""
        return share_interval(side.rows, side.of)[0] >= self.share

    def _report(self, one: DataSet, found: list[Outside]) -> Finding:
        where = one.name
        worst = found[0]
        what = "is infinite in" if worst.side == "infinite" else f"is {worst.side} its range in"
        names = tuple(dict.fromkeys(side.name for side in found))
        return self.finding(
            f"{named(worst.name)} {what} {percent(worst.share)} of the second set",
            severity=Severity.WARNING if worst.side == "infinite" or self._is_clear(worst) else Severity.NOTE,
            sureness=Sureness.CERTAIN if worst.side == "infinite" else Sureness.LIKELY,
            place=Place(file=where, columns=names),
            evidence=[
                Evidence(
                    f"rows of {named(side.name)} that are infinite"
                    if side.side == "infinite"
                    else f"rows of {named(side.name)} {side.side} the range, the furthest at {side.furthest:.4g}",
                    f"{side.rows:,} of {side.of:,}",
                    "0" if side.side == "infinite" else f"{side.range[0]:.4g} to {side.range[1]:.4g}",
                    "in the training set",
                )
                for side in found[:MOST_NAMED]
            ],
            cause=f"The set `{where}` has values that no row of the training set comes near to, in "
            f"{', '.join(named(name) for name in names[:MOST_NAMED])}, and more of them than chance leaves to one set.",
            fixes=[
                Fix(
                    "Look at the rows:\n"
                    + code(
                        f"least, greatest = train[{worst.name!r}].min(), train[{worst.name!r}].max()",
                        f"print(test[~test[{worst.name!r}].between(least, greatest)])",
                    )
                ),
                "Mark sentinels as missing before anything is scaled, and clip what is known to be an error.",
            ],
            unless="the quantity grows by nature.",
            suspects=[row for side in found[:MOST_NAMED] for row in _suspects(one, side)],
        )  # fmt: skip

    bad = Examples(lambda: {
        "codes": two_sets({"a": (bell(), [*bell(900), *[-70.0] * 100])}),
        "infinite": two_sets({"a": (bell(), [*bell(900), float("inf")])}),
        "next to a warning": two_sets({"a": (bell(3000), [*bell(2959), *[9.0] * 41])}),
        "next to no warning": two_sets({"a": (bell(3000), [*bell(2960), *[9.0] * 40])}),
    })  # fmt: skip
    good = Examples(lambda: {
        "within": two_sets({"a": (bell(), bell(900))}),
        "a few above": two_sets({"a": (bell(), [*bell(900), 4.0, 5.0, 6.0])}),
        "in other units": two_sets({"a": (bell(mean=4), bell(mean=400, spread=100))}),
    })  # fmt: skip


def _suspects(one: DataSet, side: Outside) -> list[SuspectRow]:
    values = one.sample.values.get(side.name)
    if values is None or values.dtype == object:
        return []
    numbers = values.astype(np.float64)
    if side.side == "infinite":
        return rows_of(one, side.name, np.isinf(numbers), "infinite")
    is_out = numbers > side.range[1] if side.side == "above" else numbers < side.range[0]
    why = f"{side.side} the {side.range[0]:.4g} to {side.range[1]:.4g} of the first set"
    return rows_of(one, side.name, is_out & np.isfinite(numbers), why)


def _outside(name: str, one: Numbers, other: Numbers) -> Iterator[Outside]:
    """Both sides, and infinite values. The last bin of the range may hide some: then fewer are counted."""
    if not one.count or not other.count:
        return
    span = one.least, one.greatest
    if other.infinite and not one.infinite and one.count >= FEWEST:
        yield Outside(name, "infinite", other.infinite, other.count + other.infinite, span, float("inf"), 0.0)
    if one.grid != other.grid or one.counts.size != other.counts.size:
        return
    low, high = one.grid.bins(np.array(span))
    counts = {"below": int(other.counts[:low].sum()), "above": int(other.counts[high + 1 :].sum())}
    furthest = {"below": other.least, "above": other.greatest}
    for side, rows in counts.items():
        chance = all_in_one_chance(rows, one.count, other.count) if rows else 1.0
        yield Outside(name, side, rows, other.count, span, furthest[side], chance)
