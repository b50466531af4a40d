"""Columns that hold one value only."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.data import Column, Data
from stethoscope.rules.columns import listed, named, of_numbers, of_words, one_set
from stethoscope.rules.sites import code

EXACT = 2.0**53
"""Numbers from here on are not told from their neighbours: a column of identifiers would look like one value."""


class ConstantFeature(Rule):
    """A column holds the same value in every row.

    ## What it sees
    The number of different values of each input column, those that are missing left out. A column without any value
    is one as well.
    ## Why it hurts
    It tells nothing, and a scaler divides by its spread of 0. Most often it is a sign that a join, a filter or a
    parser upstream went wrong: the column was meant to vary.
    ## How to fix it
    Find out where it became constant; if it is meant to be, leave it out of the inputs.
    ## When it is not a fault
    A column that is constant in this set and varies in others, kept so that all sets have the same columns.
    ## Sources
    N. Polyzotis et al., "Data Validation for Machine Learning", MLSys 2019.
    """

    severity = Severity.WARNING

    fewest_rows = Limit(10, unit="rows", why="a handful of rows may be equal by chance")
    blank = Limit(
        0.01, unit="share of the rows without a value", why="to be filled in or not is then a value of its own: a mark"
    )

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Count the values of each column of the training set."""
        if seen.train.profile.rows < self.fewest_rows:
            yield self.cannot_tell(f"there are only {seen.train.profile.rows} rows")
            return
        found = [
            column
            for column in seen.inputs(seen.train)
            if _value(column) is not None and (column.kind == "empty" or column.missing < self.blank * column.rows)
        ]
        if found:
            yield self._report(seen, found)

    def _report(self, seen: Data, found: list[Column]) -> Finding:
        names = [column.name for column in found]
        one = found[0]
        title = f"column {named(one.name)} is {_value(one)} in all rows"
        return self.finding(
            title if len(found) == 1 else f"{len(found)} columns hold one value only",
            sureness=Sureness.CERTAIN,
            place=Place(file=seen.train.name, columns=tuple(names)),
            evidence=[
                Evidence(f"different values of {named(column.name)}", f"1 ({_value(column)})", "2 or more")
                for column in found[:5]
            ],
            cause="A column that does not vary tells a model nothing, and its spread of 0 is what a scaler divides by.",
            fixes=["Leave out what is not meant to vary:\n" + code(f"frame = frame.drop(columns=[{listed(names)}])")],
            unless="it varies in other sets that need the same columns.",
        )

    bad = Examples(lambda: {
        "one number": one_set(of_numbers("a", [3.0] * 12), of_numbers("b", range(12))),
        "one word": one_set(of_words("a", {"x": 12}), of_words("b", {"x": 6, "y": 6})),
        "ten rows": one_set(of_numbers("a", [3.0] * 10)),
        "hardly a gap": one_set(of_numbers("a", [3.0] * 100 + [float("nan")])),
        "empty": one_set(of_words("a", {}, nulls=12), of_numbers("b", range(12))),
    })  # fmt: skip
    good = Examples(lambda: {
        "it varies": one_set(of_numbers("a", [3.0] * 11 + [4.0])),
        "a mark": one_set(of_numbers("a", [3.0] * 98 + [float("nan")])),
        "large identifiers": one_set(of_numbers("a", [1e19 + i for i in range(12)])),
        "nine rows": one_set(of_numbers("a", [3.0] * 9)),
    })  # fmt: skip


def _value(column: Column) -> str | None:
    """The only value of a column, in words; None where there are several."""
    if column.kind == "empty":
        return "missing"
    numbers = column.numbers
    if numbers is not None and numbers.least == numbers.greatest and not numbers.infinite:
        return f"{numbers.least:g}" if abs(numbers.least) < EXACT else None
    if column.words is not None and column.words.is_complete and column.words.distinct == 1:
        return repr(column.words.top[0][0])
    return None
