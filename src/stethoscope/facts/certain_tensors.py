"""Whether a value is certainly a tensor. Other things have methods of the same names that work in place: a graph of PyG
that is moved, the encoded text of a tokenizer, boxes that are clamped.

    x = torch.zeros(3)                      certain: a function of torch's gives it
    out = net(x)                            certain where all that `forward` gives is
    for x, y in DataLoader(data): ...       certain: what is put together by default are tensors
    for x, y in loader: F.relu(x)           certain: it is used as one
"""

from __future__ import annotations

from stethoscope.facts.code import (
    NOWHERE,
    Attribute,
    Binding,
    Call,
    Choice,
    Code,
    Constant,
    Group,
    Item,
    Name,
    Operation,
    Value,
)
from stethoscope.facts.expressions import operations_of, values_of
from stethoscope.facts.libraries import kind_of_type
from stethoscope.facts.origins import called, given_to, lineage, thing_of
from stethoscope.facts.things import followed, iterated

DEEPEST = 12
"""Variables, calls and returns that are followed from one value, at most."""
TENSORS_ONLY = frozenset({
    ".unsqueeze", ".squeeze", ".permute", ".view", ".reshape", ".softmax", ".sigmoid", ".relu", ".argmax", ".argsort",
    ".item", ".numel", ".mean", ".std", ".expand", ".tolist", ".view_as", ".masked_fill", ".log_softmax",
    ".scatter_", ".gather", ".matmul", ".bmm", ".topk", ".eq", ".nonzero",
})  # fmt: skip
"""Methods that nothing but a tensor has, or an array, none of which works in place."""
_PARTS = frozenset({"data", "grad", "T", "mT", "H", "real", "imag"})
_OF_TENSORS = frozenset({"shape", "ndim", "dtype", "device", "data", "grad", "T", "is_cuda", "requires_grad"})
_ARITHMETIC = ("+", "-", "*", "/", "@", "**", "//", ">", "<", ">=", "<=")
_GIVE_TENSORS = ("torch.nn.", "torchvision.models.", "timm.")


