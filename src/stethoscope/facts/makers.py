"""The calls that may have made a loader or a sampler: through variables, branches, attributes and functions.

A function is followed with what its call gives it: `load(data, spread=False)` never comes to what stands there under
`if spread:`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from stethoscope.facts.code import NOWHERE, Attribute, Call, Choice, Code, Each, Group, Item, Name, Value
from stethoscope.facts.dicts import entries_of, handed_in
from stethoscope.facts.origins import called, lineage, part_of, thing_of
from stethoscope.facts.things import Thing, followed, iterated, literal
from stethoscope.facts.ways import NOTHING_GIVEN, UNTOLD, Given, comes_to, given_by, truth, ways_of

DEEPEST = 8
"""Variables that are followed from one value to the call that made it, at most."""
_SAMPLERS = ("torch.utils.data.DistributedSampler", "torch.utils.data.RandomSampler", "torch.utils.data.BatchSampler")


class Maker(NamedTuple):
    """A call that may have made something."""

    code: Code
    """The file that it stands in: the loop's own, or one of its project."""
    call: Call
    given: Given = NOTHING_GIVEN
    """What the functions are given through which it was found."""


_Way = tuple[Code, Value, Given]
"""A value, its file, and what is given to the functions that lead to it."""


def is_loader(file: Code, call: Call) -> bool:
    """Whether a call makes a loader, by what it makes, or by its name and what it is given."""
    if thing_of(file, call).kind == "loader":
        return True
    is_given = call.keyword("sampler") is not None or call.keyword("batch_sampler") is not None
    name = call.receiver.name if call.name == "()" and isinstance(call.receiver, Name) else call.name
    return is_given and _LOADER.search(name) is not None


_LOADER = re.compile(r"(?:^|[._])(?:[A-Z]\w*[lL]oader|Loader)\w*$")


def calls_behind(file: Code, value: Value | None, given: Given = NOTHING_GIVEN, depth: int = 0) -> list[Maker]:
    """The calls that may have made a value: one on each of the ways that meet in it, or that hand it over."""
    found, _ = followed(file, value)
    if depth > DEEPEST or found is None:
        return []
    if isinstance(found, Call):
        callee = called(file, found)
        inner = _given_by(file, found, callee, given)
        made = thing_of(file, found)  # what a function of the project gives was made in that function
        if made.kind == "loader" and made.made is not None and made.made is not found:
            return _where_made(made, inner)
        return _given_back(callee, inner, depth) or [Maker(file, found, given)]
    options: list[_Way] = [(file, one, given) for one in _taken(file, found, given)]
    if isinstance(found, Each) and found.kind == "generator":
        options = [(file, found.source, given)]  # `(Batch(x) for x in loader)`, which goes over it once
    if isinstance(found, Attribute):
        made = thing_of(file, found)
        if made.made is not None:
            return _where_made(made, given)
        options = _attribute_values(file, found, given)
    if isinstance(found, Item):
        key = literal(file, found.key)
        held = entries_of(file, found.value)
        options = [(one.code, one.value, given) for one in held if not isinstance(key, str) or one.key in (key, None)]
    if isinstance(found, Name) and found.binding != NOWHERE:
        binding = file.bindings[found.binding]
        if binding.how == "argument":
            options = [(home, one, given) for home, one in handed_in(file, found.binding)]
        elif binding.how == "assign" and binding.item:
            made = part_of(file, binding.value, binding.item)
            if made.made is not None:
                return _where_made(made, _given_in(file, binding.value, given))
            options = _returned(file, binding.value, binding.item, given)
        reached = (one for one in binding.options if _may_run(file, file.bindings[one].context, given))
        options += [(file, Name(found.name, one, found.at), given) for one in reached]
    return [one for home, way, told in options for one in calls_behind(home, way, told, depth + 1)]


def _given_back(callee: Thing, given: Given, depth: int) -> list[Maker]:
    """The loaders, or samplers, that a function of the project gives, on each of its ways."""
    home = callee.code
    if callee.function is None or home is None:
        return []
    ways = [one.value for one in ways_of(callee, given) if _may_run(home, one.context, given)]
    made = [one for way in ways for one in calls_behind(home, way, given, depth + 1)]
    return [one for one in made if is_loader(one.code, one.call) or one.call.name.startswith(_SAMPLERS)]


