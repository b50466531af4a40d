"""Whether anything around an optimizer's step may go backward, by whatever name, and which loss it would be for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, At, Attribute, Call, Code, Item, Name, Operation, Value
from stethoscope.facts.events import NO_GRAD, Event, events_of, is_branched, is_under, name_of
from stethoscope.facts.gradient_words import says_gradients
from stethoscope.facts.gradients_around import CLIPS, KEEPS, LOOPS, OWN_GRADIENTS, loops_around
from stethoscope.facts.loss_calls import LossUse
from stethoscope.facts.model_like import is_model_like
from stethoscope.facts.model_values import calls_in, comes_of_model, is_model_call, is_read_as_number
from stethoscope.facts.origins import bases, call_sites, called, lineage, member, thing_of
from stethoscope.facts.stepping import is_made_here
from stethoscope.facts.things import Thing, binding_of, literal

_BACKWARD = re.compile(r"backward\(|autograd\.grad\(")
_MANAGING = frozenset({".accumulate", ".no_sync", ".join", ".unwrap_model"})
"""Methods that are given a model for a `with`, or take it out of its wraps, and compute nothing."""
_AVERAGES = re.compile(r"\w*ema(?:_\w+)?")
"""Names of averages of a model's weights."""
_TAKES_NOTHING = (".append", ".update", ".add_scalar", ".format", ".write", ".log", ".add", ".info", ".debug", ".item",
                  ".set_postfix", ".set_description", ".extend")  # fmt: skip
_RECORDS = re.compile(r"\.(?:log|record|track|report|print|write|display)_?\w*")
"""Names of methods that note what they are given; of what is called a logger, any does."""
_LOGGER = re.compile(r"(?:^|[._])(?:\w*logger|\w*writer|tracker|recorder|history|\w*meters?|wandb)$")
_HARMLESS = ("builtins.", "torch.", "numpy.", "math.", "tqdm.")
_JUDGES = re.compile(r"(?:^|[._])(?:compute|calculate|calc|get)_?[lL]oss(?:es)?$")
"""Names of functions that are given a model and give a loss."""
_DEEPEST = 4


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
    if any(one.kind in ("backward", "grad") for one in events):
        return None
    around = list(file.numbers_around(step.context))
    trains = any(event.kind == "forward" for event in events) or any(file.contexts[n].kind in LOOPS for n in around)
    trains = trains or _is_called_in_loop(file, index) or (index > 0 and _takes_loss(file, index))
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
    if says_gradients(file, OWN_GRADIENTS, stretch) or not all(_is_quiet(file, call) for call in between):
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
        or call.name in _TAKES_NOTHING
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


def _is_quiet(file: Code, call: Call) -> bool:
    """Whether a call computes no gradients: of a library, of a model, or of a function of the project that is read."""
    says_so = call.name in _TAKES_NOTHING and call.name not in (".update", ".add", ".log")
    if says_so or call.name.startswith(_HARMLESS) or CLIPS.search(file.text(call.at)):
        return True
    callee = called(file, call)
    if callee.kind == "instance" and call.name == "()":
        callee = member(file, callee, "__call__")
    if callee.function is not None and callee.code is not None:
        return not _computes(callee.code, callee.number, 0)
    if callee.kind in ("module", "loss") or is_model_call(file, call):
        return not _goes_backward(file, callee)
    return call.name in _OF_TENSORS or thing_of(file, call.receiver).kind in _OF_TORCH


_OF_TORCH = ("scheduler", "optimizer", "scaler", "tensor")
_OF_TENSORS = frozenset({".to", ".cuda", ".cpu", ".item", ".mean", ".sum", ".view", ".detach", ".size", ".pow", ".max",
                         ".parameters", ".zero_grad", ".float", ".long", ".train", ".numpy", ".time",
                         ".tolist"})  # fmt: skip


