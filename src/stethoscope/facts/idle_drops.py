"""Results that are dropped without harm: what they would have given is there already, or nothing would take it.

weight = 1 - p; weight.to(p.device)                 it is there: `weight` is made of `p`
mask = torch.ones(2, dtype=q.dtype); mask.to(q.dtype)    it has that type
self.scale.to(device)                               a parameter of a module, which goes with it
result = image * scale; result.view(image.shape)    it has that shape
if x.numel() == 0: x.view(0, 8)                     nothing is in it
image.to(device); net([{"image": image}])           who takes the dict may move it; so does an assignment to a part
blocks[:, :4].reshape(n, 2, 2)                      of a part, or behind other steps: a line that is left over
"""

from __future__ import annotations

import re

from stethoscope.facts.code import (
    NOWHERE,
    At,
    Attribute,
    Call,
    Code,
    Constant,
    Group,
    Item,
    Name,
    Operation,
    Symbol,
    Value,
)
from stethoscope.facts.dicts import handed_in
from stethoscope.facts.expressions import values_of
from stethoscope.facts.origins import thing_of
from stethoscope.facts.uses import readings_of

MOST_STEPS = 40
"""Values that are followed back from one tensor to those that it is made of, at most."""
_MOVES = (".to", ".cuda", ".cpu")
_CONVERT = (*_MOVES, ".detach", ".type", ".float", ".double", ".half", ".long", ".int")
_SHAPED = (".view", ".reshape")
_LEAVES = (
    ".to",
    ".cuda",
    ".cpu",
    ".item",
    ".tolist",
    ".numpy",
    ".size",
    ".dim",
    ".numel",
    ".get_device",
    "builtins.len",
)
"""Calls behind which a value need not be where it was before."""
_MAKES = re.compile(
    r"^torch\.(?:zeros|ones|empty|full|rand|randn|randint|randperm|arange|linspace|tensor|eye|\w*Tensor)$"
)
"""Functions of torch's that make a tensor anew: on the processor, where no device is given."""
_COMPARE = ("==", "!=", "<", ">", "<=", ">=")


def is_idle(file: Code, call: Call) -> bool:
    """Whether a call whose result is dropped is seen to do no harm by that."""
    return (
        not is_kept_easily(call.receiver)
        or _is_there_already(file, call)
        or _has_its_type(file, call)
        or (call.name in _CONVERT and _is_parameter(file, call.receiver))
        or _is_empty(file, call)
        or _is_bool_already(file, call)
        or (call.name in _MOVES and _is_only_stored(file, call))
    )


def is_kept_easily(value: Value | None) -> bool:
    """Whether a value has a name that can take another: `x`, `self.x`, `batch["x"]`, and neither `f(x)` nor `x[:3]`.
    What only converts it keeps its name: `x.detach().cpu()`.
    """
    if isinstance(value, Attribute):
        return is_kept_easily(value.value)
    if isinstance(value, Call) and value.name in _CONVERT:
        return is_kept_easily(value.receiver)
    if isinstance(value, Item):
        return isinstance(value.key, Constant | Name) and is_kept_easily(value.value)
    return isinstance(value, Name)


def is_said_to_be_module(file: Code, call: Call) -> bool:
    """Whether a condition around asks whether it is a module: `if isinstance(x, nn.Module): x.type(dtype)`."""
    name = re.escape(file.text(call.receiver.at)) if call.receiver is not None else ""
    asks = re.compile(rf"(?<!\bnot )\bisinstance\(\s*{name}\s*,[^)]*\bModule\b")
    return bool(name) and any(asks.search(one) for one in _conditions(file, call))


def _is_empty(file: Code, call: Call) -> bool:
    """Whether a condition around says that nothing is in it."""
    name = re.escape(file.text(call.receiver.at)) if call.receiver is not None else ""
    sizes = rf"(?:(?<![\w.]){name}\.(?:numel\(\)|nelement\(\)|size\(0\)|shape\[0\])|\blen\(\s*{name}\s*\))"
    asks = re.compile(rf"{sizes}\s*==\s*0\b|\bnot {sizes}\s*$")
    return bool(name) and any(asks.search(one) for one in _conditions(file, call))


def _conditions(file: Code, call: Call) -> list[str]:
    """The texts of the conditions that hold around a call, in its function."""
    found = []
    for here in file.around(call.context):
        if here.kind == "function":
            break
        if here.kind == "if" and here.value is not None:
            found.append(file.text(here.value.at))
    return found


