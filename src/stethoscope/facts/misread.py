"""Answers that are asked for what they do not have: a tuple for a name, or a dict of names for a number.

scores = model(x)           `forward` returns `scores, states` on each way
loss = f(scores["main"])    ends with an error
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from stethoscope.facts.code import At, Call, Code, Constant, Function, Group
from stethoscope.facts.origins import called, member
from stethoscope.facts.parsed import Parsed


def misread(code: Code, whole: Parsed) -> Iterator[At]:
    """Where a file asks the answer of a function, or of a network, in a way that always ends with an error."""
    asked = [node for node in whole.nodes if isinstance(node, ast.Subscript) and _key_of(node) is not None]
    names = {node.value.id for node in asked if isinstance(node.value, ast.Name)}
    for function in code.functions if names else ():
        answers = _answers(code, function, names)
        for node in asked if answers else ():
            is_inside = function.at.line <= node.lineno <= function.at.end_line or function.name == "<module>"
            kind = answers.get(node.value.id, "") if is_inside and isinstance(node.value, ast.Name) else ""
            if kind and _is_wrong(kind, _key_of(node)):
                yield At(node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0)


def _key_of(node: ast.Subscript) -> object:
    """The text or number by which a variable is asked; None of anything else."""
    is_plain = isinstance(node.value, ast.Name) and isinstance(node.slice, ast.Constant)
    return node.slice.value if is_plain and isinstance(node.slice, ast.Constant) else None


def _is_wrong(kind: str, key: object) -> bool:
    return isinstance(key, str) if kind == "tuple" else isinstance(key, int) and not isinstance(key, bool)


def _answers(code: Code, function: Function, names: set[str]) -> dict[str, str]:
    """Those of these variables of a function that are bound once, to an answer that is a tuple, or a dict of names."""
    found: dict[str, str] = {}
    own = [one for one in code.bindings[slice(*function.bindings)] if one.name in names and one.how != "merge"]
    count = Counter(one.name for one in own)
    for one in own:
        if one.how == "assign" and not one.item and isinstance(one.value, Call) and count[one.name] == 1:
            kind = _kind_of(code, one.value)
            found.update({one.name: kind} if kind else {})
    return found


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
