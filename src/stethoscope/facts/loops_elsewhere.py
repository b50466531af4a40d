"""Training loops of imported files that go over what this file hands them: `train_one_epoch(model, loader)`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Constant, Function, Item, Name, Value
from stethoscope.facts.dicts import handed_in
from stethoscope.facts.loops import Loop
from stethoscope.facts.origins import called, lineage, thing_of
from stethoscope.facts.rounds import rounds_of
from stethoscope.facts.things import followed, iterated, literal

DEEPEST = 4
"""Parameters and attributes that are followed from a loop to the function that is called from outside, at most."""


class Handed(NamedTuple):
    """A loop of another file, and what a call of this file gives it to go over."""

    loop: Loop
    call: Call
    value: Value


class _Way(NamedTuple):
    """A parameter through which a loop gets its batches."""

    function: int
    place: int
    key: str = ""
    """Of a dict of loaders, the one that the loop goes over."""


def loops_elsewhere(file: Code) -> Iterator[Handed]:
    """The training loops of imported files, each with every call of this file that hands over what it goes over."""
    for other in file.linked.saying("optim", ".backward("):
        for loop in rounds_of(other):
            if loop.is_loop:
                ways = dict.fromkeys(_ways_in(other, loop))
                yield from _by_parameters(file, loop, ways) if ways else _by_the_loader(file, loop)


def _by_parameters(file: Code, loop: Loop, ways: Iterable[_Way]) -> Iterator[Handed]:
    for index, place, key in ways:
        function = loop.code.functions[index]
        for call in _calls_of(file, loop.code, index):
            value = call.argument(place - (function.owner != NOWHERE), function.parameters[place].name)
            if value is not None:
                held = Item(value, Constant(key, call.at), call.at) if key else value
                yield Handed(loop, call, held)


def _by_the_loader(file: Code, loop: Loop) -> Iterator[Handed]:
    """Through something of the project's own, as `Prefetcher(loader)`: the one loader that the function is given."""
    for call in _calls_of(file, loop.code, loop.function):
        given = [*call.arguments, *(one for key, one in call.keywords if key)]
        loaders = [one for one in given if thing_of(file, one).kind == "loader"]
        if len(loaders) == 1:
            yield Handed(loop, call, loaders[0])


def _ways_in(code: Code, loop: Loop) -> Iterator[_Way]:
    source, _ = iterated(code, code.contexts[loop.context].value)
    # `zip(loader, other)`, and what goes over a loader for the loop: `logger.log_every(loader, 10)`.
    for one in source.arguments if isinstance(source, Call) else (source,):
        found, _ = iterated(code, one)
        key = literal(code, found.key) if isinstance(found, Item) else ""
        whole = found.value if isinstance(found, Item) else found
        if isinstance(key, str):
            yield from (way._replace(key=key) for way in _ways(code, whole))


def _ways(code: Code, value: Value | None, depth: int = 0) -> Iterator[_Way]:
    found, _ = followed(code, value)
    if depth > DEEPEST:
        return
    if isinstance(found, Name) and found.binding != NOWHERE and code.bindings[found.binding].how == "argument":
        index = code.function_at(code.bindings[found.binding].context)
        place = _place(code.functions[index], found.binding)
        if place != NOWHERE:
            yield _Way(index, place)
            for home, one in handed_in(code, found.binding):
                yield from _ways(home, one, depth + 1)
    elif isinstance(found, Attribute):
        for home, cls in lineage(thing_of(code, found.value)):
            for number in cls.attributes.get(found.name, ()) if home is code else ():
                yield from _ways(code, code.bindings[number].value, depth + 1)


def _place(function: Function, binding: int) -> int:
    return next((i for i, one in enumerate(function.parameters) if one.binding == binding), NOWHERE)


def _calls_of(file: Code, other: Code, index: int) -> Iterator[Call]:
    """The calls of this file of a function of another one; of a class where it is the one that makes its objects."""
    function = other.functions[index]
    makes = function.owner != NOWHERE and function.name == "__init__"
    name = other.classes[function.owner].name if makes else function.name
    for call in file.calls:
        said = call.receiver.name if call.name == "()" and isinstance(call.receiver, Name) else call.name
        if said.rpartition(".")[2] == name:
            callee = called(file, call)
            is_it = callee.kind == "class" and callee.number == function.owner if makes else callee.number == index
            if callee.code is other and is_it:
                yield call


def method_calls(file: Code, loop: Loop) -> Iterator[Call]:
    """The calls of this file of the method in which a loop of another file stands."""
    function = loop.code.functions[loop.function]
    if function.owner != NOWHERE:
        yield from _calls_of(file, loop.code, loop.function)
