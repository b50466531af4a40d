"""Plain tensors where a parameter may have been meant: whether something shows that they are no weights, are trained
by hand, or are parameters all the same.
"""

from __future__ import annotations

import re

from stethoscope.facts.code import At, Binding, Call, Code, Name, Operation, Value
from stethoscope.facts.origins import bases, lineage
from stethoscope.facts.things import Thing, binding_of, followed, literal
from stethoscope.rules.carried_layers import code_lines
from stethoscope.rules.spared_layers import answers_without_gradients, are_called_fixed, never_trains

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_CONSTANTS = frozenset({"eps", "epsilon", "pi", "mean", "std", "var", "mask", "masks", "tril", "triu", "causal"})
"""What tensors are called that are no weights: what inputs are scaled by, or positions that are left out."""
_POSITIONS = frozenset({"torch.arange", "torch.tril", "torch.triu"})
"""What numbers positions, or leaves some out."""
_DEFAULTS = re.compile(r"\bset_default_(?:device|dtype|tensor_type)\(")
"""What makes tensors of another device or type from the beginning, so that a move may give the parameter itself."""


def is_no_weight(file: Code, thing: Thing, name: str, binding: Binding) -> bool:
    """Whether a tensor that is made of a parameter may be no weight that nobody trains."""
    cls = thing.cls
    if cls is None or never_trains(file) or answers_without_gradients(file, cls) or not _computes(thing):
        return True
    made = _data(binding.value)
    if _CONSTANTS & {word.lower() for word in _WORDS.findall(name)} or are_called_fixed(cls.name, name):
        return True
    if isinstance(made, Call) and made.name in _POSITIONS:
        return True
    return any(_DEFAULTS.search(line) for line in code_lines(file)) or _stays(file, binding.value)


def registered(file: Code, value: Value | None) -> str:
    """A tensor that an operation made of a parameter, written as a parameter: the operation comes first, within it."""
    said = _within(file, value)
    if len(said) > LONGEST_LINE:
        said = _within(file, value, is_short=True)
    return f"nn.Parameter({said if len(said) <= LONGEST_LINE else '...'})"


def _within(file: Code, value: Value | None, *, is_short: bool = False) -> str:
    """The same without its `nn.Parameter`, in whose brackets it is to stand."""
    if value is None:
        return "..."
    if _is_parameter(value) and isinstance(value, Call):
        data = value.argument(0, "data")
        return "..." if is_short else _said(file, data)
    if isinstance(value, Operation) and len(value.operands) == 2:
        operands = (_inner(file, one, is_short) if _holds(one) else _operand(file, one) for one in value.operands)
        return f" {value.operator} ".join(operands)
    if isinstance(value, Operation) and len(value.operands) == 1:
        return f"{value.operator}{_inner(file, value.operands[0], is_short)}"
    if isinstance(value, Call) and value.receiver is not None and value.name.startswith("."):
        given = [_said(file, one) for one in value.arguments]
        given += [f"{key}={_said(file, one)}" if key else "..." for key, one in value.keywords]
        return f"{_inner(file, value.receiver, is_short)}{value.name}({', '.join(given)})"
    return "..."


def _inner(file: Code, value: Value, is_short: bool) -> str:
    """The same as an operand or a receiver, in brackets where it needs them."""
    said = _within(file, value, is_short=is_short)
    within: Value | None = value
    if isinstance(value, Call) and _is_parameter(value):
        within = value.argument(0, "data")
    return f"({said})" if isinstance(within, Operation) or said == "..." else said


def _operand(file: Code, value: Value) -> str:
    return f"({_said(file, value)})" if isinstance(value, Operation) else _said(file, value)


def _said(file: Code, value: Value | None) -> str:
    """A value as it is written, where that is on one line."""
    return file.text(value.at) if value is not None and value.at.line == value.at.end_line else "..."


LONGEST_LINE = 90
"""Characters of a value that is written anew."""


def _is_parameter(value: Value | None) -> bool:
    return isinstance(value, Call) and value.name.endswith(".Parameter")


def _holds(value: Value | None) -> bool:
    """Whether a parameter is made in a value."""
    if isinstance(value, Operation):
        return any(_holds(one) for one in value.operands)
    return _is_parameter(value) or (isinstance(value, Call) and _holds(value.receiver))


def _computes(thing: Thing) -> bool:
    """Whether a module can be called: it has a `forward`, or a base that is not torch's bare module may have one."""
    is_bare = all(name == "torch.nn.Module" for name in bases(thing))
    return not is_bare or any("forward" in cls.methods for _, cls in lineage(thing))


def _data(value: Value | None) -> Value | None:
    """What the numbers come from: `torch.tril(...)` of `nn.Parameter(torch.tril(...)).to(device)`."""
    for _ in range(4):
        if not isinstance(value, Call):
            return value
        if value.name == "torch.nn.Parameter":
            value = value.argument(0, "data")
        elif value.name.startswith(".") and value.receiver is not None:
            value = value.receiver
        else:
            return value
    return value


def _stays(file: Code, value: Value | None) -> bool:
    """Whether a parameter is moved to the processor, where it is already, unless somebody says otherwise."""
    if not isinstance(value, Call) or value.name != ".to":
        return False
    goal = value.argument(0, "device")
    binding = binding_of(file, goal) if isinstance(goal, Name) else None
    if binding is not None and binding.how == "argument":
        goal = binding.value  # its default
    goal, _ = followed(file, goal)
    if isinstance(goal, Call) and goal.name == "torch.device":
        goal = goal.argument(0)
    return literal(file, goal) == "cpu"


_PLACED = re.compile(r"\.to\(\s*(?:device\s*=\s*)?(?![\"']cuda|torch\.)([\w.]+)")


def may_stay(file: Code, at: At) -> bool:
    """Whether a tensor may stay what it is: one that is moved `to(device)` is the same where it is there already,
    unless the file says that the device is `"cuda"`.
    """
    places = [found[1] for line in file.lines[at.line - 1 : at.end_line] for found in _PLACED.finditer(line)]
    names = [re.escape(place.rpartition(".")[2]) for place in places]
    cuda = r"\s*(?::[^=,)]*)?=\s*(?:torch\.device\()?[\"']cuda"
    return any(not file.matches(re.compile(rf"\b{name}{cuda}")) for name in names)
