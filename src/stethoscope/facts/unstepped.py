"""Optimizers whose gradients a round computes, and that it does not step: told by what else the round does for them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, At, Binding, Call, Code, Constant, Context, Function, Value
from stethoscope.facts.events import Event, closures_of, events_of, is_named_as_optimizer, is_named_as_schedule, name_of
from stethoscope.facts.gradient_words import (
    are_applied_by_hand,
    are_gradients_wanted,
    reads_gradients,
)
from stethoscope.facts.handed import is_surely_stepped
from stethoscope.facts.idle import is_idle, leaves_alone
from stethoscope.facts.loops import Loop, is_driven
from stethoscope.facts.moved import is_of
from stethoscope.facts.origins import call_sites, called, thing_of
from stethoscope.facts.stepping import MAY_STEP, is_stepping, leaves_weights, may_step, outermost_loop, sets_rates
from stethoscope.facts.things import followed
from stethoscope.facts.uses import times_said


def is_left_there(file: Code, loop: Loop, cleared: Event, *, is_open: bool = False) -> bool:
    """Whether the optimizer that a loop clears is used for nothing else there: it is cleared, and does not step. Said
    openly, it may be so as well where gradients are watched, or only names tell that a call does not step.
    """
    home = loop.at if loop.is_loop else file.functions[loop.function].at
    is_optimizer = cleared.thing.kind == "optimizer" or (
        cleared.thing.kind in ("unknown", "instance")
        and is_named_as_optimizer(ITEM.sub("", cleared.name) if is_open else cleared.name)
    )
    name = cleared.outer_name
    if not is_optimizer or not name or cleared.code is not file or _are_wanted(file, loop, home, is_open):
        return False
    outer = outermost_loop(file, loop.context)
    asked = file.contexts[outer].value if file.contexts[outer].kind == "while" else None
    if isinstance(asked, Constant) and all(one.at.line < cleared.at.line for one in loop.of("backward")):
        return False  # tried until it succeeds, and thrown away
    if may_step(file, loop, cleared if is_open else None) or _is_handed_over(file, loop.function):
        return False
    for call in file.calls[slice(*file.functions[loop.function].calls)]:
        if outer not in file.numbers_around(call.context) or thing_of(file, call.receiver).kind == "scheduler":
            continue
        if any(here.kind == "if" and _says_none(file, here.value, name) for here in file.around(call.context)):
            continue  # what is done where there is no optimizer
        values = (*call.arguments, *(value for _, value in call.keywords))
        callee = called(file, call)
        if callee.function is not None and reads_gradients(callee.code or file, callee.function.at):
            if "clip" in callee.function.name and not any(one.value for one in callee.function.returns):
                continue  # it only bounds them
            if _MEASURES.search(callee.function.name):
                continue  # or tells how large they are
            if is_open and _leaves_them(callee.code or file, callee.function):
                continue
            return False
        names = (name, ITEM.sub("", name))
        if any(name_of(file, value) in names and not leaves_alone(file, call, value) for value in values):
            if sets_rates(file, call) or (is_open and is_named_as_schedule(name_of(file, call.receiver))):
                continue
            return False
        if name_of(file, call.receiver) == name and call.name not in _HARMLESS and not _RATES.search(call.name):
            return False
    return not _is_stepped_behind(file, loop.function, name)


ITEM = re.compile(r"\[[^\[\]]*\]$")
"""Which of several it is: `optimizers[name]`."""


def _are_wanted(file: Code, loop: Loop, home: At, is_open: bool) -> bool:
    """Whether gradients are wanted for themselves there: not where a schedule advances, and they are only watched."""
    if not is_open:
        return are_gradients_wanted(file, home)
    backward = loop.of("backward")[0]
    is_training = any(
        not one.via and one.code is file and one.at.line > backward.at.line for one in loop.of("schedule")
    )
    wanted = are_gradients_wanted(file, home, are_checks_left_out=True)
    return wanted and (not is_training or are_applied_by_hand(file, home))


def _leaves_them(code: Code, function: Function) -> bool:
    """Whether a function that reads gradients only plots or prints them, or adds up those of several processes: by its
    name; it gives nothing back.
    """
    if any(one.value for one in function.returns) or are_applied_by_hand(code, function.at):
        return False
    return _SHOWING.match(function.name) is not None or _SHARING.search(function.name) is not None


_SHOWING = re.compile(r"_*(?:plot|draw|show|print|visuali[sz]e|log|monitor)(?:_|[A-Z])")
_SHARING = re.compile(r"sync\w*grad|all_?reduce|(?:average|avg|reduce)_?grad", re.I)


def _is_handed_over(file: Code, index: int) -> bool:
    """Whether a call is given the function: what it is given to may step, as `optimizer.step(closure)` does."""
    if "handed over" not in file.memo:
        file.memo["handed over"] = {one for call in file.calls if call.arguments for one in closures_of(file, call)}
    return index > 0 and index in file.memo["handed over"]


def _is_stepped_behind(file: Code, index: int, name: str, depth: int = 0) -> bool:
    """Whether a function of the file steps an optimizer of that name behind a call of this one, in the same round: it
    leaves its gradients for that, as an attack does.
    """
    for call in call_sites(file, index) if index and depth < _CALLERS else ():
        caller = file.function_at(call.context)
        for event in events_of(file, caller):
            at = event.via[0][1].at if event.via else event.at
            is_behind = at.line > call.at.line and (event.via[0][0] if event.via else event.code) is file
            is_same_round = _round_of(file, event.outer_context) == _round_of(file, call.context)
            if event.via and event.code.contexts[_round_of(event.code, event.context)].kind != "function":
                continue  # a training of its own, with its own rounds
            if event.kind in MAY_STEP and is_behind and is_same_round and name in (event.name, event.outer_name):
                return True
        is_part_of_round = _round_of(file, call.context) == file.functions[caller].context and caller != index
        if is_part_of_round and _is_stepped_behind(file, caller, name, depth + 1):
            return True
    return False


_CALLERS = 3
"""Functions that call one another, between a backward pass and the loop that steps."""


def _round_of(file: Code, context: int) -> int:
    """The innermost loop around something, or its function."""
    around = file.numbers_around(context)
    return next(one for one in around if file.contexts[one].kind in ("for", "while", "function", "module"))


_HARMLESS = frozenset({".zero_grad", ".state_dict", ".load_state_dict", ".add_param_group", ".backward",
                       ".synchronize", ".skip_synchronize"})  # fmt: skip
"""Methods of optimizers that move no weight: of apex's that scale the loss, and of Horovod's, too."""
_RATES = re.compile(r"learning_?rate|_lr|lr_")
_MEASURES = re.compile(r"grad\w*_norms?(?:_?$|_)|norms?_of_grad", re.I)


def _says_none(file: Code, asked: Value | None, name: str) -> bool:
    return asked is not None and file.text(asked.at) in (f"{name} is None", f"not {name}")


def is_round(loop: Loop) -> bool:
    """Whether a function is one round of a training: it clears, goes backward, and advances a schedule after that."""
    backward = loop.of("backward")[0]
    return any(
        not event.via and event.code is loop.code and event.at.line > backward.at.line for event in loop.of("schedule")
    )


def unused_in(file: Code, loop: Loop) -> Iterator[Binding]:
    """The optimizers that are made beside a loop that goes backward, and that nothing steps anywhere."""
    home = loop.at if loop.is_loop else file.functions[loop.function].at
    if not (loop.is_loop or loop.of("zero")) or may_step(file, loop) or _are_wanted_there(file, loop, home):
        return
    for binding in file.bindings:
        is_beside = file.function_at(binding.context) == loop.function and "." not in binding.name
        if is_beside and _is_made(file, binding) and is_idle(file, binding):
            yield binding


def _are_wanted_there(file: Code, loop: Loop, home: At) -> bool:
    """Whether gradients are wanted for themselves in a loop, or in the function that goes backward for it."""
    backward = loop.of("backward")[0]
    inner = backward.code.functions[backward.code.function_at(backward.context)].at
    is_inner = bool(backward.via) and are_gradients_wanted(backward.code, inner)
    return is_inner or are_gradients_wanted(file, home) or _gives_gradients(file, home)


def cleared_in(file: Code, index: int) -> str:
    """The optimizer that a function clears, as it is written there."""
    cleared = (one.name for one in events_of(file, index) if one.kind == "zero" and not one.via)
    return next((name for name in cleared if is_named_as_optimizer(name)), "optimizer")


def never_named(file: Code, loop: Loop) -> str:
    """An optimizer, by its name, that a function is given, or that it or its object makes, and that is never named
    again where a model is cleared in place of it; empty where there is none.
    """
    home = loop.at if loop.is_loop else file.functions[loop.function].at
    if not loop.of("zero") or may_step(file, loop) or _are_wanted_there(file, loop, home):
        return ""
    function, owner = file.functions[loop.function], file.class_of(loop.function)
    names = {one.name for one in function.parameters}
    for one in file.bindings:
        index = file.function_at(one.context)
        is_kept = one.name.startswith("self.") and owner != NOWHERE and file.class_of(index) == owner
        if one.how == "assign" and not one.item and (is_kept or ("." not in one.name and index == loop.function)):
            names.add(one.name)
    for name in sorted(filter(is_named_as_optimizer, names)):
        whole = function.at if loop.function and "." not in name else None
        own = [one for one in file.bindings if one.name == name and one.how != "merge"] if whole is None else []
        bound = len(own) if whole is None else 1 + _times_quoted(file, name, loop.function)
        if times_said(file, name, whole) == bound and not _is_stepped_behind(file, loop.function, name):
            return name
    return ""


def _times_quoted(file: Code, name: str, index: int) -> int:
    """How often a function says a name as a word in quotes, where the variable of that name is taken out of something:
    `optimizer = parts["optimizer"]`.
    """
    taken = [one for one in file.bindings[slice(*file.functions[index].bindings)] if one.name == name and one.value]
    return sum(len(re.findall(rf"[\"']{name}[\"']", file.text(one.value.at))) for one in taken if one.value)


def _is_alone(file: Code, binding: Binding, cleared: set[str]) -> bool:
    """Whether an optimizer is never named again, and is made of a model that is cleared, and no other one is."""
    model = model_of(file, binding)
    others = {model_of(file, one) for one in file.bindings if one is not binding and _is_made(file, one)}
    return model in cleared and not others & {model, ""} and times_said(file, binding.name) == 1


def model_of(file: Code, made: Binding) -> str:
    """The name of the model of whose parameters an optimizer is made; empty where that is not plain."""
    given = made.value.argument(0, "params") if isinstance(made.value, Call) else None
    return name_of(file, given.receiver) if isinstance(given, Call) and given.name == ".parameters" else ""


def _gives_gradients(file: Code, home: At) -> bool:
    """Whether a function that is called there reads the gradients that it computes: `return x.grad.clone()`."""
    inside = (call for call in file.calls if home.line <= call.at.line <= home.end_line)
    callees = (called(file, call) for call in inside)
    return any(
        one.kind == "function" and one.code is not None and one.function is not None
        and are_gradients_wanted(one.code, one.function.at)
        for one in callees
    )  # fmt: skip


def _is_own(file: Code, index: int, name: str) -> bool:
    """Whether a function has a variable of that name itself."""
    return any(one.name == name and one.how != "merge" for one in file.bindings[slice(*file.functions[index].bindings)])


def _is_made(file: Code, binding: Binding) -> bool:
    return binding.how == "assign" and not binding.item and thing_of(file, binding.value).kind == "optimizer"


def kept_unstepped(file: Code, index: int) -> Binding | None:
    """An optimizer that an object or the module keeps, and that nothing steps, where this method of its class, or a
    function that clears it, goes backward: one that is made there, or one that is handed over and that it clears. Its
    model may be cleared in place of it.
    """
    events = [event for event in events_of(file, index) if not event.via]
    if not any(event.kind == "backward" for event in events) or are_gradients_wanted(file, file.functions[index].at):
        return None
    if any(event.kind in MAY_STEP for event in events_of(file, index)):
        return None
    calls = file.calls[slice(*file.functions[index].calls)]
    if any(is_stepping(file, call) for call in calls):
        return None
    cleared = {event.name for event in events if event.kind == "zero"}
    for binding in file.bindings if cleared else ():
        home = file.function_at(binding.context)
        if not binding.name.startswith("self."):
            is_global = home == 0 and _is_made(file, binding)
            is_global = is_global and (binding.name in cleared or _is_alone(file, binding, cleared))
            if is_global and not _is_own(file, index, binding.name) and is_idle(file, binding):
                return binding
            continue
        if file.class_of(home) != file.class_of(index):
            continue
        is_cleared = binding.name in cleared and is_named_as_optimizer(binding.name) and binding.how == "assign"
        is_handed = is_cleared and thing_of(file, binding.value).kind == "unknown"
        if (is_handed or _is_made(file, binding)) and is_idle(file, binding):
            return binding
    return None


def end_of_round(file: Code, index: int) -> tuple[Event, str] | None:
    """The last backward pass of a function, and as a clause what its round does behind it that has a meaning only with
    a step between the two, where nothing there could be one: a schedule or a gradient scaler advances, or gradients are
    cleared that were clipped, or collected over several rounds.
    """
    backward = [one for one in events_of(file, index) if one.kind == "backward" and not one.via and one.call]
    if not backward or backward[-1].call is None or file.says(*_IN_HOOKS) or _is_handed_over(file, index):
        return None
    last = backward[-1]
    loop = _around(file, index, last)
    if may_step(file, loop) or are_gradients_wanted(file, loop.at) or is_driven(last):
        return None
    said = _said_behind(file, loop, last)
    return (last, said) if said else None


def _around(file: Code, index: int, last: Event) -> Loop:
    """The outermost loop around a backward pass, or its function."""
    outer = outermost_loop(file, last.context)
    is_loop = file.contexts[outer].kind in ("for", "while")
    context = outer if is_loop else file.functions[index].context
    at = file.contexts[outer].at if is_loop else file.functions[index].at
    return Loop(file, context, at, index, events_of(file, index), is_loop=is_loop)


def _said_behind(file: Code, loop: Loop, last: Event) -> str:
    """The first thing behind a backward pass that tells of a step; empty where something else may be one."""
    function = file.functions[loop.function]
    events = {one.call.number: one for one in loop.events if one.call is not None and not one.via and one.code is file}
    conditions = {id(here.value) for one in file.calls[slice(*function.calls)] for here in file.around(one.context)}
    clipped = False
    for call in file.calls[slice(last.call.number + 1 if last.call else 0, function.calls[1])]:
        if loop.context not in file.numbers_around(call.context):
            continue
        event = events.get(call.number)
        kind = event.kind if event is not None else ""
        if kind == "schedule" and event is not None:
            return f"`{event.name}.step()`, which advances a schedule"
        if call.name == ".update" and _is_scaler(file, call.receiver):
            return f"`{name_of(file, call.receiver)}.update()`, which looks back at a step"
        if kind == "zero" and event is not None:
            collected = any(_is_each_so_often(file, here.value) for here in _conditions(file, event, last))
            is_known = event.thing.kind in ("optimizer", "module") or is_named_as_optimizer(event.name)
            if is_known and (clipped or collected):
                return "the clearing of them"
        elif kind == "clip" or "clip" in call.name:
            clipped = True
        elif kind != "unscale" and id(call) not in conditions and not leaves_weights(file, call):
            return ""
    return ""


_IN_HOOKS = ("accumulate_grad_hook", "optimizer_in_bwd", "optimizer_in_backward", "fused_backward", "layerwise")
"""What stands in a text where optimizers step within the backward pass."""


def _is_scaler(file: Code, value: Value | None) -> bool:
    return thing_of(file, value).kind == "scaler" or name_of(file, value).rpartition(".")[2].endswith("scaler")


def _conditions(file: Code, event: Event, last: Event) -> Iterator[Context]:
    """The conditions around an event that are not around the last backward pass."""
    shared = set(file.numbers_around(last.context))
    for number in file.numbers_around(event.context):
        if number not in shared and file.contexts[number].kind == "if":
            yield file.contexts[number]


def _is_each_so_often(file: Code, asked: Value | None) -> bool:
    return asked is not None and "%" in file.text(asked.at)


_READING = re.compile(
    r"register\w*_hook|\bprun|fisher|saliency|hessian|\bimportance|influence|\btaylor|grad_?cam|attack", re.I
)
"""Words of a function that wants gradients for something else than a step."""
_WATCHING = re.compile(
    r"register\w*backward\w*_hook|\.register_hook|register\w*_(?:grad|step)\w*_hook|retain_grad\b|captum|grad_?cam",
    re.I,
)
"""Words of a file in which gradients are read from afar, while they are computed."""


def is_read_otherwise(file: Code, loop: Loop, cleared: Event) -> bool:
    """Whether the gradients may be wanted for something else than a step: by what the file hangs on to them, by the
    words of the function around the loop, of its class, and of those that call it; of a script by what stands between
    the making of its optimizer and the end of the loop.
    """
    if file.matches(_WATCHING):
        return True
    if loop.function:
        return any(file.matches(_READING, at) for at in _callers_of(file, loop.function))
    made = cleared.thing.made
    start = made.at.line if made is not None and cleared.thing.made_in is file else 1
    outer = file.contexts[outermost_loop(file, loop.context)].at
    return any(_READING.search(line.partition("#")[0]) for line in file.lines[start - 1 : outer.end_line])


def _callers_of(file: Code, index: int, depth: int = 0) -> Iterator[At]:
    """Where a function stands, its class, and the functions of the file that call it; or the line that does."""
    yield file.functions[index].at
    if file.class_of(index) != NOWHERE:
        yield file.classes[file.class_of(index)].at
    for call in call_sites(file, index) if depth < _CALLERS else ():
        caller = file.function_at(call.context)
        if not caller:
            yield file.contexts[outermost_loop(file, call.context)].at if _is_in_loop(file, call) else call.at
        elif caller != index:
            yield from _callers_of(file, caller, depth + 1)


def _is_in_loop(file: Code, call: Call) -> bool:
    return file.contexts[outermost_loop(file, call.context)].kind in ("for", "while")


def is_meant(file: Code, loop: Loop, cleared: Event) -> bool:
    """Whether gradients that a loop computes are of no use but for a step: its optimizer is surely torch's and steps
    nowhere else in the file, which would show what a training is, and nobody reads how large they are or looks at the
    model meanwhile.
    """
    if not is_surely_stepped(file, loop.context, cleared):
        return False
    if is_read_otherwise(file, loop, cleared) or _steps_elsewhere(file, cleared):
        return False
    dropped = {id(one.value) for one in file.bare} | {id(one.value) for one in file.bindings if one.name == "_"}
    backward = max((one.call.number for one in loop.of("backward") if one.call is not None and not one.via), default=-1)
    models = {event.name for event in loop.of("forward")}
    is_of_gradients = file.matches(_READING)
    for call in file.calls[slice(*file.functions[loop.function].calls)]:
        if loop.context not in file.numbers_around(call.context) or call.number <= backward:
            continue
        name = name_of(file, call.receiver) if call.name == "()" else call.name
        measures = "clip_grad" in name or _MEASURES.search(name)
        if measures and id(call) not in dropped:
            return False
        if id(call) in dropped and _watches_a_model(file, call, models):
            return False
        values = (*call.arguments, *(value for _, value in call.keywords))
        is_open = id(call) in dropped or any(name_of(file, one) in models for one in values)
        if is_of_gradients and is_open and not leaves_weights(file, call):
            return False  # it may be what the file's words are about
    return True


def _steps_elsewhere(file: Code, cleared: Event) -> bool:
    """Whether the file steps the optimizer of an object in another method of its class."""
    if not cleared.name.startswith("self."):
        return False
    owner = file.class_of(file.function_at(cleared.context))
    return any(
        event.kind == "step" and not event.via and event.name == cleared.name
        for index in range(len(file.functions))
        if owner != NOWHERE and file.class_of(index) == owner
        for event in events_of(file, index)
    )


def _watches_a_model(file: Code, call: Call, models: set[str]) -> bool:
    """Whether a method is called of an object that was made of the model and is not known: `scorer = Taylor(model)`."""
    made, _ = followed(file, call.receiver) if call.name.startswith(".") else (None, [])
    is_of_model = isinstance(made, Call) and any(is_of(file, one, models) for one in made.arguments)
    is_open = thing_of(file, call.receiver).kind in ("unknown", "imported")
    return is_of_model and is_open and called(file, call).function is None
