"""What a training loop takes its batches from: the loaders that were made for it, and their distributed samplers."""

from __future__ import annotations

import re

from stethoscope.facts.code import (
    NOWHERE,
    Attribute,
    Call,
    Choice,
    Code,
    Constant,
    Name,
    Operation,
    Value,
)
from stethoscope.facts.dicts import entries_of, handed_in
from stethoscope.facts.loops import Loop
from stethoscope.facts.loops_elsewhere import Handed, method_calls
from stethoscope.facts.makers import DEEPEST, Maker, calls_behind, is_loader
from stethoscope.facts.origins import call_sites, called, thing_of
from stethoscope.facts.things import followed, iterated, literal

Made = tuple[Code, Call]
"""A call, and the file that it stands in: the loop's own, or one of its project that makes the loaders."""

MOST_CALLERS = 3
"""Functions that are followed from a loop to one that is called in a loop, at most."""
_SAMPLER = re.compile(r"(?:^|\.)torch\.utils\.data\.(?:distributed\.)?DistributedSampler$")
"""Also by way of a file of the project that imports torch, and of which all names are taken."""
_GROUP = re.compile(r"distribut|process|ddp|rank|world|spawn|launch|accelerat|fabric|deepspeed|horovod|slurm", re.I)
"""Words of a program that runs as several processes."""
_OPENS_GROUP = ("init_process_group", "init_distributed")
_SEVERAL = ("DistributedDataParallel", "init_process_group", "FullyShardedDataParallel", "fully_shard", "deepspeed",
            "horovod", "DDP(", "FSDP(")  # fmt: skip
"""Words of a program in which each device has a process of its own."""
_YIELDS = re.compile(r"\byield\b")


def distributed_sampler(file: Code, loop: Loop) -> Made | None:
    """The distributed sampler of what a loop goes over, on one of its ways at least, where it shuffles."""
    return _shuffling(_loaders(file, loop))


def sampler_handed(file: Code, handed: Handed) -> Made | None:
    """The same of a loop of another file, which is handed its loader."""
    return _shuffling(calls_behind(file, handed.value))


def has_sampler(file: Code, value: Value, made: Made) -> bool:
    """Whether a value is a loader with that sampler."""
    found = _shuffling(calls_behind(file, value))
    return found is not None and found[1] is made[1]


def is_refused(file: Code, made: Made) -> bool:
    """Whether a program is started as one process, by what it says, and its sampler is made by a file that serves
    others: without a group of processes, which it asks for their number, the sampler is refused.
    """
    home, sampler = made
    if home is file or sampler.argument(1, "num_replicas") is not None or not file.says("__main__"):
        return False
    return not file.matches(_GROUP) and not file.and_linked_say(*_OPENS_GROUP)


def is_for_one_process(file: Code, made: Made) -> bool:
    """Whether a program says that one process trains on several devices, and the sampler by itself how many there are:
    without a group of processes it could not ask.
    """
    home, sampler = made
    files = {id(one): one for one in (file, home)}.values()
    return (
        sampler.argument(1, "num_replicas") is not None
        and any(one.calls_of("torch.nn.DataParallel", "torch.nn.parallel.DataParallel") for one in files)
        and not any(one.and_linked_say(*_SEVERAL) for one in files)
    )


def is_switched_off(file: Code, made: Made) -> bool:
    """Whether a sampler is made only where a parameter asks for it that is false by default, and no call gives it:
    `def loaders(data, distributed=False)` of which this file calls `loaders(data)`; or an option of a class that is.
    """
    home, sampler = made
    flags = [
        here.value.name for here in home.around(sampler.context)
        if here.kind == "if" and isinstance(here.value, Attribute)
    ]  # fmt: skip
    if any(_is_never_set(home, name) and (file is home or _is_never_set(file, name, False)) for name in flags):
        return True
    function = home.functions[home.function_at(sampler.context)]
    asked = {
        here.value.binding for here in home.around(sampler.context)
        if here.kind == "if" and isinstance(here.value, Name) and here.value.binding != NOWHERE
    }  # fmt: skip
    for place, one in enumerate(function.parameters):
        if one.binding in asked and isinstance(one.default, Constant) and not one.default.value:
            calls = [
                call for where in {id(it): it for it in (file, home)}.values() for call in where.calls
                if called(where, call).function is function
            ]  # fmt: skip
            place -= function.owner != NOWHERE
            return bool(calls) and not any(call.is_open or call.argument(place, one.name) for call in calls)
    return False


