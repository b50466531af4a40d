"""Evaluation in source code, found by what it does and not by its name: a model is called, nothing goes backward."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stethoscope.facts.code import (
    NOWHERE,
    At,
    Attribute,
    Call,
    Choice,
    Code,
    Context,
    Each,
    Group,
    Item,
    Name,
    Operation,
    Starred,
    Symbol,
    Value,
)
from stethoscope.facts.events import NO_GRAD, Event, events_of, is_under, name_of
from stethoscope.facts.few_rows import has_few_rows
from stethoscope.facts.loops import leaves_at_once, loops_of
from stethoscope.facts.origins import call_sites, called
from stethoscope.facts.things import literal

READING = frozenset({".item", ".argmax", ".numpy", ".tolist", ".topk", ".eq", "torch.argmax", "torch.max", "torch.topk",
                     "torch.eq", ".cpu", "sklearn.metrics.accuracy_score", "builtins.float"})  # fmt: skip
"""What is done with an answer that is only looked at."""


@dataclass(frozen=True)
class Evaluation:
    """A place at which a model is called and not trained."""

    code: Code
    at: At
    context: int
    """Of its loop; or of the `with torch.no_grad()`, or of the function, where there is none."""
    function: int
    forward: Event
    """The first call of a model in it."""
    is_loop: bool
    without_graph: bool
    """Whether it is under `no_grad`, here or at every call of its function in this file."""
    callers_known: bool
    """Whether its function is called in this file, or it is in no function."""
    is_fed: bool
    """Whether what its loop goes over is what the model is given."""
    is_read: bool
    """Whether an answer or a loss is looked at: an accuracy, a number that is added up."""
    before: tuple[Event, ...]
    """What its function did before it, in order."""
    is_hidden: bool = False
    """Whether something around it that is not known may switch modes or gradients off: a decorator, a context."""

    @property
    def is_once(self) -> bool:
        """Whether its loop is left with the first answer: `if i == wanted: show(model(x)); break`."""
        for here in self.code.around(self.forward.context):
            if here.kind in ("for", "while"):
                return leaves_at_once(self.code, here.at)
            if here.kind == "if" and self.code.matches(_LEAVES, here.at):
                return True
        return False

    @property
    def is_small(self) -> bool:
        """Whether its loops have a few rounds, as where some answers are drawn or a sample is turned, or no data feeds
        it and it goes on until something is over, as where the answers play a game.
        """
        loops = list[Context]()
        for number in self.code.numbers_around(self.forward.context):
            if self.code.contexts[number].kind in ("for", "while"):
                loops.append(self.code.contexts[number])
            if number == self.context:
                break
        if not loops:
            return False
        outermost = loops[-1]
        is_open = not self.is_fed and (outermost.kind == "while" or is_few(self.code, outermost.value))
        return is_open or all(
            one.kind == "for" and (is_few(self.code, one.value) or ends_soon(self.code, one)) for one in loops
        )


A_FEW = 16
"""Rounds: as many pictures as are drawn side by side."""
_LEAVES = re.compile(r"^\s*(?:break|return)\b")
_GONE_OVER = ("builtins.enumerate", "builtins.zip", "builtins.reversed")


def is_few(code: Code, rounds: Value | None, depth: int = 0, *, is_part: bool = False) -> bool:
    """Whether a loop has a few rounds that are written out, or goes over the rows of one batch: `next(...)`."""
    if depth > MOST_NAMES:
        return False
    if isinstance(rounds, Group) and rounds.kind in ("list", "tuple"):
        return (
            not is_part and 0 < len(rounds.items) <= A_FEW
        )  # a part of it may be a loader, and what is empty is filled
    if isinstance(rounds, Call) and rounds.name == "builtins.range":
        if any(_is_length_of_few(code, end) for end in rounds.arguments[:2]):
            return True
        ends = [end for one in rounds.arguments if isinstance(end := literal(code, one), int)]
        span = ends[1] - ends[0] if len(ends) > 1 else sum(ends)
        return 0 < len(ends) == len(rounds.arguments) and abs(span) <= A_FEW
    if isinstance(rounds, Call) and rounds.name == "itertools.islice":
        last = literal(code, rounds.argument(1 if len(rounds.arguments) < 3 else 2))
        return isinstance(last, int) and last <= A_FEW
    if isinstance(rounds, Call) and (rounds.name in _GONE_OVER or rounds.name.endswith("tqdm")):
        return any(is_few(code, one, depth + 1) for one in rounds.arguments)
    if isinstance(rounds, Call):
        return rounds.name == "builtins.next" or (not is_part and has_few_rows(code, rounds, A_FEW))
    if isinstance(rounds, Item | Attribute | Starred):
        return is_few(code, rounds.value, depth + 1, is_part=True)
    if isinstance(rounds, Name) and rounds.binding != NOWHERE and code.bindings[rounds.binding].how == "assign":
        return is_few(code, code.bindings[rounds.binding].value, depth + 1, is_part=is_part)
    return False


def _is_length_of_few(code: Code, end: Value) -> bool:
    """Whether rounds end with the last of a few rows: `range(0, len(seen), 64)`."""
    return isinstance(end, Call) and end.name == "builtins.len" and has_few_rows(code, end.argument(0), A_FEW)


def ends_soon(code: Code, loop: Context) -> bool:
    """Whether a loop that counts its rounds is left after a few: `for i, x in enumerate(loader): if i == 8: break`."""
    counted = _COUNTED.search(code.lines[loop.at.line - 1])
    if counted is None:
        return False
    left = re.compile(rf"\bif\s+{counted.group(1)}\s*(?:>=|>|==)\s*(\d+)\s*:\s*(?:#.*)?(?:\n\s*)?break\b")
    found = left.search("\n".join(code.lines[loop.at.line : loop.at.end_line]))
    return found is not None and int(found.group(1)) <= A_FEW


_COUNTED = re.compile(r"\bfor\s+(\w+)\s*,.*\bin\b.*\benumerate\(")


def evaluations_of(code: Code) -> tuple[Evaluation, ...]:
    """All evaluations in a file."""
    if "evaluations" not in code.memo:
        code.memo["evaluations"] = tuple(
            found for index in range(len(code.functions)) for found in _in_function(code, index)
        )
    found: tuple[Evaluation, ...] = code.memo["evaluations"]
    return found


def _in_function(code: Code, index: int) -> list[Evaluation]:
    events = events_of(code, index)
    forwards = [event for event in events if event.kind == "forward" and not event.via]
    if not forwards:
        return []
    backwards = [event for event in events if event.kind in ("backward", "grad", "step")]
    found: dict[int, Evaluation] = {}
    for forward in forwards:
        context, is_loop = _region(code, forward, backwards, index)
        if context == NOWHERE or context in found or (forward.code.functions[index].name == "forward"):
            continue
        position = events.index(forward)
        goes_on = any(_is_level(code, event, context) for event in events[position:] if event.kind == "backward")
        if goes_on:
            continue  # what it computes may go backward later
        quiet, known = _without_graph(code, forward.context, index)
        hidden = _is_handed_over(code, forward) or _is_decorated(code, forward.context)
        found[context] = Evaluation(
            code, code.contexts[context].at, context, index, forward, is_loop, quiet, known,
            is_loop and _is_fed(code, forward, context), _is_read(code, context, index), events[:position], hidden,
        )  # fmt: skip
    return list(found.values())


def _region(code: Code, forward: Event, backwards: list[Event], index: int) -> tuple[int, bool]:
    """The outermost loop around a call of a model in which nothing goes backward; or the `no_grad` around it.

    A loop that makes the model anew each time goes over models, and not over data.
    """
    best, is_loop = NOWHERE, False
    making = set(_rounds_of_making(code, forward))
    for number in code.numbers_around(forward.context):
        here = code.contexts[number]
        if number in making:
            break
        if here.kind in ("function", "class", "module"):
            break
        if any(number in code.numbers_around(event.outer_context) for event in backwards):
            break
        if here.kind in ("for", "while"):
            best, is_loop = number, True
        elif (here.kind == "comprehension" and best == NOWHERE) or (
            here.kind == "with" and isinstance(here.value, Call) and here.value.name in NO_GRAD and not is_loop
        ):
            best = number
    if best == NOWHERE and is_under(code, forward.context, *NO_GRAD) and not backwards and index:
        best = code.functions[index].context
    return best, is_loop


def _rounds_of_making(code: Code, forward: Event) -> Iterator[int]:
    """The loops in which the model is made that is called here, in the same file and function."""
    made = forward.thing.made
    if made is None or forward.thing.made_in is not code:
        return
    for number in code.numbers_around(made.context):
        if code.contexts[number].kind == "function":
            return
        if code.contexts[number].kind in ("for", "while"):
            yield number


def _is_level(code: Code, event: Event, region: int) -> bool:
    """Whether an event is in the same iteration as a region: in no loop that is not around the region as well."""
    around = set(code.numbers_around(region))
    for number in code.numbers_around(event.outer_context):
        kind = code.contexts[number].kind
        if kind in ("for", "while") and number not in around:
            return False
        if kind == "function":
            break
    return not any(home is code and _loops_inside(code, call) for home, call in event.via[:1])


def _loops_inside(code: Code, call: Call) -> bool:
    """Whether the function that is called here has loops of its own."""
    callee = called(code, call)
    if callee.function is None or callee.code is None:
        return False
    own = callee.function.context
    return any(
        context.kind in ("for", "while") and own in callee.code.numbers_around(context.parent)
        for context in callee.code.contexts
    )


def _without_graph(code: Code, context: int, index: int) -> tuple[bool, bool]:
    """Whether no graph is built, as far as this file tells, and whether the callers are known."""
    if is_under(code, context, *NO_GRAD) or _switched_off(code, index) or _is_under_another_name(code, context):
        return True, True
    if index == 0:
        return False, True
    sites = call_sites(code, index)
    if not sites:
        return False, False
    quiet = [
        is_under(code, call.context, *NO_GRAD) or _switched_off(code, code.function_at(call.context)) for call in sites
    ]
    return all(quiet), True


def _is_under_another_name(code: Code, context: int) -> bool:
    """Whether a `with` around it is told by its own words to switch gradients off: `no_grad = get("torch.no_grad")`."""
    return any(
        here.kind == "with" and here.value is not None and _NO_GRAD_SAID.search(code.text(here.value.at))
        for here in code.around(context)
    )


_NO_GRAD_SAID = re.compile(r"no_?grad|inference_?mode", re.IGNORECASE)
_PLAIN_DECORATORS = (
    "builtins.", "functools.", "abc.", "typing.", "typing_extensions.", "contextlib.", "torch.",
    "dataclasses.", "pytest.", "numba.", "tensorflow.",
)  # fmt: skip


def _is_decorated(code: Code, context: int) -> bool:
    """Whether a decorator that is not known is on the functions around it: it may switch gradients off."""
    for here in code.around(context):
        if here.kind == "function":
            for decorator in code.functions[here.owner].decorators:
                name = decorator.name if isinstance(decorator, Symbol | Call | Name) else ""
                if not name.startswith(_PLAIN_DECORATORS):
                    return True
    return False


def _is_handed_over(code: Code, forward: Event) -> bool:
    """Whether a `with` around it is given the model, or a variable holds it: what such a context does to modes and
    gradients is not known.
    """
    for here in code.around(forward.context):
        if here.kind == "with" and isinstance(here.value, Call) and here.value.name == "()":
            return True
        if here.kind == "with" and isinstance(here.value, Call) and not here.value.name.startswith("torch."):
            given = (*here.value.arguments, *([here.value.receiver] if here.value.receiver is not None else ()))
            if any(name_of(code, value) == forward.name for value in given):
                return True
        if here.kind == "function":
            break
    return False


def _switched_off(code: Code, index: int) -> bool:
    """Whether a function calls `torch.set_grad_enabled(...)` as a statement."""
    first, last = code.functions[index].calls
    return any(call.name == "torch.set_grad_enabled" for call in code.calls[first:last])


def _is_fed(code: Code, forward: Event, loop: int) -> bool:
    """Whether a variable of this loop reaches the arguments of the model's call."""
    call = forward.call
    waiting = [*call.arguments, *(value for _, value in call.keywords)] if call is not None else []
    for _ in range(60):
        if not waiting:
            return False
        value = waiting.pop()
        if isinstance(value, Name) and value.binding != NOWHERE:
            binding = code.bindings[value.binding]
            if binding.how == "for" and loop in code.numbers_around(binding.context):
                return True
            if binding.how == "assign" and binding.value is not None:
                waiting.append(binding.value)
            waiting += [Name(value.name, one, value.at) for one in binding.options]
        elif isinstance(value, Call):
            waiting += [*value.arguments, *([value.receiver] if value.receiver is not None else ())]
        elif isinstance(value, Attribute | Item | Starred):
            waiting.append(value.value)
        elif isinstance(value, Operation):
            waiting += value.operands
        elif isinstance(value, Group):
            waiting += value.items
        elif isinstance(value, Each):
            waiting += [value.element, value.source]
    return False


