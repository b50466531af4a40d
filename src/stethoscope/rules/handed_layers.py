"""What a class does with a plain list of its layers that leaves them where they are: it hands the list to a function
that only goes over it, and freezes the first of its layers by their numbers.

def bank(x, layers):                                    the function calls them, and keeps none
    return torch.cat([layer(x) for layer in layers])

for i in range(self.frozen_stages):                     not all of them: the others are to be trained
    for parameter in self.stages[i].parameters():
        parameter.requires_grad = False
"""

from __future__ import annotations

import re

from stethoscope.facts.code import Code
from stethoscope.facts.module_classes import attribute_of
from stethoscope.facts.origins import called
from stethoscope.facts.things import Thing
from stethoscope.rules.carried_layers import TAKEN_OUTSIDE, block, code_lines

_STEPS_OVER = re.compile(r"^\s*for\s+(\w+)\s+in\s+range\((.*)\)\s*:")
_BOUNDED = re.compile(r"^\s*if\b.*(?:fro[sz]en|freez|\bfix)\w*.*[<>].*:\s*$", re.I)
"""A condition on the number of a layer that tells which are frozen."""
_FREEZES = re.compile(r"fro[sz]en|freez|\bfix", re.I)
_KEEPS = re.compile(r"\.(?:append|extend|add|update)\(|\bglobal\b|^\s*\w+(?:\.\w+|\[[^\]]*\])\s*=(?!=)")


def lines_that_leave_it(file: Code, thing: Thing, name: str) -> frozenset[int]:
    """The lines of a class, counted from its first, in which its list is only handed to what goes over it, or the first
    of its layers are frozen.
    """
    if thing.cls is None:
        return frozenset()
    return frozenset(_handing(file, thing, name) | freezing_some(file, thing, name))


def _handing(file: Code, thing: Thing, name: str) -> set[int]:
    cls = thing.cls
    found: set[int] = set()
    for call in file.calls if cls is not None else ():
        if cls is None or not cls.at.line <= call.at.line <= cls.at.end_line:
            continue
        given = (*call.arguments, *(one for _, one in call.keywords))
        mine = [one for one in given if attribute_of(file, one) == name]
        callee = called(file, call) if mine else None
        if callee is None or callee.function is None or callee.code is None or callee.kind != "function":
            continue
        body = code_lines(callee.code, callee.function.at)[1:]
        if not any(TAKEN_OUTSIDE.search(line) or _KEEPS.search(line) for line in body if name_free(line)):
            found |= {one.at.line - cls.at.line for one in mine}
    return found


def name_free(line: str) -> bool:
    """Whether a line does more than collect answers: `outs.append(layer(x))`."""
    return re.search(r"\.append\(\s*\w+\s*(?:\([^()]*\))?\s*\)", line) is None


def freezing_some(file: Code, thing: Thing, name: str) -> set[int]:
    """The lines of a loop over numbers, which other numbers bound than that of the list, that freezes layers of it, or
    what stands under a condition on these numbers in a loop over the list.
    """
    cls = thing.cls
    lines = code_lines(file, cls.at) if cls is not None else ()
    said = re.compile(rf"\bself\.{re.escape(name)}\[")
    found: set[int] = set()
    over = re.compile(rf"^\s*for\b.*\bin\b.*\bself\.{re.escape(name)}\b")
    for number, line in enumerate(lines):
        if over.match(line):
            bounded = (one for one in block(lines, number) if _BOUNDED.match(lines[one]))
            found |= {inner for one in bounded for inner in block(lines, one)}
        head = _STEPS_OVER.match(line)
        if head is None or not _FREEZES.search(head.group(2)) or f"len(self.{name})" in head.group(2):
            continue
        inside = set(block(lines, number))
        if any(said.search(lines[one]) for one in inside):
            found |= inside
    return found
