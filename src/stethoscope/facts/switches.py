"""Loops of source code that switch a model to eval mode and train on in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, Attribute, Call, Choice, Code, Constant, Group, Name, Operation, Value
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
        backward = inside[trains[0]]
        beside = [one for one in inside if _is_beside(file, one, event)]
        again = _is_phase(file, event, backward, loop) or _is_periodic(file, event, loop)
        again = again or _is_record(file, event, loop)
        again = again or (_is_asked_for(file, event, backward, loop) and _trains(event, beside))
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


def _is_record(file: Code, event: Event, loop: int) -> bool:
    """Whether something happens in each round that beats the best so far, and the loop goes on after that: in
    `if loss < best: best = loss`.
    """
    branch = _branch_of(file, event, loop)
    if branch == NOWHERE or _leaves(file, branch):
        return False
    compared = {
        name
        for one in _parts(file.contexts[branch].value)
        if isinstance(one, Operation) and one.operator in _ORDERS
        for name in map(_text, one.operands)
    }
    bound = {one.name for one in file.bindings if branch in file.numbers_around(one.context)}
    return bool(compared & bound - {""})


_ORDERS = ("<", ">", "<=", ">=")


def _is_asked_for(file: Code, event: Event, backward: Event, loop: int) -> bool:
    """Whether something happens in each round of a loop or in none, as an option says: `if options.validate:`."""
    branch = _branch_of(file, event, loop)
    trained = _branch_of(file, backward, loop, otherwise=True)
    if branch == NOWHERE or trained != NOWHERE or _leaves(file, branch):
        return False
    return _is_fixed(file, file.contexts[branch].value, loop)


def _branch_of(file: Code, event: Event, loop: int, *, otherwise: bool = False) -> int:
    """The only `if` between a loop and what happens in it; NOWHERE where it is none, or several. With `otherwise` the
    nearest branch of any kind.
    """
    found = NOWHERE
    for number in file.numbers_around(event.outer_context):
        kind = file.contexts[number].kind
        if number == loop:
            return found
        if kind in ("if", "else", "except"):
            if otherwise:
                return number
            if kind != "if" or found != NOWHERE:
                return NOWHERE
            found = number
        elif kind in ("for", "while", "function") and not otherwise:
            return NOWHERE
    return NOWHERE


def _leaves(file: Code, branch: int) -> bool:
    return file.matches(_LEAVES, file.contexts[branch].at) or file.matches(_GOES_ON, file.contexts[branch].at)


_GOES_ON = re.compile(r"\bcontinue\b")


def _is_fixed(file: Code, value: Value | None, loop: int) -> bool:
    """Whether a condition is the same in each round of a loop: of numbers, and of variables and options that nothing in
    the loop writes.
    """
    if isinstance(value, Constant):
        return True
    if isinstance(value, Operation | Choice):
        return all(_is_fixed(file, one, loop) for one in _joined(value))
    while isinstance(value, Attribute):
        value = value.value
    if not isinstance(value, Name) or value.name == "self" or value.name.startswith("self."):
        return False
    root = value.name.partition(".")[0]
    written = (one for one in file.bindings if one.name.partition(".")[0] == root)
    return value.binding != NOWHERE and not any(loop in file.numbers_around(one.context) for one in written)


def _parts(value: Value | None) -> Iterator[Value]:
    """A condition and the conditions that it joins."""
    if value is not None:
        yield value
        for one in _joined(value):
            yield from _parts(one)


def _joined(value: Value) -> tuple[Value, ...]:
    """The operands of an operation, of `or` as well; of `a if b else c` what it chooses from and by."""
    if isinstance(value, Choice):
        return value.options if value.condition is None else (value.condition, *value.options)
    return value.operands if isinstance(value, Operation) else ()


def _text(value: Value) -> str:
    return value.name if isinstance(value, Name) else ""


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
