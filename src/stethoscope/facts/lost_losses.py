"""A loss, by what its variable is called, that a round computes between clearing gradients and a step, and that goes
nowhere.

self.optimizer.zero_grad()
loss = self.criterion.compute_loss(self.net(x), y)       # nobody reads it
self.optimizer.step()
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import (
    NOWHERE,
    Attribute,
    Binding,
    Call,
    Choice,
    Code,
    Constant,
    Group,
    Item,
    Name,
    Operation,
    Value,
)
from stethoscope.facts.events import Event, events_of, is_branched, is_under, name_of
from stethoscope.facts.model_values import calls_in, is_model_call, is_read_as_number
from stethoscope.facts.origins import called
from stethoscope.facts.quiet_calls import OF_TENSORS, is_of_nothing, is_quiet, only_notes

_LOST = re.compile(
    r"_?(?!(?:epoch|running|avg|average|mean|val|valid|test|eval|best|last|prev|old|min|sum|accum|history|log|no)(?:_|loss))"
    r"(?:\w*_)?(?:loss|objective|cost)(?:_total|_sum|_value|_?\d)?",
    re.I,
)
"""Names of losses, and not of what is kept of several, or measured."""
_COMPUTES = re.compile(
    r"loss|criterion|entropy|_error|likelihood|(?:^|_)(?:crit|n?mll|nll|elbo)$|^forward$|_forward$", re.I
)
"""Names of functions that give a loss, or an answer."""
_DOES = re.compile(r"backward|train|step|update|optimi|learn|fit|apply|backprop|minimi", re.I)
_STOPPING = frozenset({".item", ".numpy", ".tolist", "builtins.float"})
_DEEPEST = 6


def lost_loss(file: Code, index: int, home: int, step: Event, besides: frozenset[int] = frozenset()) -> Call | None:
    """A call that a loss is made of in a round that clears gradients and steps, where nothing that goes into it may go
    backward, nor anything else of the round, and where it is read as a number or not at all.
    """
    cleared = any(
        one.kind == "zero" and home in file.numbers_around(one.outer_context) for one in events_of(file, index)
    )
    if step.call is None or not cleared:
        return None
    for binding in file.bindings[slice(*file.functions[index].bindings)]:
        is_named = binding.how in ("assign", "augment") and _LOST.fullmatch(binding.name)
        if not is_named or home not in file.numbers_around(binding.context) or binding.order > step.call.number:
            continue
        if has_no_gradients(file, binding.context):
            continue
        made = list(_made_of(file, binding.value, 0))
        is_read = is_read_as_number(file, index, binding) or not _is_used(file, index, binding)
        if all(is_of_nothing(one) for one in made) or any(one.number in besides for one in calls_in(binding.value)):
            continue
        if all(_only_computes(file, one, is_read=is_read) for one in made) and not may_else(file, home, step):
            return made[0]
    return None


def has_no_gradients(file: Code, context: int) -> bool:
    """Whether a place is surely under `no_grad`, or under a condition that is never met."""
    if is_under(file, context, "torch.no_grad", "torch.inference_mode"):
        return True
    for here in file.around(context):
        if here.kind == "with" and isinstance(here.value, Call) and here.value.name == "torch.set_grad_enabled":
            mode = here.value.argument(0, "mode")
            return isinstance(mode, Constant) and not mode.value
    return False


def _made_of(file: Code, value: Value | None, depth: int) -> Iterator[Call]:
    """The calls that a value is made of, through variables, parts and the methods of tensors."""
    if depth > _DEEPEST or value is None:
        return
    if isinstance(value, Call):
        is_known = value.name in OF_TENSORS or (value.name.startswith("torch.") and not is_model_call(file, value))
        if not is_known or value.name in _STOPPING:
            yield value
            return
        parts = (*((value.receiver,) if value.receiver is not None else ()), *value.arguments)
        inner = [call for one in parts for call in _made_of(file, one, depth + 1)]
        yield from inner or [value]
    elif isinstance(value, Name):
        binding = file.bindings[value.binding] if value.binding != NOWHERE else None
        for one in _behind(file, binding):
            yield from _made_of(file, one, depth + 1)
    elif isinstance(value, Attribute | Item):
        yield from (call for call in _made_of(file, value.value, depth) if not _makes_object(call))
    elif isinstance(value, Operation | Group | Choice):
        for one in value.operands if isinstance(value, Operation) else _parts(value):
            yield from _made_of(file, one, depth)


def _makes_object(call: Call) -> bool:
    """Whether a call is of a class, by its name: `settings.rate` of `Settings()`."""
    return call.name.rpartition(".")[2][:1].isupper()


def _parts(value: Group | Choice) -> tuple[Value, ...]:
    return value.items if isinstance(value, Group) else value.options


def _behind(file: Code, binding: Binding | None) -> Iterator[Value | None]:
    """What a variable was given, on each of several ways."""
    if binding is None:
        return
    if binding.how == "merge":
        for number in binding.options:
            if file.bindings[number].how in ("assign", "augment"):
                yield file.bindings[number].value
    elif binding.how in ("assign", "augment"):
        yield binding.value


def _only_computes(file: Code, call: Call, *, is_read: bool) -> bool:
    """Whether a call only computes: one that is known to, or that is named as a loss or an answer."""
    if call.name in _STOPPING:
        return False
    if is_quiet(file, call):
        return True
    name = (name_of(file, call.receiver) if call.name == "()" else call.name).rpartition(".")[2]
    is_named = bool(_COMPUTES.search(name)) and not _DOES.search(name)
    return is_read and is_named and called(file, call).function is None


def _is_used(file: Code, index: int, binding: Binding) -> bool:
    """Whether the lines of a function read a variable, and do more than return it."""
    at, name = file.functions[index].at, re.escape(binding.name)
    read = re.compile(rf"(?<![\w.]){name}\b(?!\s*(?:=(?!=)|[-+*/]=|,[\w\s,]*=(?!=)))")
    besides = re.compile(rf"^\s*[\w\s,.]*,\s*{name}\s*=(?!=)|^\s*return\b[\w\s,().]*$|(?<!\w)([\"'])[^\"']*\1")
    lines = (line.partition("#")[0] for line in file.lines[at.line - 1 : at.end_line])
    return any(read.search(besides.sub("", line)) for line in lines)


def may_else(file: Code, home: int, step: Event, first: int = 0) -> bool:
    """Whether a call of each round whose answer nobody takes may go backward by itself: of what is not seen; of those
    between a first one, by its number, and the step where gradients are cleared by that.
    """
    dropped = {id(one.value) for one in file.bare}
    last = step.call.number if step.call is not None and first else len(file.calls)
    return any(
        not (call is step.call or only_notes(file, call) or is_quiet(file, call) or _is_known(call))
        for call in file.calls[first:last]
        if id(call) in dropped and home in file.numbers_around(call.context) and not is_branched(file, call.context)
    )


def _is_known(call: Call) -> bool:
    """Whether a method is named as one of a tensor or a network, or of what keeps things, times or rates."""
    name = f".{call.name.rpartition('.')[2]}"
    return name in OF_TENSORS or name in _KEEPING


_KEEPING = frozenset({".step", ".update", ".zero_grad", ".clear", ".pop", ".close", ".flush", ".put", ".push", ".start",
                      ".stop"})  # fmt: skip
