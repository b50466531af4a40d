"""States that may be no weights which training goes on changing: of a loader or a record, of a model that is frozen, of
a copy that a caller hands over.
"""

from __future__ import annotations

import re

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Name, Value
from stethoscope.facts.events import name_of
from stethoscope.facts.model_like import is_model_like
from stethoscope.facts.origins import given_to, thing_of
from stethoscope.facts.things import followed

_NAMED_AS_MODEL = re.compile(
    r"(?:model|net|module|coder|generator|discriminator|actor|critic|policy|backbone|classifier|agent|learner|student"
    r"|teacher|ema|gan|vae|former|mlp|cnn|rnn|lstm|bert|gpt|optim|^opt|regressor|extractor|estimator|unet|layers?$"
    r"|embed|predictor|detector|head|^[gdmf]$|func$)",
    re.I,
)
"""Names that people give to what has weights, and to optimizers, whose moments change in place as well."""
_UPDATES = r"zip\([^#\n]*\b{0}\b|\w*(?:ema|update|momentum|copy|sync)\w*\([^#\n]*\b{0}\b|\b{0}\.load_state_dict\("


def may_be_no_weights(file: Code, call: Call) -> bool:
    """Whether what gives a state is not seen to be a model, or to be one that changes."""
    owner = call.receiver
    while isinstance(owner, Call) and (owner.arguments or owner.receiver is not None):
        owner = owner.argument(0) or owner.receiver
    return not _is_model(file, owner) or _is_frozen(file, owner) or _is_handed_copies(file, owner)


def _is_model(file: Code, owner: Value | None) -> bool:
    """Whether something is used as a model is, or is called one."""
    if thing_of(file, owner).kind == "module":
        return True
    if isinstance(owner, Name) and owner.binding != NOWHERE and is_model_like(file, owner.binding):
        return True
    name = name_of(file, owner)
    used = rf"(?<![\w.]){re.escape(name)}(?:\(|\.(?:train\(|eval\(|(?:named_)?parameters\(|zero_grad\(|module\b))"
    return bool(_NAMED_AS_MODEL.search(name.rpartition(".")[2])) or file.matches(re.compile(used))


def _is_frozen(file: Code, owner: Value | None) -> bool:
    """Whether a model asks for no gradients, and nothing else is seen to write its weights."""
    name = re.escape(name_of(file, owner))
    text = file.uncommented()
    frozen = (
        rf"(?<![\w.]){name}\.requires_grad_\(False\)|for (\w+) in {name}\.parameters\(\):\s+\1\.requires_grad = False"
    )
    return re.search(frozen, text) is not None and re.search(_UPDATES.format(name), text) is None


def _is_handed_copies(file: Code, owner: Value | None) -> bool:
    """Whether a model is a parameter for which all that can be seen gives copies: `stop(loss, copy.deepcopy(net))`."""
    if not isinstance(owner, Name | Attribute) or not isinstance(owner, Name) or owner.binding == NOWHERE:
        return False
    if file.bindings[owner.binding].how != "argument":
        return False
    index = file.function_at(file.bindings[owner.binding].context)
    function = file.functions[index]
    place = next((i for i, one in enumerate(function.parameters) if one.binding == owner.binding), NOWHERE)
    if place == NOWHERE:
        return False
    given: list[Value] = [value for _, value in given_to(file, index, place)]
    if function.name == "__call__" and function.owner != NOWHERE:
        cls = file.classes[function.owner]
        calls = [one for one in file.calls_of("()") if thing_of(file, one.receiver).cls is cls]
        given += [value for value in (one.argument(place - 1, owner.name) for one in calls) if value is not None]
    return bool(given) and all(_is_copy(file, one) for one in given)


def _is_copy(file: Code, value: Value) -> bool:
    made, _ = followed(file, value)
    return isinstance(made, Call) and made.name.startswith("copy.")
