"""What stands in the loop around a training that goes over its data again: something that is not seen may tell its
sampler the epoch or change its data, or each round is a training of its own, or there is only one. And whether a file
tells a sampler the epoch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Name, Value
from stethoscope.facts.events import name_of
from stethoscope.facts.expressions import names_in
from stethoscope.facts.linked import uncommented
from stethoscope.facts.loops import Loop
from stethoscope.facts.origins import call_sites, called, lineage, thing_of
from stethoscope.facts.things import Thing, iterated, literal
from stethoscope.facts.tried import is_trial

MOST_CALLERS = 2
"""Functions that are followed from a training loop to the loop around it, at most."""
_LIBRARIES = ("builtins.", "tqdm", "torch.", "numpy.", "time.", "itertools.", "rich.", "logging.", "math.")
"""Libraries that tell no sampler anything."""


def is_told_or_done_otherwise(file: Code, loop: Loop, sampler: Call) -> bool:
    """Whether the loops around a training, as far as this file shows them, are no plain epochs over the same data."""
    if loop.code is not file:
        return False
    outer = list(_loops_around(file, loop.context, loop.function))
    if not outer:
        return False
    if all(_is_one_round(file, number) for number in outer):
        return True
    passes = [event.subject for event in loop.of("backward") if event.code is file and not event.via]
    if any(is_trial(file, number, passes) for number in outer):
        return True
    steps = [event.thing.made for event in loop.of("step") if event.thing.made is not None]
    if any(number in file.numbers_around(made.context) for number in outer[:1] for made in steps):
        return True
    names = {one.name for one in file.bindings if one.value is sampler} | _of_loader(file, loop)
    data = name_of(file, sampler.argument(0, "dataset"))
    is_here = any(one is sampler for one in file.calls)
    if is_here and _draws_samples(file, sampler.argument(0, "dataset")):
        return True
    return any(_may_tell(file, number, loop, names, data) for number in outer)


def _loops_around(file: Code, context: int, function: int, depth: int = 0) -> Iterator[int]:
    """The loops around a training, of its own function or of those that call it, the innermost first."""
    found = [one for one in file.numbers_around(context) if file.function_at(one) == function]
    loops = [one for one in found if file.contexts[one].kind in ("for", "while") and one != context]
    yield from loops
    if not loops and depth < MOST_CALLERS:
        for call in call_sites(file, function):
            yield from _loops_around(file, call.context, file.function_at(call.context), depth + 1)


def _is_one_round(file: Code, number: int) -> bool:
    """Whether a loop is `for epoch in range(1)`."""
    source, _ = iterated(file, file.contexts[number].value)
    is_range = isinstance(source, Call) and source.name == "builtins.range" and len(source.arguments) == 1
    return is_range and isinstance(source, Call) and literal(file, source.arguments[0]) == 1


def _of_loader(file: Code, loop: Loop) -> set[str]:
    """How the loader of a loop is written."""
    source, _ = iterated(file, file.contexts[loop.context].value)
    written = {one.name for one in names_in(file.contexts[loop.context].value)}
    written |= {one.name for one in file.bindings if source is not None and one.value is source}
    return written | ({name_of(file, source)} if isinstance(source, Name | Attribute) else set())


def _may_tell(file: Code, outer: int, loop: Loop, names: set[str], data: str) -> bool:
    """Whether a call of something that is not seen is given the number of the round, and the sampler, the loader or the
    data with it; or the data are asked to change.
    """
    head = file.contexts[outer].at.line
    rounds = {one.name for one in file.bindings if one.how == "for" and one.at.line == head}
    if data and any(one.name.startswith(f"{data}.") and outer in file.numbers_around(one.context)
                    for one in file.bindings):  # fmt: skip
        return True  # `data.indices = torch.randperm(n)`
    for call in file.calls:
        around = set(file.numbers_around(call.context))
        if outer not in around or loop.context in around or call.name.startswith(_LIBRARIES):
            continue
        given = [*call.arguments, *(value for _, value in call.keywords)]
        counts = any(one.name in rounds for value in given for one in names_in(value))
        owner = name_of(file, call.receiver) if call.name != "()" else ""
        if data and owner in (data, *(f"{name}.dataset" for name in names)):
            return True  # `data.shuffle()`
        if counts and owner == "self" and any(name.startswith("self.") for name in names) and _is_hook(file, call):
            return True
        is_given = any(_stands_in(file, value, {*names, data} - {""}) for value in (*given, call.receiver))
        if counts and is_given and called(file, call).kind in ("unknown", "imported"):
            return True
    return False


def _draws_samples(file: Code, data: Value | None) -> bool:
    """Whether a data set of the project gives samples that do not hang on the number that is asked for."""
    for home, cls in lineage(thing_of(file, data)):
        index = cls.methods.get("__getitem__")
        if index is not None:
            function = home.functions[index]
            asked = function.parameters[1].name if len(function.parameters) == 2 else "index"
            body = "\n".join(home.lines[function.at.line : function.at.end_line])
            return re.search(rf"\b{re.escape(asked)}\b", body) is None
    return False


def _is_hook(file: Code, call: Call) -> bool:
    """Whether a method of an object that holds the loader is for others to fill in: it is not seen, or does nothing."""
    callee = called(file, call)
    if callee.function is None:
        return callee.kind in ("unknown", "imported")
    first, last = callee.function.calls
    return first == last and not _binds(callee)


def _binds(callee: Thing) -> bool:
    """Whether a function binds anything besides its parameters."""
    if callee.code is None or callee.function is None:
        return False
    first, last = callee.function.bindings
    return any(one.how != "argument" for one in callee.code.bindings[first:last])


def _stands_in(file: Code, value: Value | None, names: set[str]) -> bool:
    text = name_of(file, value)
    return (
        text in names
        or any(text.startswith(f"{name}.") for name in names)
        or any(one.name in names for one in names_in(value) if one.binding != NOWHERE)
    )


_TELLS = re.compile(
    r"(?<!['\"])(?<!\bdef )set_epoch|getattr\([^)]*set_epoch"
    r"|(?i:sampler)\w*(?:\[[^\]]*\])?\.(?:epoch|seed)\s*[-+]?=(?!=)|=\s*['\"]set_epoch|setattr\([^)]*['\"]epoch['\"]"
    r"|setup_dataloaders\(|(?i:accelerator)\w*\.prepare\w*\("
)
"""A call of that name, and neither its definition nor the question whether there is one, as in
`hasattr(sampler, "set_epoch")`; the number or the seed is set; or Fabric or Accelerate goes over the loader, and tells
it by itself.
"""
_DOCUMENTATION = re.compile(r"^[ \t]*[rRuU]?(\"\"\"|''')[\s\S]*?\1", re.M)
_WORDS = ("set_epoch", ".epoch", ".seed", "setattr(", "setup_dataloaders(", ".prepare")
"""One of these stands in each text in which that is found."""


def is_told_in(file: Code) -> bool:
    """Whether a sampler is told the epoch in a file, or in one that it imports."""
    found = file.linked.saying(*_WORDS) if file.linked.match(_TELLS, *_WORDS) else ()
    return _tells(file) or any(_tells(other) for other in found)


def _tells(file: Code) -> bool:
    """Whether a file tells a sampler the epoch, outside of documentation, and of a class that defines `set_epoch`."""
    if not (file.says(*_WORDS) and file.matches(_TELLS)):
        return False
    text = uncommented(_DOCUMENTATION.sub("", "\n".join(file.lines)).split("\n"))
    if any("set_epoch" in cls.methods for cls in file.classes):
        text = text.replace("self.set_epoch(", "")
    return _TELLS.search(text) is not None
