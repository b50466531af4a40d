"""Whether anything around a loop may step an optimizer: by what is known of it, or by its name."""

from __future__ import annotations

import re

from stethoscope.facts.code import NOWHERE, Call, Code, Name
from stethoscope.facts.events import (
    Event,
    events_of,
    is_in_loop,
    is_named_as_optimizer,
    is_named_as_recorder,
    is_named_as_schedule,
    is_of_copy,
    name_of,
)
from stethoscope.facts.gradient_words import reads_gradients
from stethoscope.facts.loops import Loop, innermost_loop
from stethoscope.facts.origins import called, thing_of

_STEPPING = re.compile(
    r"(?!on_|set_step).*(?:step|optimi[sz]e|update_param|apply_grad)(?!s?_?(?:size|per|lr|count)).*", re.I
)
"""Names of functions that may step an optimizer."""

_NO_STEP = re.compile(
    r"(?:^|_)(?:(?:time|num|max|min|total|global|current|n|per|each)_?steps?|timesteps?)(?:_|$)|step_?wise"
    r"|^_*(?:get|sample|draw|log|print|plot|show|is|has|count|save|load|write|dump)(?!\w*and_\w*step$)(?:_|(?-i:(?=[A-Z])))"
    r"|^_*(?:after|before|pre|post)_(?:\w*optim\w*_|param\w*_)*(?:step|optim\w*)$"
    r"|^_*(?:make|build|create|init|setup|set_up|configure|define)_\w*optim",
    re.I,
)
"""Those of them in which a step is a thing or over, or an optimizer is made: `sample_timesteps`, `make_optimizer`."""

MAY_STEP = ("step", "unknown step", "other")
"""Events that step an optimizer, or may."""
_DEEPEST = 2
"""Functions inside of functions that are looked into."""
_STORES = re.compile(
    r"(?:^|_)(?:save|saves|load|loads|restore|resume|store|dump|log|wandb|print|plot)(?=_|$|[A-Z])|checkpoint|ckpt|state_dict"
    r"|learning_?rate|(?:^|_)lr(?:_|$)",
    re.I,
)
"""Names of functions that write or read what an optimizer holds, or its rate."""
_SETS_RATES = re.compile(r"clip|learning_?rate|_lr|lr_|scale_loss|master_params")


def is_made_here(file: Code, event: Event) -> bool:
    """Whether what an event is about is known to be an optimizer, and the file shows how it is made."""
    return event.thing.kind == "optimizer" and event.thing.made_in is file


def is_made_each_round(file: Code, loop: Loop, step: Event) -> bool:
    """Whether an optimizer is made anew in each round of a loop: in its body, or in a function through which the loop
    gets to its step.
    """
    made = step.thing.made
    if made is None:
        return False
    if step.thing.made_in is file and loop.context in file.numbers_around(made.context):
        return True
    ways = [*((home, call.context) for home, call in step.via[1:]), (step.code, step.context)] if step.via else []
    return any(home is step.thing.made_in and _are_together(home, made.context, context) for home, context in ways)


def _are_together(home: Code, one: int, other: int) -> bool:
    """Whether two calls stand in the same function, and no loop is around one of them alone."""
    if home.function_at(one) == 0 or home.function_at(one) != home.function_at(other):
        return False
    return outermost_loop(home, one) == one or outermost_loop(home, one) == outermost_loop(home, other)


def outermost_loop(file: Code, context: int) -> int:
    """The outermost loop around something, in its function: a step may be taken there after several passes."""
    found = context
    for number in file.numbers_around(context):
        kind = file.contexts[number].kind
        if kind in ("for", "while"):
            found = number
        elif kind in ("function", "class", "module"):
            break
    return found


def is_stepped_behind(file: Code, loop: Loop, name: str) -> bool:
    """Whether an optimizer steps behind a loop, as often as the loop is gone through."""
    around = innermost_loop(file, file.contexts[loop.context].parent, loop.function) if loop.is_loop else None
    return around is not None and any(
        event.kind == "step" and event.name == name and event.code is file and event.at.line > loop.at.end_line
        and innermost_loop(file, event.outer_context, loop.function) == around
        for event in events_of(file, loop.function)
    )  # fmt: skip