def _is_read(code: Code, context: int, index: int) -> bool:
    first, last = code.functions[index].calls
    return any(call.name in READING and context in code.numbers_around(call.context) for call in code.calls[first:last])


def is_switched(found: Evaluation) -> bool:
    """Whether its model was put into eval mode: right there, or by another method of the class that keeps it and reads
    its answers.
    """
    return is_switched_here(found) or (found.is_read and _is_kept_switched(found))


def _is_kept_switched(found: Evaluation) -> bool:
    """Whether a class puts the model that it keeps into eval mode, and never into the other one."""
    code, name = found.code, found.forward.name
    owner = code.class_of(found.function)
    is_trained = any(name_of(code, call.receiver) == name for call in code.calls_of(".train"))
    is_dropped = any(one.value is found.forward.call for one in code.bare)
    if owner == NOWHERE or not name.startswith("self.") or is_trained or is_dropped:
        return False
    return any(
        code.class_of(code.function_at(call.context)) == owner
        and (name_of(code, call.receiver) == name or _is_kept_as(code, call, name))
        for call in code.calls_of(".eval")
    )


def _is_kept_as(code: Code, switch: Call, name: str) -> bool:
    """Whether what a call of `eval()` gives is kept under a name: `self.model = build().eval().to(device)`."""
    for binding in code.bindings[slice(*code.functions[code.function_at(switch.context)].bindings)]:
        value = binding.value if binding.name == name else None
        while isinstance(value, Call):
            if value is switch:
                return True
            value = value.receiver
    return False


