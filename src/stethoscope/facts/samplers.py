"""What a training loop takes its batches from: the loaders that were made for it, and their distributed samplers."""

from __future__ import annotations

from stethoscope.facts.code import NOWHERE, Attribute, Call, Choice, Code, Group, Item, Name, Operation, Value
from stethoscope.facts.loops import Loop
from stethoscope.facts.origins import called, given_to, lineage, part_of, thing_of
from stethoscope.facts.things import Thing, followed, iterated, literal

Made = tuple[Code, Call]
"""A call, and the file that it stands in: the loop's own, or one of its project that makes the loaders."""

DEEPEST = 8
"""Variables that are followed from one value to the call that made it, at most."""
SAMPLER = "torch.utils.data.DistributedSampler"


def distributed_sampler(file: Code, loop: Loop) -> Made | None:
    """The distributed sampler of what a loop goes over, on one of its ways at least, where it shuffles."""
    for home, loader in _loaders(file, loop):
        if thing_of(home, loader).kind != "loader":
            continue
        for place, sampler in _samplers(home, loader):
            if sampler.name == SAMPLER and not sampler.is_open:
                return (place, sampler) if _is_true(place, sampler.argument(3, "shuffle")) else None
    return None


def _is_true(file: Code, shuffles: Value | None) -> bool:
    """Whether a sampler that a training goes over shuffles: as by default, as written, or as one of the calls has it of
    the function that makes it for several uses; and where it does so for training, as in `shuffle=mode == "train"`.
    """
    if shuffles is None or literal(file, shuffles) is True:
        return True
    found, _ = followed(file, shuffles)
    if isinstance(found, Operation) and found.operator == "==":
        return any(str(literal(file, one)).lower() in ("train", "training") for one in found.operands)
    binding = file.bindings[found.binding] if isinstance(found, Name) and found.binding != NOWHERE else None
    if binding is None or binding.how != "argument" or not isinstance(found, Name):
        return False
    return any(literal(file, one) is True for one in _handed_in(file, found.binding))


def _handed_in(file: Code, number: int) -> list[Value]:
    """What the calls of this file give a parameter."""
    index = file.function_at(file.bindings[number].context)
    parameters = file.functions[index].parameters
    place = next((i for i, one in enumerate(parameters) if one.binding == number), NOWHERE)
    return [one for home, one in given_to(file, index, place) if home is file] if place != NOWHERE else []


def _samplers(file: Code, loader: Call) -> list[Made]:
    """The calls that may have made a loader's sampler, or that of its sampler of batches."""
    batched = [
        (home, one) for home, one in _calls_behind(file, _option(file, loader, "batch_sampler"))
        if one.name.startswith("torch.utils.data.") and one.name.endswith(".BatchSampler")
    ]  # fmt: skip
    given = [(file, _option(file, loader, "sampler")), *((home, one.argument(0, "sampler")) for home, one in batched)]
    return [made for home, value in given for made in _calls_behind(home, value)]


def _option(file: Code, call: Call, name: str) -> Value | None:
    """What a call is given by a name: as a keyword, or in a dict that is written out and unpacked in the call."""
    given = call.keyword(name)
    for options in [value for key, value in call.keywords if not key] if given is None else []:
        found, _ = followed(file, options)
        if isinstance(found, Call) and found.name == "builtins.dict":
            given = given or found.keyword(name)
        elif isinstance(found, Group):
            named = [one for key, one in zip(found.keys, found.items, strict=False) if literal(file, key) == name]
            given = named[-1] if named else given
    return given


def _loaders(file: Code, loop: Loop) -> list[Made]:
    """The calls that made what a loop takes its batches from."""
    source, _ = iterated(file, file.contexts[loop.context].value)
    found = _calls_behind(file, source)
    if any(thing_of(home, one).kind == "loader" for home, one in found):
        return found
    begun = begun_anew(file, loop)
    if begun:
        return [made for one in begun for made in _calls_behind(file, one.argument(0))]
    # Through something of the project's own that is given the one loader that the function has.
    handed = [
        made
        for one in file.functions[loop.function].parameters
        if (made := _calls_behind(file, Name(one.name, one.binding, loop.at)))
        and all(thing_of(home, it).kind == "loader" for home, it in made)
    ]
    return handed[0] if len(handed) == 1 else []


