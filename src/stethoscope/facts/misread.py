"""Answers that are asked for what they do not have: a tuple for a name, or a dict of names for a number.

scores = model(x)           `forward` returns `scores, states` on each way
loss = f(scores["main"])    ends with an error
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from stethoscope.facts.code import At, Call, Code, Constant, Function, Group
from stethoscope.facts.origins import called, member
from stethoscope.facts.parsed import Parsed


def misread(code: Code, whole: Parsed) -> Iterator[At]:
    """Where a file asks the answer of a function, or of a network, in a way that always ends with an error."""
    for function in code.functions:
        answers = _answers(code, function)
        if not answers:
            continue
        for node in whole.nodes:
            match node:
                case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=key)) if name in answers:
                    is_inside = function.at.line <= node.lineno <= function.at.end_line or function.name == "<module>"
                    if is_inside and _is_wrong(answers[name], key):
                        yield At(node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0)


def _is_wrong(kind: str, key: object) -> bool:
    return isinstance(key, str) if kind == "tuple" else isinstance(key, int) and not isinstance(key, bool)


def _answers(code: Code, function: Function) -> dict[str, str]:
    """The variables of a function that are bound once, to an answer that is known to be a tuple, or a dict of names."""
    found: dict[str, str] = {}
    own = code.bindings[slice(*function.bindings)]
    count = Counter(one.name for one in own if one.how != "merge")
    for one in own:
        is_plain = one.how == "assign" and not one.item and isinstance(one.value, Call) and one.name.isidentifier()
        if is_plain and count[one.name] == 1 and _is_indexed(code, function, one.name):
            kind = _kind_of(code, one.value) if isinstance(one.value, Call) else ""
            found.update({one.name: kind} if kind else {})
    return found


def _is_indexed(code: Code, function: Function, name: str) -> bool:
    lines = code.lines[function.at.line - 1 : function.at.end_line] if function.name != "<module>" else code.lines
    asks = re.compile(rf"(?<![\w.]){name}\[\s*(?:[\"']|\d+\s*\])")
    return any(name in line and asks.search(line) for line in lines)


def _kind_of(code: Code, call: Call) -> str:
    """What a call gives on every way: `tuple`, or `dict` where all its keys are texts; empty of anything else."""
    thing = called(code, call)
    if thing.kind == "module" and thing.made is not None and call.name == "()":
        thing = member(code, thing, "forward")
    function = thing.function
    if (
        function is None
        or function.decorators
        or not function.returns
        or not (call.receiver is None or call.name == "()")
    ):
        return ""
    kinds = {one.value.kind if isinstance(one.value, Group) else "" for one in function.returns}
    if kinds == {"tuple"}:
        return "tuple"
    keys = (key for one in function.returns if isinstance(one.value, Group) for key in one.value.keys)
    is_named = all(isinstance(one, Constant) and isinstance(one.value, str) for one in keys)
    return "dict" if kinds == {"dict"} and is_named else ""
