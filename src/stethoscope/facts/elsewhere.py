"""What other files of the project let fail: functions that always end with an error, and data that cannot be read.

from boxes import Boxes         in `boxes.py`, `Boxes.__getitem__` always ends with an error

def train(model, loader):
    for x, y in loader:         is made of `Boxes` by who calls this: no first batch, and no round

What fails in a file is said by `dead_ends`; here it is asked by numbers of functions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Iterator

from stethoscope.facts.code import NOWHERE, At, Binding, Call, Code, Value
from stethoscope.facts.origins import called, given_to, thing_of
from stethoscope.facts.signatures import is_surely_called
from stethoscope.facts.things import Thing, binding_of, iterated

Failing = Callable[[Code], Container[int]]
"""Of a file the functions that always end with an error."""
_MOST_CALLS = 3
"""Functions that hand a loader on to each other."""
_ROUNDS = ("for", "once")
_READ_OTHERWISE = ("__iter__", "__getitems__")
"""Methods by which a loader may read data instead of by `__getitem__`."""


def fails_elsewhere(code: Code, call: Call, failing: Failing) -> bool:
    """Whether a call is that of a function of another file that always ends with an error."""
    if call.receiver is not None or call.name.startswith(("torch.", "builtins.")):
        return False
    thing = called(code, call)
    if thing.function is None or thing.code is None or thing.code is code or thing.function.owner != NOWHERE:
        return False
    is_dead = thing.number in failing(thing.code)
    return is_dead and is_surely_called(code, call, thing.code, thing.function) and not _is_changed(code, thing.code)


def has_no_batches(code: Code, failing: Failing) -> bool:
    """Whether the module itself makes loaders, all of data of which no sample can be read."""
    loaders = code.calls_of("torch.utils.data.DataLoader")
    is_own = bool(loaders) and all(code.function_at(one.context) == 0 for one in loaders)
    return is_own and all(_reads_nothing(code, code, one, failing) for one in loaders)


def loops_without_batches(code: Code, failing: Failing) -> Iterator[At]:
    """What the loops of a file go over that ends with an error when it is asked for its first batch."""
    known: dict[At, bool] = {}
    for binding in code.bindings:
        if binding.how != "for" or binding.value is None or code.contexts[binding.context].kind not in _ROUNDS:
            continue
        at = binding.value.at
        if at not in known:
            known[at] = _has_no_first(code, binding, binding.value, failing)
            if known[at]:
                yield at


def _has_no_first(code: Code, binding: Binding, value: Value, failing: Failing) -> bool:
    source, _ = iterated(code, value, binding.item)
    loaders = _loaders(code, source)
    if not loaders or not all(_is_of_nothing(code, one, failing) for one in loaders):
        return False
    here = code.function_at(binding.context)
    homes = [code.function_at(one.made.context) for one in loaders if one.made is not None and one.made_in is code]
    return homes == [here] * len(loaders) or not is_imported(code)  # else others may give it one that can be read


def _loaders(code: Code, value: Value | None, depth: int = 0) -> list[Thing]:
    """The loaders that a variable may be, by what all calls of the file give; none where that is not known."""
    thing = thing_of(code, value)
    if thing.kind != "loader":
        return []
    if thing.made is not None:
        return [thing]
    binding = binding_of(code, value)
    if binding is None or binding.how != "argument" or depth > _MOST_CALLS:
        return []
    index = code.function_at(binding.context)
    names = [one.name for one in code.functions[index].parameters]
    given = given_to(code, index, names.index(binding.name)) if binding.name in names else []
    found = [_loaders(home, iterated(home, one)[0], depth + 1) for home, one in given]
    return [one for each in found for one in each] if all(found) else []


def _is_of_nothing(code: Code, loader: Thing, failing: Failing) -> bool:
    made, home = loader.made, loader.made_in
    is_plain = made is not None and home is not None and made.name == "torch.utils.data.DataLoader"
    return is_plain and made is not None and home is not None and _reads_nothing(code, home, made, failing)


def _reads_nothing(code: Code, home: Code, loader: Call, failing: Failing) -> bool:
    """Whether a loader that a file makes is of data of which no sample can be read."""
    data = thing_of(home, loader.argument(0, "dataset"))
    if data.cls is None or data.code is None or data.kind == "class":
        return False
    methods = data.cls.methods
    if any(name in methods for name in _READ_OTHERWISE) or "__getitem__" not in methods:
        return False
    is_dead = methods["__getitem__"] in failing(data.code)
    return is_dead and (data.code is code or not _is_changed(code, data.code))


def is_imported(code: Code) -> bool:
    """Whether another file of the project may import this one."""
    name = os.path.splitext(os.path.basename(code.file))[0]
    return _is_said(code, re.compile(rf"^\s*(?:from|import)\b[^\n]*\b{re.escape(name)}\b", re.M), name)


def _is_changed(code: Code, other: Code) -> bool:
    """Whether anything may give another file of the project names from outside: `boxes.device = "cpu"`."""
    name = os.path.splitext(os.path.basename(other.file))[0]
    said = re.escape(name)
    given = re.compile(rf"\b{said}\.\w+\s*=(?!=)|setattr\(\s*(?:\w+\.)*{said}\b|\b{said}\s+as\s")
    return code.matches(given) or _is_said(code, given, name)


def _is_said(code: Code, pattern: re.Pattern[str], word: str) -> bool:
    text = code.linked.anywhere(word)
    return text is None or pattern.search(text) is not None
