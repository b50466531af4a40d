"""Which variables of source code are models, told by how they are used: `model.eval()`, `model.parameters()`.

What a variable is stays the same under its name in one function, and an attribute of `self` in one class; names that
are bound to each other share what is known.
"""

from __future__ import annotations

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Name, Value
from stethoscope.facts.libraries import SAME, SAME_METHODS
from stethoscope.facts.origins import given_to

_OF_MODELS = (".eval", ".train", ".parameters", ".named_parameters", ".load_state_dict", ".named_modules")
_WRAPPERS = (
    "torch.nn.parallel.DataParallel",
    "torch.nn.parallel.DistributedDataParallel",
    "torch.distributed.fsdp.FullyShardedDataParallel",
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm",
    "apex.parallel.DistributedDataParallel",
)
"""What wraps a model for several devices, and takes nothing else."""
_ROUNDS = 3
"""How many bindings in a row are followed."""
_DEEPEST = 3
"""Through how many calls a model is handed on."""

Key = tuple[str, int, str]
"""A variable: of a function or of a class, by its number, with its name."""


def model_like(code: Code) -> set[int]:
    """Bindings of variables that are used as only a model is."""
    if "model like" not in code.memo:
        keys = _keys(code)
        code.memo["model like"] = {
            number for number in range(len(code.bindings)) if keys and _key_of_binding(code, number) in keys
        }
    found: set[int] = code.memo["model like"]
    return found


def is_model_like(code: Code, number: int, depth: int = 0) -> bool:
    """Whether a variable is used as a model, here or where it is handed over."""
    if number in model_like(code):
        return True
    if number == NOWHERE or code.bindings[number].how != "argument" or depth >= _DEEPEST:
        return False
    index = code.function_at(code.bindings[number].context)
    place = next((i for i, one in enumerate(code.functions[index].parameters) if one.binding == number), NOWHERE)
    given = given_to(code, index, place) if place != NOWHERE else []
    if place != NOWHERE and not given:
        return code.bindings[number].name in _argument_names(code)
    return any(_is_like(home, value, depth + 1) for home, value in given)


def _argument_names(code: Code) -> set[str]:
    """The names of the parameters that are used as only a model is: in one file they say the same in each function."""
    if "model arguments" not in code.memo:
        bindings = (code.bindings[number] for number in model_like(code))
        code.memo["model arguments"] = {one.name for one in bindings if one.how == "argument"}
    found: set[str] = code.memo["model arguments"]
    return found


def is_model_attribute(code: Code, call: Call) -> bool:
    """Whether a call `self.model(x)` is of an attribute that its class uses as a model."""
    if not isinstance(call.receiver, Name) or call.receiver.name != "self":
        return False
    keys = _keys(code)
    return bool(keys) and _key(code, Attribute(call.receiver, call.name[1:], call.at)) in keys


def is_used_by_class(code: Code, value: Value) -> bool:
    """Whether a class uses an attribute of its own as a model, or calls it: `self.net(x)`, `self.net.forward(x)`."""
    key = _key(code, value)
    if key is None or key[0] != "class":
        return False
    if key in _keys(code):
        return True
    last = key[2].removeprefix("self")
    calls = code.calls_of("()", last, ".forward", ".forward_features")
    return any(call.receiver is not None and _called_as(code, call, last) == key for call in calls)


def _called_as(code: Code, call: Call, last: str) -> Key | None:
    """The variable that a call runs: of `self.net(x)` that of `self.net`."""
    whole = call.receiver
    if whole is not None and call.name == last:
        whole = Attribute(whole, last[1:], call.at)
    return _key(code, whole) if whole is not None else None


def _is_like(code: Code, value: Value, depth: int) -> bool:
    if isinstance(value, Attribute):
        return _key(code, value) in _keys(code)
    return isinstance(value, Name) and is_model_like(code, value.binding, depth)


def _keys(code: Code) -> set[Key]:
    """The variables that are models."""
    if "model keys" not in code.memo:
        keys: set[Key] = {
            key for call in code.calls_of(*_OF_MODELS)
            if call.receiver is not None and (key := _key(code, call.receiver)) is not None
        }  # fmt: skip
        wrapped = [call.arguments[0] for call in code.calls_of(*_WRAPPERS) if call.arguments]
        keys |= {key for value in wrapped if (key := _key(code, value)) is not None}
        links = _links(code) if keys else []
        for _ in range(_ROUNDS):
            more = {other for pair in links for one, other in (pair, pair[::-1]) if one in keys} - keys
            if not more:
                break
            keys |= more
        code.memo["model keys"] = keys
    found: set[Key] = code.memo["model keys"]
    return found


def _links(code: Code) -> list[tuple[Key, Key]]:
    """Variables that are bound to each other, as they are, or wrapped or moved."""
    links = []
    for number, binding in enumerate(code.bindings):
        if binding.how != "assign" or binding.item:
            continue
        value = binding.value
        while isinstance(value, Call):
            if value.name in SAME_METHODS:
                value = value.receiver
            elif value.name in SAME and value.arguments:
                value = value.arguments[0]
            else:
                break
        if isinstance(value, Name | Attribute):
            one, other = _key_of_binding(code, number), _key(code, value)
            if one is not None and other is not None and one != other:
                links.append((one, other))
    return links


def _key(code: Code, value: Value) -> Key | None:
    if isinstance(value, Name) and value.binding != NOWHERE:
        return _key_of_binding(code, value.binding)
    if isinstance(value, Attribute) and isinstance(value.value, Name) and value.value.name == "self":
        if value.value.binding == NOWHERE:
            return None
        owner = code.class_of(code.function_at(code.bindings[value.value.binding].context))
        return ("class", owner, f"self.{value.name}") if owner != NOWHERE else None
    return None


def _key_of_binding(code: Code, number: int) -> Key | None:
    binding = code.bindings[number]
    index = code.function_at(binding.context)
    if binding.name.startswith("self."):
        owner = code.class_of(index)
        return ("class", owner, binding.name) if owner != NOWHERE else None
    return ("function", index, binding.name) if "." not in binding.name else None
