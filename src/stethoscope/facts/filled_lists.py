"""What the lists of a function hold: as they are displayed, and what is added to them by their names."""

from __future__ import annotations

from stethoscope.facts.code import NOWHERE, Code, Group, Name, Operation, Starred, Value
from stethoscope.facts.things import MOST_STEPS


def items_of(code: Code, value: Value | None, depth: int = 0) -> list[Value] | None:
    """The items of a list or tuple: as displayed, and what is added to it by its name in the same function.

    What is added in a branch makes the list unknown; what is added in a loop is there at least once.
    """
    if depth > MOST_STEPS:
        return None
    if isinstance(value, Name) and value.binding != NOWHERE:
        binding = code.bindings[value.binding]
        if binding.how not in ("assign", "augment") or binding.item:
            return None
        items = items_of(code, binding.value, depth + 1)
        if items is None or (binding.how == "augment" and _in_branch(code, binding.context)):
            return None
        return _with_added(code, value.binding, items, depth)
    if isinstance(value, Operation) and value.operator == "+":
        parts = [items_of(code, one, depth + 1) for one in value.operands]
        return None if any(part is None for part in parts) else [item for part in parts for item in part or ()]
    if not isinstance(value, Group) or value.kind not in ("list", "tuple"):
        return None
    return None if any(isinstance(item, Starred) for item in value.items) else list(value.items)


def _with_added(code: Code, number: int, items: list[Value], depth: int) -> list[Value] | None:
    """The items of a list with what `append` and `extend` add to it under this binding."""
    items = list(items)
    for call in code.calls_of(".append", ".extend", ".insert"):
        if not isinstance(call.receiver, Name) or call.receiver.binding != number:
            continue
        argument = call.argument(0)
        if call.name == ".insert" or argument is None or _in_branch(code, call.context):
            return None
        more = [argument] if call.name == ".append" else items_of(code, argument, depth + 1)
        if more is None:
            return None
        items += more
    return items


def _in_branch(code: Code, context: int) -> bool:
    """Whether something happens only under a condition in its function."""
    for here in code.around(context):
        if here.kind in ("if", "else", "except"):
            return True
        if here.kind in ("function", "class", "module"):
            return False
    return False