def begun_anew(file: Code, loop: Loop) -> list[Call]:
    """The calls of `iter` whose batches a loop takes by `next`, where one of them is in the loop itself, or in one
    around it.
    """
    outer = {number for number in file.numbers_around(loop.context) if file.contexts[number].kind in ("for", "while")}
    for call in file.calls_of("builtins.next"):
        if loop.context in file.numbers_around(call.context):
            behind = _calls_behind(file, call.argument(0))
            begun = [one for home, one in behind if one.name == "builtins.iter" and home is file]
            if any(outer & set(file.numbers_around(one.context)) for one in begun):
                return begun
    return []


def _calls_behind(file: Code, value: Value | None, depth: int = 0) -> list[Made]:
    """The calls that may have made a value: one on each of the ways that meet in it, or that hand it over."""
    found, _ = followed(file, value)
    if depth > DEEPEST or found is None:
        return []
    if isinstance(found, Call):
        made = thing_of(file, found)  # what a function of the project gives was made in that function
        return _where_made(made) if made.kind == "loader" and _where_made(made) else [(file, found)]
    options: list[tuple[Code, Value]] = [(file, one) for one in found.options] if isinstance(found, Choice) else []
    if isinstance(found, Attribute):
        made = thing_of(file, found)
        if made.made is not None:
            return _where_made(made)
        options = _attribute_values(file, found)
    if isinstance(found, Item):
        options = [(file, one) for one in _entries(file, found)]
    if isinstance(found, Name) and found.binding != NOWHERE:
        binding = file.bindings[found.binding]
        if binding.how == "argument":
            options = [(file, one) for one in _handed_in(file, found.binding)]
        elif binding.how == "assign" and len(binding.item) == 1:
            made_in_function = part_of(file, binding.value, binding.item)
            if _where_made(made_in_function):
                return _where_made(made_in_function)
            options = _returned(file, binding.value, binding.item[0])
        options += [(file, Name(found.name, one, found.at)) for one in binding.options]
    return [call for home, one in options for call in _calls_behind(home, one, depth + 1)]


def _where_made(thing: Thing) -> list[Made]:
    return [(thing.made_in, thing.made)] if thing.made is not None and thing.made_in is not None else []


def _attribute_values(file: Code, value: Attribute) -> list[tuple[Code, Value]]:
    """What the methods of a class give an attribute, without what only wraps it: `self.loader = tqdm(self.loader)`."""
    text, values = file.text(value.at), list[tuple[Code, Value]]()
    for home, cls in lineage(thing_of(file, value.value)):
        for number in cls.attributes.get(value.name, ()):
            binding = home.bindings[number]
            source, _ = iterated(home, binding.value)
            wraps = isinstance(source, Attribute) and home.text(source.at) == text
            if binding.how == "assign" and not binding.item and binding.value is not None and not wraps:
                values.append((home, binding.value))
    return values


def _entries(file: Code, value: Item) -> list[Value]:
    """What stands in a dict that is written out: behind a key, or behind each where the key is not known."""
    whole, _ = followed(file, value.value)
    if not isinstance(whole, Group) or whole.kind != "dict":
        return []
    key = literal(file, value.key)
    pairs = list(zip([literal(file, one) for one in whole.keys], whole.items, strict=False))
    return [one for name, one in pairs if name == key] if isinstance(key, str) else [one for _, one in pairs]


def _returned(file: Code, value: Value | None, place: int) -> list[tuple[Code, Value]]:
    """What stands at a place of each tuple that a function of the project gives, where a value is a call of one."""
    callee = called(file, value) if isinstance(value, Call) else None
    if callee is None or callee.function is None or callee.code is None:
        return []
    groups = [one.value for one in callee.function.returns if isinstance(one.value, Group)]
    return [(callee.code, group.items[place]) for group in groups if 0 <= place < len(group.items)]
