"""Optimizers that are made, cleared, shown or scheduled, and for which nothing is called that could step them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, At, Binding, Call, Code, Value
from stethoscope.facts.events import is_named_as_schedule, name_of
from stethoscope.facts.origins import bases, called, thing_of
from stethoscope.facts.stepping import is_named_as_storing, steps_inside

_HARMLESS = frozenset({".zero_grad", ".state_dict", ".load_state_dict", ".add_param_group"})
_SHOWING = frozenset({"builtins.print", "builtins.len", "builtins.type", "builtins.isinstance", "builtins.str"})
_LEAVING = frozenset({".unscale_"})
"""Methods of a gradient scaler that are given an optimizer, and leave its step to another."""
_STORING = ("torch.distributed.checkpoint.", "higher.")
"""Functions that read or write an optimizer's state, or copy it, begin with it."""
_READ = re.compile(r"\s*(?:\.(?:param_groups|defaults)\b(?!\s*\()|is (?:not )?None\b|:\s*\w[\w.\[\], ]*=(?!=)|=(?!=))")
"""What follows a name that is bound, compared with None, or whose rates are read or set."""
_RATES = re.compile(r"\.\w*(?:learning_?rate|_lr|lr_)\w*")
"""Methods of wrapped optimizers that set rates."""
_SCHEDULE = re.compile(r"torch\.optim\.lr_scheduler\._?LRScheduler")
_DEEPEST = 2
"""Functions inside of functions that an optimizer is handed to."""


def is_idle(code: Code, binding: Binding, depth: int = 0) -> bool:
    """Whether all places that name a variable leave the optimizer in it as it is; a place that cannot be read does not.
    Of a variable of the module, or an attribute of `self`, they are in the whole file.
    """
    index = code.function_at(binding.context)
    key = "idle", binding.name, index
    if key not in code.memo:
        code.memo[key] = False  # handed on in a circle
        code.memo[key] = _is_idle(code, binding.name, index, depth)
    answer: bool = code.memo[key]
    return answer


def _is_idle(code: Code, name: str, index: int, depth: int) -> bool:
    harmless = set(_harmless(code, name, depth))
    inside = _lines(code, name, index)
    owned = r"(?<![\w.])[\w.]+\." if "." in name else r"(?<![\w.])"
    pattern = re.compile(rf"{owned}{re.escape(name.rpartition('.')[2])}(?!\w)")
    for number, line in enumerate(code.lines, start=1):
        text = _without_prose(line.partition("#")[0])
        for found in pattern.finditer(text) if number in inside else ():
            start = len(text[: found.start()].encode())
            if (number, start) not in harmless and not _READ.match(text, found.end()):
                return False
    return True


def _without_prose(line: str) -> str:
    """A line with blanks for words in strings, so that each place in it stays what it was; what stands in braces, and a
    string of one word, as `getattr` takes, are kept.
    """
    return _STRING.sub(lambda found: _WORDS.sub(lambda word: " " * len(word[0]), found[0]), line)


_STRING = re.compile(r"""(["'])(?=[^"']*\s)[^"']*\1""")
_WORDS = re.compile(r"(?:(?<=[\"'}])|(?<=}}))[^{}]+(?=[\"'{])")


def _lines(code: Code, name: str, index: int) -> set[int]:
    """The lines in which a name stands for this variable: without functions, or classes, that have one of their own."""
    whole = code.functions[index].at if index and "." not in name else None
    first = _below_head(code, whole) if whole else 1
    inside = set(range(first, whole.end_line + 1 if whole else len(code.lines) + 1))
    for binding in code.bindings:
        home = code.function_at(binding.context)
        if binding.name != name or home in (0, index) or binding.how == "merge":
            continue
        at = code.functions[home].at
        if "." in name:
            other = code.class_of(home)
            if other != NOWHERE and not _are_related(code, other, code.class_of(index)):
                at = code.classes[other].at
                inside -= set(range(at.line, at.end_line + 1))
        elif whole is None or (whole.line <= at.line and at.end_line <= whole.end_line):
            inside -= set(range(at.line, at.end_line + 1))
    return inside


def _are_related(code: Code, one: int, other: int) -> bool:
    """Whether two classes are the same, or may inherit from each other or from a third."""
    if one == other or other == NOWHERE:
        return True
    things = [thing_of(code, base) for number in (one, other) for base in code.classes[number].bases]
    return any(thing.code is not None for thing in things)


def _below_head(code: Code, function: At) -> int:
    """The first line below a function's parameters, or its own where they end with code behind them."""
    for number in range(function.line, function.end_line):
        text = code.lines[number - 1].partition("#")[0].rstrip()
        if text.endswith(":"):
            return number + 1
        if _BODY.search(text):
            break
    return function.line


_BODY = re.compile(r"\)\s*(?:->[^:]*)?:\s*\S")


def _harmless(code: Code, name: str, depth: int) -> Iterator[tuple[int, int]]:
    """Where a variable is named as it is bound, and in calls that leave an optimizer alone."""
    for binding in code.bindings:
        if binding.name == name:
            yield binding.at[:2]
    for call in code.calls:
        is_left = call.name in _HARMLESS or _RATES.fullmatch(call.name)
        if is_left and call.receiver is not None and name_of(code, call.receiver) == name:
            yield call.receiver.at[:2]
        for value in (*call.arguments, *(value for _, value in call.keywords)):
            if name_of(code, value) == name and leaves_alone(code, call, value, depth):
                yield value.at[:2]


def leaves_alone(code: Code, call: Call, value: Value, depth: int = 0) -> bool:
    """Whether a call that is given an optimizer cannot step it: a schedule, or a function that reads or sets rates."""
    made = thing_of(code, call)
    if call.name in _LEAVING or call.name.startswith(_STORING):
        return True
    if call.name == ".step" and is_named_as_schedule(name_of(code, call.receiver)):
        return True
    if call.name in _SHOWING or made.kind == "scheduler" or any(_SCHEDULE.fullmatch(one) for one in bases(made)):
        return True
    callee = called(code, call)
    function, home = callee.function, callee.code
    if is_named_as_storing(code, call):
        return function is None or home is None or not steps_inside(home, callee.number)
    if function is None or home is None or depth >= _DEEPEST or call.is_open:
        return False
    shift = 1 if function.owner != NOWHERE else 0
    for place, parameter in enumerate(function.parameters):
        given = call.argument(place - shift, parameter.name) if place >= shift else None
        if given is value and parameter.binding != NOWHERE:
            return is_idle(home, home.bindings[parameter.binding], depth + 1)
    return False
