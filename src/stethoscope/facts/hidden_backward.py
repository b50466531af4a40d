"""Whether anything around an optimizer's step may go backward, by whatever name, and which loss it would be for."""

from __future__ import annotations

import re

from stethoscope.facts.code import NOWHERE, At, Call, Code, Group, Name, Operation, Value
from stethoscope.facts.events import NO_GRAD, Event, events_of, is_branched, is_under, name_of
from stethoscope.facts.gradient_words import says_gradients
from stethoscope.facts.gradients_around import CLIPS, KEEPS, LOOPS, OWN_GRADIENTS, loops_around
from stethoscope.facts.loss_of_round import LOSS_NAME, is_given_loss, takes_loss
from stethoscope.facts.model_values import is_model_call
from stethoscope.facts.origins import bases, call_sites, called, lineage, thing_of
from stethoscope.facts.other_rounds import cleared_before, passes_of_others
from stethoscope.facts.quiet_calls import (
    HARMLESS,
    OF_TENSORS,
    TAKES_NOTHING,
    computes,
    goes_backward,
    is_quiet,
    only_notes,
)
from stethoscope.facts.stepping import is_made_here
from stethoscope.facts.things import Thing, binding_of

_MANAGING = frozenset({".accumulate", ".no_sync", ".join", ".unwrap_model"})
"""Methods that are given a model for a `with`, or take it out of its wraps, and compute nothing."""
_AVERAGES = re.compile(r"\w*ema(?:_\w+)?")
"""Names of averages of a model's weights."""
_JUDGES = re.compile(r"(?:^|[._])(?:compute|calculate|calc|get)_?[lL]oss(?:es)?$")
"""Names of functions that are given a model and give a loss."""
_OF_WEIGHTS = re.compile(
    r"(?:^|[._])(?:(?:kl|l1|l2|reg\w*|ortho\w*)_?(?:loss|norm)|\w*penalty|\w*regulari[sz]\w+)$", re.I
)
"""Names of functions that are given a model and give a part of a loss: of how large its weights are."""


def round_of(file: Code, index: int, step: Event) -> int:
    """The loop around a step; or the function, where it clears or asks a model before it steps, as in one round."""
    loop = next(
        (n for n in file.numbers_around(step.context) if file.contexts[n].kind in (*LOOPS, "function")), NOWHERE
    )
    if loop == NOWHERE or file.contexts[loop].kind in LOOPS:
        return loop
    asked = [one.call for one in events_of(file, index) if one.kind == "forward" and not one.via]
    is_asked = step.call is not None and any(one is not None and one.number < step.call.number for one in asked)
    cleared = any(event.kind == "zero" and not event.via for event in events_of(file, index))
    return loop if (cleared or is_asked) and index else NOWHERE


def cleared_right_before(file: Code, index: int, step: Event) -> Event | None:
    """The clearing of gradients before a step, with nothing between them that could compute any; where a training goes
    on around it: in a loop, or in a function that calls a model, or that a loop of the file calls.
    """
    events = events_of(file, index)
    if sum(one.kind in ("backward", "grad") for one in events) > len(passes_of_others(file, index, step)):
        return None
    around = list(file.numbers_around(step.context))
    trains = any(event.kind == "forward" for event in events) or any(file.contexts[n].kind in LOOPS for n in around)
    trains = trains or _is_called_in_loop(file, index) or (index > 0 and takes_loss(file, index))
    if step.call is None or not trains or (step.call.receiver is step.subject and step.call.arguments):
        return None
    if _only_schedules(file, step):
        return None
    bound = binding_of(file, step.subject)
    if bound is not None and bound.how == "for":
        return None  # each of several: to make their states
    before = [one for one in events if one.kind == "zero" and not one.via and one.call and one.context in around]
    cleared: Event | None = next(
        (one for one in reversed(before) if one.call and one.call.number < step.call.number), None
    )
    if cleared is None or cleared.call is None:
        return None
    between = file.calls[cleared.call.number + 1 : step.call.number]
    stretch = At(cleared.at.line, 0, step.at.line, 0)
    if says_gradients(file, OWN_GRADIENTS, stretch) or not all(is_quiet(file, call) for call in between):
        return None
    return cleared


def _is_called_in_loop(file: Code, index: int) -> bool:
    """Whether a loop of the file calls a function as a statement, as `finish_episode()` in each episode."""
    sites = call_sites(file, index) if index else ()
    return any(
        next((file.contexts[n].kind for n in file.numbers_around(call.context) if file.contexts[n].kind in _HOMES), "")
        in LOOPS
        for call in sites
    )


