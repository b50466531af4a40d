"""Whether scores stay within a small range, so that no probability that is made of them is rounded to 0.

is_bounded(code, value)   of `F.cosine_similarity(a, b) / 0.07`, `torch.tanh(x)`, `F.normalize(a) @ F.normalize(b).T`
is_unit(code, value)      of `F.normalize(x)`, `x / x.norm(dim=1, keepdim=True)`: vectors whose length is 1
"""

from __future__ import annotations

from stethoscope.facts.code import Attribute, Call, Code, Name, Operation, Returned, Value
from stethoscope.facts.origins import called
from stethoscope.facts.things import followed, literal

LARGEST = 40.0
"""Scores between -40 and 40 give a softmax of at least exp(-80), which float32 (from 1.2e-38 on) still has."""
DEEPEST = 16
_CUT = frozenset({"torch.tanh", ".tanh", "torch.sigmoid", ".sigmoid", "torch.nn.functional.tanh",
                  "torch.nn.functional.sigmoid", "torch.cosine_similarity",
                  "torch.nn.functional.cosine_similarity"})  # fmt: skip
FORMING = frozenset({".view", ".reshape", ".transpose", ".permute", ".t", ".squeeze", ".unsqueeze", ".contiguous",
                      ".detach", ".clone", ".expand", ".expand_as", ".float", ".to", ".cuda", ".view_as", ".flatten",
                      ".repeat"})  # fmt: skip
"""What gives the same numbers in another form, or a part of them again."""
PRODUCTS = frozenset({"torch.mm", "torch.bmm", "torch.matmul", ".mm", ".bmm", ".matmul", "torch.einsum"})
_NORMS = frozenset({".norm", "torch.norm", "torch.linalg.norm", "torch.linalg.vector_norm"})
_KEPT_ABOVE_0 = frozenset({".clamp", ".clamp_min", "torch.clamp"})


def is_bounded(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether all scores certainly lie between -40 and 40; a temperature that is not known is taken for a usual one."""
    found, _ = followed(code, value)
    if depth > DEEPEST or found is None:
        return False
    if isinstance(found, Call):
        if found.name in _CUT:
            return True
        if found.name in FORMING:
            return is_bounded(code, found.receiver, depth + 1)
        if found.name in PRODUCTS:
            return _are_units(code, _factors(found), depth)
        if found.name in (".sum", "torch.sum"):
            inner, _ = followed(code, found.receiver or found.argument(0))
            is_product = isinstance(inner, Operation) and inner.operator == "*"
            return is_product and isinstance(inner, Operation) and _are_units(code, inner.operands, depth)
        return False
    return isinstance(found, Operation) and _is_bounded_operation(code, found, depth)


def _is_bounded_operation(code: Code, found: Operation, depth: int) -> bool:
    if found.operator == "@":
        return _are_units(code, found.operands, depth)
    if found.operator == "-" and len(found.operands) == 1:
        return is_bounded(code, found.operands[0], depth + 1)
    if found.operator in ("*", "/") and len(found.operands) == 2:
        scores, scale = found.operands
        if found.operator == "*" and not is_bounded(code, scores, depth + 1):
            scores, scale = scale, scores
        return _is_usual(code, scale, found.operator) and is_bounded(code, scores, depth + 1)
    return False


def _is_usual(code: Code, scale: Value, operator: str) -> bool:
    """Whether a factor or a temperature, as far as it is known, leaves numbers up to 1 within the range."""
    number = literal(code, scale)
    if not isinstance(number, int | float):
        return isinstance(number, Name | Attribute)
    return bool(number) and (abs(number) if operator == "*" else 1 / abs(number)) <= LARGEST


def _factors(call: Call) -> tuple[Value, ...]:
    if call.name == "torch.einsum":
        return call.arguments[1:]
    return (call.receiver, *call.arguments[:1]) if call.receiver is not None else call.arguments[:2]


def _are_units(code: Code, factors: tuple[Value, ...], depth: int) -> bool:
    return len(factors) == 2 and all(is_unit(code, one, depth + 1) for one in factors)


def is_unit(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a tensor certainly holds vectors of length 1, here or by a function or module of the project."""
    found, _ = followed(code, value)
    if depth > DEEPEST or found is None:
        return False
    if isinstance(found, Operation):
        return found.operator == "/" and len(found.operands) == 2 and _is_norm(code, found.operands[1], depth + 1)
    if isinstance(found, Attribute):
        return found.name in ("T", "mT", "data") and is_unit(code, found.value, depth + 1)
    if not isinstance(found, Call):
        return False
    if found.name == "torch.nn.functional.normalize":
        return True
    if found.name in FORMING:
        return is_unit(code, found.receiver, depth + 1)
    if found.name in (".div", "torch.div"):
        return _is_norm(code, found.arguments[-1] if found.arguments else None, depth + 1)
    home, returned = _returned_by(code, found)
    return bool(returned) and home is not None and all(is_unit(home, one.value, depth + 4) for one in returned)


def _returned_by(code: Code, call: Call) -> tuple[Code | None, tuple[Returned, ...]]:
    """What a function of the project returns, or the `forward` of a module of it."""
    callee = called(code, call)
    if callee.function is not None and callee.code is not None:
        return callee.code, tuple(callee.function.returns)
    if callee.kind != "module" or callee.cls is None or callee.code is None or "forward" not in callee.cls.methods:
        return None, ()
    number = callee.cls.methods["forward"]
    return callee.code, tuple(callee.code.functions[number].returns)


def _is_norm(code: Code, value: Value | None, depth: int) -> bool:
    """Whether a number is the length of a vector: `x.norm()`, `x.pow(2).sum(1).sqrt()`, or something more than it."""
    found, _ = followed(code, value)
    if depth > DEEPEST or found is None:
        return False
    if isinstance(found, Operation):
        return found.operator == "+" and any(_is_norm(code, one, depth + 1) for one in found.operands)
    if not isinstance(found, Call):
        return False
    if found.name in _NORMS:
        return True
    inner, _ = followed(code, found.receiver or found.argument(0))
    if found.name in FORMING or found.name in _KEPT_ABOVE_0:
        return _is_norm(code, inner, depth + 1)
    if found.name in (".sqrt", "torch.sqrt", ".pow", "torch.pow"):
        return isinstance(inner, Call) and inner.name in (".sum", "torch.sum") and _is_square(code, inner)
    return False


def _is_square(code: Code, total: Call) -> bool:
    """Whether what is summed up are powers."""
    inner, _ = followed(code, total.receiver or total.argument(0))
    if isinstance(inner, Operation):
        return inner.operator in ("**", "*")
    return isinstance(inner, Call) and inner.name in (".pow", "torch.pow", ".square", "torch.square")
