"""Masks that are made of a triangle of ones: which positions they mark."""

from __future__ import annotations

from typing import NamedTuple

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Constant, Group, Item, Name, Operation, Symbol, Value
from stethoscope.facts.things import MOST_STEPS, literal

_SAME = {
    ".to", ".cuda", ".cpu", ".unsqueeze", ".squeeze", ".view", ".expand", ".repeat", ".contiguous", ".clone", ".detach",
    ".type_as", ".float", ".long", ".int", ".half", ".reshape",
}  # fmt: skip
_TRUTH = {".bool", ".byte"}
_ONES = {"torch.ones", "torch.ones_like", ".new_ones"}
_VERY_LOW = -1e3


class Triangle(NamedTuple):
    """The marked positions (row i, column j) of a square mask."""

    is_lower: bool
    """Whether they are those with j - i <= edge; else those with j - i >= edge."""
    edge: int
    is_truth: bool
    """Whether its values are truth values, and not numbers."""
    made: Call

    @property
    def marks_past(self) -> bool:
        """Whether a position's row marks itself and all before it, and nothing that follows."""
        return self.is_lower and self.edge == 0

    @property
    def marks_future(self) -> bool:
        """Whether a position's row marks all that follows, and nothing else."""
        return not self.is_lower and self.edge == 1

    @property
    def marks_itself_and_future(self) -> bool:
        """Whether a position's row marks itself and all that follows, so that the first row is marked as a whole."""
        return not self.is_lower and self.edge == 0


def triangle_of(code: Code, value: Value | None, depth: int = 0) -> Triangle | None:
    """The triangle that a mask is; None of anything that is not surely one."""
    if value is None or depth > MOST_STEPS:
        return None
    if isinstance(value, Name):
        binding = code.bindings[value.binding] if value.binding != NOWHERE else None
        if binding is None:
            return triangle_of(code, _buffer(code, value), depth + 1)
        plain = binding.how == "assign" and not binding.item
        return triangle_of(code, binding.value, depth + 1) if plain else None
    if isinstance(value, Attribute):
        if value.name in ("T", "mT"):
            return _turned(triangle_of(code, value.value, depth + 1))
        return triangle_of(code, _buffer(code, value), depth + 1)
    if isinstance(value, Item):
        keys = value.key.items if isinstance(value.key, Group) else (value.key,)
        return triangle_of(code, value.value, depth + 1) if all(_from_start(key) for key in keys) else None
    if isinstance(value, Operation):
        return _compared(code, value, depth)
    return _called(code, value, depth) if isinstance(value, Call) else None


def _called(code: Code, call: Call, depth: int) -> Triangle | None:
    if call.name in ("torch.tril", "torch.triu", ".tril", ".triu"):
        bound = call.name.startswith(".")
        whole = call.receiver if bound else call.argument(0, "input")
        given = call.argument(0 if bound else 1, "diagonal")
        edge = 0 if given is None else literal(code, given)
        if not isinstance(whole, Call) or whole.name not in _ONES or not isinstance(edge, int):
            return None
        return Triangle(call.name.endswith("tril"), int(edge), _is_truth(whole), call)
    inner = triangle_of(code, call.receiver, depth + 1) if call.name.startswith(".") else None
    if inner is None:
        return None
    if call.name in _TRUTH or (call.name in (".to", ".type") and _names_truth(call)):
        return inner._replace(is_truth=True)
    if call.name == ".t" or call.name in (".transpose", ".swapaxes"):
        axes = {literal(code, one) for one in call.arguments}
        return _turned(inner) if axes in (set(), {0, 1}, {-1, -2}, {2, 3}, {1, 2}) else None
    if call.name in (".logical_not",):
        return _flipped(inner)._replace(is_truth=True)
    if call.name in (".eq", ".ne"):
        return _against(inner, "==" if call.name == ".eq" else "!=", literal(code, call.argument(0)))
    return inner if call.name in _SAME else None


