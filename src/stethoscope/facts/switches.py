"""Loops of source code that switch a model to eval mode and train on in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import (
    NOWHERE,
    At,
    Attribute,
    Binding,
    Call,
    Choice,
    Code,
    Constant,
    Group,
    Name,
    Operation,
    Value,
)
from stethoscope.facts.events import Event
from stethoscope.facts.libraries import SAME_METHODS
from stethoscope.facts.origins import called
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
        again = _is_phase(file, event, inside[trains[0]], loop) or _recurs(file, event, inside, loop)
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


def _recurs(file: Code, event: Event, inside: list[Event], loop: int) -> bool:
    """Whether something happens again and again in a loop that goes on after it: in all rounds for which the conditions
    around it hold.
    """
    branches = _branches(file, event, loop)
    if not branches or _leaves(file, file.contexts[branches[0]].at):
        return False
    if _is_periodic(file, branches[0]):
        return True
    if any(file.matches(_LEAVES, file.contexts[one].at) for one in branches[1:]):
        return False
    rest = [one for one in branches if not _is_periodic(file, one) and not _is_record(file, one)]
    if not rest:
        return True
    if any(file.matches(_SKIPS, file.contexts[one].at) for one in rest):
        return False
    if not all(_is_fixed(file, file.contexts[one].value, loop) for one in rest):
        return False
    # An option may also say that the network is meant to train in eval mode, or that it is not trained at all.
    asked = {name for one in rest for name in _names(file, file.contexts[one].value)}
    trained = {name for one in inside if one.kind == "backward" for name in _asked(file, one, loop)}
    beside = [one for one in inside if _is_beside(file, one, event)]
    return not asked & trained and _trains(event, beside)


def _leaves(file: Code, branch: At) -> bool:
    """Whether a loop is left where a branch is entered, or a mode may be switched back: not what is left under one more
    condition, `if waited > patience: break`.
    """
    asked = NOWHERE
    for number, text in enumerate(file.lines[branch.line - 1 : branch.end_line]):
        line = text.partition("#")[0].rstrip()
        depth = len(line) - len(line.lstrip())
        if line and depth <= asked:
            asked = NOWHERE
        if _LEAVES.search(line) and (asked == NOWHERE or ".train" in line):
            return True
        if number and asked == NOWHERE and _ASKS.match(line):
            asked = depth
    return False


_ASKS = re.compile(r"\s*(?:if|elif)\b.*:$")
_LEAVES = re.compile(r"\b(?:break|return|raise)\b|exit\(|\.train\b")
_SKIPS = re.compile(r"\bcontinue\b")


def _branches(file: Code, event: Event, loop: int) -> list[int]:
    """Each `if` between a loop and what happens in it, the nearest first; none where there is anything else."""
    found = list[int]()
    for number in file.numbers_around(event.outer_context):
        if number == loop:
            return found
        if file.contexts[number].kind == "if":
            found.append(number)
        elif file.contexts[number].kind in ("else", "except", "function", "for", "while"):
            return []
    return []


def _is_periodic(file: Code, branch: int) -> bool:
    """Whether it is asked for the number of a round: `if step % 100 == 0:`."""
    condition = file.contexts[branch].value
    return condition is not None and "%" in file.text(condition.at)


def _is_record(file: Code, branch: int) -> bool:
    """Whether it is asked for the best so far, and that is replaced: `if loss < best: best = loss`."""
    compared = {
        one.name
        for part in _parts(file.contexts[branch].value)
        if isinstance(part, Operation) and part.operator in ("<", ">", "<=", ">=")
        for one in part.operands
        if isinstance(one, Name)
    }
    return any(one.name in compared for one in file.bindings if branch in file.numbers_around(one.context))


def _asked(file: Code, event: Event, loop: int) -> set[str]:
    """The variables and options that decide whether something happens in a loop, at what stands in the loop itself."""
    names = set()
    for number in file.numbers_around(event.outer_context):
        if number == loop:
            break
        if file.contexts[number].kind in ("if", "else"):
            names |= _names(file, file.contexts[number].value)
    return names


def _names(file: Code, value: Value | None) -> set[str]:
    return {file.text(one.at) for one in _parts(value) if isinstance(one, Name | Attribute)}


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


def is_made_anew(file: Code, event: Event, loop: int) -> bool:
    """Whether the model that is switched is made anew in each round: it is in train mode then."""
    subject = event.given if event.via else event.subject
    if event.via and subject is None and isinstance(event.subject, Name) and event.subject.binding != NOWHERE:
        home, inside = event.code, event.code.function_at(event.context)
        if "." in event.subject.name or inside == 0:
            return False
        made = _makers(home, event.subject.binding)
        return any(home.function_at(home.bindings[one].context) == inside for one in made)
    while isinstance(subject, Attribute):
        subject = subject.value
    if not isinstance(subject, Name) or subject.binding == NOWHERE:
        return False
    return any(loop in file.numbers_around(file.bindings[one].context) for one in _makers(file, subject.binding))


def is_made_in_eval_mode(event: Event) -> bool:
    """Whether the model that is switched was in eval mode since it was made, `net = resnet50().eval().cuda()`: then its
    gradients are taken in it on purpose, as to rank what is pruned.
    """
    subject, home = (event.given, event.via[0][0]) if event.via else (event.subject, event.code)
    if not isinstance(subject, Name) or subject.binding == NOWHERE:
        return False
    made = [home.bindings[one].value for one in _makers(home, subject.binding)]
    return bool(made) and all(".eval" in _chained(value) for value in made)


def _chained(value: Value | None) -> Iterator[str]:
    """The methods that are called one on the answer of the other, the last one first."""
    while isinstance(value, Call) and value.receiver is not None:
        yield value.name
        value = value.receiver


MOST_BINDINGS = 16
"""Bindings of one variable that meet in a place, at most."""


def _makers(code: Code, number: int) -> list[int]:
    """The bindings that meet in a variable and make what it is: not arguments, and none that wraps what was there."""
    found, waiting, seen = list[int](), [number], set[int]()
    while waiting and len(seen) < MOST_BINDINGS:
        one = waiting.pop()
        binding = code.bindings[one]
        if one not in seen and binding.how == "merge":
            waiting += binding.options
        elif one not in seen and binding.how != "argument" and not _keeps(code, binding):
            found.append(one)
        seen.add(one)
    return found


def _keeps(code: Code, binding: Binding) -> bool:
    """Whether a binding gives a variable what it was, wrapped or unwrapped: `model = model.module`, `model =
    train(model, data)`.
    """
    value = binding.value
    if isinstance(value, Attribute) and value.name == "module":
        value = value.value
    if isinstance(value, Call) and value.name in SAME_METHODS:
        value = value.receiver
    if isinstance(value, Call):
        given = any(isinstance(one, Name) and one.name == binding.name for one in value.arguments)
        return given and called(code, value).kind != "class"
    return isinstance(value, Name) and value.name == binding.name
