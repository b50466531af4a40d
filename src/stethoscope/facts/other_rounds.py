"""Backward passes beside a step that are made for another optimizer.

optimizer.zero_grad()
optimizer.step()                      # no pass of its own
critic_optimizer.zero_grad()
critic_loss.backward()                # for the critic
critic_optimizer.step()
"""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, Call, Code, Name, Operation, Value
from stethoscope.facts.events import Event, events_of, name_of
from stethoscope.facts.gradient_words import reads_gradients
from stethoscope.facts.origins import called, thing_of

_GOES = ("backward", "grad")
_STEPS = ("step", "unknown step")
_DEEPEST = 6


def passes_of_others(file: Code, index: int, step: Event) -> list[Event]:
    """The passes of a function that another optimizer steps for, and whose gradients this step does not see: it steps
    before them, or what it steps for is cleared behind them.
    """
    known: dict[tuple[int, int], list[Event]] = file.memo.setdefault("passes of others", {})
    key = index, step.call.number if step.call is not None else -1
    if key not in known:
        events = events_of(file, index)
        own = next((place for place, one in enumerate(events) if one is step), None)
        is_plain = own is not None and not _is_of_own_kind(file, step)
        goes = [place for place, one in enumerate(events) if one.kind in _GOES] if is_plain else []
        known[key] = [events[place] for place in goes if _is_of_other(file, events, place, own or 0)]
    return known[key]


def _is_of_own_kind(file: Code, step: Event) -> bool:
    """Whether an optimizer is of a class that is not torch's: it may move weights without gradients, as a proximal
    step does.
    """
    if step.thing.cls is not None:
        return True
    made = [one.value for one in file.bindings if one.name == step.name and isinstance(one.value, Call)]
    return any(
        one.name.rpartition(".")[2][:1].isupper() and thing_of(file, one).kind == "unknown" for one in made
    ) or any(called(file, one).cls is not None for one in made)


def lines_of_passes(passes: list[Event]) -> frozenset[int]:
    """The lines of a function in which passes begin, or what leads to them is called."""
    places = [one.via[0][1].at if one.via else one.at for one in passes]
    return frozenset(number for at in places for number in range(at.line, at.end_line + 1))


def _is_of_other(file: Code, events: tuple[Event, ...], place: int, own: int) -> bool:
    """Whether a pass belongs to the round of another optimizer, or is a look at gradients in a function behind a step
    that has cleared them.
    """
    step, event = events[own], events[place]
    follows = next((one for one in events[place + 1 :] if one.kind == "step"), None)
    inside = [one for one in events if event.via and one.via and one.via[0][1] is event.via[0][1]]
    if any(one.kind in _STEPS and _name(one) == step.name for one in inside):
        return False
    is_others = follows is not None and _name(follows) != step.name
    if place < own:
        if event.via and reads_gradients(event.code, event.code.functions[event.code.function_at(event.context)].at):
            return is_cleared(file, events[place + 1 : own], step)  # they are looked at, and cleared
        behind = next((n for n in range(place + 1, own) if events[n].kind == "step"), own)
        return is_others and is_cleared(file, events[behind:own], step)
    clears = [n for n, one in enumerate(events) if one.kind == "zero" and one.name in (step.name, _model_of(step))]
    is_round = is_others and follows in inside and any(one.kind == "zero" for one in inside)
    is_apart = is_round and any(n < own for n in clears) and not any(own < n < place for n in clears)
    return is_apart or ((is_others or bool(inside)) and is_cleared(file, events[:own], step))


def losses_of_passes(file: Code, passes: list[Event]) -> frozenset[int]:
    """The calls, by their numbers, that the losses are made of which passes of a function go backward from."""
    return frozenset(number for one in passes if not one.via for number in _made_of(file, one.subject, 0))


def _made_of(file: Code, value: Value | None, depth: int) -> Iterator[int]:
    if isinstance(value, Name) and value.binding != NOWHERE and depth < _DEEPEST:
        yield from _made_of(file, file.bindings[value.binding].value, depth + 1)
    elif isinstance(value, Operation):
        for one in value.operands:
            yield from _made_of(file, one, depth + 1)
    elif isinstance(value, Call):
        yield value.number
        if value.receiver is not None:
            yield from _made_of(file, value.receiver, depth + 1)


def cleared_before(file: Code, index: int, step: Event) -> Event | None:
    """What clears, in the same round, before an optimizer steps, with no pass between: what follows the step is cleared
    by the next round.
    """
    events = events_of(file, index)
    own = next((place for place, one in enumerate(events) if one is step), 0)
    is_there = is_cleared(file, events[:own], step)
    return next((one for one in reversed(events[:own]) if is_there and is_cleared(file, (one,), step)), None)


def is_cleared(file: Code, events: tuple[Event, ...], step: Event) -> bool:
    """Whether what an optimizer steps for is cleared, under no condition that the step is not under, and no pass
    follows.
    """
    around = set(file.numbers_around(step.context))
    loops = {number for number in around if file.contexts[number].kind in ("for", "while")}
    cleared = [
        place for place, one in enumerate(events)
        if one.kind == "zero" and not one.via and one.context in around
        and loops <= set(file.numbers_around(one.context)) and one.name in (step.name, _model_of(step))
    ]  # fmt: skip
    return bool(cleared) and not any(one.kind in _GOES for one in events[cleared[-1] :])


def _name(event: Event) -> str:
    """What steps, as it is called in the function from which we look, or where it steps."""
    return event.outer_name or event.name


def _model_of(step: Event) -> str:
    """The model whose parameters an optimizer was made of, as it is written there."""
    made = step.thing.made
    given = made.argument(0, "params") if made is not None else None
    is_of_model = isinstance(given, Call) and given.name == ".parameters"
    return name_of(step.thing.made_in or step.code, given.receiver) if is_of_model and isinstance(given, Call) else ""
