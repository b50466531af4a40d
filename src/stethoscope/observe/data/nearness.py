"""Rows that are nearly the same as another one: copies that were rounded, noised or changed in a cell.

Among the sampled rows each is asked for its nearest row: it counts where that is far nearer than the tenth nearest is,
and the expected number of such rows says how many would be so by chance in as many dimensions. Columns are compared by
ranks, so that units and long tails do not matter. The same is asked of batches while a network trains
(`observe/training/lookalikes.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.comparable import is_counter
from stethoscope.facts.data import DataSet, Near, Rows
from stethoscope.facts.statistics import FORTIETH, NEAR, TENTH, nearer_by_chance
from stethoscope.observe.data import keys
from stethoscope.observe.data.tables import Keys

ASKED = 600
"""Rows whose neighbours are looked for."""
KNOWN = 6000
"""Rows among which they are looked for: 3.6 million distances take a tenth of a second."""
FEWEST_ROWS = 100
FEWEST_COLUMNS = 4
"""Of numbers, beside the target: rows that agree in fewer are alike by nature."""
MOST_COLUMNS = 200
OTHER_WORDS = 1
"""Columns of words in which a copy may differ."""
TIED = 0.25
"""Share of one value, as of zeros among counts of rare things, from which on a column of numbers is one of words."""
FEWEST_VALUES = 30
"""Different values below which a column is one of words, too: small counts are a lattice, on which rows are near."""
EQUAL = 1e-6
"""Distance up to which two rows are the same in all that is compared: in coarse columns many are by nature."""
MOST_EXAMPLES = 20
BLOCK = 250

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Values = NDArray[np.float64] | NDArray[np.object_]


@dataclass(frozen=True)
class _Rows:
    """Rows as what is compared of them."""

    rows: Ints
    """(n,): place of each in its set."""
    ranks: Doubles
    """(n, columns of numbers)."""
    words: Ints
    """(n, columns of words): equal numbers for equal words."""


def near_within(one: DataSet, others: Sequence[str]) -> Near:
    """Rows of a set that are nearly the same as another one of it, and not equal.

    Args:
        one: the set, with its sample.
        others: columns that are no inputs.
    """
    places = _different(one.sample, others)
    known = _known(one, _compared(one, others), places)
    if known.ranks.shape[1] < FEWEST_COLUMNS or places.size < FEWEST_ROWS:
        return Near()
    own = _evenly(np.arange(places.size), ASKED)
    asked = _Rows(known.rows[own], known.ranks[own], known.words[own])
    return _judged(known, asked, own)


def near_between(one: DataSet, other: DataSet, others: Sequence[str]) -> Near:
    """Rows of the second set that are nearly the same as one of the first, and not equal; as `near_within`."""
    first, second = one.sample, other.sample
    shared = [
        name
        for name, values in first.values.items()
        if name in second.values and second.values[name].dtype == values.dtype
    ]
    new = np.flatnonzero(~np.isin(_keys(second, shared, others), _keys(first, shared, others)))  # others are equal
    places = _different(first, others)
    if places.size < FEWEST_ROWS or not new.size:
        return Near()
    new = _evenly(new, ASKED)
    names = [name for name in _compared(one, others) if name in shared]
    both = Rows(
        np.concatenate([first.index[places], second.index[new]]),
        {name: np.concatenate([first.values[name][places], second.values[name][new]]) for name in names},
    )
    every = _known(replace(one, sample=both), names, np.arange(both.count), of_first=places.size)
    if every.ranks.shape[1] < FEWEST_COLUMNS:
        return Near()
    known, asked = (
        _Rows(every.rows[part], every.ranks[part], every.words[part])
        for part in (slice(None, places.size), slice(places.size, None))
    )
    return _judged(known, asked)


def _evenly(places: Ints, most: int) -> Ints:
    return np.asarray(places[np.linspace(0, places.size - 1, min(most, places.size)).astype(np.int64)], np.int64)


def _compared(one: DataSet, others: Sequence[str]) -> list[str]:
    """Columns of a set that say what its rows are, not which they are; texts are compared by themselves."""
    kept = []
    for column in one.profile.columns:
        if column.name in others or column.name not in one.sample.values or column.kind in ("text", "nested", "empty"):
            continue
        if not is_counter((column, column), (one.sample, one.sample)):
            kept.append(column.name)
    return kept[:MOST_COLUMNS]


def _different(rows: Rows, others: Sequence[str]) -> Ints:
    """Places of at most `KNOWN` sampled rows, evenly, of those with equal inputs the first."""
    return _evenly(np.sort(np.unique(_keys(rows, list(rows.values), others), return_index=True)[1]), KNOWN)


def _keys(rows: Rows, names: Sequence[str], others: Sequence[str]) -> Keys:
    """A key of the inputs of each sampled row. Shape: (rows,)."""
    total = np.zeros(rows.count, np.uint64)
    for name in names:
        values = rows.values[name]
        if name in others:
            continue
        if values.dtype == object:
            texts = values.tolist()
            places = {text: place for place, text in enumerate(dict.fromkeys(t for t in texts if t is not None))}
            codes = np.array([-1 if text is None else places[text] for text in texts], np.int64)
            keys.add_words(total, name, codes, list(places))
        else:
            keys.add_numbers(total, name, np.asarray(values, np.float64))
    return total


def _known(one: DataSet, names: Sequence[str], places: Ints, of_first: int | None = None) -> _Rows:
    """Sampled rows as ranks and numbers of words; ranks among the first so many rows, where columns vary in these."""
    ranks, words = [], []
    for name in names:
        values = one.sample.values[name][places]
        if values.dtype == object:
            codes: dict[object, int] = {}
            words.append(np.array([codes.setdefault(value, len(codes)) for value in values.tolist()], np.int64))
            continue
        numbers = np.asarray(values, np.float64)
        first = numbers[:of_first]
        ordered = np.sort(first[~np.isnan(first)])
        if _is_tied(ordered):
            words.append(np.unique(numbers, return_inverse=True)[1].astype(np.int64))
        elif ordered.size:
            low, high = (np.searchsorted(ordered, numbers, side) for side in ("left", "right"))
            ranks.append(np.where(np.isnan(numbers), 0.5, (low + high) / (2 * ordered.size)))
    empty = np.zeros((places.size, 0))
    return _Rows(
        one.sample.index[places], np.stack(ranks, 1) if ranks else empty,
        np.stack(words, 1) if words else empty.astype(np.int64),
    )  # fmt: skip


def _is_tied(ordered: Doubles) -> bool:
    """Whether the sorted values are few, or one as frequent as a category: such rows lie on planes or on a lattice."""
    ends = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    counts = np.diff(np.concatenate([[0], ends, [ordered.size]]))
    return ordered.size > 0 and (counts.size < FEWEST_VALUES or int(counts.max()) >= TIED * ordered.size)


def _judged(known: _Rows, asked: _Rows, own: Ints | None = None) -> Near:
    """Which of the asked rows have one known row far nearer than the tenth, with the same words but for one column.

    Args:
        known: the rows that may be near.
        asked: the rows that are asked.
        own: places of the asked rows among the known ones, which are no neighbours of themselves.
    """
    squares = (known.ranks**2).sum(1)
    near: list[tuple[float, int, int]] = []
    expected, looked_at = 0.0, 0
    for start in range(0, len(asked.rows), BLOCK):
        some = asked.ranks[start : start + BLOCK]
        apart = (some**2).sum(1)[:, None] + squares - 2 * some @ known.ranks.T
        if own is not None:
            apart[np.arange(len(some)), own[start : start + BLOCK]] = np.inf
        around = np.argpartition(apart, FORTIETH, axis=1)[:, : FORTIETH + 1]
        distances = np.sqrt(np.maximum(np.take_along_axis(apart, around, axis=1), 0))
        order = np.argsort(distances, axis=1)
        around, distances = (np.take_along_axis(each, order, axis=1) for each in (around, distances))
        first, tenth, fortieth = distances[:, 0], distances[:, TENTH], distances[:, FORTIETH]
        other = known.words[around] != asked.words[start : start + BLOCK, None]
        same = other.sum(axis=2) <= OTHER_WORDS
        use = (tenth > EQUAL) & (first > EQUAL)
        looked_at += int(use.sum())
        expected += float((nearer_by_chance(tenth[use], fortieth[use]) * same[use].mean(axis=1)).sum())
        for place in np.flatnonzero(use & (first <= NEAR * tenth) & same[:, 0]).tolist():
            pair = int(known.rows[around[place, 0]]), int(asked.rows[start + place])
            near.append((float(first[place] / tenth[place]), *pair))
    pairs = [(one, row) for _, one, row in sorted(near)]
    if own is not None:  # two rows that are near each other are one pair
        pairs = list(dict.fromkeys((min(pair), max(pair)) for pair in pairs))
    return Near(len(near), looked_at, expected, tuple(pairs[:MOST_EXAMPLES]))
