"""Rows that source code fills up to one length, followed from where they are filled to where they are used."""

from __future__ import annotations

from stethoscope.facts.code import NOWHERE, Call, Code, Group, Item, Name, Operation, Value
from stethoscope.facts.loaded import everything_in
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import followed, iterated, literal

_SAME_POSITIONS = frozenset({
    ".view", ".reshape", ".flatten", ".contiguous", ".to", ".cuda", ".long", ".t", ".transpose", ".permute", ".cpu",
})  # fmt: skip
IGNORED = -100
"""The class that torch's losses leave out unless they are told another."""


def padded_from(code: Code, value: Value | None, item: tuple[int, ...] = (), depth: int = 0) -> tuple[Call, int] | None:
    """The `pad_sequence` that filled up the rows of a value, and the number that it put there."""
    if depth > 30 or value is None:
        return None
    found, _ = followed(code, value)
    if isinstance(found, Name) and found.binding != NOWHERE:
        binding = code.bindings[found.binding]
        if binding.how == "for":
            source, place = iterated(code, binding.value, binding.item)
            loader = thing_of(code, source)
            if loader.kind == "loader" and loader.made is not None and loader.made_in is code:
                return _collated(code, loader.made, place, depth)
        return None
    if isinstance(found, Item):
        keys = found.key.items if isinstance(found.key, Group) else (found.key,)
        if not all(isinstance(key, Operation) and key.operator == ":" for key in keys):
            return None  # a mask may leave out what was filled up
        return padded_from(code, found.value, item, depth + 1)
    if isinstance(found, Group) and item and 0 <= item[0] < len(found.items):
        return padded_from(code, found.items[item[0]], item[1:], depth + 1)
    if not isinstance(found, Call) or (item and isinstance(found, Call)):
        return None
    if found.name in _SAME_POSITIONS:
        return padded_from(code, found.receiver, item, depth + 1)
    if found.name == "torch.nn.utils.rnn.pad_sequence" and not found.is_open:
        given = found.argument(2, "padding_value")
        number = literal(code, given) if given is not None else 0
        return (found, int(number)) if isinstance(number, int | float) else None
    return None


def next_tokens(code: Code, given: Value | None, target: Value | None) -> tuple[Call, int] | None:
    """The embedding with a padding index that reads the very rows whose next tokens are the targets."""
    rows, model = _rows(code, target), _unwrapped(code, given)
    if rows is None or not isinstance(model, Call) or model.name != "()":
        return None
    read = _rows(code, model.argument(0))
    if read is None or read.binding != rows.binding:
        return None
    for part in everything_in(thing_of(code, model.receiver)):
        made, home = part.made, part.made_in
        if made is not None and home is not None and made.name == "torch.nn.Embedding":
            index = literal(home, made.argument(2, "padding_idx"))
            if type(index) is int and home is code:
                return made, index
    return None


def _unwrapped(code: Code, value: Value | None) -> Value | None:
    for _ in range(20):
        value, _ = followed(code, value)
        if not isinstance(value, Call) or value.name not in _SAME_POSITIONS:
            return value
        value = value.receiver
    return value


def _rows(code: Code, value: Value | None) -> Name | None:
    """The tensor of which a value is a slice along time: `x` of `x[:, 1:]`."""
    found = _unwrapped(code, value)
    if not isinstance(found, Item) or not isinstance(found.value, Name) or not isinstance(found.key, Group):
        return None
    sliced = all(isinstance(key, Operation) and key.operator == ":" for key in found.key.items)
    return found.value if sliced and found.value.binding != NOWHERE else None


def _collated(code: Code, loader: Call, item: tuple[int, ...], depth: int) -> tuple[Call, int] | None:
    """What the `collate_fn` of a loader gives at a position."""
    thing = thing_of(code, loader.keyword("collate_fn"))
    if thing.function is None or thing.code is not code or len(thing.function.returns) != 1:
        return None
    return padded_from(code, thing.function.returns[0].value, item, depth + 1)
