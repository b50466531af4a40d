"""Where a variable is read after it was bound, and how often a text says a name."""

from __future__ import annotations

import re
from collections import Counter

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
            if isinstance(value, Name) and value.binding != NOWHERE:
                for one in _behind(code, value.binding):
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


_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*(?:\.\w+)*")


def times_said(code: Code, name: str, at: At | None = None) -> int:
    """How often a word, or a dotted name, stands in the text or a stretch of it; comments do not count."""
    stretch = (0, len(code.lines)) if at is None else (at.line - 1, at.end_line)
    known: dict[tuple[int, int], Counter[str]] = code.memo.setdefault("times said", {})
    if stretch not in known:
        known[stretch] = _counted(uncommented(code.lines[slice(*stretch)]))
    return known[stretch][name]


def times_ended(code: Code, name: str) -> int:
    """How often an attribute of this name stands in the text, of whatever it is one: `self.fc`, `net.fc`."""
    known: Counter[str] = code.memo.get("times ended") or Counter(_LAST.findall(code.uncommented()))
    code.memo["times ended"] = known
    return known[name]


_LAST = re.compile(r"\.([^\W\d]\w*)")


def _counted(text: str) -> Counter[str]:
    """How often a text says each name: `self.fc.weight` says `self.fc` and `self`, too."""
    said = Counter(_NAME.findall(text))
    for name, times in list(said.items()):
        while "." in name:
            name = name.rpartition(".")[0]
            said[name] += times
    return said
