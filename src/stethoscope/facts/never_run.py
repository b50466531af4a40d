"""Branches that never run: their condition hangs on an argument that nobody gives otherwise.

Of attributes only those of classes are looked at that are made in a function, as those of a factory of losses are:
nobody else can make one. Of parameters all are, where all calls of the project are seen; where there is none, others
call it. What stands under `if False:` is no fact at all.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Collection, Iterator

from stethoscope.facts.callers import values_given
from stethoscope.facts.code import NOWHERE, At, Call, Class, Code, Constant, Context, Operation, Value
from stethoscope.facts.module_classes import attribute_of
from stethoscope.facts.origins import call_sites, given_to
from stethoscope.facts.parsed import parsed
from stethoscope.facts.things import binding_of, literal
from stethoscope.facts.ways import UNTOLD, truth

_MOST_VALUES = 16
"""Values of all parameters in a condition that are tried, one with the other, at most."""


def never_run(code: Code) -> list[Call]:
    """The calls under a condition that is never met, as far as the whole file tells."""
    if not any(_is_inside(code, cls) for cls in code.classes):
        return []
    return [call for call in code.calls if _never_runs(code, call.context)]


def _never_runs(code: Code, context: int) -> bool:
    return any(
        _truth(code, code.contexts[number], number) is (code.contexts[number].kind == "else")
        for number in code.numbers_around(context)
        if code.contexts[number].kind in ("if", "else")
    )


def _truth(code: Code, here: Context, number: int) -> bool | None:
    """What the condition of a branch always comes to; None where that is not known."""
    asked, compared = here.value, True
    operator = "=="
    if isinstance(asked, Operation) and asked.operator in ("==", "!=") and len(asked.operands) == 2:
        operator, (asked, other) = asked.operator, asked.operands
        if not isinstance(other, Constant):
            return None
        compared = other.value
    name, owner = attribute_of(code, asked), code.class_of(code.function_at(number))
    if not name or owner == NOWHERE:
        return None
    answers = {(value == compared if here.value is not asked else bool(value)) for value in _always(code, owner, name)}
    return None if len(answers) != 1 else answers.pop() is (operator == "==")


def _always(code: Code, owner: int, name: str) -> list[object]:
    """The values that an attribute of a class of one function's own is made with; empty where one is not known."""
    cls = code.classes[owner]
    numbers, made = cls.attributes.get(name, ()), cls.methods.get("__init__", NOWHERE)
    if len(numbers) != 1 or made == NOWHERE or not _is_private(code, cls, made):
        return []
    if code.matches(re.compile(rf"(?<!\bself)\.{re.escape(name)}\s*[-+*/]?=(?!=)")):
        return []  # set from outside
    parameter = binding_of(code, code.bindings[numbers[0]].value)
    places = [i for i, one in enumerate(code.functions[made].parameters) if code.bindings[one.binding] is parameter]
    values: list[Value] = [value for _, value in given_to(code, made, places[0])] if places else []
    found = [literal(code, value) for value in values]
    return found if all(isinstance(one, bool | int | float | str) for one in found) else []


def _is_private(code: Code, cls: Class, made: int) -> bool:
    """Whether a class stands in a function, and is only ever made there."""
    if not _is_inside(code, cls):
        return False
    said = len(re.findall(rf"(?<![\w.]){re.escape(cls.name)}\b(?!\s*,\s*self\s*\))", code.uncommented()))
    return said == 1 + len(call_sites(code, made))


def _is_inside(code: Code, cls: Class) -> bool:
    return any(here.kind == "function" for here in code.around(cls.context))


def untaken(code: Code, lines: Collection[int]) -> Iterator[At]:
    """The branches round some lines that are taken by no call of the project of the function that they stand in."""
    asked = {(here.at.line, here.at.column): here.value for here in code.contexts if here.kind == "if"}
    whole = parsed(code) if asked else None
    for node in whole.nodes if whole is not None else ():
        if not isinstance(node, ast.If):
            continue
        for block, is_first in ((node.body, True), (node.orelse, False)):
            at = At(block[0].lineno, 0, block[-1].end_lineno or 0, 0) if block else None
            if at is None or not any(at.line <= line <= at.end_line for line in lines):
                continue
            if _always_comes_to(code, asked.get((node.lineno, node.col_offset))) is (not is_first):
                yield at


def _always_comes_to(code: Code, condition: Value | None) -> bool | None:
    """What a condition is in all calls of its function, by the parameters in it."""
    names = list[int]()

    def note(binding: int) -> object:
        names.append(binding)
        return UNTOLD

    truth(code, condition, note)
    given = {binding: values_given(code, binding) or {UNTOLD} for binding in names}
    ways = list(itertools.islice(itertools.product(*given.values()), _MOST_VALUES + 1))
    if not names or len(ways) > _MOST_VALUES:
        return None
    found = {truth(code, condition, dict(zip(given, way, strict=True)).__getitem__) for way in ways}
    return found.pop() if len(found) == 1 else None