_HOMES = (*LOOPS, "comprehension", "function")


def _only_schedules(file: Code, step: Event) -> bool:
    """Whether a loop does nothing but step optimizers and schedules and tell their rates: a schedule is drawn."""
    loop = next((n for n in file.numbers_around(step.context) if file.contexts[n].kind in LOOPS), NOWHERE)
    if loop == NOWHERE:
        return False
    function = file.functions[file.function_at(step.context)]
    inside = [call for call in file.calls[slice(*function.calls)] if loop in file.numbers_around(call.context)]
    return any(_is_scheduling(file, call, "scheduler") for call in inside) and all(
        call.name.startswith("builtins.")
        or call.name in TAKES_NOTHING
        or _is_scheduling(file, call, "scheduler", "optimizer")
        for call in inside
    )


def _is_scheduling(file: Code, call: Call, *kinds: str) -> bool:
    """Whether a call is of an optimizer or a schedule, or of a function that is given nothing else."""
    values = (*call.arguments, *(value for _, value in call.keywords))
    if thing_of(file, call.receiver).kind in kinds:
        return True
    bound = binding_of(file, call.receiver)
    if call.name == ".step" and bound is not None and isinstance(bound.value, Call):
        return any(thing_of(file, value).kind == "optimizer" for value in bound.value.arguments)  # made for it
    return bool(values) and all(thing_of(file, value).kind in kinds for value in values)


def given_without_backward(file: Code, index: int, home: int, step: Event) -> bool:
    """Whether a function is handed its loss, clears and steps, and does nothing with the loss, where the file goes
    backward nowhere, and no other class is behind its own that may.
    """
    if not is_given_loss(file, home) or file.calls_of(".backward", ".manual_backward", "torch.autograd.backward"):
        return False
    if file.class_of(index) != NOWHERE:
        own = Thing("class", "", file, file.class_of(index))
        if set(bases(own)) - {"builtins.object"} or any(home is not file for home, _ in lineage(own)):
            return False
    if not any(one.kind == "zero" and one.name == step.name for one in events_of(file, index)):
        return False
    given = {one.name for one in file.functions[index].parameters if LOSS_NAME.fullmatch(one.name)}
    for call in file.calls[slice(*file.functions[index].calls)]:
        values = (*call.arguments, *(value for _, value in call.keywords))
        if any(isinstance(value, Name) and value.name in given for value in values) and not only_notes(file, call):
            return False
        if goes_backward(file, called(file, call)):
            return False
    return True


def asked_without_backward(file: Code, index: int, home: int, step: Event) -> Call | None:
    """The call of a model that one of torch's optimizers of this file steps for, in a loop, where neither the file nor
    what it imports from its project ever says backward or gradients.
    """
    if file.contexts[home].kind not in LOOPS or not is_made_here(file, step) or is_branched(file, step.context):
        return None
    if file.matches(_ANY_BACKWARD) or file.linked.match(_ANY_BACKWARD):
        return None
    events = [one for one in events_of(file, index) if home in file.numbers_around(one.outer_context)]
    if any(one.kind in ("backward", "grad", "other", "unknown step") for one in events):
        return None
    names = {step.name, *(one.name for one in events if one.kind == "forward")}
    for call in file.calls:
        values = (*call.arguments, *(value for _, value in call.keywords))
        given = any(name_of(file, value) in names for value in values)
        if given and home in file.numbers_around(call.context):
            return None
        if any(name_of(file, value) == step.name for value in values) and thing_of(file, call).kind != "scheduler":
            return None
    asked = (
        one for one in events
        if one.kind == "forward" and not one.via and not is_under(file, one.context, *NO_GRAD)
        and (one.thing.cls is not None or _is_of(file, step, one.name))
    )  # fmt: skip
    return next((one.call for one in asked if one.call is not None and one.call.number < _number(step)), None)


def _is_of(file: Code, step: Event, name: str) -> bool:
    """Whether an optimizer was made of the parameters of what has that name."""
    made = step.thing.made
    given = made.argument(0, "params") if made is not None else None
    return isinstance(given, Call) and given.name == ".parameters" and name_of(file, given.receiver) == name


def _number(event: Event) -> int:
    return event.call.number if event.call is not None else NOWHERE


