"""Where source code cuts a graph between the model and what goes backward."""

from __future__ import annotations

import re

from stethoscope.facts.code import Attribute, Call, Code, Constant, Name, Value
from stethoscope.facts.events import Event
from stethoscope.facts.origins import called
from stethoscope.facts.things import followed, literal

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
_ASKED_AGAIN = re.compile(r"requires_grad")


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
    around = file.functions[file.function_at(event.context)]
    stretch = around.at if file.function_at(event.context) else event.at
    return "" if not how or file.matches(_ASKED_AGAIN, stretch) else how