def is_certain_tensor(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a value is a tensor by what makes it, on all ways, or by what is done with it."""
    if depth > DEEPEST or thing_of(code, value).kind != "tensor":
        return False
    if isinstance(value, Name):
        return _is_bound_to_one(code, value, depth) or _is_used_as_one(code, value)
    if isinstance(value, Call):
        return _gives_one(code, value, (), depth)
    if isinstance(value, Operation):
        return any(is_certain_tensor(code, one, depth + 1) for one in value.operands)
    if isinstance(value, Choice):
        real = [one for one in value.options if thing_of(code, one).kind != "none"]
        return all(is_certain_tensor(code, one, depth + 1) for one in real)
    if isinstance(value, Item):
        return is_certain_tensor(code, value.value, depth + 1)
    if isinstance(value, Attribute):
        if value.name in _PARTS:
            return is_certain_tensor(code, value.value, depth + 1)
        made = thing_of(code, value).made
        return made is not None and made.name.startswith("torch.")
    return False


def _is_bound_to_one(code: Code, name: Name, depth: int) -> bool:
    if name.binding == NOWHERE:
        return False
    known: dict[int, bool] = code.memo.setdefault("certain tensors", {})
    if name.binding not in known:
        known[name.binding] = True  # `x = x * 2` in a loop is one where it was one before
        known[name.binding] = _is_one(code, code.bindings[name.binding], name, depth + 1)
    return known[name.binding]


def _is_one(code: Code, binding: Binding, name: Name, depth: int) -> bool:
    if binding.how == "merge":
        ways = [Name(name.name, one, name.at) for one in binding.options]
        return all(is_certain_tensor(code, one, depth) for one in ways if thing_of(code, one).kind != "none")
    if binding.how == "argument":
        return _is_handed_one(code, name.binding, depth)
    if binding.how == "for":
        source, item = iterated(code, binding.value, binding.item)
        kind = thing_of(code, source).kind
        if kind == "loader" and item:
            return _puts_tensors_together(code, source) and not _is_used_as_table(code, name)
        return kind == "tensor" and is_certain_tensor(code, source, depth)
    if binding.how != "assign" and binding.how != "augment":
        return False
    if not binding.item:
        return is_certain_tensor(code, binding.value, depth)
    found, _ = followed(code, binding.value)
    return isinstance(found, Call) and _gives_one(code, found, binding.item, depth)


def _is_handed_one(code: Code, number: int, depth: int) -> bool:
    """Whether a parameter is a tensor by its annotation, or by what all calls of this file give it."""
    index = code.function_at(code.bindings[number].context)
    parameters = code.functions[index].parameters
    place = next((i for i, one in enumerate(parameters) if one.binding == number), NOWHERE)
    if place == NOWHERE:
        return False
    if kind_of_type(parameters[place].annotation) == "tensor":
        return True
    given = given_to(code, index, place)
    return bool(given) and all(is_certain_tensor(home, one, depth) for home, one in given)


def _gives_one(code: Code, call: Call, item: tuple[int, ...], depth: int) -> bool:
    """Whether a call gives a tensor, or one at a place of what it gives."""
    if depth > DEEPEST:
        return False
    if call.receiver is not None and call.name != "()":
        owner = thing_of(code, call.receiver)
        if owner.kind == "tensor":
            return call.name in TENSORS_ONLY or is_certain_tensor(code, call.receiver, depth + 1)
    callee = called(code, call)
    if callee.kind == "imported":
        return callee.name.startswith("torch.")
    if callee.kind in ("module", "loss") and callee.cls is None:
        return callee.name.startswith(_GIVE_TENSORS)
    if callee.kind in ("module", "loss"):
        home, cls = next(((home, cls) for home, cls in lineage(callee) if "forward" in cls.methods), (None, None))
        return home is not None and cls is not None and _returns_one(home, cls.methods["forward"], item, depth)
    if callee.function is None or callee.code is None:
        return False
    return _returns_one(callee.code, callee.number, item, depth)


def _returns_one(code: Code, function: int, item: tuple[int, ...], depth: int) -> bool:
    """Whether all that a function returns are tensors, or are so at a place."""
    values: list[Value | None] = [one.value for one in code.functions[function].returns]
    for place in item:
        values = [one.items[place] if isinstance(one, Group) and place < len(one.items) else None for one in values]
    return bool(values) and all(is_certain_tensor(code, one, depth + 1) for one in values)


def _puts_tensors_together(code: Code, loader: Value | None) -> bool:
    """Whether a loader of torch's puts its batches together by itself, which it does of tensors and what holds them."""
    made = thing_of(code, loader).made
    is_plain = made is not None and made.name.startswith("torch.utils.data.") and not made.is_open
    return is_plain and made is not None and made.argument(6, "collate_fn") is None


def _is_used_as_table(code: Code, name: Name) -> bool:
    """Whether a function unpacks something, takes a text as its key, or an attribute that no tensor has."""
    index = code.function_at(code.bindings[name.binding].context)
    at = code.functions[index].at
    for value in values_of(code):
        if index and not at.line <= value.at.line <= at.end_line:
            continue
        if type(value) is Item and _is_name(value.value, name) and isinstance(value.key, Constant):
            if isinstance(value.key.value, str):
                return True
        elif type(value) is Attribute and _is_name(value.value, name) and value.name not in _OF_TENSORS:
            return True
    first, last = code.functions[index].calls
    return any(not key and _is_name(one, name) for call in code.calls[first:last] for key, one in call.keywords)


def _is_used_as_one(code: Code, name: Name) -> bool:
    """Whether the function that binds a variable does with it what is done with tensors only."""
    if name.binding == NOWHERE or _is_used_as_table(code, name):
        return False
    index = code.function_at(code.bindings[name.binding].context)
    first, last = code.functions[index].calls
    for call in code.calls[first:last]:
        if call.name in TENSORS_ONLY and _is_name(call.receiver, name):
            return True
        takes = call.name.startswith("torch.") and call.receiver is None and call.name not in _TAKE_ALL
        takes = takes or (call.name == "()" and thing_of(code, call.receiver).kind == "loss")
        if takes and any(_is_name(one, name) for one in call.arguments):
            return True
    at = code.functions[index].at
    return any(
        any(_is_name(one, name) for one in operation.operands)
        for operation in operations_of(code, *_ARITHMETIC)
        if index == 0 or at.line <= operation.at.line <= at.end_line
    )


_TAKE_ALL = frozenset({"torch.save", "torch.is_tensor", "torch.utils.data.DataLoader", "torch.typename"})


def _is_name(value: Value | None, name: Name) -> bool:
    return isinstance(value, Name) and value.name == name.name
