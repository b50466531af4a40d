"""Whether of scores only their order is asked for: which of them are the largest, and not how large."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.facts.code import Attribute, Call, Code, Constant, Item, Value
from stethoscope.facts.expressions import values_of
from stethoscope.facts.uses import readings_of

_PLACES = (".argmax", "torch.argmax", ".argmin", "torch.argmin", ".argsort", "torch.argsort")
"""What gives places only."""
_PAIRS = (".max", "torch.max", ".min", "torch.min", ".topk", "torch.topk", ".sort", "torch.sort")
"""What gives scores and, behind them, their places."""


def is_ranked_only(code: Code, scores: Call) -> bool:
    """Whether of what a call gives the places of the largest are asked for, and nothing else: a function that keeps
    their order, as a softmax does, leaves those the same.
    """
    ranked: list[Value] | None = code.memo.get("ranked")
    if ranked is None:
        ranked = code.memo["ranked"] = list(_ranked(code))
    if any(one is scores for one in ranked):
        return True
    for number, binding in enumerate(code.bindings):
        if binding.value is scores and binding.how == "assign" and not binding.item and "." not in binding.name:
            readings = readings_of(code, number)
            return bool(readings) and all(any(one is reading for one in ranked) for reading in readings)
    return False


def _ranked(code: Code) -> Iterator[Value]:
    """The scores of which only the order is taken, as they are given."""
    for call in code.calls_of(*_PLACES):
        yield from _given(call)
    pairs = code.calls_of(*_PAIRS)
    if not pairs:
        return
    taken = {
        value.value.number
        for value in values_of(code)
        if (isinstance(value, Item) and isinstance(value.key, Constant) and value.key.value in (1, -1))
        or (isinstance(value, Attribute) and value.name == "indices")
        if isinstance(value.value, Call)
    }
    for call in pairs:
        if call.number in taken or _first_is_unread(code, call):
            yield from _given(call)


def _given(call: Call) -> Iterator[Value]:
    given = call.argument(0, "input") if call.receiver is None else call.receiver
    if given is not None:
        yield given


def _first_is_unread(code: Code, pair: Call) -> bool:
    """Whether both are unpacked, and the scores are left: `_, answers = scores.max(1)`."""
    parts = {binding.item: number for number, binding in enumerate(code.bindings) if binding.value is pair}
    if parts.keys() != {(0,), (1,)} or "." in code.bindings[parts[(0,)]].name:
        return False
    return not readings_of(code, parts[(0,)])
