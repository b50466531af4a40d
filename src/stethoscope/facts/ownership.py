"""Which parameters an optimizer holds in source code, and what of its model was exchanged after it was made.

for exchange in exchanges_of(code):
    exchange.name                    "model.fc", assigned anew behind `torch.optim.SGD(model.parameters())`
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.facts.code import (
    NOWHERE,
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
    Starred,
    Value,
)
from stethoscope.facts.events import Event, events_of
from stethoscope.facts.libraries import SAME, SAME_METHODS
from stethoscope.facts.loops import loops_of
from stethoscope.facts.module_classes import has_weights
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import MOST_STEPS, followed

_COPY = "copy.deepcopy"


class Exchange(NamedTuple):
    """That a model, or a layer of one, was replaced between the making of its optimizer and that one's step."""

    optimizer: Call
    binding: Binding
    """The new one."""
    is_layer: bool
    is_copy: bool
    step: Event
    """The first step behind it, in the same function."""


def owners_of(code: Code, value: Value | None, depth: int = 0) -> list[Value] | None:
    """The models whose parameters a value holds: of `[{"params": net.head.parameters()}]`, `net.head`.

    None where something in it is not understood.
    """
    if value is None or depth > 8:
        return None
    if isinstance(value, Call):
        if value.name in (".parameters", ".named_parameters") and value.receiver is not None:
            return [value.receiver]
        if value.name in ("builtins.filter", "builtins.list", "builtins.iter", "builtins.tuple", "itertools.chain"):
            given = value.arguments[1:] if value.name == "builtins.filter" else value.arguments
            return _all_of(code, given, depth)
        return None
    if isinstance(value, Name) and value.binding != NOWHERE:
        binding = code.bindings[value.binding]
        return owners_of(code, binding.value, depth + 1) if binding.how == "assign" and not binding.item else None
    if isinstance(value, Group):
        if value.kind == "dict":
            named = [one for key, one in zip(value.keys, value.items, strict=False) if _says_params(key)]
            return _all_of(code, named, depth) if named else None
        return _all_of(code, value.items, depth)
    if isinstance(value, Each):
        return owners_of(code, value.source, depth + 1)
    if isinstance(value, Operation) and value.operator == "+":
        return _all_of(code, value.operands, depth)
    return owners_of(code, value.value, depth + 1) if isinstance(value, Starred) else None


def _says_params(key: Value | None) -> bool:
    return getattr(key, "value", None) == "params"


def _all_of(code: Code, values: tuple[Value, ...] | list[Value], depth: int) -> list[Value] | None:
    found = [owners_of(code, one, depth + 1) for one in values]
    return None if not found or any(one is None for one in found) else [owner for one in found for owner in one or ()]


def exchanges_of(code: Code) -> Iterator[Exchange]:
    """Models and layers that were replaced while an optimizer holds the old ones, each once."""
    for call in code.calls_named(lambda name: name.startswith("torch.optim.")):
        if call.receiver is None and thing_of(code, call).kind == "optimizer":
            yield from _behind(code, call)


def _behind(code: Code, made: Call) -> Iterator[Exchange]:
    owners = owners_of(code, made.argument(0, "params"))
    index = code.function_at(made.context)
    if not owners or code.calls_of(".add_param_group") or _hands_gradients_over(code):
        return
    steps = [event for event in events_of(code, index) if event.kind == "step" and event.thing.made is made]
    elsewhere = (
        [] if steps else [event for loop in loops_of(code) for event in loop.of("step") if event.thing.made is made]
    )  # as in a class that makes both in its `__init__`
    first, last = code.functions[index].bindings
    for owner in owners:
        if not isinstance(owner, Name) or owner.binding == NOWHERE:
            continue
        for number in range(first, last):
            binding = code.bindings[number]
            if binding.how != "assign" or binding.order <= made.number or binding.item:
                continue
            step = next((event for event in steps if _number(event) >= binding.order), next(iter(elsewhere), None))
            if step is None or not _same_path(code, made, binding):
                continue
            if binding.name != owner.name and _copies(code, binding.value, owner.binding):
                if _only_copy_runs(code, made, owner.name, binding.name):
                    yield Exchange(made, binding, False, True, step)
                continue
            if binding.name == owner.name:
                copied = _copies(code, binding.value, owner.binding)
                if copied or _is_other(code, binding, owner):
                    if _runs(code, index, number, step) and not _is_held(code, index, binding, made):
                        yield Exchange(made, binding, False, copied, step)
                elif _same_object(code, binding.value, owner.name):
                    continue
                break  # what is done to the name from here on is done to another model
            is_layer = binding.name.startswith(owner.name + ".") and _is_new_layer(code, binding)
            if is_layer and not (_is_left_alone(code, index, binding) or _is_held(code, index, binding, made)):
                yield Exchange(made, binding, True, False, step)


def _hands_gradients_over(code: Code) -> bool:
    """Whether gradients are assigned, as where a copy in low precision computes those of the model."""
    return any(
        binding.name.endswith(".grad") and binding.value is not None and not isinstance(binding.value, Constant)
        for binding in code.bindings
    )


def _number(event: Event) -> int:
    """Where the function from which we look does it, among the calls of the file."""
    call = event.via[0][1] if event.via else event.call
    return call.number if call is not None else NOWHERE


