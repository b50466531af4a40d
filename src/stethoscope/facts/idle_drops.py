"""Results that are dropped without harm: what they would have given is there already, or nothing would take it.

x.to(device); x.float(); x.clone()                  the same numbers: where that mattered, another line fails
x.detach()                                          of these most free memory that goes anyway
x.view(8, -1); x.unsqueeze(0)                       the same numbers in another shape, of which that is as true
if x.numel() == 0: x.clamp(0, 8)                    nothing is in it
blocks[:, :4].clamp(0, 1)                           of a part, or behind other steps: a line that is left over
"""

from __future__ import annotations

import re

from stethoscope.facts.code import (
    Attribute,
    Call,
    Code,
    Constant,
    Item,
    Name,
    Value,
)

CONVERSIONS = (".to", ".type", ".float", ".double", ".half", ".long", ".int", ".cuda", ".cpu")
"""Methods of a tensor that give the same numbers elsewhere, or in another type: where that was needed, a line fails."""
_CONVERT = (*CONVERSIONS, ".detach")
SHAPES = frozenset({".squeeze", ".unsqueeze", ".view", ".reshape", ".permute", ".transpose", ".flatten"})
"""Methods that give the same numbers in another shape."""
_COPIES = (".clone", ".contiguous")
"""Methods that give the same numbers at another place in memory."""


def is_idle(file: Code, call: Call) -> bool:
    """Whether a call whose result is dropped is seen to do no harm by that."""
    return not is_kept_easily(call.receiver) or call.name in (*_CONVERT, *_COPIES, *SHAPES) or _is_empty(file, call)


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
