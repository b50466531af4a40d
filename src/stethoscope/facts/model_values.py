"""Values that a model's answer has gone into, whatever was done with it on the way."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.facts.code import (
    NOWHERE,
    At,
    Attribute,
    Binding,
    Call,
    Choice,
    Code,
    Constant,
    Each,
    Group,
    Item,
    Name,
    Operation,
    Returned,
    Starred,
    Value,
)  # fmt: skip
from stethoscope.facts.events import name_of
from stethoscope.facts.model_like import is_model_attribute, is_model_like
from stethoscope.facts.origins import called
from stethoscope.facts.things import Thing
from stethoscope.facts.ways import ways_behind

_STOPPING = frozenset({".detach", ".item", ".tolist", ".numpy", ".argmax", ".size", ".cpu", "builtins.len",
                       "torch.argmax", ".append", ".state_dict", ".parameters", ".data_ptr"})  # fmt: skip
"""Methods whose result no gradient flows through."""
_NUMBERS = frozenset({"builtins.float", "math.isnan", "math.isfinite", "numpy.isnan", "torch.isnan", "torch.isfinite"})
_DEEPEST = 40


def is_model_call(code: Code, call: Call) -> bool:
    """Whether a call is of a model: of a module of torch's or the project's, or of what is used as one."""
    if call.name in ("torch.nn.parallel.data_parallel", ".forward"):
        return True
    receiver = call.receiver
    is_like = call.name in ("()", ".module") and isinstance(receiver, Name)
    if is_like and isinstance(receiver, Name) and is_model_like(code, receiver.binding):
        return True
    return is_model_attribute(code, call) or (call.name == "()" and called(code, call).kind == "module")


def comes_of_model(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a model's answer has gone into a value, through whatever calls and sums."""
    if depth > _DEEPEST or value is None:
        return False
    if isinstance(value, Name):
        return value.binding != NOWHERE and _bound(code, value.binding, depth)
    if isinstance(value, Call):
        if value.name in _STOPPING:
            return False
        if is_model_call(code, value) or any(comes_of_model(code, one, depth + 1) for one in inputs_of(value)):
            return True
        callee = called(code, value)
        ways = ways_behind(code, value, callee) if depth < _DEEPEST // 2 else []
        return any(_returned(callee, one, depth + _DEEPEST // 4) for one in ways)
    if isinstance(value, Attribute):
        return value.name not in ("data", "shape") and comes_of_model(code, value.value, depth + 1)
    return any(comes_of_model(code, one, depth + 1) for one in _parts(value))


def _returned(function: Thing, way: Returned, depth: int) -> bool:
    """Whether a function of the project gives what comes of a model, on one of its ways."""
    home = function.code
    if home is None:
        return False
    known: dict[At, bool] = home.memo.setdefault("answers of functions", {})
    if way.value.at not in known:
        known[way.value.at] = False  # it may call itself
        known[way.value.at] = comes_of_model(home, way.value, depth)
    return known[way.value.at]


def inputs_of(call: Call) -> tuple[Value, ...]:
    """What a call is given, and what its method belongs to."""
    given = (*call.arguments, *(value for _, value in call.keywords))
    return given if call.receiver is None or call.name == "()" else (call.receiver, *given)


def _bound(code: Code, number: int, depth: int) -> bool:
    known: dict[int, bool] = code.memo.setdefault("values of models", {})
    if number not in known:
        known[number] = False  # sums grow by themselves: `loss += ...`
        binding = code.bindings[number]
        if binding.how == "merge":
            known[number] = any(_bound(code, one, depth + 1) for one in binding.options)
        elif binding.how in ("assign", "augment", "for"):
            known[number] = comes_of_model(code, binding.value, depth + 1)
    return known[number]


def _parts(value: Value) -> tuple[Value, ...]:
    if isinstance(value, Operation):
        return value.operands
    if isinstance(value, Group):
        return value.items
    if isinstance(value, Choice):
        return value.options
    if isinstance(value, Item | Starred):
        return (value.value,)
    return (value.element, value.source) if isinstance(value, Each) else ()


def calls_in(value: Value | None, depth: int = 0) -> Iterator[Call]:
    """The calls that an expression is made of, without those that go into them; reductions are looked through."""
    if isinstance(value, Call):
        if value.receiver is not None and value.name in (".mean", ".sum", ".to", ".squeeze", ".view"):
            yield from calls_in(value.receiver, depth + 1)
        else:
            yield value
    elif value is not None and depth < _DEEPEST:
        for one in _parts(value):
            yield from calls_in(one, depth + 1)


def is_read_as_number(code: Code, index: int, binding: Binding) -> bool:
    """Whether a function reads a variable as one number: `loss.item()`, `float(loss)`, `"%f" % loss`."""
    for call in code.calls[slice(*code.functions[index].calls)]:
        if any(_is_shown(code, one, binding.name) for one in call.arguments):
            return True
        if call.name in (".item", ".tolist") and binding.name in (
            name_of(code, call.receiver),
            _of_data(code, call.receiver),
        ):
            return True
        if call.name in _NUMBERS and name_of(code, call.argument(0)) == binding.name:
            return True
    return f"{binding.name}.data[0]" in "\n".join(code.lines) or any(
        one.how == "augment" and isinstance(one.value, Operation)
        and any(_of_data(code, part) == binding.name for part in one.value.operands)
        for one in code.bindings[slice(*code.functions[index].bindings)]
    )  # fmt: skip


def _is_shown(code: Code, value: Value, name: str) -> bool:
    """Whether a value is a text that shows one number: `"%.4f" % loss`."""
    if not isinstance(value, Operation) or value.operator != "%" or len(value.operands) != 2:
        return False
    text, shown = value.operands
    return isinstance(text, Constant) and isinstance(text.value, str) and name_of(code, shown) == name


def _of_data(code: Code, value: Value | None) -> str:
    """`loss` of `loss.data` and of `loss.detach()`."""
    if isinstance(value, Attribute) and value.name == "data":
        return name_of(code, value.value)
    if isinstance(value, Call) and value.name in (".detach", ".cpu", ".mean", ".sum"):
        return name_of(code, value.receiver)
    return ""