_ANY_BACKWARD = re.compile(r"\.grad\b|autograd|backward\w*\(|\.backward\b|\bgrads?\b|\bgradients?\b|create_graph", re.I)
"""Words of a file in which something may go backward."""


def may_go_backward(file: Code, index: int, home: int, loss: Call, step: Event) -> bool:
    """Whether anything around a step may compute gradients: in what is called, or in what is given the loss; what goes
    backward for another optimizer is left out.
    """
    if goes_backward(file, called(file, loss)):
        return True
    function, loops = file.functions[index], loops_around(file, home)
    names = {binding.name for binding in file.bindings if _is_made_with(binding.value, loss, set())}
    further = _made_with(file, index, home, loss, names)
    models = {event.name for event in events_of(file, index) if event.kind == "forward" and not event.via}
    first, last = function.calls
    dropped = {id(one.value) for one in file.bare}
    others = {one.via[0][1].number for one in passes_of_others(file, index, step) if one.via}
    last = min(last, _number(step) + 1) if cleared_before(file, index, step) else last
    for call in file.calls[first:last]:
        if call.number in others:
            continue
        around = set(file.numbers_around(call.context))
        if call is loss or call.name.startswith(HARMLESS) or not around & loops or only_notes(file, call):
            continue
        if _may_with(file, call, loss, further if home in around else names):
            return True
        each_time = home in around and not is_branched(file, call.context)
        if each_time and _may(file, call, models, id(call) in dropped):
            return True
    return False


def _may_with(file: Code, call: Call, loss: Call, names: set[str]) -> bool:
    """Whether a call is given the loss, and may go backward for it."""
    values = (*call.arguments, *(value for _, value in call.keywords))
    given = any(_is_made_with(value, loss, names) for value in values)
    callee = called(file, call)
    if callee.function is not None and callee.code is not None:
        return given and computes(callee.code, callee.number)
    return given and call.name not in OF_TENSORS


def _may(file: Code, call: Call, models: set[str], is_dropped: bool) -> bool:
    """Whether a call may go backward by itself: one that is not known, and is given the model, or gives nothing."""
    callee = called(file, call)
    if goes_backward(file, callee):
        return True
    if callee.kind in ("module", "loss", "function") or is_model_call(file, call) or CLIPS.search(file.text(call.at)):
        return False
    name = name_of(file, call.receiver) if call.name == "()" else call.name
    if call.name in _MANAGING or _AVERAGES.fullmatch(name.rpartition(".")[2]):
        return False
    is_judging = _JUDGES.search(name) or _OF_WEIGHTS.search(name)
    if KEEPS.search(file.text(call.at).partition("(")[0]) or (is_judging and not is_dropped):
        return False
    values = (*call.arguments, *(value for _, value in call.keywords))
    if any(name_of(file, value) in models for value in values):
        return True
    is_open = call.name == "()" or name_of(file, call.receiver) == "self"
    return is_dropped and is_open and callee.kind == "unknown"


def _made_with(file: Code, index: int, home: int, loss: Call, names: set[str]) -> set[str]:
    """The variables that hold a loss, and those of its round that are made with them, or that it is put into."""
    found = set(names)
    for binding in file.bindings[slice(*file.functions[index].bindings)]:
        is_there = binding.how == "assign" and home in file.numbers_around(binding.context)
        if is_there and not binding.item and _is_made_with(binding.value, loss, found):
            found.add(binding.name)
    for call in file.calls[slice(*file.functions[index].calls)]:
        is_put = call.name == ".append" and any(_is_made_with(one, loss, found) for one in call.arguments)
        if is_put and home in file.numbers_around(call.context):
            found.add(name_of(file, call.receiver))
    return found


def _is_made_with(value: Value | None, loss: Call, names: set[str]) -> bool:
    """Whether a value is what a call gives, alone, in a sum or a list, or is made with a variable of these names."""
    if isinstance(value, Operation | Group):
        return any(_is_made_with(one, loss, names) for one in _parts(value))
    if isinstance(value, Call) and names and (value.name in _SUMS or value.name.startswith("torch.")):
        parts = (*((value.receiver,) if value.receiver is not None else ()), *value.arguments)
        return any(_is_made_with(one, loss, names) for one in parts)
    return value is loss or (isinstance(value, Name) and value.name in names)


def _parts(value: Operation | Group) -> tuple[Value, ...]:
    return value.operands if isinstance(value, Operation) else value.items


_SUMS = frozenset({".mean", ".sum", ".to", ".squeeze", ".view", "builtins.sum"})
"""What a loss stays a loss in."""