def loss_in(file: Code, index: int, home: int, losses: tuple[LossUse, ...]) -> Call | None:
    """A loss that is computed there: of torch; or what a model's answer went into, where it is read as a number, or
    where gradients are cleared.
    """
    known = next((one.call for one in losses if home in file.numbers_around(one.call.context)), None)
    if known is not None:
        return known
    cleared = any(
        event.kind == "zero" and set(file.numbers_around(event.outer_context)) & loops_around(file, home)
        for event in events_of(file, index)
    )
    for binding in file.bindings[slice(*file.functions[index].bindings)]:
        if home not in file.numbers_around(binding.context) or binding.how not in ("assign", "augment"):
            continue
        if is_under(file, binding.context, *NO_GRAD):
            continue
        named = next((one for one in calls_in(binding.value) if _is_named_as_loss(file, one)), None)
        if named is not None and (
            (cleared and not _is_of_unknown(file, named)) or is_read_as_number(file, index, binding)
        ):
            return named
        own = _own_loss(file, binding.value) if cleared or file.contexts[home].kind == "function" else None
        if own is not None:
            return own
        if not comes_of_model(file, binding.value):
            continue
        made = next((one for one in calls_in(binding.value) if comes_of_model(file, one)), None)
        if made is None:
            made = _first_call(file, binding.value)
        if made is None or not _is_known_to_compute(file, made):
            continue
        is_function_of_it = not is_model_call(file, made) and _judges(file, made)
        if is_read_as_number(file, index, binding) or (cleared and is_function_of_it):
            return made
    return _by_its_name(file, index, home) if cleared else None


def _by_its_name(file: Code, index: int, home: int) -> Call | None:
    """The call that gives what a round keeps as `loss`, where all that goes into it is seen to go backward nowhere; a
    function that is not seen may give it where it is named as a loss itself, and what it gives is read as a number.
    """
    for binding in file.bindings[slice(*file.functions[index].bindings)]:
        if binding.how not in ("assign", "augment") or not _LOSS_NAME.fullmatch(binding.name):
            continue
        if home not in file.numbers_around(binding.context) or is_under(file, binding.context, *NO_GRAD):
            continue
        made = list(_made_of(file, binding.value, 0))
        is_read = is_read_as_number(file, index, binding)
        if made and all(_gives_loss(file, one, is_read=is_read) for one in made):
            return made[0]
    return None


def _made_of(file: Code, value: Value | None, depth: int) -> Iterator[Call]:
    """The calls that a value is made of, through variables and parts."""
    if isinstance(value, Call):
        yield from calls_in(value)
    elif isinstance(value, Name) and value.binding != NOWHERE and depth < _DEEPEST:
        binding = file.bindings[value.binding]
        if binding.how in ("assign", "augment"):
            yield from _made_of(file, binding.value, depth + 1)
    elif isinstance(value, Attribute | Item):
        yield from _made_of(file, value.value, depth)
    elif isinstance(value, Operation):
        for one in value.operands:
            yield from _made_of(file, one, depth)


def _gives_loss(file: Code, call: Call, *, is_read: bool) -> bool:
    """Whether a call only computes: one that is known to, or that is named as a loss and read as a number."""
    if call.name in _STOPPING:
        return False
    name = name_of(file, call.receiver) if call.name == "()" else call.name
    callee = called(file, call)
    told = name if callee.kind == "imported" else name.rpartition(".")[2]  # `pytorch3d.loss.chamfer_distance`
    is_loss = is_read and bool(_LOSS.search(told)) and callee.function is None
    return is_loss or _is_step_of_model(file, call) or _is_quiet(file, call)


def _is_step_of_model(file: Code, call: Call) -> bool:
    """Whether a model computes its loss for one batch: `model.training_step(batch)`, where that is not seen."""
    if call.name != ".training_step" or called(file, call).function is not None:
        return False
    model = name_of(file, call.receiver)
    return any(name_of(file, one.receiver) == model for one in file.calls_of(".train", ".parameters"))


_STOPPING = frozenset({".item", ".numpy", ".tolist", "builtins.float"})
_LOSS_NAME = re.compile(
    r"_?(?:total_?|batch_|train_|training_|policy_|actor_|critic_)?loss(?:es|_total|_sum|_value)?|objective|cost"
)
"""Names of what a training goes backward from, and not of what is kept of it."""


_KEY = re.compile(r"loss(?:_value)?$")


