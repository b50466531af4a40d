"""Where a variable is read after it was bound, and how often a text says a name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, At, Code, Name
from stethoscope.facts.expressions import values_of
from stethoscope.facts.linked import uncommented
from stethoscope.facts.things import MOST_STEPS


def readings_of(code: Code, number: int) -> list[Name]:
    """The places where a binding is read, also after paths have met, in the order in which they stand."""
    index: dict[int, list[Name]] | None = code.memo.get("readings")
    if index is None:
        index = {}
        for value in values_of(code):
            if type(value) is Name and value.binding != NOWHERE:
                merged = code.bindings[value.binding].how == "merge"
                for one in _behind(code, value.binding) if merged else (value.binding,):
                    index.setdefault(one, []).append(value)
        code.memo["readings"] = index
    return sorted(index.get(number, ()), key=lambda name: name.at)


def _behind(code: Code, number: int) -> set[int]:
    """A binding and, of a merge, all that meet in it."""
    found: set[int] = set()
    waiting = [number]
    while waiting and len(found) < MOST_STEPS:
        number = waiting.pop()
        if number not in found and number != NOWHERE:
            found.add(number)
            binding = code.bindings[number]
            waiting += binding.options if binding.how == "merge" else ()
    return found


def times_said(code: Code, name: str, at: At | None = None) -> int:
    """How often a word, or a dotted name, stands in the text or a stretch of it; comments do not count. As a part of a
    longer name it counts where that begins with it: `self.fc.weight` says `self.fc`.
    """
    known: dict[At | None, str] = code.memo.setdefault("said", {})
    if at not in known:
        known[at] = code.uncommented() if at is None else uncommented(code.lines[at.line - 1 : at.end_line])
    return sum(1 for _ in _places(known[at], name))


def _places(text: str, name: str) -> Iterator[int]:
    """Where a text says a name. To look for its letters takes a small part of what a list of all names does."""
    start = text.find(name)
    while start >= 0:
        end = start + len(name)
        before, behind = text[start - 1 : start] if start else "", text[end : end + 1]
        if before != "." and not _continues(before) and not _continues(behind):
            yield start
        start = text.find(name, end)


def _continues(character: str) -> bool:
    return character == "_" or character.isalnum()


def times_ended(code: Code, name: str) -> int:
    """How often an attribute of this name stands in the text, of whatever it is one: `self.fc`, `net.fc`."""
    return sum(1 for _ in re.finditer(rf"\.{re.escape(name)}\b", code.uncommented()))
