"""Rows that stand in a set more than once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness, SuspectRow
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import amount
from stethoscope.facts.data import Column, Data, DataSet, Near, Repeats
from stethoscope.rules import pictures, texts
from stethoscope.rules.columns import decided_by_chance, of_numbers, of_words, one_set, row_of
from stethoscope.rules.overlapping import is_beyond_chance, nearly
from stethoscope.rules.shifting import percent
from stethoscope.rules.sites import code

FINE = 0.5
"""Different values / rows of a column, from which on few rows share one."""


class DuplicateSamples(Rule):
    """The same rows stand in the training set several times.

    ## What it sees
    Rows that are equal in all columns, beside the number of equal rows that would come about by chance in columns with
    these values, if they had nothing to do with each other. Of pictures: files with the same pixels, and pictures that
    look the same in another size or quality. Of texts: those that are equal but for case and spacing. Of a second set:
    repeated rows where the first one has none of note.

    Rows that are nearly equal are a note: of a sample, those that lie four times nearer to one other row than to the
    tenth nearest, by ranks, where there are more of them than chance gives in as many dimensions.
    ## Why it hurts
    A repeated row weighs as much as all its copies. When the set is split, copies fall on both sides, and the score
    is one of memory. Most often a join or an export went wrong.
    ## How to fix it
    Drop the copies, before the set is split.
    ## When it is not a fault
    Coarse columns, where different cases look the same; rows that were repeated on purpose to weigh more.
    ## Sources
    K. Lee et al., "Deduplicating Training Data Makes Language Models Better", ACL 2022. B. Barz and J. Denzler,
    "Do We Train on Test Data? Purging CIFAR of Near-Duplicates", 2020.
    """

    severity = Severity.WARNING

    share = Limit(0.01, unit="share of the rows", why="deepchecks tells from 5 %, and a hundredth still biases a score")
    fewest = Limit(10, unit="repeated rows", why="of a small and coarse table a few rows are equal by nature")
    chance = Limit(3.0, unit="equal rows / those by chance", why="columns that go together repeat somewhat more often")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the repeats of the training set, and copies among its pictures."""
        if seen.train.images is not None:
            yield from pictures.copies(self, seen)
            if seen.train.repeats is None:
                return
        yield from texts.copies(self, seen)
        repeats = seen.train.repeats
        if repeats is None:
            yield self.cannot_tell("rows were not compared")
            return
        if self._is_beyond_chance(seen.train):
            yield self._rows(seen, seen.train, repeats)
        if is_beyond_chance(repeats.near, self.share):
            yield self._near(seen.train, repeats.near)
        if seen.test is None or seen.test.repeats is None or self._are_many(seen, seen.train):
            return
        if self._is_beyond_chance(seen.test) and self._are_many(seen, seen.test):
            yield self._rows(seen, seen.test, seen.test.repeats)

    def _is_beyond_chance(self, one: DataSet) -> bool:
        repeats = one.repeats
        by_chance = _by_chance(one.profile.columns, one.profile.rows)
        return repeats is not None and repeats.exact > 0 and repeats.exact >= self.chance * by_chance

    def _are_many(self, seen: Data, one: DataSet) -> bool:
        repeats = one.repeats
        most = max(self.fewest, self.share * one.profile.rows)
        return repeats is not None and repeats.exact >= most and not decided_by_chance(seen, one)

    def _rows(self, seen: Data, one: DataSet, repeats: Repeats) -> Finding:
        rows, is_first = one.profile.rows, one is seen.train
        by_chance = _by_chance(one.profile.columns, rows)
        suspects = [
            SuspectRow(one.name, row, row_of(one.sample, row), f"the same as row {group[0]}")
            for group in repeats.examples
            for row in group[1:]
        ]
        drop = code("frame = frame.drop_duplicates()" if is_first else "test = test.drop_duplicates()")
        return self.finding(
            f"{amount(repeats.exact, 'row')} of {rows:,} {'repeats' if repeats.exact == 1 else 'repeat'} an earlier one"
            + ("" if is_first else ", second set"),
            severity=Severity.WARNING if self._are_many(seen, one) else Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=Place(file=one.name, rows=tuple(one.row for one in suspects[:50]) or None),
            evidence=[
                Evidence(
                    "rows that are equal to an earlier one in all columns",
                    f"{repeats.exact:,} ({repeats.exact / rows:.1%})",
                    f"about {by_chance:.0f}, by chance in such columns" if by_chance >= 1 else "0",
                )
            ],
            cause="Copies weigh a sample more than others. Split at random, they fall on both sides, and a test score "
            "counts what was learned by heart."
            if is_first
            else "The score counts such a row as often as it stands there, and its interval takes copies for so many "
            "independent cases.",
            fixes=["Drop them before the set is split:\n" + drop if is_first else "Drop them:\n" + drop],
            unless="different cases look the same in these columns, or copies weigh rows on purpose.",
            suspects=suspects,
        )

    def _near(self, one: DataSet, near: Near) -> Finding:
        return self.finding(
            f"{percent(near.found / near.rows)} of the rows are nearly equal to another one",
            severity=Severity.NOTE,
            sureness=Sureness.POSSIBLE,
            place=Place(file=one.name, rows=tuple(row for _, row in near.examples) or None),
            evidence=[nearly(near, "rows nearer to one other row than a quarter of the way")],
            cause="Copies with small changes, such as augmented, rounded or corrected rows, or several measurements of "
            "one thing. Split at random, they fall on both sides, and a test score counts what was learned by heart.",
            fixes=[
                "Look at them, and split by what belongs together:\n"
                + code(
                    "splitter = GroupShuffleSplit(test_size=0.2)", "train, test = next(splitter.split(x, y, groups))"
                )
            ],
            unless="things are measured so often, as by a sensor, and split by time or by thing.",
            suspects=[
                SuspectRow(one.name, row, row_of(one.sample, row), f"nearly the same as row {first:,}")
                for first, row in near.examples
            ],
        )

    bad = Examples(lambda: {
        "nearly equal rows": _two(Repeats(near=Near(60, 1000, 2.0, ((1, 7), (3, 12))))),
        "a hundredth nearly equal": _two(Repeats(near=Near(10, 980, 0.5))),
        "a tenth": _two(Repeats(exact=100, examples=((1, 7),))),
        "a hundredth": _two(Repeats(exact=10)),
        "not quite a hundredth": _two(Repeats(exact=96), 10000),
        "nine of a hundred": _two(Repeats(exact=9), 100),
        "ten of a hundred": _two(Repeats(exact=10), 100),
        "equal cases": one_set(
            of_numbers("a", range(1000)), of_numbers("b", range(1000)), of_words("y", {"no": 500, "yes": 500}),
            target="y", task="classification", repeats=Repeats(exact=100, conflicting=100),
        ),
        "fewer": _two(Repeats(exact=2)),
        "of a second set": _second(Repeats(exact=2), Repeats(exact=10)),
        "far more than by chance": _coarse(Repeats(exact=60), 1000),
        "in a narrow table": one_set(
            of_numbers("a", [one / 7 for one in (*range(300), *range(100))]), of_words("b", dict.fromkeys("wxyz", 100)),
            repeats=Repeats(exact=100),
        ),
        "copies of pictures": pictures.of_pictures(same=((1, 7), (3, 4, 5))),
        "a copy of a picture": pictures.of_pictures(200, same=((1, 7),)),
        "pictures that look the same": pictures.of_pictures(alike=((1, 7),)),
        "copies of texts": texts.of_texts(same=((1, 7), (3, 4))),
        "a copy of a text": texts.of_texts(same=((1, 7),)),
        "texts that are nearly equal": texts.of_texts(alike=((1, 7),)),
        "three times chance": _coarse(Repeats(exact=36), 1000),
    })  # fmt: skip
    good = Examples(lambda: {
        "none": _two(Repeats()),
        "not quite a hundredth nearly equal": _two(Repeats(near=Near(10, 1020, 0.5))),
        "neighbours on a line": _two(Repeats(near=Near(300, 1000, 400.0))),
        "a few of a second set": _second(Repeats(), Repeats(exact=9)),
        "pictures": pictures.of_pictures(),
        "pictures of a single colour": pictures.of_pictures(same=((0, 1),), contrast=[0.0, 0.0]),
        "as by chance": _coarse(Repeats(exact=12), 1000),
        "not three times": _coarse(Repeats(exact=35), 1000),
    })  # fmt: skip


