"""Branches that never run: their condition hangs on an argument that nobody gives otherwise.

Only classes that are made in a function are looked at, as those of a factory of losses are: nobody else can make one.
What stands under `if False:` is no fact at all.
"""

from __future__ import annotations

import re

from stethoscope.facts.code import NOWHERE, Call, Class, Code, Constant, Context, Operation, Value
from stethoscope.facts.module_classes import attribute_of
from stethoscope.facts.origins import call_sites, given_to
from stethoscope.facts.things import binding_of, literal


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