def _is_there_already(file: Code, call: Call) -> bool:
    """Whether it is sent to the device, or brought into the shape, of something that it is made of."""
    if len(call.arguments) != 1 or call.keywords:
        return False
    asked, wanted = call.arguments[0], "device" if call.name == ".to" else "shape"
    model: Value | None = None
    if call.name not in (".to", *_SHAPED):
        return False
    if isinstance(asked, Attribute) and asked.name == wanted:
        model = asked.value
    elif call.name in _SHAPED and isinstance(asked, Call) and asked.name == ".size" and not asked.arguments:
        model = asked.receiver
    if not isinstance(model, Name) or model.binding == NOWHERE:
        return False
    made_of = _made_of(file, call.receiver)
    return model.binding in made_of or (call.name == ".to" and bool(made_of & _made_of(file, model)))


def _has_its_type(file: Code, call: Call) -> bool:
    """Whether it is brought to the type that it was made with: that of the same tensor."""
    asked = call.arguments[0] if len(call.arguments) == 1 and call.name in (".to", ".type") else None
    made = call.receiver
    if isinstance(made, Name) and made.binding != NOWHERE:
        made = file.bindings[made.binding].value
    if not isinstance(asked, Attribute) or asked.name != "dtype" or not isinstance(made, Call):
        return False
    given = dict(made.keywords).get("dtype")
    if not isinstance(given, Attribute) or given.name != "dtype":
        return False
    one, other = given.value, asked.value
    return isinstance(one, Name) and isinstance(other, Name) and NOWHERE != one.binding == other.binding


def _is_parameter(file: Code, value: Value | None) -> bool:
    """Whether it is a parameter of a module, which is moved with it, and for which no tensor may be put."""
    return thing_of(file, value).name == "torch.nn.Parameter"


def _made_of(file: Code, value: Value | None) -> set[int]:
    """The variables whose tensors a tensor is computed from, on their device."""
    found: set[int] = set()
    waiting: list[Value | None] = [value]
    for _ in range(MOST_STEPS):
        if not waiting:
            break
        one = waiting.pop()
        if isinstance(one, Name) and one.binding != NOWHERE and one.binding not in found and "." not in one.name:
            found.add(one.binding)
            binding = file.bindings[one.binding]
            waiting.append(binding.value if binding.how in ("assign", "augment") else None)
        elif isinstance(one, Operation):
            waiting += one.operands
        elif isinstance(one, Call) and _MAKES.match(one.name):
            device = dict(one.keywords).get("device")
            waiting.append(device.value if isinstance(device, Attribute) and device.name == "device" else None)
        elif isinstance(one, Call) and (one.name.startswith("torch.") or one.receiver is not None) and (
            one.name not in _LEAVES and one.name != "()"
        ):  # fmt: skip
            waiting += (one.receiver, *one.arguments)
    return found


def _is_bool_already(file: Code, call: Call) -> bool:
    """Whether a comparison is brought to a type that is `torch.bool` unless a caller says another, and none is seen."""
    asked = call.arguments[0] if len(call.arguments) == 1 and call.name in (".to", ".type") else None
    if not isinstance(asked, Name) or asked.binding == NOWHERE or not isinstance(call.receiver, Name):
        return False
    binding = file.bindings[call.receiver.binding] if call.receiver.binding != NOWHERE else None
    compared = binding is not None and isinstance(binding.value, Operation) and binding.value.operator in _COMPARE
    function = file.functions[file.function_at(file.bindings[asked.binding].context)]
    default = next((one.default for one in function.parameters if one.binding == asked.binding), None)
    return compared and isinstance(default, Symbol) and default.name == "torch.bool" and not _is_handed(file, asked)


def _is_handed(file: Code, parameter: Name) -> bool:
    """Whether a call gives a parameter something else than its default."""
    default = next((one.default for function in file.functions for one in function.parameters
                    if one.binding == parameter.binding), None)  # fmt: skip
    return any(one != default for _, one in handed_in(file, parameter.binding))


def _is_only_stored(file: Code, call: Call) -> bool:
    """Whether a tensor is read only to be put into a dict, assigned to a part of something, or asked for its length."""
    tensor = call.receiver
    if not isinstance(tensor, Name) or tensor.binding == NOWHERE or "." in tensor.name:
        return False
    stored = _stored(file)
    later = [one for one in readings_of(file, tensor.binding) if one.at != tensor.at and one.at.line >= call.at.line]
    return bool(later) and all(one.at in stored for one in later)


def _stored(file: Code) -> set[At]:
    """Where something stands that is put into a dict, assigned to a part, or asked for its length."""
    known: set[At] | None = file.memo.get("stored")
    if known is None:
        dicts = [one for one in values_of(file) if isinstance(one, Group) and one.kind == "dict"]
        known = {one.at for it in dicts for one in it.items}
        known |= {one.at for it in file.calls if it.name == "builtins.len" for one in it.arguments}
        known |= {one.value.at for one in file.bindings if one.name.endswith("]") and isinstance(one.value, Name)}
        file.memo["stored"] = known
    return known