def _same_path(code: Code, made: Call, binding: Binding) -> bool:
    """Whether a binding follows whenever the optimizer is made: in no branch or loop that the other is not in."""
    around = set(code.numbers_around(made.context))
    for number in code.numbers_around(binding.context):
        if number in around:
            return True
        if code.contexts[number].kind not in ("with", "try"):
            return False
    return False


def _copies(code: Code, value: Value | None, number: int, depth: int = 0) -> bool:
    """Whether a value is a copy of the model that a binding holds."""
    if depth > MOST_STEPS or not isinstance(value, Call):
        return False
    inner = value.argument(0) if value.name == _COPY else value.receiver if value.name in SAME_METHODS else None
    if value.name == _COPY and isinstance(inner, Name):
        return inner.binding == number
    return inner is not None and _copies(code, inner, number, depth + 1)


def _is_other(code: Code, binding: Binding, owner: Name) -> bool:
    """Whether the name now holds a model that was constructed for it."""
    old, new = thing_of(code, owner), thing_of(code, binding.value)
    if old.kind != "module" or new.kind != "module" or old.made is None or new.made is None:
        return False
    first, second = _construction(code, owner), _construction(code, binding.value)
    return first is not None and second is not None and first.number != second.number


def _construction(code: Code, value: Value | None) -> Call | None:
    """The call in this file that a model comes from, behind what moves or wraps it; also one of a function's."""
    for _ in range(MOST_STEPS):
        value, _ = followed(code, value)
        if not isinstance(value, Call):
            return None
        if value.name in SAME:
            value = value.argument(0)
        elif value.name in SAME_METHODS:
            value = value.receiver
        else:
            return value
    return None


def _same_object(code: Code, value: Value | None, name: str) -> bool:
    """Whether a value is the model itself, moved or wrapped."""
    for _ in range(MOST_STEPS):
        if isinstance(value, Name):
            return value.name == name
        if isinstance(value, Item) or not isinstance(value, Call):
            return False
        value = value.argument(0) if value.name in SAME else value.receiver if value.name in SAME_METHODS else None
    return False


def _runs(code: Code, index: int, number: int, step: Event) -> bool:
    """Whether the new model is called, in a loop or function in which the optimizer steps."""
    for event in events_of(code, index):
        if event.kind != "forward" or _number(event) < code.bindings[number].order:
            continue
        subject = event.given if event.via else event.subject
        if isinstance(subject, Name) and _leads_to(code, subject.binding, number):
            return not event.via or not step.via or event.via[0][1] is step.via[0][1]
    return False


def _only_copy_runs(code: Code, made: Call, owner: str, copy: str) -> bool:
    """Whether the loops in which the optimizer steps call the copy of its model, and never the model."""
    loops = [loop for loop in loops_of(code) if any(step.thing.made is made for step in loop.of("step"))]
    forwards = [event for loop in loops for event in loop.of("forward")]
    called = {event.outer_name for event in forwards} | {
        event.code.text(event.call.at).partition("(")[0] for event in forwards if event.call is not None
    }
    same = {owner, f"self.{owner}", f"{owner}.module"} - {copy}
    return copy in called and not called & same


def _leads_to(code: Code, number: int, goal: int) -> bool:
    for _ in range(MOST_STEPS):
        if number == goal:
            return True
        value = code.bindings[number].value if number != NOWHERE else None
        while isinstance(value, Call) and (value.name in SAME or value.name in SAME_METHODS):
            value = value.argument(0) if value.name in SAME else value.receiver
        if not isinstance(value, Name):
            return False
        number = value.binding
    return False


def _is_held(code: Code, index: int, binding: Binding, made: Call) -> bool:
    """Whether another optimizer is made behind it, that may hold the new one."""
    first, last = code.functions[index].calls
    later = (call for call in code.calls[first:last] if call.number >= binding.order and call is not made)
    return any(thing_of(code, call).kind == "optimizer" or ".optim" in call.name for call in later)


def _is_new_layer(code: Code, binding: Binding) -> bool:
    """Whether an attribute gets a layer with weights that is constructed on the spot."""
    made = thing_of(code, binding.value)
    if isinstance(binding.value, Choice) or made.made is None or made.made.number >= binding.order:
        return False
    return has_weights(made) and made.made_in is code and _is_fresh(code, made.made, binding)


def _is_fresh(code: Code, made: Call, binding: Binding) -> bool:
    """Whether nothing of the old layer goes into the new one: a wrapper keeps what the optimizer holds."""
    given = [*made.arguments, *(value for _, value in made.keywords)]
    return not any(thing_of(code, value).kind in ("module", "unknown", "tensor") and not _is_number(code, value)
                   for value in given)  # fmt: skip


def _is_number(code: Code, value: Value) -> bool:
    """Whether a value is a width, as `model.fc.in_features` is."""
    text = code.text(value.at)
    return text.rpartition(".")[2] in (
        "in_features",
        "out_features",
        "in_channels",
        "num_features",
        "out_channels",
    ) or (isinstance(value, Name) and thing_of(code, value).kind == "unknown" and "." not in value.name)


def _is_left_alone(code: Code, index: int, binding: Binding) -> bool:
    """Whether the new layer is said not to be trained."""
    first, last = code.functions[index].bindings
    stays = any(one.name.startswith(binding.name + ".") and one.name.endswith("requires_grad")
                for one in code.bindings[first:last])  # fmt: skip
    return stays or any(
        call.name in (".requires_grad_", ".parameters") and isinstance(call.receiver, Name)
        and call.receiver.name.startswith(binding.name) for call in code.calls
    )  # fmt: skip
