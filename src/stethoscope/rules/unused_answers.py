"""Layers of a list that are run, and whose answers nobody reads: whether they are trained changes no answer."""

from __future__ import annotations

import re

from stethoscope.facts.code import Call, Code
from stethoscope.facts.things import Thing
from stethoscope.facts.uses import readings_of
from stethoscope.rules.carried_layers import carried_by, code_lines


def answers_are_unused(file: Code, thing: Thing, name: str) -> bool:
    """Whether each answer of a list's layers is let go: `for cell, state in zip(self.cells, states): state = cell(x)`.

    The loop binds `state` anew, and `states` stays as it was.
    """
    if thing.cls is None:
        return False
    at = thing.cls.at
    carried = re.compile(carried_by(code_lines(file, at), name))
    ran = [
        call
        for call in file.calls_of("()", ".forward")
        if at.line <= call.at.line <= at.end_line
        and call.receiver is not None
        and carried.match(file.text(call.receiver.at))
    ]
    return bool(ran) and all(_is_unused(file, call) for call in ran)


def _is_unused(file: Code, call: Call) -> bool:
    """Whether an answer is bound to variables that are not read, or to none."""
    bound = [number for number, one in enumerate(file.bindings) if one.value is call and one.how == "assign"]
    if not bound:
        return any(one.value is call for one in file.bare)
    return all(file.bindings[one].name.isidentifier() and not readings_of(file, one) for one in bound)
