"""On which ways a value comes of an answer with its graph: nothing on them reads a number, a class, a copy."""

from __future__ import annotations

from collections.abc import Container

from stethoscope.facts.code import NOWHERE, Attribute, Binding, Call, Code, Constant, Item, Name, Operation, Value
from stethoscope.facts.measures import inside_of
from stethoscope.facts.origins import called

MOST_VALUES = 1000
"""Values that are followed from one to its source, at most."""


def comes_with_graph(
    code: Code, value: Value | None, sources: Container[int], context: int, itself: Binding | None = None
) -> bool:
    """Whether a value comes, within a loop or function, of one of these calls on a way on which nothing reads it."""
    if itself is not None and itself.item and _gives_places(itself, value):
        return False
    waiting, seen = [value], set[int]()
    for _ in range(MOST_VALUES):
        if not waiting:
            return False
        one = waiting.pop()
        if isinstance(one, Call) and one.number in sources:
            return True
        if isinstance(one, Name):
            if one.binding == NOWHERE or one.binding in seen:
                continue
            seen.add(one.binding)
            binding = code.bindings[one.binding]
            waiting += [Name(one.name, option, one.at) for option in binding.options]
            is_inside = context in code.numbers_around(binding.context)
            if binding.value is not None and is_inside and not (binding.item and _gives_places(binding, binding.value)):
                waiting.append(binding.value)
        elif one is not None and not cuts(code, one):
            waiting += inside_of(one)
    return True


_LARGEST = frozenset({".max", ".topk", ".min", ".sort", "torch.max", "torch.topk", "torch.min", "torch.sort"})


def _gives_places(binding: Binding, value: Value | None) -> bool:
    """Whether a variable gets the places of the largest, and not what stands there: `_, answer = scores.max(1)`."""
    return isinstance(value, Call) and value.name in _LARGEST and binding.item == (1,)


_CUTTING = frozenset({
    ".item", ".detach", ".detach_", ".numpy", ".tolist", ".argmax", ".argsort", ".eq", ".ne", ".gt", ".lt", ".ge",
    ".le",
    ".long", ".int", ".bool", ".size", ".numel", ".nonzero", ".astype", "torch.argmax", "torch.eq", "torch.argsort",
    "torch.gt", "torch.lt", "builtins.float", "builtins.int", "builtins.str", "builtins.len", "builtins.bool",
    "builtins.print", "torch.save", ".update", ".add", ".format", ".decode", ".batch_decode", ".compute",
})  # fmt: skip
_COMPARING = frozenset({"==", "!=", ">", "<", ">=", "<=", "not", "in", "f", "is", "is not"})
_TAKING_ARRAYS = ("numpy.", "sklearn.", "scipy.", "math.", "pandas.", "torchmetrics.")


def cuts(code: Code, value: Value) -> bool:
    """Whether what comes of a value has no graph."""
    if isinstance(value, Call):
        if value.name in _CUTTING or value.name.startswith(_TAKING_ARRAYS):
            return True
        callee = called(code, value)
        return callee.function is not None and callee.code is not None and _gives_numbers(callee.code, callee.number)
    if isinstance(value, Attribute):
        return value.name in ("data", "shape", "device", "dtype")
    if isinstance(value, Item):
        is_place = isinstance(value.key, Constant) and value.key.value == 1
        return is_place and isinstance(value.value, Call) and value.value.name in _LARGEST
    return isinstance(value, Operation) and value.operator in _COMPARING


def _gives_numbers(code: Code, index: int) -> bool:
    """Whether a function of the project returns numbers only, as they are read from its lines."""
    returns = code.functions[index].returns
    return bool(returns) and all(_cuts_directly(code, one.value) for one in returns)


def _cuts_directly(code: Code, value: Value) -> bool:
    if isinstance(value, Call) and (value.name in _CUTTING or value.name.startswith(_TAKING_ARRAYS)):
        return True
    return isinstance(value, Operation) and any(_cuts_directly(code, one) for one in value.operands)
