"""All expressions of a file, and which values are tables of pandas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from operator import attrgetter
from typing import Any

from stethoscope.facts.code import (
    NOWHERE,
    At,
    Attribute,
    Call,
    Choice,
    Code,
    Constant,
    Defined,
    Each,
    Group,
    Item,
    Name,
    Operation,
    Starred,
    Symbol,
    Unknown,
    Value,
)  # fmt: skip

_SAME_TABLE = frozenset({
    ".copy", ".dropna", ".fillna", ".drop", ".rename", ".reset_index", ".set_index", ".sort_values", ".drop_duplicates",
    ".astype", ".head", ".tail", ".sample", ".replace", ".assign", ".query", ".merge", ".join", ".sort_index",
})  # fmt: skip
_TABLES = frozenset({
    "pandas.read_csv", "pandas.read_table", "pandas.read_excel", "pandas.read_parquet", "pandas.read_json",
    "pandas.read_pickle", "pandas.read_feather", "pandas.read_sql", "pandas.read_sql_query", "pandas.DataFrame",
    "pandas.concat", "pandas.merge", "pandas.get_dummies", "pandas.Series",
})  # fmt: skip


def operations_of(code: Code, *operators: str) -> Iterator[Operation]:
    """The operations of these kinds, each once, in the order in which they stand."""
    index: dict[str, dict[At, Operation]] | None = code.memo.get("operations")
    if index is None:
        index = code.memo["operations"] = {}
        for value in _walked(code, _PARTS):
            if type(value) is Operation:
                index.setdefault(value.operator, {})[value.at] = value
    found = {at: one for operator in operators for at, one in index.get(operator, {}).items()}
    yield from (found[at] for at in sorted(found))


def comparisons_in_keys(code: Code) -> Iterator[Operation]:
    """The comparisons by which rows are chosen that are assigned to: `x[x == 0] = 1`."""
    waiting: list[Value | None] = list(code.keys)
    while waiting:
        value = waiting.pop(0)
        if type(value) is Operation and value.operator in ("==", "!="):
            yield value
        parts = _PARTS.get(type(value))
        waiting += parts(value) if parts is not None else ()


def values_of(code: Code) -> Iterator[Value]:
    """All expressions and their parts, calls left out: those are in `Code.calls`."""
    return _walked(code, _PARTS | _WITHOUT_PARTS)


_Parts = dict[type, Callable[[Any], tuple[Value | None, ...]]]  # `Any`: each takes the form that it is entered for
_PARTS: _Parts = {
    Operation: lambda value: value.operands,
    Item: lambda value: (value.value, value.key),
    Attribute: lambda value: (value.value,),
    Starred: lambda value: (value.value,),
    Group: lambda value: (*value.items, *value.keys),
    Each: lambda value: (value.element, value.source),
    Choice: lambda value: (value.condition, *value.options),
}
_WITHOUT_PARTS: _Parts = dict.fromkeys((Name, Symbol, Constant, Defined, Unknown), lambda value: ())


def _walked(code: Code, forms: _Parts) -> Iterator[Value]:
    """The expressions of these forms and their parts; those of calls are in the list of the calls."""
    said = chain(
        map(_VALUE, code.bindings),
        map(_VALUE, code.bare),
        map(_VALUE, code.contexts),
        (one.value for function in code.functions for one in function.returns),
        chain.from_iterable(map(_ARGUMENTS, code.calls)),
        (value for call in code.calls for _, value in call.keywords),
        map(_RECEIVER, code.calls),
    )
    found = [value for value in said if value is not None and type(value) in forms]
    seen: set[int] = set()
    while found:
        parts: list[Value | None] = []
        for value in found:
            if id(value) not in seen:
                seen.add(id(value))
                yield value
                parts += forms[type(value)](value)
        found = [value for value in parts if value is not None and type(value) in forms]


_VALUE, _ARGUMENTS, _RECEIVER = attrgetter("value"), attrgetter("arguments"), attrgetter("receiver")


def names_in(value: Value | None) -> Iterator[Name]:
    """The variables that stand in an expression, also in what its calls are given."""
    waiting: list[Value | None] = [value]
    while waiting:
        one = waiting.pop()
        if type(one) is Name:
            yield one
        elif type(one) is Call:
            waiting += [one.receiver, *one.arguments, *(given for _, given in one.keywords)]
        else:
            parts = _PARTS.get(type(one))
            waiting += parts(one) if parts is not None else ()


def is_table(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a value is for certain a table of pandas, or a column of one."""
    if depth > 30:
        return False
    if isinstance(value, Name) and value.binding != NOWHERE:
        binding = code.bindings[value.binding]
        return binding.how == "assign" and not binding.item and is_table(code, binding.value, depth + 1)
    if isinstance(value, Item):
        return is_table(code, value.value, depth + 1)
    if isinstance(value, Call):
        if value.name in _TABLES:
            return value.keyword("chunksize") is None and value.keyword("iterator") is None
        return value.name in _SAME_TABLE and is_table(code, value.receiver, depth + 1)
    return False
