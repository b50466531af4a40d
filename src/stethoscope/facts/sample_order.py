"""The order in which a loader goes over its data, as far as code tells it."""

from __future__ import annotations

import re

from stethoscope.facts.code import At, Call, Code, Constant, Item, Value
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


def draws_its_samples(file: Code, data: Value | None) -> bool:
    """Whether a data set goes by no index, or only in one of two ways, by its own options, and draws in the other."""
    getter = member(file, thing_of(file, data), "__getitem__")
    if getter.function is None or getter.code is None or len(getter.function.parameters) < 2:
        return False
    home, function = getter.code, getter.function
    drawn = {call.at.line for call in home.calls[slice(*function.calls)] if _DRAWS.fullmatch(call.name)}
    pairs = [
        _both_ways(home, one.at) for one in home.contexts
        if one.kind == "else" and one.value is not None and "self." in home.text(one.value.at)
        and function.context in home.numbers_around(one.parent)
    ]  # fmt: skip
    beside = [*pairs, *((second, first) for first, second in pairs)]
    choosing = [way for way, other in beside if any(line in other for line in drawn)]
    index = re.compile(rf"\b{re.escape(function.parameters[1].name)}\b")
    body = enumerate(home.lines[function.at.line : function.at.end_line], start=function.at.line + 1)
    used = [number for number, line in body if index.search(line.partition("#")[0])]
    return all(any(number in way for way in choosing) for number in used)


_DRAWS = re.compile(r"random\.\w+|numpy\.random\.\w+|torch\.(?:rand\w*|multinomial)")


def _both_ways(file: Code, at: At) -> tuple[range, range]:
    """The lines of an `if`, and of what is run in its place."""
    other = re.compile(rf"\s{{{at.column}}}(?:else|elif)\b")
    lines = range(at.line + 1, at.end_line + 1)
    middle = next((line for line in lines if other.match(file.lines[line - 1])), at.end_line)
    return range(at.line + 1, middle), range(middle, at.end_line + 1)


MOST_ROWS = 10_000
"""A batch that is told to have as many rows is meant to hold all of them."""


def takes_all(file: Code, made: Call) -> bool:
    """Whether a batch holds all rows, as far as its size tells: `len(x)`, `x.shape[0]`, a very large number."""
    size, _ = followed(file, made.argument(1, "batch_size"))
    if isinstance(size, Constant) and isinstance(size.value, int):
        return size.value >= MOST_ROWS
    counts = isinstance(size, Call) and size.name in ("builtins.len", ".size", ".numel")
    return counts or (isinstance(size, Item) and file.text(size.at).endswith(".shape[0]"))
