"""Columns of two sets beside each other: which have shifted, which have not, and which cannot be told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.finding import Evidence, Plot, SuspectRow
from stethoscope.core.text import number
from stethoscope.facts.comparable import comparable
from stethoscope.facts.data import Column, Data, DataSet, Words
from stethoscope.facts.gaps import Gap, gap_of
from stethoscope.facts.images import PROPERTIES as OF_IMAGES
from stethoscope.facts.statistics import chosen
from stethoscope.facts.texts import PROPERTIES as OF_TEXTS
from stethoscope.rules.columns import named, of_numbers
from stethoscope.rules.newcomers import new_values

Doubles = NDArray[np.float64]

TOLERANCE = 0.05
"""Share of the rows that may lie elsewhere without harm: a mean that moves by an eighth of a standard deviation."""
MOST_ROWS = 20
"""That are shown of a finding."""
SURELY_NEW = 1e-5
"""Chance of a new class that is told by itself, however many columns it is judged with."""
SEEN_AT_LEAST = 0.2
"""Sets that are too small to show a gap of this size, half a standard deviation, cannot be judged."""


@dataclass(frozen=True)
class Shift:
    """One column in two sets."""

    one: Column
    other: Column
    gap: Gap
    verdict: str
    """`shift`, `none beyond tolerance`, or `cannot tell`."""

    @property
    def name(self) -> str:
        """Of the column."""
        return self.one.name

    @property
    def effect(self) -> float:
        """The gap as seen; of categories what exceeds chance, which is the more the more categories there are."""
        return self.gap.size if self.one.numbers is not None else max(0.0, self.gap.size - self.gap.by_chance)


def pairs_of(seen: Data) -> list[tuple[Column, Column]]:
    """All that can be compared of two sets: input columns, and the properties of their pictures and texts."""
    pairs = comparable(seen)
    if seen.test is None:
        return pairs
    if seen.train.images is not None and seen.test.images is not None:
        pairs += _properties(OF_IMAGES, seen.train.images.values, seen.test.images.values, "")
    if seen.train.texts is not None and seen.test.texts is not None:
        name = seen.train.texts.column
        pairs += _properties(OF_TEXTS, seen.train.texts.values, seen.test.texts.values, f"{name}: " if name else "")
    return pairs


def _properties(names: Sequence[str], one: Doubles, other: Doubles, prefix: str) -> list[tuple[Column, Column]]:
    """A column for each property, those that were not measured left out."""
    pairs = []
    for place, name in enumerate(names):
        first = of_numbers(prefix + name, one[:, place])
        if first.numbers is not None and first.numbers.count:
            pairs.append((first, of_numbers(prefix + name, other[:, place], grid=first.numbers.grid)))
    return pairs


def judged(pairs: Iterable[tuple[Column, Column]], rate: float, tolerance: float = TOLERANCE) -> tuple[Shift, ...]:
    """These columns with a verdict each; the most shifted first."""
    gaps = [(one, other, gap_of(one, other, tolerance)) for one, other in pairs]
    known = [(one, other, gap) for one, other, gap in gaps if gap is not None]
    found = chosen([gap.chance for _, _, gap in known], rate)
    shifts = [Shift(one, other, gap, "") for one, other, gap in known]
    verdicts = [
        shift.gap.verdict(tolerance, is_found and shift.effect >= tolerance)
        for shift, is_found in zip(shifts, found, strict=True)
    ]
    named_shifts = [Shift(s.one, s.other, s.gap, v) for s, v in zip(shifts, verdicts, strict=True)]
    return tuple(sorted(named_shifts, key=lambda shift: -shift.effect))


def unjudged(shifts: Sequence[Shift], rate: float, tolerance: float = TOLERANCE) -> str:
    """Why nothing can be said of columns that would have to move by half a spread to be seen; empty where it can."""
    few = [shift for shift in shifts if shift.verdict == "cannot tell" and _blind(shift, rate / len(shifts), tolerance)]
    if not few:
        return ""
    rows = min(few[0].gap.rows), max(shift.gap.needed for shift in few)
    who = f"{len(few)} of {len(shifts)} columns" if len(shifts) > 1 else f"{named(few[0].name)}"
    return f"{who}: {rows[0]:,} rows do not show whether they moved; about {_rough(rows[1]):,} in each set would"


def _blind(shift: Shift, rate: float, tolerance: float) -> bool:
    rows = shift.gap.rows
    band = math.sqrt((1 - math.log(rate)) / 2 * (1 / rows[0] + 1 / rows[1]))
    noise = shift.gap.by_chance if shift.one.numbers is None else 0.0
    return tolerance + band + noise > SEEN_AT_LEAST


def _rough(rows: int) -> int:
    """Two digits that count, rounded up."""
    unit = int(10 ** max(0, len(str(rows)) - 2))
    return math.ceil(rows / unit) * unit


def percent(share: float) -> str:
    """A share as a person says it: `21%`, `0.4%`."""
    return f"{share:.0%}" if share >= 0.02 or share == 0 else f"{100 * share:.2g}%"


def evidence_of(shift: Shift, tolerance: float = TOLERANCE) -> Evidence:
    """The gap beside the tolerance, with what moved and a picture of numbers."""
    gap = shift.gap
    if shift.one.numbers is None:
        allowed, plot = tolerance + gap.by_chance, None
    else:
        allowed, plot = tolerance, _plot(shift, tolerance)
    return Evidence(
        f"rows of {named(shift.name)} that lie elsewhere",
        f"{percent(gap.size)} ({percent(gap.low)} to {percent(gap.high)})",
        f"at most {percent(allowed)}",
        what_moved(shift),
        plot,
    )


def what_moved(shift: Shift) -> str:
    """The change in the units of the column, such as `median 38.2, was 33.1` and `'blue' 31%, was 12%`."""
    one, other = shift.one.numbers, shift.other.numbers
    if one is None or other is None:
        parts = [f"{value!r} {percent(now)}, was {percent(was)}" for value, was, now in shift.gap.moved[:2]]
        return "; ".join(part if len(part) <= 60 else part[:59] + "…" for part in parts)
    if shift.one.kind == "truth":
        return f"true in {percent(other.mean)}, was {percent(one.mean)}"
    was, now = one.quantile(0.5), other.quantile(0.5)
    if abs(now - was) >= 0.1 * one.std or not one.std > 0:
        words = f"median {number(now)}, was {number(was)}"
    else:
        words = f"standard deviation {number(other.std)}, was {number(one.std)}"
    far = shift.gap.wasserstein
    return f"{words}; {far:.2g} SD away" if math.isfinite(far) else words


def _plot(shift: Shift, tolerance: float) -> Plot | None:
    gap = shift.gap
    if gap.places.size < 2 or shift.one.kind == "truth":
        return None
    places, rises = np.asarray(gap.places, float), np.asarray(gap.rises, float)
    return Plot(
        tuple(places.tolist()), tuple(rises.tolist()), f"rows below a value of {shift.name}, share more than before",
        (-tolerance, tolerance), axis="",
    )  # fmt: skip


def rows_of(one: DataSet, name: str, chosen_rows: NDArray[np.bool_], why: str) -> list[SuspectRow]:
    """Some of the sampled rows of a set, with the value of a column.

    Args:
        one: the set.
        name: of the column.
        chosen_rows: (rows of the sample,).
        why: a clause.
    """
    values = one.sample.values[name]
    return [
        SuspectRow(one.name, int(one.sample.index[i]), ((name, str(values[i])),), why)
        for i in np.flatnonzero(chosen_rows)[:MOST_ROWS]
    ]


def one_shift(seen: Data, name: str, what: str, rate: float, tolerance: float) -> Shift | str:
    """The shift of one column that is no input, or why it cannot be judged, as a clause.

    Args:
        seen: two sets.
        name: of the column; empty where none was named.
        what: it is, such as `target`.
        rate: chance of a `shift` where nothing has changed.
        tolerance: share of rows that may lie elsewhere.
    """
    if seen.test is None:
        return "there is only one data set"
    if not name:
        return f"no column was named as the {what}"
    pair = [each.profile.column(name) for each in seen.sets]
    for column, each in zip(pair, seen.sets, strict=True):
        if column is None or column.kind == "empty":
            return f"{each.name} has no {what} {named(name)}"
    one, other = (as_categories(column) for column in pair if column is not None)
    if one.kind != other.kind and pair[0] is not None and pair[1] is not None:
        one, other = pair[0], pair[1]
    shifts = judged([(one, other)], rate, tolerance)
    if not shifts:
        return f"the {what} {named(name)} of the two sets cannot be compared"
    return shifts[0]


def of_known_classes(shift: Shift, rate: float, tolerance: float) -> Shift | None:
    """A shift of labels without the classes that surely only the second set has; None where nothing else has moved."""
    one, other = shift.one.words, shift.other.words
    if one is None or other is None or shift.one.numbers is not None:
        return shift
    new = new_values(shift.name, one, other)
    if new is None or not new.values or new.chance > SURELY_NEW:
        return shift
    gone = {text for text, _ in new.values}
    rows = sum(count for _, count in new.values)
    left = replace(
        other, count=other.count - rows, distinct=other.distinct - len(gone),
        top=tuple(pair for pair in other.top if pair[0] not in gone),
    )  # fmt: skip
    rest = judged([(shift.one, replace(shift.other, words=left))], rate, tolerance) if left.count else ()
    return next((each for each in rest if each.verdict == "shift"), None)


def as_categories(column: Column) -> Column:
    """Whole numbers of which each is frequent, such as class indices, as categories; others as they are."""
    numbers = column.numbers
    if numbers is None or column.kind == "truth" or numbers.whole < numbers.count:
        return column
    if sum(count for _, count in numbers.spikes) < numbers.count:
        return column
    top = tuple((f"{value:g}", count) for value, count in numbers.spikes)
    words = Words(count=numbers.count, distinct=len(top), top=top)
    return replace(column, kind="category", numbers=None, words=words)