def _compared(code: Code, value: Operation, depth: int) -> Triangle | None:
    if value.operator in ("~", "not"):
        inner = triangle_of(code, value.operands[0], depth + 1)
        return _flipped(inner) if inner is not None and inner.is_truth else None
    if value.operator == "-" and len(value.operands) == 2 and literal(code, value.operands[0]) == 1:
        inner = triangle_of(code, value.operands[1], depth + 1)
        return _flipped(inner) if inner is not None and not inner.is_truth else None
    if value.operator in ("==", "!=", ">", "<"):
        inner = triangle_of(code, value.operands[0], depth + 1)
        return _against(inner, value.operator, literal(code, value.operands[1])) if inner is not None else None
    return None


def _against(inner: Triangle, operator: str, other: object) -> Triangle | None:
    """A triangle of ones that is compared with a number."""
    if isinstance(other, bool | int | float) and other in (0, 1):
        same = {("==", 1), ("!=", 0), (">", 0)}
        other_way = {("==", 0), ("!=", 1), ("<", 1)}
        if (operator, int(other)) in same:
            return inner._replace(is_truth=True)
        if (operator, int(other)) in other_way:
            return _flipped(inner)._replace(is_truth=True)
    return None


def _flipped(one: Triangle) -> Triangle:
    return one._replace(is_lower=not one.is_lower, edge=one.edge + 1 if one.is_lower else one.edge - 1)


def _turned(one: Triangle | None) -> Triangle | None:
    return one._replace(is_lower=not one.is_lower, edge=-one.edge) if one is not None else None


def _is_truth(whole: Call) -> bool:
    kind = whole.keyword("dtype")
    return isinstance(kind, Symbol) and kind.name in ("torch.bool", "torch.uint8", "builtins.bool")


def _names_truth(call: Call) -> bool:
    values = [*call.arguments, *(value for _, value in call.keywords)]
    return any(isinstance(one, Symbol) and one.name in ("torch.bool", "torch.BoolTensor") for one in values)


def _from_start(key: Value) -> bool:
    """Whether an index leaves the diagonal where it is: `:n`, `None`, and `...`."""
    if isinstance(key, Constant):
        return key.value is None or key.value is Ellipsis
    if isinstance(key, Operation) and key.operator == ":":
        first, _, step = key.operands
        return all(isinstance(one, Constant) and one.value in (None, 0) for one in (first, step))
    return False


def _buffer(code: Code, value: Name | Attribute) -> Value | None:
    """What `register_buffer` has put under an attribute of `self`, or a method of the class has assigned once."""
    name = value.name.rpartition(".")[2]
    owner = value.name.partition(".")[0] if isinstance(value, Name) else (
        value.value.name if isinstance(value.value, Name) else ""
    )  # fmt: skip
    inside = [number for number, cls in enumerate(code.classes) if cls.at.line <= value.at.line <= cls.at.end_line]
    if owner != "self" or not inside:
        return None
    cls = code.classes[inside[-1]]
    found = [
        call.argument(1, "tensor")
        for call in code.calls_of(".register_buffer")
        if cls.at.line <= call.at.line <= cls.at.end_line and literal(code, call.argument(0, "name")) == name
    ]
    found += [code.bindings[number].value for number in cls.attributes.get(name, ())]
    return found[0] if len(found) == 1 else None


def is_very_low(code: Code, value: Value | None) -> bool:
    """Whether a value is one that a softmax turns into nothing: `-1e9`, `float("-inf")`."""
    found = literal(code, value)
    if isinstance(found, int | float):
        return found < _VERY_LOW
    if isinstance(found, Operation) and found.operator == "-" and len(found.operands) == 1:
        inner = found.operands[0]
        if isinstance(inner, Symbol):
            return inner.name in ("torch.inf", "numpy.inf", "math.inf")
        return isinstance(inner, Call) and inner.name == "builtins.float" and literal(code, inner.argument(0)) == "inf"
    if isinstance(found, Call) and found.name == "builtins.float":
        return literal(code, found.argument(0)) in ("-inf", "-Inf")
    is_least = isinstance(found, Attribute) and found.name == "min" and isinstance(found.value, Call)
    return (
        is_least
        and isinstance(found, Attribute)
        and isinstance(found.value, Call)
        and found.value.name == "torch.finfo"
    )