def may_step(file: Code, loop: Loop, cleared: Event | None = None) -> bool:
    """Whether anything around a loop may step an optimizer: by what is known of it, or by its name. Of one that is
    cleared there, what stands between that and the backward pass cannot: its gradients are not there yet.
    """
    outer = outermost_loop(file, loop.context)
    understood: set[int] = set()
    for event in events_of(file, loop.function):
        if event.kind not in MAY_STEP or not is_in_loop(file, event, outer):
            continue
        first = event.via[0][1] if event.via else event.call
        if cleared is not None and first is not None and _is_beside(file, loop, cleared, event, first):
            understood.add(first.number)
            continue
        is_known = (
            event.kind == "other"
            and event.call is not None
            and (sets_rates(event.code, event.call) or is_named_as_storing(event.code, event.call))
        )
        if not is_known:
            return True
    calls = file.calls[slice(*file.functions[loop.function].calls)]
    return any(
        outer in file.numbers_around(call.context)
        and call.number not in understood
        and is_stepping(file, call)
        and not _is_before_backward(file, loop, cleared, call)
        for call in calls
    )


def _is_beside(file: Code, loop: Loop, cleared: Event, event: Event, first: Call) -> bool:
    """Whether a step is of another optimizer than the one that is cleared, or a call that is given an optimizer cannot
    step that one: it gives it to a schedule, or comes before the backward pass.
    """
    if event.kind != "other" or event.call is None:
        return is_of_another(cleared, event)
    is_schedule = is_named_as_schedule(name_of(event.code, event.call.receiver))
    return is_schedule or _is_of_options(event) or _is_before_backward(file, loop, cleared, first)


def is_of_another(cleared: Event, step: Event) -> bool:
    """Whether a step is surely not of the optimizer that is cleared: one that is made elsewhere, or is kept or handed
    over under another name.
    """
    if step.kind != "step" or step.name == cleared.name:
        return False
    if step.thing.made is not None and cleared.thing.made is not None:
        return step.thing.made is not cleared.thing.made
    if cleared.name.startswith("self.") and step.outer_name.startswith("self."):
        return step.outer_name != cleared.name
    if cleared.name.startswith("self.") and step.name.startswith("self."):
        return all(name_of(home, call.receiver) == "self" for home, call in step.via)
    one, other = cleared.subject, step.subject
    return not step.via and all(
        isinstance(value, Name) and value.binding != NOWHERE and cleared.code.bindings[value.binding].how == "argument"
        for value in (one, other)
    )


def _is_of_options(event: Event) -> bool:
    """Whether what is given there is a program's options, and no optimizer: `opt`, whose `opt.batch_size` is read."""
    read = (
        rf"(?<![\w.]){re.escape(event.name)}\.(?:batch_?size|device|n?epochs?|num_epochs|workers|seed|\w*dir|\w*path)\b"
    )
    return event.thing.kind != "optimizer" and event.code.matches(re.compile(read, re.I))


def _is_before_backward(file: Code, loop: Loop, cleared: Event | None, call: Call) -> bool:
    """Whether a call stands between the clearing of an optimizer and the backward pass that always follows it."""
    if cleared is None or cleared.call is None or cleared.via or cleared.code is not file:
        return False
    first = cleared.call.number
    for one in loop.of("backward"):
        at = one.via[0][1] if one.via else one.call
        if at is not None and at.number > first and (one.via[0][0] if one.via else one.code) is file:
            return first < call.number < at.number and cleared.context in file.numbers_around(call.context)
    return False


def leaves_weights(file: Code, call: Call) -> bool:
    """Whether a call cannot step an optimizer: of a library, of a value or a record, of a schedule, or of a function
    of the project in which nothing could.
    """
    name = name_of(file, call.receiver) if call.name == "()" else call.name
    if call.name.startswith(_LIBRARIES) or call.name in _OF_VALUES or _MEASURES.search(name.rpartition(".")[2]):
        return True
    if _RECORD_NAME.fullmatch(name_of(file, call.receiver).rpartition(".")[2]):
        return True
    callee = called(file, call)
    if callee.function is not None and callee.code is not None:
        return not steps_inside(callee.code, callee.number)
    return callee.kind in ("module", "loss") or thing_of(file, call.receiver).kind in ("scheduler", "loader")