def _taken(file: Code, value: Value, given: Given) -> tuple[Value, ...]:
    """What a choice may give: `DistributedSampler(data) if distributed else None` is None where that is known."""
    if not isinstance(value, Choice):
        return ()
    known = _known(file, value.condition, given) if len(value.options) == 2 else None
    return value.options if known is None else value.options[:1] if known else value.options[1:]


def _may_run(file: Code, context: int, given: Given) -> bool:
    """Whether something stands in no branch that is known not to be taken."""
    left = {"if": False, "else": True}
    return not any(
        here.kind in left and _known(file, here.value, given) is left[here.kind] for here in file.around(context)
    )


def _known(file: Code, condition: Value | None, given: Given) -> bool | None:
    """Whether a condition is true, by what the calls on the way give."""
    return truth(file, condition, lambda binding: _told(file, binding, given))


def _told(file: Code, binding: int, given: Given, depth: int = 0) -> object:
    """What a parameter is for certain: as the calls on the way give it, or true or false in all calls of its file. A
    variable that is True or False by what is written above is a setting that somebody changes.
    """
    key = id(file), binding
    if key in given or depth > DEEPEST:
        return given.get(key, UNTOLD)
    name = file.functions[file.function_at(file.bindings[binding].context)].name
    if name.isidentifier() and file.matches(re.compile(rf"\bspawn\(\s*{name}\b|\btarget\s*=\s*{name}\b")):
        return UNTOLD  # who starts it as a process of its own gives it other things
    handed = [one for _, one in handed_in(file, binding)]  # in calls of this file
    told = {comes_to(file, one, lambda inner: _told(file, inner, given, depth + 1)) for one in handed}
    return told.pop() if len(told) == 1 and all(isinstance(one, bool) for one in told) else UNTOLD


def _where_made(thing: Thing, given: Given) -> list[Maker]:
    if thing.made is None or thing.made_in is None:
        return []
    return [Maker(thing.made_in, thing.made, given)]


def _attribute_values(file: Code, value: Attribute, given: Given) -> list[_Way]:
    """What the methods of a class give an attribute, without what only wraps it: `self.loader = tqdm(self.loader)`."""
    text, values = file.text(value.at), list[_Way]()
    for home, cls in lineage(thing_of(file, value.value)):
        for number in cls.attributes.get(value.name, ()):
            binding = home.bindings[number]
            source, _ = iterated(home, binding.value)
            wraps = isinstance(source, Attribute) and home.text(source.at) == text
            if binding.how == "assign" and binding.item:
                values += _returned(home, binding.value, binding.item, given)
            elif binding.how == "assign" and binding.value is not None and not wraps:
                values.append((home, binding.value, given))
    return values


def _returned(file: Code, value: Value | None, item: tuple[int, ...], given: Given) -> list[_Way]:
    """What stands at a place of each tuple that a function of the project gives, where a value is a call of one."""
    callee = called(file, value) if isinstance(value, Call) else None
    if callee is None or callee.function is None or callee.code is None or not isinstance(value, Call):
        return []
    found: list[_Way] = []
    inner_given = _given_by(file, value, callee, given)
    for one in ways_of(callee, inner_given):
        inner: Value | None = one.value
        for place in item:
            fits = isinstance(inner, Group) and -len(inner.items) <= place < len(inner.items)
            inner = inner.items[place] if fits and isinstance(inner, Group) else None
        found += [(callee.code, inner, inner_given)] if inner is not None else []
    return found


def _given_in(file: Code, value: Value | None, given: Given) -> Given:
    """What is given in the function that a value is a call of."""
    found, _ = followed(file, value)
    return _given_by(file, found, called(file, found), given) if isinstance(found, Call) else given


def _given_by(file: Code, call: Call, callee: Thing, given: Given) -> Given:
    return given_by(file, call, callee, lambda binding: _told(file, binding, given), given)
