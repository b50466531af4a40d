"""Columns that number or name the rows, among the inputs."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import only
from stethoscope.facts.data import Column, Data, Tie
from stethoscope.rules.columns import listed, named, of_numbers, of_words, one_set
from stethoscope.rules.sites import code


class IdentifierFeature(Rule):
    """A column among the inputs numbers or names the rows, or dates them.

    ## What it sees
    Whole numbers that fill a range without a gap, each of them once; texts of one word that are different in every
    row. Where such a column tells the target by itself, it is a warning: the rows were collected or sorted by what is
    to be predicted. Where a date does, it is a note: most often a trend or a season.
    ## Why it hurts
    A number of a row says nothing about new rows. Where it does tell the target, the model learns the order of the
    file, and fails on the next one.
    ## How to fix it
    Leave it out of the inputs; keep it to join and to split by.
    ## When it is not a fault
    Places in a sequence or a day, which are numbered as well and carry meaning.
    ## Sources
    S. Rosset et al., "Medical data mining: insights from winning two competitions", DMKD 2010 (a patient's number told
    the diagnosis in the KDD Cup of 2008).
    """

    severity = Severity.WARNING

    tells = Limit(
        0.2, unit="share of guessing's errors put right by the column", why="a number of a row should put none"
    )
    fewest_rows = Limit(50, unit="rows", why="a few measurements may happen to be different whole numbers")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Look for identifiers among the inputs."""
        if seen.train.profile.rows < self.fewest_rows:
            yield self.cannot_tell(f"there {only(seen.train.profile.rows, 'row')}")
            return
        ties = {tie.column: tie for tie in seen.train.ties}
        columns = [column for column in seen.inputs(seen.train) if _is_identifier(column)]
        telling = [
            (column, ties[column.name])
            for column in seen.inputs(seen.train)
            if (column in columns or column.kind == "date")
            and column.name in ties
            and ties[column.name].low >= self.tells
        ]
        if telling:
            yield self._telling(seen, *telling[0])
        silent = [column for column in columns if not any(column is one for one, _ in telling)]
        if silent:
            yield self._report(seen, silent)

    def _telling(self, seen: Data, column: Column, tie: Tie) -> Finding:
        if column.kind == "date":
            return self._dated(seen, column, tie)
        return self.finding(
            f"{named(column.name)}, a number of a row, tells the target by itself",
            sureness=Sureness.LIKELY,
            place=Place(file=seen.train.name, columns=(column.name,)),
            evidence=[
                Evidence(
                    f"share of guessing's errors that {named(column.name)} puts right, {tie.rows:,} held-out rows",
                    f"{tie.strength:.0%}",
                    "about 0 %",
                )
            ],
            cause="The rows were collected or sorted by what is to be predicted. A model that is given it learns "
            "the order of this file, which the next one does not have.",
            fixes=["Leave it out, and shuffle the rows:\n" + code(f"frame = frame.drop(columns=[{column.name!r}])")],
            unless="the column says when or where, and the target truly changes with it.",
        )

    def _dated(self, seen: Data, column: Column, tie: Tie) -> Finding:
        return self.finding(
            f"the date {named(column.name)} tells {named(seen.target)}: a trend, a season, or a leak",
            severity=Severity.NOTE,
            sureness=Sureness.LIKELY,
            place=Place(file=seen.train.name, columns=(column.name,)),
            evidence=[
                Evidence(
                    f"share of guessing's errors that {named(column.name)} puts right, {tie.rows:,} held-out rows",
                    f"{tie.strength:.0%}",
                    "about 0 %, where time does not matter",
                )
            ],
            cause="Rows that are near in time have similar targets. Split at random, each test row has neighbours "
            "among the training rows, and the score is better than that of a forecast.",
            fixes=[
                "Test on what is later than all that is trained on:\n"
                + code(
                    f"frame = frame.sort_values({column.name!r})",
                    "train, test = frame.iloc[:n_train], frame.iloc[n_train:]",
                )
            ],
            unless="new rows will lie between these in time.",
        )

    def _report(self, seen: Data, columns: list[Column]) -> Finding:
        names = [column.name for column in columns]
        first = f"column {named(names[0])} is" if len(names) == 1 else f"{len(names)} columns are"
        return self.finding(
            f"{first} different in each row: a number or a name of rows",
            severity=Severity.NOTE,
            sureness=Sureness.LIKELY,
            place=Place(file=seen.train.name, columns=tuple(names)),
            evidence=[
                Evidence(f"different values of {named(column.name)}", f"{_distinct(column):,}", "fewer than rows")
                for column in columns[:5]
            ],
            cause="What is different in each row says nothing about a new one; a model can only learn it by heart.",
            fixes=["Leave it out of the inputs:\n" + code(f"frame = frame.drop(columns=[{listed(names)}])")],
            unless="it is a place in a sequence, which carries meaning.",
        )

    bad = Examples(lambda: {
        "numbers of rows": one_set(of_numbers("id", range(100)), of_numbers("a", [i % 7 for i in range(100)])),
        "fifty rows": one_set(of_numbers("id", range(50))),
        "names": one_set(of_words("user", {f"u{i}": 1 for i in range(100)})),
        "it tells": one_set(of_numbers("id", range(100)), target="y", ties=(Tie("id", 0.5, 0.3, 50),)),
        "it tells a fifth": one_set(of_numbers("id", range(100)), target="y", ties=(Tie("id", 0.4, 0.2, 50),)),
        "a date that tells": one_set(
            of_numbers("day", [9e8 + i for i in range(100)], kind="date"), target="y", ties=(Tie("day", 0.5, 0.3, 50),)
        ),
    })  # fmt: skip
    good = Examples(lambda: {
        "measurements": one_set(of_numbers("a", [i * 1.1 for i in range(100)])),
        "with gaps": one_set(of_numbers("a", [i * 7 for i in range(100)])),
        "49 rows": one_set(of_numbers("id", range(49))),
        "a date": one_set(of_numbers("day", [9e8 + i for i in range(100)], kind="date"), target="y",
                          ties=(Tie("day", 0.25, 0.191, 50),)),
        "a date that hardly tells": one_set(of_numbers("day", [9e8 + i for i in range(100)], kind="date"), target="y",
                                            ties=(Tie("day", 0.3, 0.199, 50),)),
    })  # fmt: skip


def _distinct(column: Column) -> int:
    return column.words.distinct if column.words is not None else column.rows


def _is_identifier(column: Column) -> bool:
    numbers = column.numbers
    if column.kind == "number" and numbers is not None and numbers.count == column.rows:
        fills = numbers.greatest - numbers.least == numbers.count - 1
        # Sum of squares of 0, 1, 2, ...: numbers that fill the range but repeat and leave gaps have another one.
        expected = numbers.count * (numbers.count**2 - 1) / 12
        return fills and numbers.whole == numbers.count and abs(numbers.squares - expected) <= 1e-6 * expected
    words = column.words
    if column.kind in ("category", "text") and words is not None:
        plain = bool(words.top) and all(" " not in text.strip() for text, _ in words.top[:100])
        return words.distinct_is_exact and words.distinct == column.rows and plain
    return False
