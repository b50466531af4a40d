"""Columns that a file computes for its tables of pandas: `df["next"] = df["price"].shift(-1)`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stethoscope.facts.code import (
    NOWHERE,
    At,
    Attribute,
    Call,
    Choice,
    Code,
    Constant,
    Group,
    Item,
    Name,
    Operation,
    Value,
)
from stethoscope.facts.things import literal

_KEY = re.compile(r"""\[\s*(["'])([^"'\\]+)\1\s*\]$""")


class Column(NamedTuple):
    """That a column of a table got a value."""

    table: str
    """The variable, as it is written."""
    key: str
    value: Value
    at: At
    function: int
    order: int
    """How many calls of the file come before it."""


def columns_set(code: Code) -> tuple[Column, ...]:
    """The columns that are assigned under a name that is written out, in order."""
    if "columns" not in code.memo:
        code.memo["columns"] = tuple(_columns_set(code))
    found: tuple[Column, ...] = code.memo["columns"]
    return found


def _columns_set(code: Code) -> Iterator[Column]:
    for binding in code.bindings:
        if binding.name.endswith("[]") and binding.how == "assign" and binding.value is not None and not binding.item:
            key = _KEY.search(code.text(binding.at))
            if key is not None and "." not in binding.name:
                index = code.function_at(binding.context)
                yield Column(binding.name[:-2], key[2], binding.value, binding.at, index, binding.order)


def first_inside(code: Code, value: Value | None, wanted: Callable[[Call], bool]) -> Call | None:
    """A call that is wanted, among those that a value is made of; variables are followed."""
    waiting: list[Value | None] = [value]
    seen: set[int] = set()
    for _ in range(200):
        if not waiting:
            return None
        one = waiting.pop()
        if isinstance(one, Name) and one.binding != NOWHERE and one.binding not in seen:
            seen.add(one.binding)
            binding = code.bindings[one.binding]
            waiting.append(binding.value if binding.how in ("assign", "augment") and not binding.item else None)
        elif isinstance(one, Call):
            if wanted(one):
                return one
            waiting += [one.receiver, *one.arguments]
        elif isinstance(one, Operation):
            waiting += one.operands
        elif isinstance(one, Attribute | Item):
            waiting.append(one.value)
        elif isinstance(one, Choice):
            waiting += one.options
        elif isinstance(one, Group):
            waiting += one.items
    return None


def whole_number(code: Code, value: Value | None) -> int | None:
    """A number that is written down, also one below 0."""
    found = literal(code, value)
    if isinstance(found, Operation) and found.operator == "-" and len(found.operands) == 1:
        inner = literal(code, found.operands[0])
        return -inner if isinstance(inner, int) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def named(code: Code, value: Value | None) -> tuple[str, ...] | None:
    """The texts of a list, or a text; None where one is not known."""
    found = literal(code, value)
    if isinstance(found, str):
        return (found,)
    if not isinstance(found, Group) or found.kind not in ("list", "tuple", "set"):
        return None
    texts = [one.value for one in found.items if isinstance(one, Constant) and isinstance(one.value, str)]
    return tuple(texts) if len(texts) == len(found.items) else None
