"""The loss that one round of a training computes, by what is known of it or by what it is called."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Item, Name, Operation, Value
from stethoscope.facts.events import NO_GRAD, events_of, is_under, name_of
from stethoscope.facts.gradients_around import loops_around
from stethoscope.facts.loss_calls import LossUse
from stethoscope.facts.model_like import is_model_like
from stethoscope.facts.model_values import calls_in, comes_of_model, is_model_call, is_read_as_number
from stethoscope.facts.origins import called, thing_of
from stethoscope.facts.quiet_calls import HARMLESS, is_of_nothing, is_quiet
from stethoscope.facts.things import binding_of, literal

_DEEPEST = 4
"""Variables in variables that are followed."""
_STOPPING = frozenset({".item", ".numpy", ".tolist", "builtins.float"})
LOSS_NAME = re.compile(
    r"_?(?:total_?|batch_|train_|training_|policy_|actor_|critic_)?loss(?:es|_total|_sum|_value)?|objective|cost"
)
"""Names of what a training goes backward from, and not of what is kept of it."""
_KEY = re.compile(r"loss(?:_value)?$")
_IS_LOSS = re.compile(r"criterion|loss_?(?:fn|func|function)")
_LOSS = re.compile(r"loss|criterion|entropy|_error|likelihood|(?:^|_)(?:crit|n?mll|nll|elbo)$", re.I)


def loss_in(
    file: Code, index: int, home: int, losses: tuple[LossUse, ...], besides: frozenset[int] = frozenset()
) -> Call | None:
    """A loss that is computed there: of torch; or what a model's answer went into, where it is read as a number, or
    where gradients are cleared; `besides` are calls that are left out.
    """
    inside = (one.call for one in losses if home in file.numbers_around(one.call.context))
    known = next((one for one in inside if one.number not in besides), None)
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
        if besides and any(one.number in besides for one in calls_in(binding.value)):
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
    return _by_its_name(file, index, home, besides) if cleared else None


def _by_its_name(file: Code, index: int, home: int, besides: frozenset[int]) -> Call | None:
    """The call that gives what a round keeps as `loss`, where all that goes into it is seen to go backward nowhere; a
    function that is not seen may give it where it is named as a loss itself, and what it gives is read as a number.
    """
    for binding in file.bindings[slice(*file.functions[index].bindings)]:
        if binding.how not in ("assign", "augment") or not LOSS_NAME.fullmatch(binding.name):
            continue
        if home not in file.numbers_around(binding.context) or is_under(file, binding.context, *NO_GRAD):
            continue
        made = list(_made_of(file, binding.value, 0))
        if any(one.number in besides for one in made):
            continue
        is_read = is_read_as_number(file, index, binding)
        if not all(is_of_nothing(one) for one in made) and all(_gives_loss(file, one, is_read=is_read) for one in made):
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
    return is_loss or _is_step_of_model(file, call) or is_quiet(file, call)


def _is_step_of_model(file: Code, call: Call) -> bool:
    """Whether a model computes its loss for one batch: `model.training_step(batch)`, where that is not seen."""
    if call.name != ".training_step" or called(file, call).function is not None:
        return False
    model = name_of(file, call.receiver)
    return any(name_of(file, one.receiver) == model for one in file.calls_of(".train", ".parameters"))


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


def is_given_loss(file: Code, home: int) -> bool:
    """Whether a function that is one round of a training is handed its loss."""
    here = file.contexts[home]
    return here.kind == "function" and takes_loss(file, here.owner)


def takes_loss(file: Code, index: int) -> bool:
    return any(LOSS_NAME.fullmatch(one.name) is not None for one in file.functions[index].parameters)


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
    is_loss = bool(_LOSS.search(name.rpartition(".")[2])) and not call.name.startswith(HARMLESS)
    return is_loss and len(call.arguments) + len(call.keywords) > 1


def _is_of_unknown(file: Code, call: Call) -> bool:
    """Whether a call is of a method of something that is kept in an attribute and not known: it may do anything."""
    return (
        isinstance(call.receiver, Attribute) and call.name != "()" and thing_of(file, call.receiver).kind == "unknown"
    )


def _is_known_to_compute(file: Code, call: Call) -> bool:
    """Whether a function is not one of a library that is not known, or says that it is a loss."""
    return called(file, call).kind != "imported" or call.name.startswith("torch.") or bool(_LOSS.search(call.name))


def _judges(file: Code, call: Call) -> bool:
    """Whether a call compares a model's answer with something else, by a function that is no library's: one of the
    project, a value, an attribute of `self`, or a method of the model.
    """
    owner = call.receiver
    of_model = isinstance(owner, Name) and (owner.name == "self" or is_model_like(file, owner.binding))
    is_named = owner is None and not call.name.startswith("torch.")
    plain = is_named or call.name == "()" or of_model or called(file, call).kind == "function"
    return plain and len(call.arguments) + len(call.keywords) > 1
