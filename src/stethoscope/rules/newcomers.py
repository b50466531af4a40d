"""Categories that only the second of two sets has: how many there are, and how many chance would give."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace

from stethoscope.facts.data import Words
from stethoscope.facts.statistics import all_in_one_chance, at_least_chance

SHORT = 3
"""Letters below which punctuation tells values apart, as in A+ and A-."""


@dataclass(frozen=True)
class New:
    """The categories of a column that the first set lacks."""

    name: str
    values: tuple[tuple[str, int], ...]
    """With their rows, most frequent first."""
    known: dict[str, str]
    """New spelling to a value of the first set that differs by case, spacing or punctuation only."""
    rows: int
    """Of the second set, without missing ones."""
    expected: float
    """Values that only the second set would have if the rows were dealt out at random."""
    chance: float

    @property
    def share(self) -> float:
        """Of the rows of the second set."""
        return sum(count for _, count in self.values) / self.rows

    def spellings(self) -> New:
        """The same with new spellings of known values only: those are worth a word also where chance gives others."""
        return replace(self, values=tuple(each for each in self.values if each[0] in self.known))


def new_values(name: str, one: Words, other: Words) -> New | None:
    """The new values of a column; None where not all values of the first set were counted."""
    if not one.is_complete or not other.count or not one.count:
        return None
    before = dict(one.top)
    missing = {text for text, _ in other.missing}
    values = tuple((text, count) for text, count in other.top if count and text not in before and text not in missing)
    if not values:
        return New(name, (), {}, other.count, 0.0, 1.0)
    pooled = Counter(before)
    pooled.update(dict(other.top))
    sizes = Counter(count for count in pooled.values() if count)
    dealt = {size: all_in_one_chance(size, one.count, other.count) for size in sizes}
    expected = sum(dealt[size] * number for size, number in sizes.items())
    largest = values[0][1]
    rivals = sum(number for size, number in sizes.items() if size >= largest)
    frequent = rivals * all_in_one_chance(largest, one.count, other.count)
    many = at_least_chance(len(values), expected) if other.is_complete else 1.0
    chance = min(1.0, 2 * min(frequent, many))
    return New(name, values, _spelled(before, values, one), other.count, expected, chance)


def _spelled(before: dict[str, int], values: tuple[tuple[str, int], ...], one: Words) -> dict[str, str]:
    """New spellings of known values; those of which the first set has several are usual there."""
    several = {_bare(group[0]) for group in one.variants} if one.variants else _repeated(before)
    known = {bare: text for text in reversed(before) if (bare := _bare(text)) and bare not in several}
    return {text: known[_bare(text)] for text, _ in values if _bare(text) in known}


def _repeated(before: dict[str, int]) -> set[str]:
    counted = Counter(_bare(text) for text in before)
    return {bare for bare, count in counted.items() if count > 1}


def _bare(text: str) -> str:
    """A text without case, spacing and punctuation; empty for a number, of which those are a part."""
    bare = re.sub(r"[\W_]+", "", text).casefold()
    if len(bare) < SHORT:
        return text.strip().casefold()
    return "" if bare.isdigit() else bare