def is_switched_here(found: Evaluation) -> bool:
    """Whether its model, or the whole that it is a part of, was put into eval mode last. What is done to other models
    does not count, nor training mode in a branch, as where one ends with another kind of evaluation.
    """
    around = set(found.code.numbers_around(found.forward.context))
    for event in reversed(found.before):
        is_it = bool(event.name) and f"{found.forward.name}.".startswith(f"{event.name}.")
        if event.kind not in ("eval", "train") or event.via or not is_it:
            continue
        if event.kind == "eval" or not event.in_branch or event.outer_context in around:
            return bool(event.kind == "eval")
    return False


MOST_NAMES = 16
"""Variables that may be one model, at most."""


def called_models(found: Evaluation) -> list[Value]:
    """What the model of an evaluation may be, by the variables that it goes through: itself, and `model` of
    `shown = average if use_average else model`; what a wrapper holds stands for the wrapper.
    """
    code, waiting, seen = found.code, [found.forward.subject], list[Value]()
    while waiting and len(seen) < MOST_NAMES:
        value = waiting.pop()
        while isinstance(value, Attribute) and value.name == "module":
            value = value.value
        if value is None or value in seen:
            continue
        seen.append(value)
        if isinstance(value, Choice):
            waiting += value.options
        elif isinstance(value, Name) and value.binding != NOWHERE:
            binding = code.bindings[value.binding]
            is_same = (
                binding.how == "assign" and not binding.item and isinstance(binding.value, Name | Attribute | Choice)
            )
            waiting += [binding.value] if is_same else [Name(value.name, one, value.at) for one in binding.options]
    return seen


def trained_models(code: Code) -> tuple[set[Call], set[str]]:
    """The models that the loops of a file train: the calls that made them, and their names."""
    if "trained models" not in code.memo:
        forwards = [event for loop in loops_of(code) for event in loop.of("forward")]
        made = {event.thing.made for event in forwards if event.thing.made is not None}
        names = {event.outer_name or event.name for event in forwards} | {event.name for event in forwards}
        code.memo["trained models"] = made, names
    found: tuple[set[Call], set[str]] = code.memo["trained models"]
    return found
