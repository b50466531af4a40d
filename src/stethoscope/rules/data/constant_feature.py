"""Columns that hold one value only, or hardly another one."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import amount, only
from stethoscope.facts.data import Column, Data
from stethoscope.rules.columns import listed, named, of_numbers, of_words, one_set
from stethoscope.rules.sites import code

LONGEST = 16
"""Letters of a value that are shown."""
EXACT = 2.0**53
"""Numbers from here on are not told from their neighbours: a column of identifiers would look like one value."""


class ConstantFeature(Rule):
    """A column holds the same value in every row.

    ## What it sees
    The number of different values of each input column and of the target, those that are missing left out. A column
    without any value is one as well. A column with one value in nearly all rows is a note.
    ## Why it hurts
    It tells nothing, and a scaler divides by its spread of 0. Most often it is a sign that a join, a filter or a
    parser upstream went wrong: the column was meant to vary.
    ## How to fix it
    Find out where it became constant; if it is meant to be, leave it out of the inputs.
    ## When it is not a fault
    A column that is constant in this set and varies in others, kept so that all sets have the same columns. A mark of
    what is rare and matters, such as fraud.
    ## Sources
    N. Polyzotis et al., "Data Validation for Machine Learning", MLSys 2019.
    """

    severity = Severity.WARNING

    fewest_rows = Limit(10, unit="rows", why="a handful of rows may be equal by chance")
    blank = Limit(
        0.01, unit="share of the rows without a value", why="to be filled in or not is then a value of its own: a mark"
    )

    nearly = Limit(
        0.995,
        unit="share of the rows with one value, for a note",
        why="a batch of 32 holds another one in one case of seven; and of 200 rows it is one that differs",
    )

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Count the values of each column of the training set."""
        if seen.train.profile.rows < self.fewest_rows:
            yield self.cannot_tell(f"there {only(seen.train.profile.rows, 'row')}")
            return
        found = [
            column
            for column in seen.inputs(seen.train)
            if _value(column) is not None and (column.kind == "empty" or column.missing < self.blank * column.rows)
        ]
        if found:
            yield self._report(seen, found)
        target = seen.train.profile.column(seen.target) if seen.target and seen.train.images is None else None
        if target is not None and target.kind != "empty" and _value(target) is not None:
            yield self._target(seen, target)
        rest = [column for column in seen.inputs(seen.train) if column not in found and _value(column) is None]
        if hardly := [(column, most) for column in rest if (most := _most(column))[1] >= self.nearly * column.rows]:
            yield self._nearly(seen, hardly)

    def _target(self, seen: Data, target: Column) -> Finding:
        name, value = named(target.name), _value(target)
        return self.finding(
            f"the target {name} is {value} in all rows"[:72],
            sureness=Sureness.CERTAIN,
            place=Place(file=seen.train.name, columns=(target.name,)),
            evidence=[Evidence(f"different values of {name}", f"1 ({value})", "2 or more")],
            cause="There is one answer to everything, and a network learns to give it whatever it is shown. Most often "
            "a filter or a join upstream kept the rows of one class only.",
            fixes=[
                "Find out where the other answers were lost:\n" + code(f"print(frame[{target.name!r}].value_counts())")
            ],
            unless="one kind of rows is to be learned, so that others stand out.",
        )

    def _nearly(self, seen: Data, found: list[tuple[Column, tuple[str, int]]]) -> Finding:
        one, (value, count) = found[0]
        others = one.rows - count
        title = f"column {named(one.name)} is {value} in all but {amount(others, 'row')}"
        return self.finding(
            title if len(found) == 1 else f"{len(found)} columns hardly vary, first {named(one.name)}",
            severity=Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=Place(file=seen.train.name, columns=tuple(column.name for column, _ in found)),
            evidence=[
                Evidence(
                    f"rows where {named(column.name)} is {value}",
                    f"{count:,} of {column.rows:,} ({100 * count / column.rows:.4g}%)",
                    f"below {100 * self.nearly:g}%",
                )
                for column, (value, count) in found[:5]
            ],
            cause="Nearly all rows have one value. A network learns from the few others what is true of these rows "
            "alone, and a scaler makes them many standard deviations large.",
            fixes=[
                "Look at the rows that differ; leave the column out if they say nothing:\n"
                + code(f"print(frame[frame[{one.name!r}] != frame[{one.name!r}].mode()[0]])")
            ],
            unless="the rare value is what it is all about.",
        )

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
        "all but three": one_set(of_numbers("a", [0.0] * 597 + [1.0] * 3)),
        "all but one word": one_set(of_words("a", {"x": 199, "y": 1})),
        "the target": one_set(of_words("y", {"no": 12}), of_numbers("b", range(12)), target="y"),
        "empty": one_set(of_words("a", {}, nulls=12), of_numbers("b", range(12))),
    })  # fmt: skip
    good = Examples(lambda: {
        "no target yet": one_set(of_words("y", {}, nulls=12), of_numbers("b", range(12)), target="y"),
        "it varies": one_set(of_numbers("a", [3.0] * 11 + [4.0])),
        "all but six": one_set(of_numbers("a", [0.0] * 1194 + [1.0] * 7)),
        "all but one of 199": one_set(of_words("a", {"x": 198, "y": 1})),
        "nearly all, and gaps": one_set(of_numbers("a", [3.0] * 590 + [float("nan")] * 10)),
        "a mark": one_set(of_numbers("a", [3.0] * 98 + [float("nan")])),
        "large identifiers": one_set(of_numbers("a", [1e19 + i for i in range(12)])),
        "nine rows": one_set(of_numbers("a", [3.0] * 9)),
    })  # fmt: skip


def _most(column: Column) -> tuple[str, int]:
    """The most frequent value of a column, in words, with its rows."""
    if column.kind in ("text", "nested", "empty"):
        return "", 0
    numbers, words = column.numbers, column.words
    if numbers is not None and numbers.spikes and abs(numbers.spikes[0][0]) < EXACT:
        value, count = numbers.spikes[0]
        return f"{value:g}", count
    if words is not None and words.top and words.top[0] not in words.missing:
        return repr(words.top[0][0][:LONGEST]), words.top[0][1]
    return "", 0


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
