"""Which columns of two sets can be expected to be alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stethoscope.facts.data import Column, Data, Rows
from stethoscope.facts.sentinels import without_sentinels

KINDS = ("number", "truth", "category")
"""Dates move on between two sets, and texts hardly repeat."""
FEWEST = 20
"""Rows from which an order is no chance."""
DENSE = 0.9
"""Share of the whole numbers between the least and the greatest that occur, from which on they count something."""
MANY = 1000
"""Different values of a part of the rows, from which on they may all be different."""
REPEATED = 0.5
"""Share of the rows with a value of their own from which on a column of words names each row."""
SHARED = 0.2
"""Share of the second set's patients, users or machines that the first one has, below which they are other ones."""


def comparable(seen: Data) -> list[tuple[Column, Column]]:
    """The input columns that both sets have, in the order of the first, which do not count or name the rows.

    Nor those that name a patient or a machine by a number, or other ones in each set, as after a cut by them. What
    stands for nothing, such as -999 and `N/A`, is missing in them: how much there is of it is another question.
    """
    if seen.test is None:
        return []
    others = {column.name: column for column in seen.test.profile.columns}
    entities = {name: shared < SHARED * of for name, shared, of in seen.overlap.shared_keys} if seen.overlap else {}
    known = [
        (one, others[one.name])
        for one in seen.inputs(seen.train)
        if one.name in others and not (one.name in entities and (entities[one.name] or one.numbers is not None))
    ]
    pairs = [without_sentinels(_present(one), _present(other)) for one, other in known]
    samples = (seen.train.sample, seen.test.sample)
    return [pair for pair in pairs if pair[0].kind == pair[1].kind in KINDS and not is_counter(pair, samples)]


def _present(column: Column) -> Column:
    """The column with the spellings of nothing among its words taken for missing."""
    words = column.words
    if words is None or not words.missing:
        return column
    gone = {text for text, _ in words.missing}
    rows = sum(count for _, count in words.missing)
    left = replace(
        words, count=words.count - rows, distinct=words.distinct - len(gone), missing=(),
        top=tuple(pair for pair in words.top if pair[0] not in gone),
    )  # fmt: skip
    return replace(column, nulls=column.nulls + rows, words=left)


def is_counter(pair: tuple[Column, Column], samples: tuple[Rows, Rows]) -> bool:
    """Whether a column numbers or names the rows, or grows with them as time does: two sets differ in it by nature."""
    if all(column.numbers is None for column in pair):
        return all(_names_rows(column) for column in pair)
    if any(_is_consecutive(column) for column in pair):
        return True
    return all(_grows(column.name, rows) for column, rows in zip(pair, samples, strict=True))


def _names_rows(column: Column) -> bool:
    words = column.words
    return words is not None and words.distinct > REPEATED * words.count


def _is_consecutive(column: Column) -> bool:
    numbers = column.numbers
    if numbers is None or numbers.count < FEWEST or numbers.whole < numbers.count or numbers.spikes:
        return False
    span = numbers.greatest - numbers.least + 1
    different = numbers.distinct == numbers.count if numbers.distinct_is_exact else numbers.distinct >= MANY
    # Repeats that the histogram cannot show would make the span much smaller than the count.
    return different and numbers.count / DENSE >= span >= numbers.count


def _grows(name: str, rows: Rows) -> bool:
    values = rows.values.get(name)
    if values is None or values.dtype == object or values.size < FEWEST:
        return False
    with np.errstate(invalid="ignore"):  # infinite numbers
        steps = np.diff(values.astype(np.float64))
    return bool((steps > 0).all() or (steps < 0).all())