def _own_loss(file: Code, value: Value | None) -> Call | None:
    """The call of a model whose answer holds its loss, where a value is that: `model(**batch).loss`, or its mean."""
    if isinstance(value, Call) and value.name in (".mean", ".sum"):
        value = value.receiver
    key = value.name if isinstance(value, Attribute) else literal(file, value.key) if isinstance(value, Item) else ""
    if not isinstance(value, Attribute | Item) or not isinstance(key, str) or not _KEY.search(key):
        return None
    bound = binding_of(file, value.value)
    made = bound.value if bound is not None and bound.how == "assign" else value.value
    return made if isinstance(made, Call) and is_model_call(file, made) else None


def is_given_by_model(file: Code, loss: Call) -> bool:
    """Whether a loss is what a network answers that the project shows, or what something of the function that is named
    as a loss makes of a model's answer: `criterion = made_by(name)`.
    """
    callee = called(file, loss)
    if callee.kind == "module" and callee.cls is not None:
        return True
    bound = binding_of(file, loss.receiver) if loss.name == "()" else None
    is_made = bound is not None and bound.how == "assign" and not bound.item and isinstance(bound.value, Call)
    return (
        is_made
        and _IS_LOSS.fullmatch(name_of(file, loss.receiver)) is not None
        and len(loss.arguments) == 2
        and comes_of_model(file, loss.arguments[0])
    )


_IS_LOSS = re.compile(r"criterion|loss_?(?:fn|func|function)")


def is_given_loss(file: Code, home: int) -> bool:
    """Whether a function that is one round of a training is handed its loss."""
    here = file.contexts[home]
    return here.kind == "function" and _takes_loss(file, here.owner)


def _takes_loss(file: Code, index: int) -> bool:
    return any(_LOSS_NAME.fullmatch(one.name) is not None for one in file.functions[index].parameters)


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
    given = {one.name for one in file.functions[index].parameters if _LOSS_NAME.fullmatch(one.name)}
    for call in file.calls[slice(*file.functions[index].calls)]:
        values = (*call.arguments, *(value for _, value in call.keywords))
        if any(isinstance(value, Name) and value.name in given for value in values) and not _only_notes(file, call):
            return False
        if _goes_backward(file, called(file, call)):
            return False
    return True


def _first_call(file: Code, sum_: Value | None) -> Call | None:
    """The call that gave the first part of a sum of variables."""
    for one in sum_.operands if isinstance(sum_, Operation) else ():
        binding = file.bindings[one.binding] if isinstance(one, Name) and one.binding != NOWHERE else None
        if binding is not None and isinstance(binding.value, Call) and comes_of_model(file, binding.value):
            return binding.value
    return None


def _is_named_as_loss(file: Code, call: Call) -> bool:
    """Whether a call is of something that its text calls a loss, and that compares things."""
    name = name_of(file, call.receiver) if call.name == "()" else call.name
    is_loss = bool(_LOSS.search(name.rpartition(".")[2])) and not call.name.startswith(_HARMLESS)
    return is_loss and len(call.arguments) + len(call.keywords) > 1


def _is_of_unknown(file: Code, call: Call) -> bool:
    """Whether a call is of a method of something that is kept in an attribute and not known: it may do anything."""
    return (
        isinstance(call.receiver, Attribute) and call.name != "()" and thing_of(file, call.receiver).kind == "unknown"
    )


def _is_known_to_compute(file: Code, call: Call) -> bool:
    """Whether a function is not one of a library that is not known, or says that it is a loss."""
    return called(file, call).kind != "imported" or call.name.startswith("torch.") or bool(_LOSS.search(call.name))


_LOSS = re.compile(r"loss|criterion|entropy|_error|likelihood|(?:^|_)(?:crit|n?mll|nll|elbo)$", re.I)


def _judges(file: Code, call: Call) -> bool:
    """Whether a call compares a model's answer with something else, by a function that is no library's: one of the
    project, a value, an attribute of `self`, or a method of the model.
    """
    owner = call.receiver
    of_model = isinstance(owner, Name) and (owner.name == "self" or is_model_like(file, owner.binding))
    is_named = owner is None and not call.name.startswith("torch.")
    plain = is_named or call.name == "()" or of_model or called(file, call).kind == "function"
    return plain and len(call.arguments) + len(call.keywords) > 1


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


