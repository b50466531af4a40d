"""What else holds the graphs of a sum of losses, and who reads that sum as a tensor."""

from __future__ import annotations

import re

from stethoscope.facts.code import NOWHERE, Binding, Call, Code, Group, Name, Operation, Value
from stethoscope.facts.events import NO_GRAD, is_under
from stethoscope.facts.kept_losses import named_behind
from stethoscope.facts.loops import innermost_loop
from stethoscope.facts.origins import call_sites, thing_of

_OF_A_TENSOR = r"(?:\s*[*/]\s*[\w.()]+\))?\.(?:item|detach|cpu|numpy|tolist|to|data|mean|sum|clone)\b"


def sums_beside(file: Code, binding: Binding, kept: Value) -> list[str]:
    """The other sums of the same loop that take up what a loss is made of, and so hold the same graphs."""
    index = file.function_at(binding.context)
    loop = innermost_loop(file, binding.context, index)
    if loop == NOWHERE:
        return []
    parts = named_behind(file, kept)
    found: dict[str, None] = {}
    for one in file.bindings[slice(*file.functions[index].bindings)]:
        if one.how != "augment" or one.name == binding.name or not isinstance(one.value, Operation):
            continue
        added = one.value.operands[-1]
        is_part = one.value.operator == "+" and isinstance(added, Name) and added.name in parts
        is_kept = innermost_loop(file, one.context, index) == loop and not is_under(file, one.context, *NO_GRAD)
        begins = file.bindings[one.before].context if one.before != NOWHERE else one.context
        if is_part and is_kept and loop not in file.numbers_around(begins) and _is_made_in(file, added, loop):
            found[one.name] = None
    return list(found)


def _is_made_in(file: Code, value: Value, loop: int) -> bool:
    """Whether a part of a loss is computed anew in each round, and is a tensor for all that can be seen."""
    binding = file.bindings[value.binding] if isinstance(value, Name) and value.binding != NOWHERE else None
    if binding is None or binding.how != "assign" or loop not in file.numbers_around(binding.context):
        return False
    made = binding.value
    is_number = isinstance(made, Call) and (made.name in (".item", ".detach") or made.name.startswith("builtins."))
    return isinstance(made, Call | Operation) and not is_number and thing_of(file, value).kind in ("tensor", "unknown")


def is_read_as_tensor(file: Code, binding: Binding, total: str) -> bool:
    """Whether a sum, what is made of it, or what its function gives of it, is asked for what only tensors have."""
    index = file.function_at(binding.context)
    function = file.functions[index]
    own = file.bindings[slice(*function.bindings)]
    names = {total} | {one.name for one in own if one.how == "assign" and _is_made_of(file, one.value, total)}
    if _asks(file, names, index):
        return True
    places = {place for one in function.returns for place in _places(file, one.value, names)}
    if not index or not places:
        return False
    for call in call_sites(file, index):
        caller = file.function_at(call.context)
        taken = {
            one.name for one in file.bindings[slice(*file.functions[caller].bindings)]
            if one.value is call and (one.item in places or one.item == ())
        }  # fmt: skip
        if taken and _asks(file, taken, caller):
            return True
    return False


def _is_made_of(file: Code, value: Value | None, total: str) -> bool:
    return isinstance(value, Operation) and total in named_behind(file, value)


def _places(file: Code, value: Value, names: set[str]) -> list[tuple[int, ...]]:
    """Where a sum stands in what a function gives: alone, or at a place of a tuple."""
    if isinstance(value, Group):
        return [(place,) for place, one in enumerate(value.items) if named_behind(file, one) & names]
    return [()] if isinstance(value, Name | Operation) and named_behind(file, value) & names else []


def _asks(file: Code, names: set[str], index: int) -> bool:
    said = "|".join(re.escape(one) for one in names)
    function = file.functions[index]
    return file.matches(re.compile(rf"(?<![\w.])(?:{said}){_OF_A_TENSOR}"), function.at if function.context else None)
