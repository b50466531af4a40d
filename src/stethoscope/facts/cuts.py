"""Where source code cuts a graph between the model and what goes backward."""

from __future__ import annotations

import re

from stethoscope.facts.code import At, Attribute, Call, Code, Constant, Name, Operation, Value
from stethoscope.facts.events import Event
from stethoscope.facts.origins import called
from stethoscope.facts.things import binding_of, followed, literal

_NEW = ("torch.tensor", "torch.autograd.Variable", "torch.FloatTensor", "torch.as_tensor")
_DECISIONS = ("argmax", "round", "floor", "ceil", "sign")


def is_made_anew(file: Code, call: Call) -> bool:
    """Whether a call makes a tensor without a past that asks for gradients."""
    asks = literal(file, call.keyword("requires_grad")) is True
    return call.name in _NEW and asks and not isinstance(call.argument(0), Constant)


def holds_an_answer(file: Code, value: Value | None) -> bool:
    """Whether a value comes from what a model gave, through calls of its methods."""
    for _ in range(6):
        value, _way = followed(file, value)
        if not isinstance(value, Call):
            return False
        if called(file, value).kind == "module":
            return True
        value = value.receiver if value.name != "()" else None
    return False


def decision_of(file: Code, value: Value | None, depth: int = 0) -> str:
    """The name of the operation without a gradient that made a value, through casts; or empty."""
    value, _ = followed(file, value)
    if not isinstance(value, Call) or depth > 4:
        return ""
    name = value.name.rpartition(".")[2]
    if name in _DECISIONS and (value.name.startswith(("torch.", "."))):
        return name
    return (
        decision_of(file, value.receiver, depth + 1)
        if value.name in (".float", ".to", ".double", ".view", ".squeeze")
        else ""
    )


NUMBERS = (".item()", ".numpy()", ".tolist()")
_ASKED_AGAIN = re.compile(r"requires_grad(?!\s*=\s*False)")


_OF_TORCH = re.compile(r"Module|Loss|Callable|Tensor|\bAny\b|\bnn\.|torch")
"""Annotations of what gives tensors, or of nothing in particular."""


def _gives_what_it_likes(file: Code, call: Call) -> bool:
    """Whether what is called is a parameter that may give another kind of `.data`: one with a class of its own, or of a
    function that a decorator registers for some classes.
    """
    called = call.receiver if call.name == "()" else None
    here = file.functions[file.function_at(call.context)]
    handed = [one for one in here.parameters if isinstance(called, Name) and one.binding == called.binding]
    return any(not _OF_TORCH.search(one.annotation) if one.annotation else bool(here.decorators) for one in handed)


def cut_by(file: Code, event: Event, made: Value) -> str:
    """How what goes backward was cut off from its graph, and not asked for gradients after it; or empty."""
    if event.hinted or event.thing.kind == "framework":
        return ""
    how = ""
    if isinstance(made, Call) and made.name in (".detach", ".item", ".numpy", ".tolist") and not made.arguments:
        how = f"{made.name}()"
    elif isinstance(made, Attribute) and made.name == "data" and isinstance(made.value, Call):
        how = "" if _gives_what_it_likes(file, made.value) else ".data"
    return "" if not how or _asks_again(file, event) else how


def asks_elsewhere(file: Code, event: Event) -> bool:
    """Whether the function of a backward pass asks for gradients of something else than what goes backward."""
    return file.matches(_ASKED_AGAIN, _around(file, event))


def _asks_again(file: Code, event: Event) -> bool:
    """Whether what goes backward is asked for gradients: by its name, or where it has none, whatever is asked."""
    if not event.name:
        return asks_elsewhere(file, event)
    name = re.escape(event.name)
    asked = re.compile(rf"(?<![\w.]){name}\b.*requires_grad|requires_grad.*(?<![\w.]){name}\b")
    return file.matches(asked, _around(file, event))


def _around(file: Code, event: Event) -> At:
    index = file.function_at(event.context)
    return file.functions[index].at if index else event.at


def cut_before(file: Code, event: Event) -> tuple[Value, str] | None:
    """Where what goes backward was cut off before it was scaled, or in one of the branches that meet before it."""
    found = _cut_in(file, event, event.subject, 0)
    return found if found is not None and found[0].at.line <= event.at.line else None


def _cut_in(file: Code, event: Event, value: Value | None, depth: int) -> tuple[Value, str] | None:
    value, _ = followed(file, value)
    if value is None or depth > _DEEPEST:
        return None
    if how := cut_by(file, event, value):
        return value, how
    every: list[Value] = []
    bound = binding_of(file, value)
    if bound is not None and bound.how == "merge" and isinstance(value, Name):
        every = [Name(value.name, one, value.at) for one in bound.options if one != value.binding]
    elif bound is not None and bound.how == "augment" and bound.value is not None and not bound.item:
        every = [bound.value]
    elif isinstance(value, Call) and value.receiver is not None and value.name in _REDUCING:
        every = [value.receiver]
    elif isinstance(value, Operation) and value.operator in ("*", "/"):
        scaled = [one for one in value.operands if not _is_number(file, one)]
        every = scaled if len(scaled) == 1 else []
    found = (_cut_in(file, event, one, depth + 1) for one in every)
    return next((one for one in found if one is not None), None)


_DEEPEST = 12
_REDUCING = (".mean", ".sum", ".to")
_COUNTS = re.compile(r"accum|steps?$|(?:^|_)num_|(?:^|_)n_|size$|count$|(?:^|_)world_")
"""In the name of what is a plain number."""


def _is_number(file: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a value is a number that nobody learns: a literal, a length, what is counted."""
    value, _ = followed(file, value)
    if isinstance(value, Constant):
        return True
    if depth > _DEEPEST or value is None:
        return False
    if isinstance(value, Operation):
        return all(_is_number(file, one, depth + 1) for one in value.operands)
    if isinstance(value, Call):
        return value.name in ("builtins.len", "builtins.int")
    if isinstance(value, Name | Attribute) and _COUNTS.search(value.name):
        return True
    bound = binding_of(file, value)
    if bound is not None and bound.how == "augment":
        return _is_number(file, bound.value, depth + 1)
    if bound is not None and bound.how == "merge" and isinstance(value, Name):
        rest = [one for one in bound.options if one != value.binding]
        return bool(rest) and all(_is_number(file, Name(value.name, one, value.at), depth + 2) for one in rest)
    return False
