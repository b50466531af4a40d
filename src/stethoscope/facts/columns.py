"""Columns that source code cuts out of tables: features, and the target among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.facts.code import At, Attribute, Call, Code, Constant, Group, Item, Name, Operation, Value
from stethoscope.facts.splits import SPLITTERS, constructed
from stethoscope.facts.things import followed

_KEEPING = (".copy", ".to_numpy", ".astype", ".as_matrix", ".reshape", ".ravel")


class Columns(NamedTuple):
    """Some columns of a table."""

    table: int
    """The binding of the table."""
    names: tuple[object, ...] | None
    """Their names; None where they are given by number."""
    start: int
    stop: int | None
    at: At


class Shared(NamedTuple):
    """A target that is among the features which are used with it."""

    features: Columns
    target: Columns
    column: str | int
    """Its name, or its number."""
    used: Call


def targets_among_features(code: Code) -> Iterator[Shared]:
    """The targets that are among their features, each once."""
    told = set()
    for call in code.calls:
        fits = call.name == ".fit" and constructed(code, call.receiver) is not None
        if call.name not in SPLITTERS and not fits:
            continue
        features, target = _columns(code, call.argument(0, "X")), _columns(code, call.argument(1, "y"))
        if features is None or target is None or features.table != target.table or features.at in told:
            continue
        column = _shared(features, target)
        if column is not None:
            told.add(features.at)
            yield Shared(features, target, column, call)


def _columns(code: Code, value: Value | None) -> Columns | None:
    """The columns that a value is, where they are written out."""
    for _ in range(12):
        found, _ = followed(code, value)
        if isinstance(found, Attribute) and found.name in ("values", "T"):
            value = found.value
        elif isinstance(found, Call) and found.name in _KEEPING:
            value = found.receiver
        else:
            break
    if not isinstance(found, Item):
        return None
    if isinstance(found.value, Attribute) and found.value.name == "iloc":
        return _by_number(found.value.value, found)
    key, _ = followed(code, found.key)
    names = key.items if isinstance(key, Group) and key.kind == "list" else (key,)
    written = tuple(one.value for one in names if isinstance(one, Constant) and isinstance(one.value, str))
    known = isinstance(found.value, Name) and found.value.binding >= 0 and len(written) == len(names)
    return Columns(found.value.binding, written, 0, None, found.at) if known and isinstance(found.value, Name) else None


def _by_number(table: Value, found: Item) -> Columns | None:
    """Columns of `table.iloc[:, key]`."""
    key = found.key
    if not isinstance(table, Name) or table.binding < 0 or not isinstance(key, Group) or len(key.items) != 2:
        return None
    which = key.items[1]
    if isinstance(which, Constant) and isinstance(which.value, int) and which.value >= 0:
        return Columns(table.binding, None, which.value, which.value + 1, found.at)
    if isinstance(which, Operation) and which.operator == ":":
        ends = [one.value for one in which.operands if isinstance(one, Constant)]
        if len(ends) == 3 and ends[2] is None and all(one is None or (type(one) is int and one >= 0) for one in ends):
            return Columns(table.binding, None, ends[0] or 0, ends[1], found.at)
    return None


def _shared(features: Columns, target: Columns) -> str | int | None:
    """The target's one column, where the features have it among others."""
    if features.names is not None and target.names is not None:
        one = target.names[0] if len(target.names) == 1 and len(features.names) > 1 else None
        return one if isinstance(one, str) and one in features.names else None
    if features.names is not None or target.names is not None or target.stop != target.start + 1:
        return None
    wide = features.stop is None or features.stop > features.start + 1
    inside = features.start <= target.start and (features.stop is None or target.start < features.stop)
    return target.start if wide and inside else None
