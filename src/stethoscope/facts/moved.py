"""Calls behind a backward pass that may move weights, or want the gradients, though nothing about them says `step`.

descend(model, 0.1)                           a function that is not seen, in each round
net.update(0.1)                               a method of a model that is not seen
net.load_state_dict(channel.pull())           weights that come from elsewhere
plot_grad_flow(net.named_parameters())        the gradients are looked at
"""

from __future__ import annotations

import re

from stethoscope.facts.code import Call, Code, Value
from stethoscope.facts.events import name_of
from stethoscope.facts.origins import called, thing_of
from stethoscope.facts.stepping import leaves_weights

_LOOKS = re.compile(
    r"eval|valid|test|save|log|print|plot|show|draw|vis|report|summar|check|ema|averag|sync|reduce|broadcast|^set_|freeze"
    r"|watch|record|track|dump|write|export|clip|norm|train|predict|infer|score|measure|accura|metric|moving|target|reset"
    r"|init|mode|^register",
    re.I,
)
"""Names of functions that look at a model, or change something else about it than its weights in each round."""
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
    is_given = any(_is_of(file, one, models) for one in (*call.arguments, *(value for _, value in call.keywords)))
    if is_given and _GRADIENTS.search(name) and not _OTHER_GRADIENTS.search(name):
        return called(file, call).function is None
    if leaves_weights(file, call) or called(file, call).function is not None or _LOOKS.search(name):
        return False
    if owner in models:
        return call.name not in _OF_MODULES and thing_of(file, call.receiver).kind in ("unknown", "imported")
    return is_given and (call.receiver is None or call.name == "()")


def _is_of(file: Code, value: Value, models: set[str]) -> bool:
    """Whether a value is a model, or what it gives of itself: `net.named_parameters()`."""
    if isinstance(value, Call) and value.name in (".parameters", ".named_parameters"):
        return name_of(file, value.receiver) in models
    return name_of(file, value) in models
