"""What source code says of shapes: a tensor reshaped to its own sizes in another order, targets with one axis."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Constant, Item, Name, Value
from stethoscope.facts.things import followed, literal


def exchanged_by_view(code: Code) -> Iterator[tuple[Call, tuple[int, ...]]]:
    """The calls of `view` and `reshape` that are given a tensor's own sizes in another order, with that order."""
    for call in code.calls_of(".view", ".reshape"):
        name = call.receiver
        if not isinstance(name, Name) or name.binding == NOWHERE or call.is_open or len(call.arguments) < 2:
            continue
        order: list[int] = []
        for argument in call.arguments:
            size = _size_of(code, argument)
            if size is None or size[0] != name.binding:
                break
            order.append(size[1])
        rest = call.arguments[len(order) :]
        closed = all(isinstance(one, Constant) and one.value == -1 for one in rest) and len(rest) <= 1
        if closed and len(order) >= 2 and len(set(order)) == len(order) and min(order) >= 0:
            first = sorted(order) == list(range(len(order)))
            if first and order != sorted(order):
                yield call, tuple(order)


def _size_of(code: Code, value: Value) -> tuple[int, int] | None:
    """The tensor and the axis whose size a value is: `x.size(1)`, `x.shape[1]`, or a name for one."""
    if isinstance(value, Name) and value.binding != NOWHERE:
        binding = code.bindings[value.binding]
        whole = binding.value
        if binding.how != "assign":
            return None
        if len(binding.item) == 1:
            tensor = whole.value if isinstance(whole, Attribute) and whole.name == "shape" else (
                whole.receiver if isinstance(whole, Call) and whole.name == ".size" and not whole.arguments else None
            )  # fmt: skip
            return (tensor.binding, binding.item[0]) if isinstance(tensor, Name) and binding.item[0] >= 0 else None
        return _size_of(code, whole) if whole is not None and not binding.item else None
    axis, tensor = None, None
    if isinstance(value, Call) and value.name == ".size":
        axis, tensor = value.argument(0, "dim"), value.receiver
    elif isinstance(value, Item) and isinstance(value.value, Attribute) and value.value.name == "shape":
        axis, tensor = value.key, value.value.value
    number = literal(code, axis) if axis is not None else None
    known = isinstance(tensor, Name) and tensor.binding != NOWHERE and type(number) is int
    return (tensor.binding, number) if known and isinstance(tensor, Name) and isinstance(number, int) else None


def logs_of(code: Code) -> Iterator[tuple[Call, Value]]:
    """The logarithms that are taken of something, and of what."""
    for call in code.calls_of("torch.log", ".log", "torch.log2", "torch.log10"):
        value = call.argument(0, "input") if call.name.startswith("torch.") else call.receiver
        if value is not None and not (call.name == ".log" and (call.arguments or call.keywords)):
            yield call, followed(code, value)[0] or value
