"""Values of one column that are written in several ways."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.data import Column, Data, DataSet, Spelling, Words
from stethoscope.rules.columns import named, of_numbers, of_words, one_set
from stethoscope.rules.preparing import main_form
from stethoscope.rules.sites import code, one_spelling
from stethoscope.rules.two_sets import beside

NAMED = 4
PLAIN = ("number 1", "number 1.5")
"""Forms of numbers that are read alike."""

DATES = (("date 1999-12-31", 60), ("date 31/12/1999", 40))
"""Forms of the values of an example."""


class MixedFormats(Rule):
    """The values of one column are written in several ways, so that equal ones look different.

    ## What it sees
    The form of each value of a column of text: numbers with a point, a comma, a unit, a currency; dates in several
    orders; numbers among words; categories that differ by case, spacing or punctuation only; and letters damaged by a
    wrong encoding. Of a second set, what the first one does not have.
    ## Why it hurts
    `Paris` and `paris ` become two categories with half of the rows each. `1,5` among `1.5` makes a column of numbers
    one of text, or loses the rows that do not parse. A date in the wrong order is a wrong date, and nothing says so.
    ## How to fix it
    Bring each column to one form where it is read, and let the reader fail on all others.
    ## When it is not a fault
    Free text, codes and names, where the spelling carries meaning.
    ## Sources
    Catalogues of data smells: H. Foidl, M. Felderer, R. Ramler, "Data Smells: Categories, Causes and Consequences",
    CAIN 2022.
    """

    severity = Severity.WARNING
    explains = ("new-categories", "conflicting-labels", "label-errors")

    rare = Limit(0.001, unit="share of a column in a second form", why="a single odd cell is a slip and no second form")
    mostly = Limit(0.8, unit="share of a column that are numbers or dates", why="below, it is a column of words")

    fewest_amounts = Limit(10, unit="different values", why="fewer numbers with a unit are names of categories")
    category = Limit(2.0, unit="rows of a category, on average", why="below, the column names the rows")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the columns of text, and what is new in those of the second set."""
        for column in seen.train.profile.columns:
            words = _words(column)
            if words is None:
                continue
            if words.damaged:
                yield self._damaged(seen.train, column, words)
            forms = self.forms(words)
            if forms:
                yield self._mixed(seen.train, column, forms)
            elif words.variants:
                yield self._variants(seen, column, words)
        if seen.test is not None:
            for column in seen.test.profile.columns:
                yield from self._new(seen, seen.test, column)

    def _new(self, seen: Data, other: DataSet, column: Column) -> Iterator[Finding]:
        """What is mixed in a column of the second set, and not in that of the first; new spellings of its categories
        are told by new-categories, and one other form of all values by inconsistent-preprocessing."""
        before, words = seen.train.profile.column(column.name), _words(column)
        if before is None or words is None:
            return
        known = _words(before)
        if words.damaged and not (known is not None and known.damaged):
            yield self._damaged(other, column, words)
        forms = self.forms(words)
        if known is not None and (self.forms(known) or _is_written_otherwise(known, words)):
            return
        if forms:
            yield self._mixed(other, column, forms)

    def forms(self, words: Words) -> list[Spelling]:
        """The forms that do not go together, most frequent first; empty where all do."""
        rows = sum(form.rows for form in words.spellings)
        present = [form for form in words.spellings if form.rows >= max(2, self.rare * rows)]
        dates = [form for form in present if form.kind.startswith("date")]
        numbers = [form for form in present if form.kind.startswith("number")]
        if len(dates) > 1 and sum(form.rows for form in dates) >= self.mostly * rows:
            return dates
        strange = [form for form in words.spellings if not form.kind.startswith(("number", "date"))]
        if dates and strange and sum(form.rows for form in dates) >= self.mostly * rows and len(words.top) > 2:
            return [dates[0], *strange[:2]]
        share = sum(form.rows for form in numbers) / rows if rows else 0.0
        if share < self.mostly:
            return []
        others = [form for form in numbers if form.kind not in PLAIN]
        plain = [form for form in numbers if form.kind in PLAIN]
        units = sum(form.rows for form in others if form.kind == "number with unit")
        if units >= self.mostly * rows and len(words.top) < self.fewest_amounts:
            return []  # such as 1Fam and 2Fam: names that begin with a digit
        if len(others) > 1 or (others and plain):
            return numbers
        return [*numbers[:2], *strange[:2]] if strange and len(words.top) > 2 else []

    def _mixed(self, one: DataSet, column: Column, forms: list[Spelling]) -> Finding:
        first, second = forms[0], forms[-1]
        kind = "dates" if first.kind.startswith("date") else "numbers"
        title = f"{kind} of column {named(column.name)} in {len(forms)} forms"
        if not second.kind.startswith(("number", "date")):
            title = f"column {named(column.name)} holds {kind}, and words such as {second.examples[0][:12]!r}"
        read = (
            code(f"pd.to_datetime(frame[{column.name!r}], format='%Y-%m-%d')  # fails on all other forms")
            if kind == "dates"
            else code(f"pd.to_numeric(frame[{column.name!r}])  # fails on what is no number")
        )
        return self.finding(
            title,
            sureness=Sureness.CERTAIN,
            place=Place(file=one.name, columns=(column.name,)),
            evidence=[
                Evidence(f"{form.kind}, such as {form.examples[0]!r}", f"{form.rows:,} rows", "all rows or none")
                for form in forms[:NAMED]
            ],
            cause="What is written in several ways is not read as what it is: a whole column becomes text, values are "
            "lost, or a day is taken for a month.",
            fixes=["Bring all to one form, and read the column so that anything else fails:\n" + read],
            unless="the column is a code, and no number or date.",
        )

    def _variants(self, seen: Data, column: Column, words: Words) -> Finding:
        counts = dict(words.top)
        group = words.variants[0]
        return self.finding(
            f"{len(words.variants)} categor{'y' if len(words.variants) == 1 else 'ies'} of {named(column.name)} "
            "in several spellings",
            severity=Severity.WARNING if words.count >= self.category * words.distinct else Severity.NOTE,
            sureness=Sureness.LIKELY,
            place=Place(file=seen.train.name, columns=(column.name,)),
            evidence=[
                Evidence(
                    "values that differ by case, spacing or punctuation only",
                    ", ".join(f"{text!r} ({counts.get(text, 0):,})" for text in some[:NAMED]),
                    "one spelling",
                )
                for some in words.variants[:NAMED]
            ],
            cause=f"For a model {group[0]!r} and {group[1]!r} are two categories, with a part of the rows each.",
            fixes=[
                "Bring them to one spelling:\n"
                + one_spelling(column.name, {one: some[0] for some in words.variants for one in some[1:]})
            ],
            unless="the spelling tells them apart on purpose.",
        )

    def _damaged(self, one: DataSet, column: Column, words: Words) -> Finding:
        return self.finding(
            f"letters of column {named(column.name)} are damaged by a wrong encoding",
            sureness=Sureness.LIKELY,
            place=Place(file=one.name, columns=(column.name,)),
            evidence=[Evidence("rows with traces of it, such as `Ã©` or U+FFFD", f"{words.damaged:,}", "0")],
            cause="The text was written in one encoding and read in another: each such letter became two others, or "
            "was lost.",
            fixes=["Read the file in its own encoding:\n" + code("pd.read_csv(path, encoding='utf-8')  # or 'cp1252'")],
            unless="the texts are about encodings.",
        )

    bad = Examples(lambda: {
        "dates in the second set": beside([_column(("date 1999-12-31", 90))], [_column(*DATES)]),
        "words among numbers of the second set": beside(
            [of_numbers("a", range(20))], [_column(("number 1", 97), ("word", 3))]
        ),
        "damaged letters in the second set": beside(
            [of_words("a", {"René": 50, "Ann": 40})], [of_words("a", {"RenÃ©": 50, "Ann": 40}, damaged=50)]
        ),
        "two kinds of dates": one_set(_column(("date 1999-12-31", 60), ("date 31/12/1999", 40))),
        "comma and point": one_set(_column(("number 1.5", 90), ("number 1,5", 10))),
        "four in five are numbers": one_set(_column(("number 1.5", 70), ("number 1,5", 10), ("word", 20))),
        "one of a thousand": one_set(_column(("number 1.5", 1998), ("number 1,5", 2))),
        "a word among dates": one_set(_column(("date 1999-12-31", 97), ("word", 3))),
        "a word among numbers": one_set(_column(("number 1", 97), ("word", 3))),
        "spellings of one city": one_set(
            of_words("city", {"Paris": 50, "paris ": 40, "Rome": 10}, variants=(("Paris", "paris "),))
        ),
        "names that are written in two ways": one_set(
            of_words("name", {"CJ": 2, "C.J.": 1, **{f"n{i}": 2 for i in range(18)}}, variants=(("CJ", "C.J."),))
        ),
        "just categories": one_set(
            of_words("name", {"CJ": 2, "C.J.": 2, **{f"n{i}": 2 for i in range(18)}}, variants=(("CJ", "C.J."),))
        ),
        "amounts with a unit": one_set(_amounts(6)),
        "damaged letters": one_set(of_words("name", {"RenÃ©": 50, "Ann": 40}, damaged=50)),
    })  # fmt: skip
    good = Examples(lambda: {
        "one form in both sets": beside([_column(("date 1999-12-31", 90))], [_column(("date 1999-12-31", 40))]),
        "nearly all in another form": beside(
            [_column(("date 31/12/1999", 90))], [_column(("date 1999-12-31", 95), ("date 31/12/1999", 5))]
        ),
        "one form": one_set(_column(("number 1.5", 90), ("number 1", 10))),
        "rarer than that": one_set(_column(("number 1.5", 19881), ("number 1,5", 19))),
        "words with some numbers": one_set(_column(("word", 80), ("number 1", 20))),
        "fewer than four in five": one_set(_column(("number 1.5", 69), ("number 1,5", 10), ("word", 21))),
        "nine kinds of houses": one_set(_amounts(5)),
        "numbers": one_set(of_numbers("a", range(20))),
        "cities": one_set(of_words("city", {"Paris": 50, "Rome": 40})),
    })  # fmt: skip


def _words(column: Column) -> Words | None:
    """The words of a column whose spelling can be judged."""
    words = column.words
    return None if words is None or column.kind in ("text", "empty") or not words.count else words


def _is_written_otherwise(one: Words, other: Words) -> bool:
    """Whether nearly all values have one form in the first set, and another one in the second."""
    before, now = main_form(one.spellings), main_form(other.spellings)
    return before is not None and now is not None and before.kind != now.kind


def _amounts(different: int) -> Column:
    """So many numbers with a unit, and four words."""
    values = {f"{i}Fam": 90 for i in range(different)} | {f"Twin{i}": 5 for i in range(4)}
    spellings = (Spelling("number with unit", 90 * different, ("1Fam",)), Spelling("word", 20, ("Twin",)))
    return of_words("a", values, spellings=spellings)


def _column(*forms: tuple[str, int]) -> Column:
    spellings = tuple(Spelling(kind, rows, ("1,5" if kind.startswith("number") else "x",)) for kind, rows in forms)
    return of_words("a", {f"{kind} {i}": rows // 3 for kind, rows in forms for i in range(3)}, spellings=spellings)
