"""Evaluations of which nobody learns anything: what they collect is never read.

for x, y in loader:
    found.extend(model(x).tolist())         `found` stands nowhere else in its function
return score(others)
"""

from __future__ import annotations

import re

from stethoscope.facts.code import At, Call, Code, Group, Name, Value
from stethoscope.facts.evaluations import Evaluation
from stethoscope.facts.events import events_of
from stethoscope.facts.linked import uncommented
from stethoscope.facts.measures import inside_of
from stethoscope.facts.origins import thing_of

_COLLECTING = (".append", ".extend")
_KEEPS_NOTHING = re.compile(
    r"torch\.(?!save|distributed)[\w.]+|numpy\.(?!save)[\w.]+|builtins\.(?!print|open)\w+|\.\w+"
)


def is_never_read(found: Evaluation) -> bool:
    """Whether all that an evaluation makes of its answers goes into variables of its function that nothing reads."""
    code, call, function = found.code, found.forward.call, found.code.functions[found.function]
    forwards = [one for one in events_of(code, found.function) if one.kind == "forward"]
    inside = [one for one in forwards if found.context in code.numbers_around(one.outer_context)]
    text = uncommented(code.lines[function.at.line : function.at.end_line])
    if not found.function or call is None or any(one.call is not call for one in inside) or "global " in text:
        return False
    bindings = [one for one in code.bindings[slice(*function.bindings)] if one.value is not None]
    calls = [one.value for one in code.bare if isinstance(one.value, Call) and one.value.name in _COLLECTING]
    calls = [one for one in calls if function.context in code.numbers_around(one.context)]
    names, passing = set[str](), set[At]()
    for _ in range(len(bindings)):
        known = len(passing)
        for binding in bindings:
            if binding.how in ("assign", "augment") and _passes_on(code, binding.value, call, names):
                names.add(binding.name)
                passing |= {binding.at, binding.value.at if binding.value is not None else binding.at}
        for one in calls:
            is_kept = any(_passes_on(code, given, call, names) for given in one.arguments)
            if is_kept and isinstance(one.receiver, Name):
                names.add(one.receiver.name)
                passing.add(one.at)
        if len(passing) == known:
            break
    passing |= {one.at for one in bindings if isinstance(one.value, Group) and not one.value.items}
    own = {line for at in passing for line in range(at.line, at.end_line + 1)}
    said = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, names))})\b")
    lines = [line for number, line in enumerate(text.split("\n"), function.at.line + 1) if number not in own]
    return bool(names) and all(one.isidentifier() for one in names) and not any(map(said.search, lines))


def _passes_on(code: Code, value: Value | None, call: Call, names: set[str]) -> bool:
    """Whether a value comes of the answer, or of what was made of it, by nothing that may keep or show it."""
    waiting, is_of_answer = [value], False
    while waiting:
        one = waiting.pop()
        if one is None:
            continue
        is_of_answer |= one is call or (isinstance(one, Name) and one.name in names)
        if one is call:
            continue
        if isinstance(one, Call) and not _KEEPS_NOTHING.fullmatch(one.name):
            is_own = _passes_on(code, one.receiver, call, names) or thing_of(code, one.receiver).kind == "loss"
            if not is_own and any(_passes_on(code, given, call, names) for given in inside_of(one)):
                return False
        waiting += inside_of(one)
    return is_of_answer
