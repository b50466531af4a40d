"""Calls behind a backward pass that may move weights, or want the gradients, though nothing about them says `step`.

descend(model, 0.1)                           a function that is not seen, in each round
net.update(0.1)                               a method of a model that is not seen
net.load_state_dict(channel.pull())           weights that come from elsewhere
plot_grad_flow(net.named_parameters())        the gradients are looked at

Also calls before a step that may fill in gradients without a backward pass:

learner.assign(net(x), y)                     an object made of the model, or what is given its answer
hypergrad.solve(params, outer_loss)           a function that is given what the optimizer holds
"""

from __future__ import annotations

import re

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Name, Value
from stethoscope.facts.events import Event, name_of
from stethoscope.facts.model_like import is_model_like
from stethoscope.facts.model_values import is_model_call
from stethoscope.facts.origins import called, thing_of
from stethoscope.facts.stepping import leaves_weights
from stethoscope.facts.things import binding_of, followed

_LOOKS = re.compile(
    r"eval|valid|test|save|log|print|plot|show|draw|vis|report|summar|check|ema|averag|sync|reduce|broadcast|^set_|freeze"
    r"|watch|record|track|dump|write|export|clip|norm|train|predict|infer|score|measure|accura|metric|moving|target|reset"
    r"|init|mode|^register|momentum",
    re.I,
)
"""Names of functions that look at a model, or change something else about it than its weights in each round."""
_MOVES = re.compile(r"updat\w*|apply\w*|advance|commit|descend\w*|move\w*|learn\w*|push\w*|flush")
"""Names of what may take a step, where nothing is given to it."""
_KEEPS_NUMBERS = re.compile(
    r"ema|scaler|sched|bar$|meter|metric|stat|acc|loss|time|log|write|hist|progress|confus|track|avg|average|record|wandb",
    re.I,
)
_OF_MODULES = frozenset({".zero_grad", ".to", ".cuda", ".cpu", ".float", ".half", ".apply", ".requires_grad_",
                         ".parameters", ".named_parameters", ".state_dict", ".forward", ".modules"})  # fmt: skip
"""Methods that all modules have, and that leave their weights as they are."""
_GRADIENTS = re.compile(r"grad(?:s|ient|ients)?(?:_|$)", re.I)
_OTHER_GRADIENTS = re.compile(r"zero|clip|reset|clear|no_grad|set_grad|averag|sync|reduce|scale", re.I)


def may_move(file: Code, call: Call, models: set[str], loop: int) -> bool:
    """Whether a call whose answer nobody takes may change the weights of a model in each round of a loop, or is given
    the model for its gradients.
    """
    for number in file.numbers_around(call.context):
        if number == loop:
            break
        if file.contexts[number].kind in ("if", "else", "except", "for", "while"):
            return False
    owner = name_of(file, call.receiver)
    name = (owner if call.name == "()" else call.name).rpartition(".")[2]
    if call.name == ".load_state_dict":
        return owner in models
    is_given = any(is_of(file, one, models) for one in (*call.arguments, *(value for _, value in call.keywords)))
    if is_given and _GRADIENTS.search(name) and not _OTHER_GRADIENTS.search(name):
        return called(file, call).function is None
    if leaves_weights(file, call) or called(file, call).function is not None or _LOOKS.search(name):
        return False
    if _MOVES.fullmatch(name) and not call.arguments and not call.keywords and owner not in models:
        kept_by = owner.removesuffix(f".{name}") if call.name == "()" else owner
        root = binding_of(file, call.receiver)
        is_given = root.how == "argument" if root is not None else kept_by.startswith("self.") or kept_by == "self"
        if not is_given:
            return False  # it was made there: of the model, or of something else
        return not _KEEPS_NUMBERS.search(kept_by) and called(file, call).kind in ("unknown", "imported")
    if owner in models:
        return call.name not in _OF_MODULES and thing_of(file, call.receiver).kind in ("unknown", "imported")
    return is_given and (call.receiver is None or call.name == "()")


def may_fill(file: Code, home: int, step: Event) -> bool:
    """Whether something that is not seen, and whose answer nobody takes, is given the answer of a model or what the
    optimizer holds before it steps, or belongs to an object that was made of the model: it may write gradients.
    """
    dropped = {id(one.value) for one in file.bare}
    held = step.thing.made.argument(0, "params") if step.thing.made_in is file and step.thing.made else None
    number = step.call.number if step.call is not None else NOWHERE
    for call in file.calls[:number]:
        if id(call) not in dropped or home not in file.numbers_around(call.context):
            continue
        name = (name_of(file, call.receiver) if call.name == "()" else call.name).rpartition(".")[2]
        callee = called(file, call)
        is_seen = callee.function is not None or callee.kind in ("module", "loss")
        if is_seen or leaves_weights(file, call) or _LOOKS.search(name) or name in _KEEPING:
            continue
        given = (*call.arguments, *(value for _, value in call.keywords))
        if any(_is_answer(file, one) or (held is not None and _is_same(file, one, held)) for one in given):
            return True
        if _is_made_of_model(file, call.receiver):
            return True
    return False


_KEEPING = frozenset({"update", "add", "append", "extend", "info", "debug", "set_postfix", "set_description", "step"})
"""Methods that keep numbers, write lines, or are told by other words than these."""


def _is_answer(file: Code, value: Value) -> bool:
    """Whether a value is what a model gave, as it is."""
    found, _ = followed(file, value)
    return isinstance(found, Call) and is_model_call(file, found)


def _is_same(file: Code, value: Value, held: Value) -> bool:
    return isinstance(value, Name | Attribute) and file.text(value.at) == file.text(held.at)


def _is_made_of_model(file: Code, owner: Value | None) -> bool:
    """Whether an object that is not seen was made of a model: `rule = LocalRule(net)`."""
    made, _ = followed(file, owner)
    is_open = isinstance(made, Call) and thing_of(file, owner).kind in ("unknown", "imported")
    if not isinstance(made, Call) or not is_open or leaves_weights(file, made):
        return False
    return any(thing_of(file, one).kind == "module" or _is_like(file, one) for one in made.arguments)


def _is_like(file: Code, value: Value) -> bool:
    return isinstance(value, Name) and value.binding != NOWHERE and is_model_like(file, value.binding)


def is_of(file: Code, value: Value, models: set[str]) -> bool:
    """Whether a value is a model, or what it gives of itself: `net.named_parameters()`."""
    if isinstance(value, Call) and value.name in (".parameters", ".named_parameters"):
        return name_of(file, value.receiver) in models
    return name_of(file, value) in models
