"""How the sampler of a training loop is called where the loop's epochs are counted.

sampler_name(file, loop, made)    "train_sampler", or "train_loader.sampler" where the sampler has no name there
"""

from __future__ import annotations

from typing import NamedTuple

from stethoscope.facts.code import NOWHERE, Attribute, Binding, Call, Choice, Code, Group, Item, Name, Value
from stethoscope.facts.libraries import ITERATING
from stethoscope.facts.loops import Loop, innermost_loop
from stethoscope.facts.origins import call_sites, thing_of
from stethoscope.facts.samplers import Made, begun_anew, has_sampler
from stethoscope.facts.things import binding_of, followed, iterated

MOST_WRAPS = 8
"""Calls and variables that stand between a loop and its loader, at most."""


class Epochs(NamedTuple):
    """A place where the epochs of a loop are counted."""

    code: Code
    context: int
    call: Call | None = None
    """What runs the function of the loop there, where that is another one."""


def sampler_name(file: Code, loop: Loop, made: Made, handed: Call | None = None) -> str:
    """What `set_epoch` is to be called on: the sampler where the epochs are counted, or else by the loop's loader.

    Args:
        file: that is looked at.
        loop: the training loop, of this file or of one that is handed the loader.
        made: the sampler, with the file that makes it.
        handed: the call of this file that hands over the loader.
    """
    home, sampler = made
    kept = _kept(home, sampler)
    if kept is not None and _is_in_scope(file, loop, home, kept, handed):
        return kept.name
    loader = _handed_loader(file, loop, handed) or _loader_of(loop, made)
    if loader:
        return f"{loader}.batch_sampler.sampler" if _is_of_batches(home, sampler) else f"{loader}.sampler"
    return kept.name if kept is not None else "distributed_sampler"


def _kept(home: Code, sampler: Call) -> Binding | None:
    """The variable that a sampler is kept in: by itself, as one of two, or as one of several in a line."""
    return next((one for one in home.bindings if one.how == "assign" and _gets(one, sampler)), None)


def _gets(binding: Binding, sampler: Call) -> bool:
    value: Value | None = binding.value
    for place in binding.item:
        fits = isinstance(value, Group) and -len(value.items) <= place < len(value.items)
        value = value.items[place] if fits and isinstance(value, Group) else None
    return value is sampler or (isinstance(value, Choice) and any(one is sampler for one in value.options))


def _is_in_scope(file: Code, loop: Loop, home: Code, kept: Binding, handed: Call | None) -> bool:
    """Whether a variable is known where the epochs of a loop are counted: around it, or around a call of it."""
    maker = home.function_at(kept.context)
    for code, context, _ in epochs_of(file, loop, handed):
        functions = {code.function_at(number) for number in code.numbers_around(context)} | {0}
        if code is home and maker in functions:
            return True
        is_own = kept.name.startswith("self.") and code is home
        if is_own and home.class_of(maker) == code.class_of(code.function_at(context)) != NOWHERE:
            return True
    return False


def epochs_of(file: Code, loop: Loop, handed: Call | None) -> list[Epochs]:
    """Where the epochs of a loop are counted: in its own function, or where that is called."""
    code, parent = loop.code, loop.code.contexts[loop.context].parent
    if innermost_loop(code, parent, loop.function) != NOWHERE or begun_anew(code, loop):
        return [Epochs(code, parent)]
    calls = [one for one in call_sites(code, loop.function) if innermost_loop(code, one.context, NOWHERE) != NOWHERE]
    if handed is not None and (not calls or innermost_loop(file, handed.context, NOWHERE) != NOWHERE):
        is_it = handed.name.rpartition(".")[2] == code.functions[loop.function].name
        return [Epochs(file, handed.context, handed if is_it else None)]
    return [Epochs(code, one.context, one) for one in calls] or [Epochs(code, parent)]


def _handed_loader(file: Code, loop: Loop, handed: Call | None) -> str:
    """The loader as it is written in the call that runs a function with the loop in each epoch; empty where it is not
    that function's own parameter, or has no name there.
    """
    place, function = epochs_of(file, loop, handed)[0], loop.code.functions[loop.function]
    source, _ = iterated(loop.code, loop.code.contexts[loop.context].value)
    binding = source.binding if isinstance(source, Name) else NOWHERE
    number = next((i for i, one in enumerate(function.parameters) if one.binding == binding != NOWHERE), NOWHERE)
    if place.call is None or number == NOWHERE:
        return ""
    value = place.call.argument(number - (function.owner != NOWHERE), function.parameters[number].name)
    is_written = isinstance(value, Name | Attribute | Item) and value.at.line == value.at.end_line
    return place.code.text(value.at) if is_written and value is not None else ""


def _loader_of(loop: Loop, made: Made) -> str:
    """The loader of a loop as it is written there, without what counts its batches or shows a bar; empty where another
    thing goes over it for the loop.
    """
    code = loop.code
    value = next(iter(begun_anew(code, loop)), code.contexts[loop.context].value)
    for _ in range(MOST_WRAPS):
        if isinstance(value, Call) and (value.name in ITERATING or value.name.endswith(("tqdm", "itertools.islice"))):
            value = value.argument(0) or value.keyword("iterable")
            continue
        bound = binding_of(code, value)
        if bound is None or bound.how not in ("assign", "with") or bound.item or not isinstance(bound.value, Call):
            break
        if bound.value.name not in ITERATING and not bound.value.name.endswith("tqdm"):
            break
        value = bound.value
    met = binding_of(code, value)
    ways = [code.bindings[one] for one in met.options] if met is not None else []
    named = [one.value for one in ways if one.how == "assign" and isinstance(one.value, Name | Attribute)]
    value = next((one for one in named if has_sampler(code, one, made)), value)  # the other way is for evaluation
    written = isinstance(value, Name | Attribute | Item) and thing_of(code, value).kind in ("loader", "unknown")
    return code.text(value.at) if written and value is not None and value.at.line == value.at.end_line else ""


def _is_of_batches(home: Code, sampler: Call) -> bool:
    """Whether a loader has a sampler by one of batches: `batch_sampler=BatchSampler(sampler, 32)`."""
    return any(
        one.name.endswith(".BatchSampler") and followed(home, one.argument(0, "sampler"))[0] is sampler
        for one in home.calls
    )
