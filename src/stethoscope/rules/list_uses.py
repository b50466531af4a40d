"""What is done with a list of layers: what a `ModuleList` cannot do, so that the repair has to change that as well, and
what only chooses from it.
"""

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


def chooses_from_list(file: Code, line: str, name: str) -> bool:
    """Whether a line gives the list to a function of the file that does nothing but choose from what it is given:
    `layers = dropped(self.layers, rate)`.
    """
    given = re.match(rf"\s*[A-Za-z_]\w*\s*=\s*(\w+)\(\s*self\.{re.escape(name)}\s*(?:,[^()]*)?\)\s*$", line)
    if given is None:
        return False
    named = [one for one in file.functions[1:] if one.name == given.group(1)]
    if len(named) != 1 or not named[0].parameters:
        return False
    layers = named[0].parameters[0].name
    _, *lines = code_lines(file, named[0].at)
    used = [line for line in lines if re.search(rf"\b{layers}\b", line)]
    allowed = re.compile(_CHOOSING.format(layers))
    return bool(used) and all(allowed.match(line) for line in used) and not any(map(_CHANGING.search, lines))


_CHOOSING = (
    r"\s*(?:return {0}|\w+\s*=\s*len\({0}\)|(?:return |\w+\s*=\s*)\[\s*(\w+) for \(?[\w\s,]+\)? in"
    r" (?:zip|enumerate|reversed)?\(?{0}\b[^:]*\])\s*$"
)
"""Lines with a list that only count it, choose from it or give it back."""
_CHANGING = re.compile(
    r"Sequential|Module(?:List|Dict)|add_module|register|setattr|parameters\(|optim|requires_grad|\.append\(|\bself\b"
    r"|\bglobal "
)
"""What registers or keeps layers."""
