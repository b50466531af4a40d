"""Rows that are equal, in one set and between two: found by a key of 64 bits for each row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Overlap, Profile, Repeats
from stethoscope.observe.data.queries import LazyTable
from stethoscope.observe.data.tables import Keys, Table

MOST_GROUPS = 20
"""Groups of equal rows that are kept as examples."""
MOST_IN_GROUP = 5
FEWEST_ENTITIES = 10
"""Different values of a column from which on it may name entities."""
ENTITY = re.compile(
    r"(?:^|[_\W])(?i:id|uuid|guid|key|patient|subject|user|customer|client|session|account|email|device|household"
    r"|speaker|person|participant|respondent|volunteer|student|employee|author|writer|artist|singer|driver|donor|animal)(?:$|[_\W])"
    r"|(?<=[a-z])(?:Id|ID|Key|Uuid|Guid)$"
)

AMOUNT = re.compile(r"^(?:num|number|n|nr|no|count|total|sum|mean|avg|average|max|min)[_\W]", re.IGNORECASE)
"""Names of amounts, such as `num_account`."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Keyed:
    """Keys of the rows of a table."""

    inputs: Keys
    """Without the target. Shape: (rows,)."""
    every: Keys
    """With it; the same where there is none. Shape: (rows,)."""
    unlabelled: NDArray[np.bool_] | None = None
    """Rows without a target. Shape: (rows,)."""
    blank: NDArray[np.bool_] | None = None
    """Rows without any input, where there are some: they are equal because they are empty. Shape: (rows,)."""


def keyed(table: Table, target: str = "", without: Sequence[str] = ()) -> Keyed | None:
    """Keys of all rows, or None where they are too many.

    Args:
        table: the rows.
        target: the column that is not an input.
        without: columns that count for nothing, such as predictions.
    """
    names = [field.name for field in table.fields()]
    asked = [name for name in names if name != target and name not in without]
    inputs = table.keys(asked)
    if inputs is None:
        return None
    with np.errstate(over="ignore"):
        empty = inputs == sum(map(key_of_missing, asked), np.uint64(0))
    blank = empty if empty.any() else None
    if target not in names:
        return Keyed(inputs, inputs, blank=blank)
    label = table.keys([target])
    if label is None:
        return None
    return Keyed(inputs, inputs + label, label == key_of_missing(target), blank)


def key_of_missing(name: str) -> np.uint64:
    """The key of a column's value that is missing."""
    from stethoscope.observe.data import keys

    total = np.zeros(1, np.uint64)
    keys.add_numbers(total, name, np.full(1, np.nan))
    return np.uint64(total[0])


def repeats_of(table: Table, rows: Keyed | None) -> Repeats | None:
    """Rows of a table that are equal; None where that cannot be told."""
    if rows is None:
        if not isinstance(table, LazyTable):
            return None
        names = [field.name for field in table.fields() if field.kind != "nested"]
        return Repeats(exact=table.repeated(names), conflicting=None)
    filled = rows.every if rows.blank is None else rows.every[~rows.blank]
    again = _repeated(filled)
    exact = filled.size - different(filled).size if again.size else 0
    groups = _groups(rows.every, again[:MOST_GROUPS])
    if rows.inputs is rows.every:
        return Repeats(exact=exact, examples=groups)
    conflicting, conflicts = _conflicts(rows)
    return Repeats(exact=exact, examples=groups, conflicting=conflicting, conflicts=conflicts)


def _repeated(keys: Keys) -> Keys:
    """The keys that occur more than once."""
    ordered = np.sort(keys)
    return different(ordered[1:][ordered[1:] == ordered[:-1]])


def different(keys: Keys) -> Keys:
    """Each key once, sorted: a hundred times as fast as `np.unique`, which hashes whole numbers."""
    ordered = np.sort(keys)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if keys.size else ordered


def _groups(keys: Keys, chosen: Keys) -> tuple[tuple[int, ...], ...]:
    """The rows of each chosen key, those with the earliest rows first."""
    if not chosen.size:
        return ()
    places = np.flatnonzero(_is_in(keys, chosen))
    groups: dict[int, list[int]] = {}
    for place in places[: 100 * MOST_GROUPS]:
        group = groups.setdefault(int(keys[place]), [])
        if len(group) < MOST_IN_GROUP:
            group.append(int(place))
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _conflicts(rows: Keyed) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """Rows with equal inputs and different targets, those without a target or an input left out, and groups of them."""
    again = _repeated(rows.inputs)
    if not again.size:
        return 0, ()
    use = _is_in(rows.inputs, again)
    if rows.unlabelled is not None:
        use &= ~rows.unlabelled
    if rows.blank is not None:
        use &= ~rows.blank
    places = np.flatnonzero(use)
    if not places.size:
        return 0, ()
    order = np.lexsort((rows.every[places], rows.inputs[places]))
    inputs, every = rows.inputs[places][order], rows.every[places][order]
    starts = np.flatnonzero(np.concatenate([[True], inputs[1:] != inputs[:-1]]))
    changes = np.concatenate([[0], (inputs[1:] == inputs[:-1]) & (every[1:] != every[:-1])])
    differing = np.add.reduceat(changes, starts) > 0
    sizes = np.diff(np.concatenate([starts, [inputs.size]]))
    found = int(sizes[differing].sum())
    groups = []
    for start, size in zip(starts[differing][:MOST_GROUPS], sizes[differing][:MOST_GROUPS], strict=True):
        part = slice(start, start + size)
        _, firsts = np.unique(every[part], return_index=True)  # one row of each target, so that they are seen to differ
        groups.append(tuple(sorted(int(places[order[start + first]]) for first in firsts[:MOST_IN_GROUP])))
    return found, tuple(sorted(groups))


