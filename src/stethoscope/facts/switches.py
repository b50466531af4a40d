"""Loops of source code that switch a model to eval mode and train on in it."""

from __future__ import annotations

import re

from stethoscope.facts.code import NOWHERE, Call, Code, Group, Name, Operation
from stethoscope.facts.events import Event
from stethoscope.facts.things import followed


def switched_for_good(file: Code, inside: list[Event], loop: int) -> Event | None:
    """The switch to eval mode in a loop that trains, and never switches back."""
    trains = [place for place, event in enumerate(inside) if event.kind == "backward"]
    switches = [place for place, event in enumerate(inside) if event.kind == "eval"]
    if not trains or not switches or any(event.kind in ("train", "mode") for event in inside):
        return None
    event = inside[switches[0]]
    if event.thing.kind not in ("module", "unknown"):
        return None
    if event.in_branch:
        again = _is_phase(file, event, inside[trains[0]], loop) or _is_periodic(file, event, loop)
        elsewhere = [one for one in inside if not _is_beside(file, one, event)]
        return event if again and _trains(event, elsewhere) else None
    if switches[0] < trains[0]:
        return event if _evaluates_first(event, inside[: trains[0]], inside[trains[0]]) else None
    return event if _trains(event, inside[: switches[0]]) else None


def _trains(event: Event, before: list[Event]) -> bool:
    """Whether the model that is switched is one that is called where it trains."""
    return _name(event) in {_name(one) for one in before if one.kind == "forward"}


def _is_beside(file: Code, event: Event, switched: Event) -> bool:
    """Whether something happens in the branch in which a model is switched: there it is evaluated."""
    around = file.numbers_around(switched.outer_context)
    branch = next((number for number in around if file.contexts[number].kind in ("if", "else")), NOWHERE)
    return branch != NOWHERE and branch in file.numbers_around(event.outer_context)


def _name(event: Event) -> str:
    return event.outer_name or event.name


def _evaluates_first(event: Event, before: list[Event], backward: Event) -> bool:
    """Whether each round evaluates a model in a function of its own, and then trains it."""
    if not event.via or _way(event) is _way(backward):
        return False
    forwards = [one for one in before if one.kind == "forward" and _name(one) == _name(event)]
    asked = any(_way(one) is _way(event) for one in forwards)
    return asked and any(_way(one) is _way(backward) for one in forwards)


def _way(event: Event) -> Call | None:
    """The call through which a loop reaches something; None where it does it itself."""
    return event.via[0][1] if event.via else None


def _is_phase(file: Code, event: Event, backward: Event, loop: int) -> bool:
    """Whether each round of a loop goes through phases that are written out, one of which switches, another trains."""
    switched, trained = _phase(file, event, loop), _phase(file, backward, loop)
    return switched != NOWHERE and switched == trained


def _is_periodic(file: Code, event: Event, loop: int) -> bool:
    """Whether something happens every so many rounds of a loop, which goes on after that: `if step % 100 == 0:`."""
    for number in file.numbers_around(event.outer_context):
        here = file.contexts[number]
        if here.kind in ("else", "except", "function", "for", "while"):
            return False
        if here.kind == "if":
            is_asked = here.value is not None and "%" in file.text(here.value.at)
            return is_asked and loop == _loop_around(file, number) and not file.matches(_LEAVES, here.at)
    return False


_LEAVES = re.compile(r"\b(?:break|return|raise)\b|exit\(|\.train\b")


def _loop_around(file: Code, context: int) -> int:
    return next((n for n in file.numbers_around(context) if file.contexts[n].kind in ("for", "while")), NOWHERE)


def _phase(file: Code, event: Event, loop: int) -> int:
    """The loop over a list of phases, within another, whose variable decides whether something happens."""
    if event.via:
        return NOWHERE
    asked = next((one for one in file.around(event.context) if one.kind in ("if", "else")), None)
    operands = asked.value.operands if asked is not None and isinstance(asked.value, Operation) else ()
    named = next((one for one in operands if isinstance(one, Name) and one.binding != NOWHERE), None)
    binding = file.bindings[named.binding] if named is not None else None
    if binding is None or binding.how != "for" or not isinstance(followed(file, binding.value)[0], Group):
        return NOWHERE
    return binding.context if loop in file.numbers_around(file.contexts[binding.context].parent) else NOWHERE