def is_vague(made: Made) -> bool:
    """Whether it is not seen that a sampler shuffles, or what goes by it: a loader that is no file of this project may
    tell it the epoch by itself. Nor is it wanted where one process goes in order: `shuffle=False`, and no sampler.
    """
    home, sampler = made
    if not _shuffles(home, sampler):
        return True
    given = [(one, value) for one in home.calls for key, value in one.keywords if key in ("sampler", "batch_sampler")]
    for loader, value in given:
        if is_loader(home, loader) and any(one.call is sampler for one in calls_behind(home, value)):
            is_unseen = thing_of(home, loader).kind != "loader" and not _is_seen_loader(home, loader)
            goes_in_order = literal(home, loader.keyword("shuffle")) is False and _may_be_none(home, value)
            return is_unseen or goes_in_order
    return False


def _may_be_none(file: Code, value: Value | None) -> bool:
    found, _ = followed(file, value)
    if isinstance(found, Name) and found.binding != NOWHERE:
        options = [file.bindings[one] for one in file.bindings[found.binding].options]
        return any(_is_none(one.value) for one in options if one.how == "assign" and not one.item)
    return isinstance(found, Choice) and any(_is_none(one) for one in found.options)


def _is_none(value: Value | None) -> bool:
    return isinstance(value, Constant) and value.value is None


def _shuffling(loaders: list[Maker]) -> Made | None:
    """The distributed sampler of one of some loaders, one that is seen to shuffle before one that may."""
    found = [
        (made.code, made.call) for one in loaders if is_loader(one.code, one.call) for made in _samplers(one)
        if _SAMPLER.search(made.call.name) is not None and not made.call.is_open
    ]  # fmt: skip
    sure = (made for made in found if _shuffles(*made))
    return next(sure, next((made for made in found if not _never_shuffles(*made)), None))


_LIBRARY_LOADERS = ("torchdata.stateful_dataloader.StatefulDataLoader",)
"""Loaders of libraries that are known to tell no sampler the epoch."""


def _is_seen_loader(file: Code, call: Call) -> bool:
    return call.name.startswith(_LIBRARY_LOADERS) or called(file, call).cls is not None


def _shuffles(file: Code, sampler: Call) -> bool:
    """Whether a sampler that a training goes over shuffles, as it does where nothing is said."""
    given = sampler.argument(3, "shuffle")
    return given is None or _is_so(file, given, True)


def _never_shuffles(file: Code, sampler: Call) -> bool:
    """Whether a sampler is told not to shuffle, by all who say anything of it."""
    given = sampler.argument(3, "shuffle")
    return _is_so(file, given, False) or (isinstance(given, Operation) and given.operator in ("==", "!="))


def _is_never_set(file: Code, name: str, is_made: bool = True) -> bool:
    """Whether an option of a class is false unless someone says otherwise, and nobody does: `spread: bool = False`."""
    word = re.escape(name)
    value = rf"[ ]*(?!{word}\b)(?!.*\bFalse\b)[^\s=]"
    given = re.compile(rf"(?<!\w){word}(?:[\"'][ ]*\]?[ ]*[:=]|[ ]*=|[ ]*:[ ]*\w[\w\[\], |]*=){value}")
    off = re.compile(rf"(?:^|[(,])\s*{word}\s*(?::\s*bool\s*)?=\s*False\b", re.M)
    return (not is_made or file.matches(off)) and not file.matches(given)


