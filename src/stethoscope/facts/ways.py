"""Which ways a function of the project takes when a call gives it constants, or leaves its defaults.

def load(data, spread=True):
    if spread:
        return DataLoader(data, sampler=DistributedSampler(data))
    return DataLoader(data, shuffle=True)       all that `load(data, spread=False)` gives
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from stethoscope.facts.code import (
    NOWHERE,
    Call,
    Choice,
    Code,
    Constant,
    Function,
    Group,
    Name,
    Operation,
    Returned,
    Symbol,
    Value,
)
from stethoscope.facts.things import Thing, followed

Given = Mapping[tuple[int, int], object]
"""The constants that parameters are given, by the `id` of their file's facts and their binding."""
NOTHING_GIVEN: Given = {}
UNTOLD = object()
"""What an expression comes to that is not known."""
_DEEPEST = 6
"""Operations in operations that are followed, at most."""


def given_by(
    code: Code, call: Call, callee: Thing, told: Callable[[int], object], given: Given = NOTHING_GIVEN
) -> Given:
    """What is known while a function of the project runs that a call calls; `told` says it of the parameters of the
    caller, and `given` what is known besides.
    """
    if callee.function is None or callee.code is None:
        return given
    handed = handed_by(call, callee.function)
    return {**given, **{(id(callee.code), binding): comes_to(code, value, told) for binding, value in handed}}


def ways_behind(code: Code, call: Call, callee: Thing) -> list[Returned]:
    """What a function of the project may give a call, by the constants of that call."""
    return ways_of(callee, given_by(code, call, callee, lambda binding: UNTOLD))


def handed_by(call: Call, function: Function) -> Iterator[tuple[int, Value | None]]:
    """The binding of each parameter of a function, and what a call of it gives it, be it by default; None of what is
    not known.
    """
    bound = function.owner != NOWHERE and not any(
        isinstance(one, Symbol) and one.name == "builtins.staticmethod" for one in function.decorators
    )
    for place, one in enumerate(function.parameters[bound:]):
        value = call.argument(place, one.name) or call.keyword(one.name)
        yield one.binding, value if value is not None or call.is_open else one.default


def ways_of(callee: Thing, given: Given) -> list[Returned]:
    """What a function of the project may give, without what stands in a branch that is not taken, or behind one that
    is left by a `return` whenever it is.
    """
    if callee.function is None or callee.code is None:
        return []
    code, found = callee.code, list[Returned]()
    for one in callee.function.returns:
        taken = [_takes(code, number, given) for number in _inside(code, one.context)]
        if False not in taken:
            found.append(one)
            if all(taken):
                break
    return found


def _inside(code: Code, context: int) -> Iterator[int]:
    """What stands around something in its function."""
    for number in code.numbers_around(context):
        if code.contexts[number].kind in ("function", "module"):
            return
        yield number


def _takes(code: Code, number: int, given: Given) -> bool | None:
    """Whether a run comes into a block."""
    here = code.contexts[number]
    if here.kind not in ("if", "else"):
        return True if here.kind == "with" else None
    known = truth(code, here.value, told_by(code, given))
    return known if known is None or here.kind == "if" else not known


def told_by(code: Code, given: Given) -> Callable[[int], object]:
    """What is known of the parameters of a file, by their bindings."""
    return lambda binding: given.get((id(code), binding), UNTOLD)


def truth(code: Code, condition: Value | None, told: Callable[[int], object]) -> bool | None:
    """Whether a condition holds, by what is told of the parameters in it."""
    found = comes_to(code, condition, told)
    return None if found is UNTOLD else bool(found)


def comes_to(code: Code, value: Value | None, told: Callable[[int], object], depth: int = 0) -> object:
    """What an expression comes to, UNTOLD where that is not known. A variable that is given a constant some lines above
    is a setting that somebody changes.
    """
    if isinstance(value, Constant):
        return value.value
    found, _ = followed(code, value)
    if isinstance(found, Constant) or depth > _DEEPEST:
        return UNTOLD
    if isinstance(found, Name) and found.binding != NOWHERE and code.bindings[found.binding].how == "argument":
        return told(found.binding)
    if isinstance(found, Operation):
        return _operation(found.operator, [comes_to(code, one, told, depth + 1) for one in found.operands])
    if isinstance(found, Group):
        items = tuple(comes_to(code, one, told, depth + 1) for one in found.items)
        return UNTOLD if UNTOLD in items or found.kind == "dict" else items
    if isinstance(found, Choice) and found.condition is None:
        return _joined(True, [comes_to(code, one, told, depth + 1) for one in found.options])
    if isinstance(found, Call) and found.name == "builtins.bool" and len(found.arguments) == 1:
        inner = comes_to(code, found.arguments[0], told, depth + 1)
        return inner if inner is UNTOLD else bool(inner)
    return UNTOLD


def _joined(deciding: bool, values: list[object]) -> object:
    """What `or` comes to, where a true value decides, or `and`, where a false one does: true or false."""
    known = [bool(one) for one in values if one is not UNTOLD]
    if deciding in known:
        return deciding
    return not deciding if len(known) == len(values) else UNTOLD


def _operation(operator: str, values: list[object]) -> object:
    if operator == "and":
        return _joined(False, values)
    if any(one is UNTOLD for one in values):
        return UNTOLD
    match operator, values:
        case "not", [one]:
            return not one
        case (("==" | "is"), [one, other]):
            return one == other
        case (("!=" | "is not"), [one, other]):
            return one != other
        case "in", [one, tuple() | str() as others]:
            return _is_in(one, others)
        case "not in", [one, tuple() | str() as others]:
            is_in = _is_in(one, others)
            return is_in if is_in is UNTOLD else not is_in
        case ((">" | "<" | ">=" | "<="), [int() | float() as one, int() | float() as other]):
            return {">": one > other, "<": one < other, ">=": one >= other, "<=": one <= other}[operator]
    return UNTOLD


def _is_in(one: object, others: tuple[object, ...] | str) -> object:
    if isinstance(others, tuple):
        return one in others
    return one in others if isinstance(one, str) else UNTOLD
