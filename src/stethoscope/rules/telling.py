"""The lines that tell a distributed sampler the epoch, as the loop that counts the epochs needs them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, Call, Choice, Code, Context, Value
from stethoscope.facts.loops import Loop, innermost_loop
from stethoscope.facts.sampler_names import epochs_of, sampler_name
from stethoscope.facts.samplers import Made
from stethoscope.facts.things import followed, iterated
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code

_COUNTING = ("builtins.range", "tqdm.trange", "builtins.len")
_TELL_IT = "Tell it in each epoch, where there is one:\n"
_TELL_IT_THERE = "Tell it in each round of the loop over the epochs on {}:\n"
_COUNT_THEM = "Tell it in each epoch; the loop's variable needs a name for that:\n"
_IS_BRANCH = ("if", "else", "elif")
_PLAIN = re.compile(r"[A-Za-z_][\w.]*")


def telling(file: Code, loop: Loop, made: Made, handed: Call | None = None) -> str:
    """The fix: a call of `set_epoch` with the number of the epoch by its name, in a branch where it may be another
    sampler that knows no epoch, and with a line that names the number where the loop throws it away.

    Args:
        file: that is looked at.
        loop: the training loop, of this file or of one that is handed the loader.
        made: the sampler, with the file that makes it.
        handed: the call of this file that hands over the loader.
    """
    name = sampler_name(file, loop, made, handed)
    where, context, call = epochs_of(file, loop, handed)[0]
    number = innermost_loop(where, context, NOWHERE)
    counted = _number_of(where, number)
    is_named = bool(counted.strip("_"))
    lines = [f"{name}.set_epoch({counted if is_named else 'epoch'})"]
    if _may_be_another(made, where, context):
        lines = [f"if isinstance({name}, {_class_of(made)}):", f"    {lines[0]}"]
    if is_named and call is not None:
        at = where.contexts[number].at
        return _TELL_IT_THERE.format(line_of(file, at) if where is file else place_in(where, at).source) + code(*lines)
    if is_named or not counted:
        return _TELL_IT + code(*lines)
    head = f"for epoch in {_text(where, where.contexts[number].value)}:"
    return _COUNT_THEM + code(head, *(f"    {one}" for one in lines))


def _number_of(file: Code, number: int) -> str:
    """The variable that counts the rounds of a loop; empty where none does."""
    if number == NOWHERE or file.contexts[number].kind != "for":
        return ""
    value = file.contexts[number].value
    sources = (iterated(file, value)[0], followed(file, value)[0])
    names = [one for one in file.bindings if one.how == "for" and one.at.line == file.contexts[number].at.line]
    is_range = any(isinstance(one, Call) and one.name in _COUNTING for one in sources)
    return names[0].name if is_range and len(names) == 1 and not names[0].item else ""


def _text(file: Code, value: Value | None) -> str:
    text = file.text(value.at) if value is not None else ""
    return text if text and "\n" not in text else "range(...)"


def _class_of(made: Made) -> str:
    """How the file writes the class: as it imports it."""
    home, sampler = made
    written = home.text(sampler.at).partition("(")[0].strip()
    return written if _PLAIN.fullmatch(written) else "DistributedSampler"


def _may_be_another(made: Made, where: Code, context: int) -> bool:
    """Whether the sampler is made on one of two ways, and the epochs are counted on both."""
    home, sampler = made
    if any(any(one is sampler for one in choice.options) for choice in _choices(home)):
        return True
    known = {_condition(where, one) for one in where.around(context) if one.kind in _IS_BRANCH}
    return any(here.kind in _IS_BRANCH and _condition(home, here) not in known for here in home.around(sampler.context))


def _condition(file: Code, here: Context) -> tuple[str, str]:
    return here.kind, file.text(here.value.at) if here.value is not None else ""


def _choices(file: Code) -> Iterator[Choice]:
    values: list[Value | None] = [one.value for one in file.bindings]
    values += [one.value for function in file.functions for one in function.returns]
    for call in file.calls:
        values += [*call.arguments, *(one for _, one in call.keywords)]
    yield from (one for one in values if isinstance(one, Choice))