_MEASURES = re.compile(r"_norms?_?$|^print|^log_|set_postfix")
"""Names of functions that measure gradients or write lines."""
_RECORD_NAME = re.compile(
    r"\w*(?:meters?|metrics?|loss(?:es)?|acc(?:uracy)?|avg|average|bar|timer|stats?|logger|writer|wandb|ema|top[15])"
)
"""Names of what keeps numbers beside a training."""
_LIBRARIES = ("builtins.", "torch.", "numpy.", "time.", "math.", "tqdm.", "logging.", "os.", "datetime.")
_OF_VALUES = frozenset({
    ".item", ".append", ".extend", ".detach", ".cpu", ".numpy", ".float", ".size", ".mean", ".sum", ".parameters",
    ".named_parameters", ".add_scalar", ".add_scalars", ".set_postfix", ".set_description", ".format", ".state_dict",
    ".synchronize", ".info", ".debug", ".write", ".join", ".get_last_lr", ".get_lr", ".zero_grad", ".time", ".keys",
    ".values", ".items", ".max", ".argmax", ".eq",
})  # fmt: skip


def sets_rates(file: Code, call: Call) -> bool:
    """Whether a call that is given an optimizer is named as one that only sets rates, clips or scales."""
    name = name_of(file, call.receiver) if call.name == "()" else call.name
    return bool(_SETS_RATES.search(name.rpartition(".")[2]))


def is_named_as_storing(file: Code, call: Call) -> bool:
    """Whether a function is called by a name as `save_checkpoint`."""
    name = (name_of(file, call.receiver) if call.name == "()" else call.name).rpartition(".")[2]
    return not name[:1].isupper() and _STORES.search(name) is not None


def is_stepping(file: Code, call: Call, depth: int = 0) -> bool:
    """Whether a call is named as one that steps, and is not of a function of the project in which nothing could; one
    that gives several things, as `env.step(action)`, is none.
    """
    name = call.name if call.name != "()" else name_of(file, call.receiver)
    last = name.rpartition(".")[2]
    if not _STEPPING.fullmatch(last) or _NO_STEP.search(last) or is_named_as_schedule(name_of(file, call.receiver)):
        return False
    if any(one.value is call and is_named_as_optimizer(one.name) for one in file.bindings):
        return False  # it makes one
    if thing_of(file, call.receiver).kind == "scheduler" or is_named_as_recorder(name_of(file, call.receiver)):
        return False
    if is_of_copy(file, call):
        return False
    callee = called(file, call)
    if callee.function is not None and callee.code is not None and depth < _DEEPEST:
        return steps_inside(callee.code, callee.number, depth)
    return not (call.arguments and any(one.value is call and one.item for one in file.bindings))


def steps_inside(file: Code, index: int, depth: int = 0) -> bool:
    """Whether anything in a function may step an optimizer, or change weights by their gradients."""
    function = file.functions[index]
    if any(one.kind in MAY_STEP for one in events_of(file, index)) or reads_gradients(file, function.at):
        return True
    return any(is_stepping(file, call, depth + 1) for call in file.calls[slice(*function.calls)])


def is_cleared_apart(code: Code, name: str) -> bool:
    """Whether a method of the file does nothing to the attribute of this name but clear its gradients, `optimizer` of
    `self.optimizer`: a callback, which may be called by its name.
    """
    owner, _, last = name.rpartition(".")
    for call in code.calls_of(".zero_grad") if owner else ():
        index, cleared = code.function_at(call.context), name_of(code, call.receiver)
        kinds = {event.kind for event in events_of(code, index)}
        if index and cleared.endswith(f".{last}") and not kinds & {"backward", "step"}:
            return True
    return False
