"""Training loops in source code, and what each does in order.

for loop in loops_of(code):
    [event.kind for event in loop.events]    ["zero", "forward", "backward", "step"]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stethoscope.facts.code import NOWHERE, At, Call, Code
from stethoscope.facts.events import Event, events_of, is_in_loop
from stethoscope.facts.origins import call_sites


@dataclass(frozen=True)
class Loop:
    """A loop, or a function that takes one training step."""

    code: Code
    context: int
    """Of the loop; of a step function, the function's own."""
    at: At
    function: int
    events: tuple[Event, ...]
    is_loop: bool = True
    """False of a function that takes one step, and of which no caller is known."""
    unclear: str = ""
    """Why its order of calls is not understood, as a clause; empty where it is."""

    def of(self, *kinds: str) -> tuple[Event, ...]:
        """Its events of these kinds, in order."""
        return tuple(event for event in self.events if event.kind in kinds)


def loops_of(code: Code) -> tuple[Loop, ...]:
    """The innermost loops that go backward, and functions with a backward pass that no loop of this file calls."""
    if "loops" not in code.memo:
        code.memo["loops"] = tuple(_loops(code))
    found: tuple[Loop, ...] = code.memo["loops"]
    return found


def training_functions(code: Code) -> set[int]:
    """The functions that train: a loop beside the training may prepare something for it."""
    return {loop.function for loop in loops_of(code)}


def is_stepped_in_loop(code: Code, made: Call) -> bool:
    """Whether the optimizer that a call makes steps in a loop of this file; one of Keras's does in `fit`."""
    if made.name.startswith("keras."):
        return True
    return any(loop.is_loop and any(step.thing.made is made for step in loop.of("step")) for loop in loops_of(code))


GOING_BACKWARD = (".backward(", "manual_backward(")
"""What stands in a text with one of these calls."""


_BACKWARD = (".backward", ".manual_backward", "torch.autograd.backward", "torch.distributed.autograd.backward")


def backward_calls(code: Code) -> tuple[Call, ...]:
    """The calls of a text that go backward."""
    return code.calls_of(*_BACKWARD)


def functions_going_backward(code: Code) -> list[int]:
    """The functions that go backward in their own lines."""
    return code.functions_with(*_BACKWARD)


def _loops(code: Code) -> Iterator[Loop]:
    if not backward_calls(code) and not any(backward_calls(other) for other in code.linked.saying(*GOING_BACKWARD)):
        return
    reached: set[int] = set()
    """Functions whose backward passes belong to a loop."""
    for index, function in enumerate(code.functions):
        first, last = function.calls
        candidates: dict[int, list[Event]] = {}
        events = events_of(code, index)
        for event in events:
            if event.kind != "backward":
                continue
            where = event.via[0][1].context if event.via else event.context
            loop = innermost_loop(code, where, index)
            if loop != NOWHERE and not (
                event.via and has_own_loop(event)
            ):  # what a function does in its own loops is told there
                candidates.setdefault(loop, [])
                reached.update(code.function_at(call.context) for home, call in event.via[1:] if home is code)
                if event.code is code:
                    reached.add(code.function_at(event.context))
        for context in candidates:
            # The loop around, too, where the step is taken there: several backward passes for one step.
            home = _loop_with_step(code, context, events, index)
            inside = tuple(event for event in events if is_in_loop(code, event, home))
            if any(event.via and has_own_loop(event) for event in inside if event.kind == "backward"):
                continue
            yield Loop(code, home, code.contexts[home].at, index, inside, unclear=_unclear(inside))
        if first == last:
            continue
    for index in functions_going_backward(code):
        function = code.functions[index]
        if index == 0 or index in reached or function.name == "<lambda>":
            continue
        events = events_of(code, index)
        direct = [event for event in events if event.kind == "backward" and not event.via]
        if direct and all(innermost_loop(code, event.context, index) == NOWHERE for event in direct):
            is_called = bool(call_sites(code, index))
            if not is_called or not _called_from_elsewhere(code, index):
                yield training_of(code, index)


def training_of(code: Code, index: int) -> Loop:
    """A function as one that takes one training step."""
    function, events = code.functions[index], events_of(code, index)
    return Loop(code, function.context, function.at, index, events, is_loop=False, unclear=_unclear(events))


def _called_from_elsewhere(code: Code, index: int) -> bool:
    """Whether the calls of a function are looked at in the functions that make them."""
    return any(innermost_loop(code, call.context, NOWHERE) != NOWHERE for call in call_sites(code, index))


def has_own_loop(event: Event) -> bool:
    """Whether a loop stands between a call and the event that it leads to: that loop is looked at by itself."""
    ways = [*((home, call.context) for home, call in event.via[1:]), (event.code, event.context)]
    return any(innermost_loop(home, context, NOWHERE) != NOWHERE for home, context in ways)


def leaves_at_once(code: Code, loop: At) -> bool:
    """Whether a loop has one round: the body ends with `break`, under no condition."""
    lines = [line.partition("#")[0].rstrip() for line in code.lines[loop.line - 1 : loop.end_line]]
    head = next((place for place, line in enumerate(lines) if line.endswith(":")), len(lines))  # it may take several
    body = [line for line in lines[head + 1 :] if line]
    depth = len(body[0]) - len(body[0].lstrip()) if body else 0
    return any(line == " " * depth + "break" for line in body)


def innermost_loop(code: Code, context: int, function: int) -> int:
    """The nearest loop around something in the same function, or NOWHERE. A loop over parameters is none."""
    for number in code.numbers_around(context):
        here = code.contexts[number]
        if here.kind in ("for", "while"):
            return number
        if here.kind in ("function", "class", "module"):
            return NOWHERE
    return NOWHERE


def _loop_with_step(code: Code, context: int, events: tuple[Event, ...], function: int) -> int:
    """The loop that holds both the backward pass and the step: it may be further out."""
    loop = context
    for _ in range(3):
        if any(event.kind in ("step", "zero") and is_in_loop(code, event, loop) for event in events):
            return loop
        outer = innermost_loop(code, code.contexts[loop].parent, function)
        if outer == NOWHERE:
            return loop if not any(event.kind == "step" for event in events) else context
        loop = outer
    return context


def is_driven(backward: Event) -> bool:
    """Whether a framework runs a backward pass, and may step as well."""
    return backward.thing.kind == "framework" or backward.hinted


def _unclear(events: tuple[Event, ...]) -> str:
    for event in events:
        if event.kind == "backward" and is_driven(event):
            return f"`{event.name}` runs the backward pass"
    others = [event for event in events if event.kind == "other" and event.call is not None]
    if others and not any(event.kind == "zero" for event in events):
        name = _name_of(others[0])
        return f"`{name}` is given the optimizer, and is not in this project's files"
    return ""


def _name_of(event: Event) -> str:
    call = event.call
    if call is None:
        return event.name
    if call.receiver is None:
        return call.name
    text = event.code.text(call.at).partition("(")[0]
    return text or call.name