def _is_so(file: Code, asked: Value | None, meant: bool, depth: int = 0) -> bool:
    """Whether a condition is what is meant, in training: as it is written, or as one of the calls has it of the
    function that makes a sampler for several uses; and what asks for training is true: `shuffle=mode == "train"`.
    """
    if literal(file, asked) is meant:
        return True
    found, _ = followed(file, asked)
    if depth > DEEPEST:
        return False
    if isinstance(found, Operation) and found.operator == "not":
        return _is_so(file, found.operands[0], not meant, depth + 1)
    if isinstance(found, Operation) and found.operator in ("==", "!="):
        words = _TRAINING if (found.operator == "==") is meant else _EVALUATION
        return any(str(literal(file, one)).lower() in words for one in found.operands)
    if isinstance(found, Choice) and len(found.options) == 2:
        ways = [literal(file, one) for one in found.options]
        return ways in ([True, False], [False, True]) and _is_so(file, found.condition, ways[0] is meant, depth + 1)
    if not isinstance(found, Name) or found.binding == NOWHERE or file.bindings[found.binding].how != "argument":
        return False
    given = handed_in(file, found.binding)
    if not given:
        default = _default_of(file, found.binding)
        return default is not None and literal(file, default) is meant
    return any(_is_so(home, one, meant, depth + 1) for home, one in given)


def _default_of(file: Code, binding: int) -> Value | None:
    parameters = file.functions[file.function_at(file.bindings[binding].context)].parameters
    return next((one.default for one in parameters if one.binding == binding), None)


_TRAINING = ("train", "training")
_EVALUATION = ("val", "valid", "validation", "eval", "test", "testing")
"""Names of what a loader is for: `split == "train"` and `split != "test"` are so in training."""


def _samplers(loader: Maker) -> list[Maker]:
    """The calls that may have made a loader's sampler, or that of its sampler of batches."""
    batched = [
        made for made in _made_by(loader, "batch_sampler", 4)
        if "torch.utils.data." in made.call.name and made.call.name.endswith(".BatchSampler")
    ]  # fmt: skip
    inner = [
        made for one in batched for made in calls_behind(one.code, one.call.argument(0, "sampler"), one.given)
    ]  # fmt: skip
    return [*_made_by(loader, "sampler", 3), *inner]


def _made_by(made: Maker, name: str, place: int) -> list[Maker]:
    """The calls that made what a call is given: at its place, by name, or in a dict that is unpacked in the call."""
    file, call, given = made
    value = call.argument(place, name)
    if value is not None:
        return calls_behind(file, value, given)
    for options in [value for key, value in call.keywords if not key]:
        held = [one for one in entries_of(file, options) if one.key == name]
        there = [one for one in held if one.code is not file or one.order <= call.number]
        if there:
            return calls_behind(there[-1].code, there[-1].value, given)
    return []


def _loaders(file: Code, loop: Loop) -> list[Maker]:
    """The calls that made what a loop takes its batches from."""
    source, _ = iterated(file, file.contexts[loop.context].value)
    together = source.arguments if isinstance(source, Call) and source.name == "builtins.zip" else (source,)
    found = [made for one in together for made in calls_behind(file, iterated(file, one)[0])]
    if any(is_loader(one.code, one.call) for one in found):
        return found
    begun = begun_anew(file, loop)
    if begun:
        return [made for one in begun for made in calls_behind(file, one)]
    # Through something of the project's own that is given the one loader that the function has.
    handed = [
        made
        for one in file.functions[loop.function].parameters
        if (made := calls_behind(file, Name(one.name, one.binding, loop.at)))
        and all(thing_of(it.code, it.call).kind == "loader" for it in made)
    ]
    return handed[0] if len(handed) == 1 else []


