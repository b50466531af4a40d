"""Rows that source code fills up to one length, followed from where they are filled to where they are used."""

from __future__ import annotations

from stethoscope.facts.code import NOWHERE, Call, Code, Group, Item, Name, Operation, Value
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


def _collated(code: Code, loader: Call, item: tuple[int, ...], depth: int) -> tuple[Call, int] | None:
    """What the `collate_fn` of a loader gives at a position."""
    thing = thing_of(code, loader.keyword("collate_fn"))
    if thing.function is None or thing.code is not code or len(thing.function.returns) != 1:
        return None
    return padded_from(code, thing.function.returns[0].value, item, depth + 1)