def may_go_backward(file: Code, index: int, home: int, loss: Call) -> bool:
    """Whether anything around a step may compute gradients: in what is called, or in what is given the loss."""
    if _goes_backward(file, called(file, loss)):
        return True
    function, loops = file.functions[index], loops_around(file, home)
    names = {binding.name for binding in file.bindings if _holds(binding.value, loss)}
    models = {event.name for event in events_of(file, index) if event.kind == "forward" and not event.via}
    first, last = function.calls
    dropped = {id(one.value) for one in file.bare}
    for call in file.calls[first:last]:
        around = set(file.numbers_around(call.context))
        if call is loss or call.name.startswith(_HARMLESS) or not around & loops or _only_notes(file, call):
            continue
        if _may_with(file, call, loss, names):
            return True
        each_time = home in around and not is_branched(file, call.context)
        if each_time and _may(file, call, models, id(call) in dropped):
            return True
    return False


def _only_notes(file: Code, call: Call) -> bool:
    """Whether a call writes down what it is given."""
    is_noted = bool(_RECORDS.fullmatch(call.name)) and bool(_LOGGER.search(name_of(file, call.receiver)))
    return call.name in _TAKES_NOTHING or (is_noted and called(file, call).function is None)


def _may_with(file: Code, call: Call, loss: Call, names: set[str]) -> bool:
    """Whether a call is given the loss, and may go backward for it."""
    values = (*call.arguments, *(value for _, value in call.keywords))
    given = any((isinstance(value, Name) and value.name in names) or value is loss for value in values)
    callee = called(file, call)
    if callee.function is not None and callee.code is not None:
        return given and _computes(callee.code, callee.number, 0)
    return given


def _may(file: Code, call: Call, models: set[str], is_dropped: bool) -> bool:
    """Whether a call may go backward by itself: one that is not known, and is given the model, or gives nothing."""
    callee = called(file, call)
    if _goes_backward(file, callee):
        return True
    if callee.kind in ("module", "loss", "function") or is_model_call(file, call) or CLIPS.search(file.text(call.at)):
        return False
    name = name_of(file, call.receiver) if call.name == "()" else call.name
    if call.name in _MANAGING or _AVERAGES.fullmatch(name.rpartition(".")[2]):
        return False
    if KEEPS.search(file.text(call.at).partition("(")[0]) or (_JUDGES.search(name) and not is_dropped):
        return False
    values = (*call.arguments, *(value for _, value in call.keywords))
    if any(name_of(file, value) in models for value in values):
        return True
    is_open = call.name == "()" or name_of(file, call.receiver) == "self"
    return is_dropped and is_open and callee.kind == "unknown"


def _goes_backward(file: Code, callee: Thing) -> bool:
    """Whether a model or a loss of the project goes backward where it is called: in its `forward`."""
    forward = member(file, callee, "forward") if callee.cls is not None else None
    return (
        forward is not None
        and forward.function is not None
        and forward.code is not None
        and says_gradients(forward.code, _BACKWARD, forward.function.at)
    )


def _computes(file: Code, index: int, depth: int) -> bool:
    """Whether a function may compute gradients: by its words, or by calling something that is not known."""
    function = file.functions[index]
    if depth > _DEEPEST or says_gradients(file, OWN_GRADIENTS, function.at):
        return True
    parameters = {one.name for one in function.parameters}
    for call in file.calls[slice(*function.calls)]:
        callee = called(file, call)
        if callee.function is not None and callee.code is not None:
            if callee.number != index and _computes(callee.code, callee.number, depth + 1):
                return True
        elif call.name == "()" and callee.kind == "unknown" and name_of(file, call.receiver) in parameters:
            return True
    return False


def _holds(value: Value | None, call: Call) -> bool:
    """Whether a value is what a call gives, alone or in a sum."""
    if isinstance(value, Operation):
        return any(_holds(one, call) for one in value.operands)
    return value is call
