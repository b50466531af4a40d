"""Columns of which more values are missing in a second set than in training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.data import Data
from stethoscope.facts.sentinels import missing_in
from stethoscope.facts.statistics import chosen, dealt_chance, rise_interval
from stethoscope.rules.budget import SHARES
from stethoscope.rules.columns import listed, named
from stethoscope.rules.shifting import percent
from stethoscope.rules.sites import code
from stethoscope.rules.two_sets import beside, column, two_sets, yes_no

MOST_NAMED = 5


@dataclass(frozen=True)
class Rise:
    """Of the missing values of one column."""

    name: str
    shares: tuple[float, float]
    low: float
    chance: float
    """That rows dealt out to two sets at random show so much."""
    is_all: bool


class MissingValuesRise(Rule):
    """More values are missing in the second set than in the training set.

    ## What it sees
    The share of missing values of each column in both sets, in all their spellings (a number such as -999 of both sets
    among them), and how much of the difference chance allows, for all columns together. A number that only the second
    set has for them is told by missing-values.
    ## Why it hurts
    What is filled in for a missing value is a guess that the model was not trained to rely on. A column that is empty
    takes away what the model was given in training.
    ## How to fix it
    Find out what fills the column upstream: a sensor, a join, a form that has changed. Train with as many missing
    values as there will be.
    ## When it is not a fault
    A column that is only known later, and that the model does not use.
    ## Sources
    N. Polyzotis et al., "Data Validation for Machine Learning", MLSys 2019.
    R. G. Newcombe, "Interval estimation for the difference between independent proportions", 1998 (the interval).
    """

    severity = Severity.WARNING

    tolerance = Limit(0.01, unit="rise of the share of missing values", why="a row in a hundred costs hardly anything")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Compare the shares of missing values, column by column."""
        if seen.test is None:
            yield self.cannot_tell("there is only one data set")
            return
        rises = []
        for one in seen.inputs(seen.train):
            other = seen.test.profile.column(one.name)
            if other is None or one.kind == "empty" or not one.rows or not other.rows:
                continue
            first, second = missing_in(one, other)
            low, _ = rise_interval((first, one.rows), (second, other.rows))
            chance = dealt_chance(second, first + second, one.rows, other.rows)
            shares = first / one.rows, second / other.rows
            rises.append(Rise(one.name, shares, low, chance, second == other.rows))
        sure = chosen([rise.chance for rise in rises], SHARES[self.name])
        found = [rise for rise, is_sure in zip(rises, sure, strict=True) if is_sure and rise.low > self.tolerance]
        if found:
            found.sort(key=lambda rise: rise.shares[0] - rise.shares[1])
            yield self._report(seen.test.name, found)

    def _report(self, where: str, found: list[Rise]) -> Finding:
        worst = found[0]
        what = "is empty" if worst.is_all else f"lacks {percent(worst.shares[1])} of its values"
        title = f"{named(worst.name)} {what} in the second set"
        if len(found) > 1:
            title = f"{len(found):,} columns lack more values, first {named(worst.name)} ({percent(worst.shares[1])})"
        return self.finding(
            title,
            severity=Severity.ERROR if worst.is_all else None,
            sureness=Sureness.CERTAIN if worst.is_all else Sureness.LIKELY,
            place=Place(file=where, columns=tuple(rise.name for rise in found)),
            evidence=[
                Evidence(
                    f"missing values of {named(rise.name)}", percent(rise.shares[1]), percent(rise.shares[0]),
                    "in the training set",
                )
                for rise in found[:MOST_NAMED]
            ],
            cause=f"What fills {', '.join(named(rise.name) for rise in found[:MOST_NAMED])} in {where} has changed: "
            "the share of missing values rose by more than chance allows.",
            fixes=[
                Fix(
                    "See which rows they are, and what they have in common:\n"
                    + code(f"print(test[test[{worst.name!r}].isna()].describe(include='all'))")
                ),
                Fix(
                    "If it stays so, tell the model what is missing:\n"
                    + code(
                        "imputer = SimpleImputer(add_indicator=True)",
                        f"imputer.fit(train[[{listed(rise.name for rise in found[:MOST_NAMED])}]])",
                    )
                ),
            ],
            unless="the column is known only later, and no model uses it.",
        )  # fmt: skip

    bad = Examples(lambda: {
        "a fifth": _nulls(0, 200),
        "next to the tolerance": _nulls(0, 10_500, rows=1_000_000),
        "more of -999": two_sets({"a": ([*[i % 60 for i in range(900)], *[-999] * 20], [*range(60), *[-999] * 15])}),
        "empty": beside([column("a", yes_no(0.5, 1000))], [column("a", {}, nulls=500)]),
        "two columns": beside(
            [column("a", yes_no(0.5, 1000)), column("b", yes_no(0.5, 1000))],
            [column("a", yes_no(0.5, 900), nulls=100), column("b", yes_no(0.5, 700), nulls=300)],
        ),
    })  # fmt: skip
    good = Examples(lambda: {
        "as many of -999": two_sets({"a": ([*range(60), *[-999] * 15], [*range(60), *[-999] * 15])}),
        "as many": _nulls(200, 210),
        "fewer": _nulls(200, 10),
        "a handful": _nulls(0, 8),
        "just within the tolerance": _nulls(0, 9_990, rows=1_000_000),
        "one row": beside([column("a", yes_no(0.5, 500))], [column("a", {"yes": 0}, nulls=1)]),
    })  # fmt: skip


def _nulls(first: int, second: int, rows: int = 1000) -> Data:
    """Two sets of as many rows, with so many missing values."""
    return beside(
        [column("a", yes_no(0.5, rows - first), nulls=first)], [column("a", yes_no(0.5, rows - second), nulls=second)]
    )