def _by_chance(columns: tuple[Column, ...], rows: int) -> float:
    """Rows equal to an earlier one that there would be if the columns were independent.

    About pairs x their chance to be equal; at most, for a column in which most values are different, the rows that
    repeat a value of it x the chance that the other columns are equal then.
    """
    varied = [column for column in columns if column.words or (column.numbers and column.numbers.count)]
    alike = [_alike(column, rows) for column in varied]
    every = float(np.prod(alike))
    expected = [float(rows), rows * (rows - 1) / 2 * every]
    expected += [_again(column) * every / one for column, one in zip(varied, alike, strict=True) if _is_fine(column)]
    return min(expected)


def _alike(column: Column, rows: int) -> float:
    """Chance that two rows have the same value."""
    if column.words is not None and column.words.count:
        rest = max(0, column.words.distinct - len(column.words.top))
        same = sum((count / rows) ** 2 for _, count in column.words.top)
        left = max(0.0, 1 - sum(count for _, count in column.words.top) / rows)
        return same + (left**2 / rest if rest else 0.0)
    if column.numbers is None or not column.numbers.count:
        return 1.0
    if column.numbers.distinct_is_exact and column.numbers.distinct < column.numbers.count:
        return float(((column.numbers.counts / rows) ** 2).sum())
    return sum((count / rows) ** 2 for _, count in column.numbers.spikes) + 1 / rows


def _is_fine(column: Column) -> bool:
    """Whether most of its values are different, so that one that repeats has one earlier row for a partner."""
    known = column.words if column.words is not None and column.words.count else column.numbers
    return known is not None and known.distinct > FINE * column.rows


def _again(column: Column) -> int:
    """Rows of such a column whose value an earlier row has, at most: missing ones are a value as well."""
    known = column.words if column.words is not None and column.words.count else column.numbers
    return column.rows - (known.distinct if known is not None else 0)


def _two(repeats: Repeats, rows: int = 1000) -> Data:
    return one_set(of_numbers("a", range(rows)), of_numbers("b", range(rows)), repeats=repeats)


def _second(first: Repeats, second: Repeats) -> Data:
    one = _two(first)
    return replace(one, test=replace(one.train, name="test.csv", repeats=second))


def _coarse(repeats: Repeats, rows: int) -> Data:
    """Two columns of 250 and 400 values: twelve equal rows of a thousand by chance."""
    words = {f"v{i}": rows // 250 for i in range(250)}
    numbers = [i % 400 for i in range(rows)]
    return one_set(of_words("a", words), of_numbers("b", numbers), repeats=repeats)