def overlap_of(
    first: Table,
    second: Table,
    profiles: tuple[Profile, Profile],
    rows: tuple[Keyed | None, Keyed | None],
    target: str = "",
    without: Sequence[str] = (),
) -> Overlap | None:
    """Rows and entities of the second table that the first one has as well.

    Args:
        first: one table.
        second: another one.
        profiles: of both.
        rows: keys of both, of all their columns.
        target: the column that is not an input.
        without: columns that count for nothing.
    """
    names = [field.name for field in first.fields()]
    theirs = [field.name for field in second.fields()]
    shared = [name for name in names if name in theirs]
    if not shared:
        return None
    here, there = rows
    if set(names) != set(theirs):
        other = sorted({*names, *theirs} - set(shared))
        here, there = keyed(first, target, [*without, *other]), keyed(second, target, [*without, *other])
    exact = inputs = 0
    examples: tuple[tuple[int, int], ...] = ()
    if here is not None and there is not None:
        labelled = target in shared
        exact = int(np.count_nonzero(_is_in(there.every, here.every))) if labelled or not target else 0
        equal = _is_in(there.inputs, here.inputs)
        inputs = int(np.count_nonzero(equal))
        examples = _pairs(here.inputs, there.inputs, np.flatnonzero(equal)[:MOST_GROUPS])
    elif isinstance(first, LazyTable) and isinstance(second, LazyTable):
        kinds = {field.name: field.kind for field in first.fields()}
        use = [name for name in shared if kinds[name] != "nested" and name not in without]
        counted = second.shared_with(first, use)
        if counted is None:
            return None
        exact = counted
        inputs = second.shared_with(first, [name for name in use if name != target]) or 0
    else:
        return None
    return Overlap(
        exact=exact,
        inputs=inputs,
        examples=examples,
        shared_keys=_entities(
            first, second, profiles, [name for name in shared if name != target and name not in without]
        ),
        times=_times(profiles, shared),
    )


def _is_in(keys: Keys, known: Keys) -> NDArray[np.bool_]:
    """Which keys are among the known ones. Shape: that of `keys`."""
    ordered = different(known)
    sought = np.argsort(keys)  # looking up in order reads memory in order
    found = np.zeros(keys.size, bool)
    places = np.minimum(np.searchsorted(ordered, keys[sought]), max(0, ordered.size - 1))
    if ordered.size:
        found[sought] = ordered[places] == keys[sought]
    return found


def _pairs(here: Keys, there: Keys, places: Ints) -> tuple[tuple[int, int], ...]:
    """For some rows of the second set the first equal row of the first one."""
    if not places.size:
        return ()
    candidates = np.flatnonzero(np.isin(here, there[places]))
    firsts: dict[int, int] = {}
    for place in candidates:
        firsts.setdefault(int(here[place]), int(place))
    return tuple((firsts[int(there[place])], int(place)) for place in places)


def _entities(
    first: Table, second: Table, profiles: tuple[Profile, Profile], names: Sequence[str]
) -> tuple[tuple[str, int, int], ...]:
    """Columns whose values name things, with how many things of the second table the first one has as well."""
    found = []
    for name in names:
        if AMOUNT.search(name) or not ENTITY.search(name) or not all(_may_name(profile, name) for profile in profiles):
            continue
        here, there = first.keys([name]), second.keys([name])
        if here is not None and there is not None:
            things = different(there[there != key_of_missing(name)])
            found.append((name, int(np.count_nonzero(_is_in(things, here))), int(things.size)))
        elif isinstance(first, LazyTable) and isinstance(second, LazyTable):
            both = second.shared_with(first, [name], different=True)
            if both is not None:
                found.append((name, both, second.rows() - second.repeated([name])))
    return tuple(found)


def _may_name(profile: Profile, name: str) -> bool:
    column = profile.column(name)
    if column is None or column.kind in ("date", "truth", "nested", "empty"):
        return False
    if column.words is not None:
        return column.words.distinct >= FEWEST_ENTITIES
    numbers = column.numbers
    return numbers is not None and numbers.whole == numbers.count and numbers.distinct >= FEWEST_ENTITIES


def _times(profiles: tuple[Profile, Profile], names: Sequence[str]) -> tuple[str, float, float, float, float] | None:
    """The first column of dates that both have, with its ranges."""
    for name in names:
        one, other = (profile.column(name) for profile in profiles)
        if one is None or other is None or one.kind != "date" or other.kind != "date":
            continue
        if one.numbers and other.numbers and one.numbers.count and other.numbers.count:
            return name, one.numbers.least, one.numbers.greatest, other.numbers.least, other.numbers.greatest
    return None
