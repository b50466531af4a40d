"""Loops that clear no gradients themselves, and need not: what stands around a step clears them, or none are left over.

with Stepping(optimizer): ...                           a context that clears
for batch in loader: ...; yield loss                    who gets the loss clears
optimizer.param_groups[0]["params"] = [image]           each round has parameters of its own
for x, y in [(x, y)]: ...                               one round
# gradients are kept on purpose                         it is meant
"""

from __future__ import annotations

import re

from stethoscope.facts.code import At, Call, Code, Group, Name, Starred
from stethoscope.facts.loops import Loop
from stethoscope.facts.moved import may_move
from stethoscope.facts.origins import called, lineage, thing_of
from stethoscope.facts.stepping import outermost_loop
from stethoscope.facts.things import Thing, iterated

_CLEARS = re.compile(r"zero_?grad|\.grad\s*=\s*None|\.grad(?:\.data)?\.zero_\(")
_EXCHANGED = re.compile(
    r"param_groups\[[^\]]*\]\[[\"']params[\"']\]\s*=(?!=)|param_groups\.(?:clear|pop)\(|\.add_param_group\("
)
_MEANT = re.compile(r"#.*(?:\b(?:deliberate|intentional)|\bon purpose\b)", re.I)
_GRADIENTS = re.compile(r"#.*(?:\bgrad|zero_grad|accumulat)", re.I)
_YIELDS = re.compile(r"\byield\b")


def clears_around(file: Code, loop: Loop) -> bool:
    """Whether gradients may be cleared around the steps of a loop, or are not carried over, or are so on purpose."""
    lines = file.lines[loop.at.line - 1 : loop.at.end_line]
    if _is_said_to_be_meant(lines) or (hands_on_each_round(file, loop) and file.and_linked_say("zero_grad")):
        return True
    if not loop.is_loop:
        return False
    if file.matches(_EXCHANGED, loop.at) or _has_one_round(file, loop) or _is_given_rounds(file, loop):
        return True
    if _wipes(file, loop) or _steps_in_last_round(file, loop):
        return True
    inside = (one for number, one in enumerate(file.contexts) if loop.context in file.numbers_around(number))
    return any(isinstance(one.value, Call) and _clears(file, one.value) for one in inside if one.kind == "with")


def _is_given_rounds(file: Code, loop: Loop) -> bool:
    """Whether a function gives the rounds of a loop that clears before each, as of `for logits in self.tag(loader)`: a
    generator of the project, or a method that is not seen, of the object that holds model and optimizer.
    """
    source, _ = iterated(file, file.contexts[loop.context].value)
    if not isinstance(source, Call):
        return False
    callee = called(file, source)
    if callee.function is not None and callee.code is not None:
        return callee.code.matches(_CLEARS, callee.function.at) and callee.code.matches(_YIELDS, callee.function.at)
    return isinstance(source.receiver, Name) and source.receiver.name == "self"


def _wipes(file: Code, loop: Loop) -> bool:
    """Whether something that is not seen is given the model in each round, or a method of the model is called: it may
    clear what is there.
    """
    models = {event.name for event in loop.of("forward")} - {""}
    dropped = {id(one.value) for one in file.bare}
    calls = file.calls[slice(*file.functions[loop.function].calls)]
    return any(
        id(call) in dropped
        and loop.context in file.numbers_around(call.context)
        and may_move(file, call, models, loop.context)
        for call in calls
    )


def _steps_in_last_round(file: Code, loop: Loop) -> bool:
    """Whether a loop with no other around steps in its last round alone: `if i == len(loader) - 1`."""
    outer = outermost_loop(file, loop.context)
    return outer == loop.context and all(
        any(here.kind == "if" and here.value is not None and _LAST.search(file.text(here.value.at)) for here in arounds)
        for arounds in ([*file.around(one.outer_context)] for one in loop.of("step"))
    )


_LAST = re.compile(r"==\s*\(?len\(.*\)\s*-\s*1|\+\s*1\)?\s*==\s*len\(")


def hands_on_each_round(file: Code, loop: Loop) -> bool:
    """Whether a loop gives something out behind its backward pass: who takes it may clear or step before it goes on."""
    last = max((one.at.line for one in loop.of("backward") if one.code is file and not one.via), default=0)
    return last > 0 and file.matches(_YIELDS, At(last, 0, loop.at.end_line, 0))


def _is_said_to_be_meant(lines: tuple[str, ...]) -> bool:
    """Whether a comment, or the two lines of one, say that gradients are kept on purpose."""
    return any(
        _MEANT.search(line) and any(_GRADIENTS.search(one) for one in lines[max(number - 1, 0) : number + 2])
        for number, line in enumerate(lines)
    )


def _has_one_round(file: Code, loop: Loop) -> bool:
    """Whether a loop goes over a display of one thing, or returns at the end of its first round."""
    source, _ = iterated(file, file.contexts[loop.context].value)
    if isinstance(source, Group) and source.kind in ("list", "tuple") and len(source.items) == 1:
        return not isinstance(source.items[0], Starred)
    body = [line for line in file.lines[loop.at.line : loop.at.end_line] if line.partition("#")[0].strip()]
    depth = len(body[0]) - len(body[0].lstrip()) if body else 0
    return any(re.match(rf"\s{{{depth}}}return\b", line) for line in body)


def _clears(file: Code, call: Call) -> bool:
    """Whether a context of the project clears gradients as it is entered or left."""
    callee = called(file, call)
    if callee.function is not None and callee.code is not None:
        return callee.code.matches(_CLEARS, callee.function.at)
    made: Thing = thing_of(file, call)
    return any(
        home.matches(_CLEARS, home.functions[cls.methods[name]].at)
        for home, cls in lineage(made)
        for name in ("__enter__", "__exit__")
        if name in cls.methods
    )
