"""Layers in a plain list that somebody looks after by hand: they are hidden on purpose, or registered all the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from stethoscope.facts.code import Code, Group
from stethoscope.facts.module_classes import assigned, defines
from stethoscope.facts.origins import lineage
from stethoscope.facts.things import Thing
from stethoscope.rules.carried_layers import LINES_AFTER, TAKEN_OUTSIDE, TEXT, code_lines, is_handed_alone

_REGISTERING = ("__setattr__", "__getattr__", "parameters", "named_parameters", "add_module", "register_module")
"""Methods of a class, or of one that it inherits from, with which it registers layers in its own way."""
_WITHOUT_GRADIENTS = re.compile(r"\b(?:no_grad|inference_mode)\b|\bset_grad_enabled\(\s*(?!True\b)")
_BY_HAND = re.compile(
    r"(?<![\w.])(?!self\.)(\w+)(?:\[[^\]]*\])*\.(?:named_parameters|parameters|load_state_dict|state_dict|eval|requires_grad_)\("
    r"|(?<![\w.])(?!self\.)\w+\.(?:weight|bias)(?:\.data)?\.requires_grad\b"
)
"""What somebody asks of a layer that a local variable holds, as who trains, loads or freezes it himself."""
_IS_WHOLE = re.compile(r"\s*(\w+)\s*=\s*cls\(")
"""A variable that holds the whole module, in a method of the class: `net = cls(width)`."""
_HANDED = re.compile(r"(?<![\w.])self\b(?!\s*\.)")
_SUPER = re.compile(
    r"\bsuper\([\w\s,.]*\)|\bdef \w+\(.*|^\s*self\s*(?:,.*)?$|\b[\w.]*Module\.__init__\(\s*self\s*\)|^\s*self\s*=(?!=)"
)
"""Where `self` is told without being handed to anyone: a base's methods, the head of the constructor, and
`self = self.cuda()`, which gives the module itself.
"""
_SPEAKS_OF_IT = re.compile(
    r"regist|\bhidden\b(?! (?:layer|unit|size|dim|state|channel|width))|\bhid(?:es?|ing)\b"
    r"|on purpose|intention|state_dict|parameters\(|not (?:be )?(?:train|sav|mov)|fro[sz]en?\b|freez|untrained"
    r"|(?:\bnot|n't|never|leaves?|keeps?|stays?|avoid\w*) .*(?:\bcpu|\bgpu|cuda|device|\bhost|optimi[sz]er|checkpoint)",
    re.I,
)
LINES_ABOVE = 3
"""Lines above the one that makes a list, in which a comment on it stands; a longer one right above counts whole."""


def is_kept_by_hand(file: Code, thing: Thing, name: str) -> bool:
    """Whether something tells that layers in a list, dict or tuple are registered all the same, or not to be."""
    if thing.cls is None or defines(thing, name, *_REGISTERING):
        return True
    return (
        _is_explained(file, thing, name)
        or _is_hidden_alone(file, thing, name)
        or _is_taken_in_class(file, thing, name)
        or is_handed_alone(code_lines(file, thing.cls.at), name)
        or _runs_without_gradients(file, thing)
        or _is_taken_elsewhere(file, thing, name)
    )


def is_hidden_on_purpose(file: Code, thing: Thing, name: str) -> bool:
    """Whether a class registers in its own way, or says that a list is to hide its layers: in words, or by its form."""
    return (
        thing.cls is None
        or defines(thing, name, *_REGISTERING)
        or _is_told_above(file, thing, name)
        or _is_hidden_alone(file, thing, name)
    )


def _is_explained(file: Code, thing: Thing, name: str) -> bool:
    """Whether a comment above a line that makes the list speaks of registering, or a class does so by hand."""
    if thing.cls is None or file.matches(re.compile(r"\bregister_parameter\("), thing.cls.at):
        return True
    return _is_told_above(file, thing, name)


def _is_told_above(file: Code, thing: Thing, name: str) -> bool:
    made = [binding.at.line for one, binding in assigned(file, thing) if one == name]
    return any(_SPEAKS_OF_IT.search(line.partition("#")[2]) for n in made for line in _lines_above(file, n))


def _lines_above(file: Code, number: int) -> Sequence[str]:
    """The lines in which a comment on a line stands, with that one: not those of another branch."""
    lines = file.lines[max(0, number - 1 - max(LINES_ABOVE, _comments_above(file, number))) : number]
    others = [place for place, line in enumerate(lines) if re.match(r"\s*(?:else|elif\b.*)\s*:", line)]
    return lines[others[-1] :] if others else lines


def _comments_above(file: Code, number: int) -> int:
    """How many lines right above a line are comments."""
    above = reversed(file.lines[: number - 1])
    return sum(1 for _ in takewhile(lambda line: line.lstrip().startswith("#"), above))


def _is_hidden_alone(file: Code, thing: Thing, name: str) -> bool:
    """Whether a list or tuple holds one layer, which is asked for as `self.net[0]`: a known way to hide it."""
    values = [binding.value for one, binding in assigned(file, thing) if one == name]
    if thing.cls is None or len(values) != 1 or not isinstance(values[0], Group) or len(values[0].items) != 1:
        return False
    said = re.compile(rf"\bself\.{re.escape(name)}\b(?!\[0\])")
    return values[0].kind in ("list", "tuple") and not any(
        said.search(line.partition("#")[0])
        for number, line in enumerate(file.lines[: thing.cls.at.end_line], 1)
        if number >= thing.cls.at.line and number != values[0].at.line
    )


def _is_taken_in_class(file: Code, thing: Thing, name: str) -> bool:
    """Whether a class takes layers out of its list to keep them, hands itself to a function, or looks after them."""
    cls = thing.cls
    if cls is None:
        return False
    said = rf"\bself\.{re.escape(name)}\b"
    kept = re.compile(rf"^\s*self\.(?!{re.escape(name)}\b)[\w.]+[^=(]*=(?!=)(?!.*\blen\(\s*{said}).*{said}")
    asked = re.compile(
        rf"{said}(?:\[[^\]]*\])*\.(?:named_parameters|parameters|load_state_dict|state_dict|eval|requires_grad_)\("
    )
    cut = re.compile(rf"{said}.*\.detach\(|\.detach\(.*{said}")
    taken = re.compile(rf"^\s*[\w\s,]+=(?!=)\s*{said}")
    made = file.functions[cls.methods["__init__"]].at if "__init__" in cls.methods else None
    lines = code_lines(file, cls.at)
    whole = {found.group(1) for line in lines if (found := _IS_WHOLE.match(line))}
    for number, line in enumerate(lines, cls.at.line):
        by_hand = _BY_HAND.search(line)
        if by_hand is not None and by_hand.group(1) not in whole:
            return True
        if kept.search(line) or asked.search(line) or cut.search(line):
            return True
        in_constructor = made is not None and made.line <= number <= made.end_line
        if in_constructor and (taken.search(line) or _HANDED.search(_SUPER.sub("", line))):
            return True
    return False


def _runs_without_gradients(file: Code, thing: Thing) -> bool:
    """Whether a forward pass, or a part of it, runs without gradients."""
    cls = thing.cls
    if cls is None or "forward" not in cls.methods:
        return False
    function = file.functions[cls.methods["forward"]]
    told = any(_WITHOUT_GRADIENTS.search(file.text(one.at)) for one in function.decorators)
    return told or file.matches(_WITHOUT_GRADIENTS, function.at)


def _is_taken_elsewhere(file: Code, thing: Thing, name: str) -> bool:
    """Whether a class that inherits from it names the list, or the file takes it from outside to train or keep it."""
    cls = thing.cls
    if cls is None:
        return False
    said = re.compile(rf"\bself\.{re.escape(name)}\b")
    naming = [n for n, other in enumerate(file.classes) if other is not cls and file.matches(said, other.at)]
    if any(one is cls for n in naming for _, one in lineage(Thing("class", file.classes[n].name, file, n))):
        return True
    outside = re.compile(rf"(?<!\bself)\.{re.escape(name)}\b")
    return any(
        outside.search(TEXT.sub('""', line.partition("#")[0]))
        and any(TAKEN_OUTSIDE.search(one) for one in file.lines[number - 1 : number + LINES_AFTER])
        for number, line in enumerate(file.lines, 1)
        if not cls.at.line <= number <= cls.at.end_line
    )
