"""What new data has to keep to: learned from the profile of a training set, saved, and enforced in service."""

from __future__ import annotations

from dataclasses import dataclass

from stethoscope.facts.data import Column, Profile
from stethoscope.facts.sentinels import sentinel_of

VERSION = 1
TOLERANCE = 0.25
"""Of a range, beyond its least and greatest value: a new maximum comes with every larger set. Of a normal column in
2,000 rows that is where another 2,000 have a value in one of 1,000 sets."""
MISSING_TOLERANCE = 0.05
"""Share of the rows that may be missing beyond what was missing in the training set."""
MOST_CATEGORIES = 100
LARGEST_SHARE = 0.2
"""Different words / rows, from which on new words are to be expected."""
FEWEST_ROWS = 50
"""Fewer rows do not show that a value never repeats, or what words there are."""


@dataclass(frozen=True)
class ColumnSchema:
    """What the values of one column have to be. What is None is free."""

    name: str
    kind: str
    """`number`, `truth`, `date`, `words`, or `any`."""
    required: bool = True
    """Whether new data must have it: all columns but the target."""
    nullable: bool = True
    most_missing: float | None = None
    """Share of the rows, 0..1, where some were missing."""
    missing_as: tuple[float, ...] = ()
    """Numbers that stand for nothing, such as -999: they count as missing, and are no part of the range."""
    least: float | None = None
    """Of numbers, and of dates in seconds since 1970 (UTC); the tolerance is in it."""
    greatest: float | None = None
    whole: bool = False
    """Whether numbers have no fraction."""
    categories: tuple[str, ...] | None = None
    unique: bool = False
    """Whether no value comes twice in a set."""


@dataclass(frozen=True)
class Schema:
    """What new data has to keep to."""

    columns: tuple[ColumnSchema, ...] = ()
    rows: int = 0
    """That it was learned from."""
    target: str = ""
    version: int = VERSION


def kind_of(column: Column) -> str:
    """The kind of a column, those of one family together."""
    return {"category": "words", "text": "words", "empty": "any", "nested": "any"}.get(column.kind, column.kind)


def learn(profile: Profile, target: str = "") -> Schema:
    """The schema that a training set gives."""
    return Schema(tuple(_column(column, target) for column in profile.columns), profile.rows, target)


def _column(column: Column, target: str) -> ColumnSchema:
    kind = kind_of(column)
    required = column.name != target
    if kind == "any":
        return ColumnSchema(column.name, kind, required)
    stands_for_nothing = sentinel_of(column)  # -999 is no age: what it stands for is missing
    missing = column.missing + (stands_for_nothing.rows if stands_for_nothing is not None else 0)
    share = missing / column.rows if column.rows else 0.0
    most = min(1.0, round(share + MISSING_TOLERANCE, 4)) if missing else None
    least = greatest = None
    numbers = column.numbers
    if numbers is not None and numbers.count and kind != "truth":
        low, high = numbers.least, numbers.greatest
        if stands_for_nothing is not None:
            low, high = stands_for_nothing.least, stands_for_nothing.greatest
        room = TOLERANCE * (high - low)
        least, greatest = low - room, high + room
        least = max(least, 0.0) if low >= 0 else least  # what was never negative stays so
    return ColumnSchema(
        column.name, kind, required, nullable=missing > 0, most_missing=most,
        missing_as=() if stands_for_nothing is None else (stands_for_nothing.value,), least=least, greatest=greatest,
        whole=numbers is not None and kind == "number" and 0 < numbers.count == numbers.whole,
        categories=_categories(column), unique=_is_unique(column),
    )  # fmt: skip


def _categories(column: Column) -> tuple[str, ...] | None:
    words = column.words
    if column.kind != "category" or words is None or column.numbers is not None or words.count < FEWEST_ROWS:
        return None
    missing = {text for text, _ in words.missing}
    known = tuple(sorted(text for text, _ in words.top if text not in missing))
    few = words.is_complete and len(known) <= min(MOST_CATEGORIES, LARGEST_SHARE * words.count)
    return known if known and few else None


def _is_unique(column: Column) -> bool:
    if column.missing or column.rows < FEWEST_ROWS:
        return False
    if column.words is not None and column.kind in ("category", "text"):
        return column.words.distinct_is_exact and column.words.distinct == column.rows
    numbers = column.numbers
    if numbers is None or column.kind != "number" or numbers.whole != numbers.count:
        return False
    if numbers.distinct_is_exact:
        return numbers.distinct == column.rows
    # Whole numbers without a gap: their squares are those of 0, 1, 2, ...
    expected = numbers.count * (numbers.count**2 - 1) / 12
    fills = numbers.greatest - numbers.least == numbers.count - 1
    return fills and abs(numbers.squares - expected) <= 1e-6 * expected
