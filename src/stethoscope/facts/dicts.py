"""What a dict holds behind its keys: written out, put in by a key, or made by a comprehension."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.facts.code import NOWHERE, Attribute, Binding, Call, Code, Each, Group, Name, Value
from stethoscope.facts.origins import called, given_to, lineage, thing_of
from stethoscope.facts.things import followed, literal
from stethoscope.facts.ways import ways_behind

DEEPEST = 6
"""Variables, calls and parameters that are followed from a dict's name to where it is filled, at most."""
_KEY = re.compile(r"""\[\s*['"]([^'"]+)['"]\s*\]\s*$""")


class Entry(NamedTuple):
    """A value in a dict."""

    key: object
    """None where it is not known."""
    code: Code
    value: Value
    order: int
    """How many calls of the file come before it was put in; NOWHERE where it was there from the begin."""


def entries_of(code: Code, value: Value | None, depth: int = 0) -> list[Entry]:
    """What a dict holds, as far as it is known: in the order of the text, what was put in later at the end."""
    found, way = followed(code, value)
    if depth > DEEPEST or found is None:
        return []
    held = [
        *_written(code, found),
        *(one for home, it in _behind(code, found) for one in entries_of(home, it, depth + 1)),
    ]
    names = {one.name: code.function_at(one.context) for one in way}
    if isinstance(found, Name) and found.binding != NOWHERE:
        names[found.name] = code.function_at(code.bindings[found.binding].context)
    return [*held, *(one for name, function in names.items() for one in _put(code, name, function))]


def _written(code: Code, found: Value) -> Iterator[Entry]:
    if isinstance(found, Call) and found.name == "builtins.dict":
        yield from (Entry(key, code, one, NOWHERE) for key, one in found.keywords if key)
    elif isinstance(found, Group) and found.kind == "dict":
        pairs = zip(found.keys, found.items, strict=False)
        yield from (Entry(literal(code, key), code, one, NOWHERE) for key, one in pairs if key is not None)
    elif isinstance(found, Each) and found.kind == "dict":
        yield Entry(None, code, found.element, NOWHERE)


def _put(code: Code, name: str, function: int) -> Iterator[Entry]:
    """What a function puts into a variable of its own: `loaders["train"] = loader`."""
    for binding in _puts(code).get(f"{name}[]", ()):
        if code.function_at(binding.context) == function and binding.value is not None and not binding.item:
            yield _entry(code, binding, binding.value)


def _puts(code: Code) -> dict[str, list[Binding]]:
    known: dict[str, list[Binding]] | None = code.memo.get("puts")
    if known is None:
        known = code.memo["puts"] = {}
        for binding in code.bindings:
            if binding.how == "assign" and binding.name.endswith("[]"):
                known.setdefault(binding.name, []).append(binding)
    return known


def _entry(code: Code, binding: Binding, value: Value) -> Entry:
    key = _KEY.search(code.text(binding.at))
    return Entry(key.group(1) if key else None, code, value, binding.order)


def _behind(code: Code, found: Value) -> Iterator[tuple[Code, Value]]:
    """The expressions that a dict may be: of an attribute, a parameter, a branch, or what a function gives."""
    if isinstance(found, Attribute):
        for home, cls in lineage(thing_of(code, found.value)):
            for number in cls.attributes.get(found.name, ()):
                binding = home.bindings[number]
                if binding.how == "assign" and not binding.item and binding.value is not None:
                    yield home, Name(binding.name, number, binding.at)
    elif isinstance(found, Call):
        callee = called(code, found)
        if callee.code is not None:
            yield from ((callee.code, one.value) for one in ways_behind(code, found, callee))
    elif isinstance(found, Name) and found.binding != NOWHERE:
        binding = code.bindings[found.binding]
        yield from ((code, Name(found.name, one, found.at)) for one in binding.options)
        if binding.how == "argument":
            yield from handed_in(code, found.binding)


def handed_in(code: Code, number: int) -> list[tuple[Code, Value]]:
    """What the calls of this file give a parameter."""
    index = code.function_at(code.bindings[number].context)
    parameters = code.functions[index].parameters
    place = next((i for i, one in enumerate(parameters) if one.binding == number), NOWHERE)
    return [(home, one) for home, one in given_to(code, index, place) if home is code] if place != NOWHERE else []