def begun_anew(file: Code, loop: Loop) -> list[Value]:
    """What a loop takes its batches from again and again: what a generator of the project goes over without an end, and
    what `iter` is given, in the loop or in one around it, where the loop takes them by `next`.
    """
    source, _ = iterated(file, file.contexts[loop.context].value)
    endless = _gone_over_again(file, source)
    if endless is not None:
        return [endless]
    outer = {number for number in file.numbers_around(loop.context) if file.contexts[number].kind in ("for", "while")}
    for call in file.calls_of("builtins.next"):
        if loop.context in file.numbers_around(call.context):
            behind = [one.call for one in calls_behind(file, call.argument(0)) if one.code is file]
            begun = [one for one in behind if one.name == "builtins.iter"]
            if any(outer & set(file.numbers_around(one.context)) for one in begun):
                return [one.arguments[0] for one in begun if one.arguments]
            endless = next((it for one in behind if (it := _gone_over_again(file, one)) is not None), None)
            if endless is not None:
                return [endless]
    return []


def _gone_over_again(file: Code, value: Value | None) -> Value | None:
    """What a generator is given that goes over it in a loop: `while True: yield from loader`, in two lines."""
    callee = called(file, value) if isinstance(value, Call) else None
    if callee is None or callee.function is None or callee.code is None or not isinstance(value, Call):
        return None
    home, function = callee.code, callee.function
    if not home.matches(_YIELDS, function.at):
        return None
    bound = function.owner != NOWHERE
    for number, context in enumerate(home.contexts):
        if context.kind == "for" and home.function_at(number) == callee.number and _loops_around(home, context.parent):
            source, _ = iterated(home, context.value)
            for place, one in enumerate(function.parameters):
                if isinstance(source, Name) and source.binding == one.binding:
                    return value.argument(place - bound, one.name)
    return None


def is_repeated(file: Code, loop: Loop) -> bool:
    """Whether a loop stands in another, or its function is called in one, or it begins its data anew."""
    return bool(begun_anew(file, loop)) or is_in_loop(file, file.contexts[loop.context].parent, loop.function)


def is_handed_again(file: Code, handed: Handed, sampler: Made) -> bool:
    """Whether a loop of another file goes over what it is handed again and again: there, or as it is called in a loop
    of this file, and that not with another sampler each time.
    """
    if is_repeated(handed.loop.code, handed.loop):
        return True
    called_thing = called(file, handed.call)
    for call in method_calls(file, handed.loop) if called_thing.kind == "class" else (handed.call,):
        around = _loops_around(file, call.context)
        own = _loops_around(sampler[0], sampler[1].context) if sampler[0] is file else set()
        if around - own or (not around and is_in_loop(file, call.context, file.function_at(call.context))):
            return True
    return False


def is_made_again(made: Made) -> bool:
    """Whether a sampler is made in a loop: another one each time."""
    home, sampler = made
    return is_in_loop(home, sampler.context, home.function_at(sampler.context))


def is_of_new_data(file: Code, loop: Loop, made: Made) -> bool:
    """Whether the loop around a training makes another sampler each time, of data that it makes each time, too."""
    home, sampler = made
    around = _loops_around(file, file.contexts[loop.context].parent)
    maker = home.function_at(sampler.context)
    here = home is file and maker == loop.function
    makes = [sampler] if here else [one for one in file.calls if called(file, one).function is home.functions[maker]]
    if not any(around & _loops_around(file, one.context) for one in makes):
        return False
    data = sampler.argument(0, "dataset")
    binding = home.bindings[data.binding] if isinstance(data, Name) and data.binding != NOWHERE else None
    if binding is None or binding.how != "assign" or home.function_at(binding.context) != maker:
        return False
    return not here or bool(around & _loops_around(file, binding.context))


def is_in_loop(file: Code, context: int, function: int, depth: int = 0) -> bool:
    """Whether something stands in a loop, or in a function that is called in one."""
    if _loops_around(file, context) or depth > MOST_CALLERS:
        return depth <= MOST_CALLERS
    return any(
        is_in_loop(file, call.context, file.function_at(call.context), depth + 1) for call in call_sites(file, function)
    )


def _loops_around(file: Code, context: int) -> set[int]:
    """The loops of its function in which something stands."""
    found: set[int] = set()
    for number in file.numbers_around(context):
        if file.contexts[number].kind == "function":
            break
        if file.contexts[number].kind in ("for", "while"):
            found.add(number)
    return found
