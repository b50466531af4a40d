"""The order in which a loader goes over its data, as far as code tells it."""

from __future__ import annotations

from stethoscope.facts.code import Call, Code, Constant, Item, Value
from stethoscope.facts.origins import bases, member, thing_of
from stethoscope.facts.things import Thing, followed
from stethoscope.facts.uses import readings_of

ORDERS = ("sampler", "batch_sampler", "shuffle_buffer")


def has_its_own_order(file: Code, data: Value | None) -> bool:
    """Whether a data set decides its order itself, or may."""
    thing: Thing = thing_of(file, data)
    found, _ = followed(file, data)
    if isinstance(found, Call) and found.name.rpartition(".")[2] in ("shuffle", "random_split"):
        return True
    above = bases(thing)
    return any("Iterable" in name or name == "?" for name in above) or _ignores_index(file, thing)


def _ignores_index(file: Code, data: Thing) -> bool:
    """Whether a data set gives what it likes, as a random piece: its `__getitem__` never reads the index."""
    getter = member(file, data, "__getitem__")
    if getter.function is None or getter.code is None or len(getter.function.parameters) < 2:
        return False
    return not readings_of(getter.code, getter.function.parameters[1].binding)


MOST_ROWS = 10_000
"""A batch that is told to have as many rows is meant to hold all of them."""


def takes_all(file: Code, made: Call) -> bool:
    """Whether a batch holds all rows, as far as its size tells: `len(x)`, `x.shape[0]`, a very large number."""
    size, _ = followed(file, made.argument(1, "batch_size"))
    if isinstance(size, Constant) and isinstance(size.value, int):
        return size.value >= MOST_ROWS
    counts = isinstance(size, Call) and size.name in ("builtins.len", ".size", ".numel")
    return counts or (isinstance(size, Item) and file.text(size.at).endswith(".shape[0]"))
