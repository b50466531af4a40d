"""All expressions of a file, and which values are tables of pandas."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.facts.code import (
    NOWHERE,
    At,
    Attribute,
    Call,
    Choice,
    Code,
    Each,
    Group,
    Item,
    Name,
    Operation,
    Starred,
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
        for value in values_of(code):
            if type(value) is Operation:
                index.setdefault(value.operator, {})[value.at] = value
    found = {at: one for operator in operators for at, one in index.get(operator, {}).items()}
    yield from (found[at] for at in sorted(found))


def values_of(code: Code) -> Iterator[Value]:
    """All expressions and their parts, calls left out: those are in `Code.calls`."""
    waiting: list[Value | None] = [binding.value for binding in code.bindings]
    waiting += [bare.value for bare in code.bare]
    waiting += [context.value for context in code.contexts]
    waiting += [one.value for function in code.functions for one in function.returns]
    waiting += [argument for call in code.calls for argument in call.arguments]
    waiting += [value for call in code.calls for _, value in call.keywords]
    waiting += [call.receiver for call in code.calls]
    seen = set()
    while waiting:
        value = waiting.pop()
        if value is None or isinstance(value, Call) or id(value) in seen:  # the parts of calls are all in the list
            continue
        seen.add(id(value))
        yield value
        waiting += _parts(value)


def _parts(value: Value) -> tuple[Value | None, ...]:
    if isinstance(value, Operation):
        return value.operands
    if isinstance(value, Item):
        return value.value, value.key
    if isinstance(value, Attribute | Starred):
        return (value.value,)
    if isinstance(value, Group):
        return (*value.items, *value.keys)
    if isinstance(value, Each):
        return value.element, value.source
    if isinstance(value, Choice):
        return (value.condition, *value.options)
    return ()


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
