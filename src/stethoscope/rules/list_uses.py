"""Where a class does with its list of layers what a `ModuleList` cannot do: the repair has to change that as well."""

from __future__ import annotations

import re

from stethoscope.facts.code import At, Code
from stethoscope.facts.things import Thing
from stethoscope.rules.carried_layers import carried_by, code_lines

_KINDS = r"\b(?:list|tuple|dict|List|Sequence)\b"


def asks_for_list(file: Code, thing: Thing, name: str) -> At | None:
    """The first line that wants a plain list, or dict, where an attribute holds one: `isinstance(self.fc, list)`,
    `self.layers.sort()`, `self.layers[1:] = ...`, `[first] + self.layers`.
    """
    cls = thing.cls
    lines = code_lines(file)
    inside = range(cls.at.line, cls.at.end_line + 1) if cls is not None else range(0)
    of_list, of_any = _patterns(name), re.compile(rf"\bisinstance\(\s*{_own(lines, inside, name)}\s*,[^)]*{_KINDS}")
    for number, line in enumerate(lines, start=1):
        if of_list.search(line) or (number in inside and of_any.search(line)):
            return At(number, 0, number, 0)
    return None


def _own(lines: tuple[str, ...], inside: range, name: str) -> str:
    """What names the list in its class."""
    return carried_by(lines[inside.start - 1 : inside.stop - 1], name) if inside else "(?!)"


def _patterns(name: str) -> re.Pattern[str]:
    said = rf"\b[A-Za-z_]\w*\.{re.escape(name)}\b"
    return re.compile(
        rf"\bisinstance\(\s*{said}\s*,[^)]*{_KINDS}"
        rf"|\btype\(\s*{said}\s*\)\s*(?:is|==|!=|in)\b"
        rf"|{said}\.(?:sort|remove|index|count|reverse|copy|clear)\("
        rf"|{said}\[[^\]]*:[^\]]*\]\s*=(?!=)"
        rf"|[\w\])]\s*\+\s*{said}(?!\s*[\[(.])"
        rf"|{said}\s*(?:\*|==)\s*[\w\[]"
    )
