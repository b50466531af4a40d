"""Loops over a loader that train, also where it is not seen how: more than `loops_of` gives, of which nothing is to be
said but that the data are trained on.

for loop in rounds_of(code):
    loop.of("forward", "backward")    as of the loops of `loops_of`; of what is not seen there is no event
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import Attribute, Call, Code, Name, Value
from stethoscope.facts.events import Event, events_of, is_in_loop
from stethoscope.facts.loops import Loop, loops_of
from stethoscope.facts.things import iterated

_OPTIMIZER = re.compile(r"(?:^|[._])optim\w*$", re.I)
_LOSS = re.compile(r"(?:^|[._])(?:total_)?loss\w*$", re.I)


def rounds_of(code: Code) -> tuple[Loop, ...]:
    """The training loops of a file; the loops around one that goes backward by itself, as over the parts of a batch;
    and those that hand a loss and the optimizer to something unseen: `scaler(loss, optimizer, clip=1.0)`.
    """
    if "rounds" not in code.memo:
        code.memo["rounds"] = (*loops_of(code), *_more(code, {one.context for one in loops_of(code)}))
    found: tuple[Loop, ...] = code.memo["rounds"]
    return found


def _more(code: Code, known: set[int]) -> Iterator[Loop]:
    stepped = [number for call in code.calls if _steps(code, call) for number in code.numbers_around(call.context)]
    for number, here in enumerate(code.contexts):
        if here.kind != "for" or number in known or _is_counted(code, here.value):
            continue
        function = code.function_at(number)
        inside: tuple[Event, ...] = ()
        if loops_of(code):
            inside = tuple(event for event in events_of(code, function) if is_in_loop(code, event, number))
        if number in stepped or any(event.kind == "backward" for event in inside):
            yield Loop(code, number, here.at, function, inside)


def _is_counted(code: Code, value: Value | None) -> bool:
    """Whether a loop only counts: `for epoch in range(10)`."""
    source, _ = iterated(code, value)
    return isinstance(source, Call) and source.name in ("builtins.range", "tqdm.trange")


def _steps(code: Code, call: Call) -> bool:
    """Whether a call is given a loss and an optimizer, by what they are called, and is none of the library's."""
    if not call.arguments or call.name.startswith(("torch.", "builtins.")):
        return False
    given = [_called(code, one) for one in (*call.arguments, *(one for _, one in call.keywords))]
    return any(_LOSS.search(one) for one in given) and any(_OPTIMIZER.search(one) for one in given)


def _called(code: Code, value: Value) -> str:
    return code.text(value.at) if isinstance(value, Name | Attribute) else ""
