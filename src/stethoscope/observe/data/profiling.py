"""Makes the profile of a table, whatever engine holds its rows."""

from __future__ import annotations

import numpy as np

from stethoscope.facts.data import Column, Numbers, Profile, Rows, Words
from stethoscope.facts.grids import Grid
from stethoscope.observe.data import spelling
from stethoscope.observe.data.parsing import reading_of
from stethoscope.observe.data.tables import Counted, Field, Table

TEXT_WORDS = 3.0
"""Words in the mean value from which on a column holds texts, where most values are different."""
MOSTLY_DIFFERENT = 0.5


def profile(table: Table, like: Profile | None = None) -> Profile:
    """The profile of a table.

    Args:
        table: the rows.
        like: the profile that it will be compared with: numbers are counted on the same grids.
    """
    grids = _grids(like)
    fields = table.fields()
    numeric = [field.name for field in fields if field.kind in ("number", "truth", "date")]
    numbers = table.numbers(numeric, grids) if numeric else {}
    worded = [field.name for field in fields if field.kind == "words"]
    words = table.words(worded, grids) if worded else {}
    rows = table.rows()
    columns = []
    for field in fields:
        if field.name in numbers:
            columns.append(_numeric(field, rows, *numbers[field.name]))
        elif field.name in words:
            columns.append(_worded(field, rows, words[field.name]))
        else:
            columns.append(Column(field.name, "nested", field.dtype, rows))
    return Profile(rows, tuple(columns))


def sampled(table: Table, profile: Profile, most: int) -> Rows:
    """Some rows, evenly; texts that are numbers or dates as doubles, as the profile has them."""
    rows = table.sample(most)
    values = dict(rows.values)
    for column in profile.columns:
        texts = values.get(column.name)
        if column.words is None or column.numbers is None or texts is None or texts.dtype != object:
            continue
        reading = reading_of([pair for pair in column.words.top if not spelling.is_missing(pair[0])])
        if reading is not None:
            values[column.name] = np.array([np.nan if text is None else reading.parse(text) for text in texts])
    return Rows(rows.index, values, tuple(column.name for column in profile.columns if column.kind == "date"))


def _grids(like: Profile | None) -> dict[str, Grid]:
    if like is None:
        return {}
    return {column.name: column.numbers.grid for column in like.columns if column.numbers and column.numbers.count}


def _numeric(field: Field, rows: int, nulls: int, numbers: Numbers) -> Column:
    kind = "empty" if nulls == rows else field.kind
    return Column(field.name, kind, field.dtype, rows, nulls, numbers=numbers)


def _worded(field: Field, rows: int, counted: Counted) -> Column:
    missing = tuple((text, count) for text, count in counted.top if spelling.is_missing(text))
    present = [(text, count) for text, count in counted.top if not spelling.is_missing(text)]
    words = Words(
        count=counted.count,
        distinct=counted.distinct,
        distinct_is_exact=counted.distinct_is_exact,
        top=counted.top,
        missing=missing,
        spellings=spelling.spellings(present),
        variants=spelling.variants(present) if counted.distinct <= len(counted.top) else (),
        lengths=counted.lengths,
        damaged=sum(count for text, count in present if spelling.is_damaged(text)),
    )
    if not present:
        return Column(field.name, "empty", field.dtype, rows, counted.nulls, words=words)
    if counted.numbers is not None:
        return Column(field.name, counted.read_as, field.dtype, rows, counted.nulls, counted.numbers, words)
    return Column(field.name, kind_of_words(words), field.dtype, rows, counted.nulls, words=words)


def kind_of_words(words: Words) -> str:
    """`text`, where most values are different and of several words; else `category`."""
    present = [(text, count) for text, count in words.top if not spelling.is_missing(text)]
    total = sum(count for _, count in present)
    spaces = sum(count * (text.count(" ") + 1) for text, count in present) / max(1, total)
    return "text" if spaces >= TEXT_WORDS and words.distinct >= MOSTLY_DIFFERENT * words.count else "category"
