"""Losses that go backward and are added up with their graph: `total += loss`.

for binding, loss, is_certain in kept_losses(code):
    binding.name, code.text(loss.at)              "total", "loss"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stethoscope.facts.certain_graphs import may_come_of
from stethoscope.facts.code import (
    NOWHERE,
    Attribute,
    Binding,
    Call,
    Code,
    Constant,
    Each,
    Group,
    Item,
    Name,
    Operation,
    Value,
)
from stethoscope.facts.evaluations import A_FEW, ends_soon, is_few
from stethoscope.facts.events import NO_GRAD, events_of, is_under, name_of
from stethoscope.facts.expressions import names_in
from stethoscope.facts.graph_flow import comes_with_graph
from stethoscope.facts.loops import Loop, functions_going_backward, innermost_loop, leaves_at_once, loops_of
from stethoscope.facts.origins import call_sites, thing_of
from stethoscope.facts.things import binding_of, iterated, literal

MOST_WAYS = 8
"""Assignments that a sum's part is followed through."""


class KeptLoss(NamedTuple):
    """A sum that keeps the graphs of the losses that it takes up."""

    binding: Binding
    loss: Value
    is_certain: bool
    """Whether it does so over many whole steps: not over parts of one, rounds of no known number, or some rounds."""


def kept_losses(file: Code) -> Iterator[KeptLoss]:
    """The sums that keep the graphs of the losses of many steps, each with the loss that it takes up."""
    if file.says("set_grad_enabled(") and file.matches(_OFF):
        return
    backed = {event.name for loop in loops_of(file) for event in loop.of("backward") if event.subject is not None}
    for loop in loops_of(file):
        if leaves_at_once(file, loop.at):
            continue
        subjects = [event.subject if event.code is file else event.given for event in loop.of("backward")]
        behind = {number for subject in subjects for number in _behind(file, subject)}
        losses = {number for number in behind if _is_made_in(file, number, loop.context)}
        for binding in file.bindings[slice(*file.functions[loop.function].bindings)] if loop.is_loop else ():
            if loop.context not in file.numbers_around(binding.context) or binding.name in backed:
                continue
            kept = _loss_in(file, binding, losses, subjects, lambda one: _has_graph(file, loop, subjects, one))  # noqa: B023
            start = _start(file, binding) if kept is not None else None
            if kept is None or start is None or loop.context in file.numbers_around(start.context):
                continue  # begins anew in each round
            if _begins_anew(file, binding, loop.context) or _is_let_go(file, binding, kept, loop.context):
                continue
            if _is_quiet(file, binding, loop) or thing_of(file, start.value).kind == "tensor":
                continue
            if _is_object(file, start.value) or goes_backward(file, loop.function, binding.name):
                continue
            is_of_one_step = _is_of_one_step(file, loop, start) or _is_of_some_rounds(file, binding, loop)
            yield KeptLoss(binding, kept, _has_many_steps(file, loop) and not is_of_one_step)
    yield from _kept_by_steps(file, backed)


def _is_quiet(file: Code, binding: Binding, loop: Loop) -> bool:
    """Whether a sum is taken where no graph is built: not where a backward pass is under the same switch, as in
    `with torch.set_grad_enabled(is_training): ...`.
    """
    around = {
        number
        for event in loop.of("backward") if event.code is file
        for number in file.numbers_around(event.context)
    }  # fmt: skip
    here = next((number for number in file.numbers_around(binding.context) if _switches(file, number)), NOWHERE)
    if here not in around:
        return is_under(file, binding.context, *NO_GRAD)
    return is_under(file, file.contexts[here].parent, *NO_GRAD)


def _switches(file: Code, number: int) -> bool:
    """Whether a `with` switches gradients on or off by what it is told."""
    here = file.contexts[number]
    is_switch = here.kind == "with" and isinstance(here.value, Call) and here.value.name == "torch.set_grad_enabled"
    return is_switch and isinstance(here.value, Call) and not isinstance(here.value.argument(0), Constant)


def _has_graph(file: Code, loop: Loop, subjects: list[Value | None], kept: Value) -> bool:
    """Whether what a sum takes up comes of a model's answer, where one is seen to be asked, or is a tensor or the very
    loss that goes backward: a weight or a count, by which the loss was multiplied, is neither.
    """
    sources = {
        (event.via[0][1] if event.via else event.call).number for event in loop.of("forward") if event.call is not None
    }
    if sources:
        return comes_with_graph(file, kept, sources, loop.context)
    is_itself = isinstance(kept, Name) and any(kept.binding in _behind(file, one, 0, False) for one in subjects)
    return is_itself or thing_of(file, kept).kind == "tensor"


def _has_many_steps(file: Code, loop: Loop) -> bool:
    """Whether each round of a loop is a whole step, and there are many: it goes over something, or says how many."""
    if not loop.of("step", "unknown step"):
        return False
    here = file.contexts[loop.context]
    if file.matches(_DIFFERENTIATED, here.at):
        return False  # graphs of gradients are kept for whoever takes the sum
    is_short = here.kind == "for" and (is_few(file, here.value) or ends_soon(file, here))
    if is_short and not file.matches(_RETAINS, here.at):
        return False
    source, _ = iterated(file, here.value) if here.kind == "for" else (None, ())
    source = here.value if isinstance(here.value, Call) and here.value.name.endswith(".trange") else source
    met = binding_of(file, source)
    ways = met.options if isinstance(source, Name) and met is not None and met.how == "merge" else ()
    if any(_is_listed(one) for one in (source, *(file.bindings[way].value for way in ways))):
        return file.matches(_RETAINS, here.at)  # the parts of a step that are listed in it, and no data
    if isinstance(source, Call) and source.name in _CUT_UP:
        batch = binding_of(file, source.receiver if source.name.startswith(".") else source.argument(0))
        return batch is None or batch.how != "for"  # the parts of a batch that a loop around it draws
    if not isinstance(source, Call) or not source.name.endswith(("builtins.range", ".trange")):
        return True
    last = literal(file, source.arguments[-1 if len(source.arguments) < 3 else 1]) if source.arguments else None
    return (isinstance(last, int) and last > A_FEW) or file.matches(_RETAINS, here.at)


def _is_of_one_step(file: Code, loop: Loop, start: Binding) -> bool:
    """Whether a loop goes over several networks, each with its own optimizer, `optimizers[i].step()`, or over the
    rounds that one of them gets before a step of another: a sum that starts anew around it holds these few graphs.
    """
    here = file.contexts[loop.context]
    own = [name_of(file, event.subject) for event in loop.of("step", "unknown step") if event.code is file]
    rounds = file.text(here.at).partition(" in ")[0].removeprefix("for ") if here.kind == "for" else ""
    counted = _WORD.findall(rounds)
    if any(_is_chosen_by(one, name) for one in counted for name in own):
        return True
    outer = innermost_loop(file, start.context, loop.function)
    return outer not in (NOWHERE, loop.context) and any(
        event.kind == "step" and innermost_loop(file, event.outer_context, loop.function) == outer
        for event in events_of(file, loop.function)
    )


def _is_chosen_by(counted: str, name: str) -> bool:
    """Whether a name is a loop's variable, or a place that it counts: `optimizer`, `optimizers[i]`."""
    return name == counted or name.endswith(f"[{counted}]")


_WORD = re.compile(r"\w+")


def _is_listed(source: Value | None) -> bool:
    """Whether a loop goes over a list that is written down, or made of another, or over a dict."""
    return isinstance(source, Group | Each) or (isinstance(source, Call) and source.name in _OF_DICTS)


def _is_of_some_rounds(file: Code, binding: Binding, loop: Loop) -> bool:
    """Whether a condition on the number of the round stands around a sum: `if index >= len(loader) - 4: ...`."""
    for number in file.numbers_around(binding.context):
        if number == loop.context:
            return False
        here = file.contexts[number]
        asked = [file.bindings[one.binding] for one in names_in(here.value) if one.binding != NOWHERE]
        if here.kind == "if" and any(one.context == loop.context and _counts_rounds(file, one) for one in asked):
            return True
    return False


def _counts_rounds(file: Code, binding: Binding) -> bool:
    """Whether a variable is the number of the round: of `enumerate(loader)` the first, of `range(n)` the only one."""
    if binding.how != "for" or binding.value is None:
        return False
    source = file.text(binding.value.at)
    return ("enumerate(" in source and binding.item == (0,)) or ("range(" in source and not binding.item)


_OF_DICTS = (".items", ".values", ".keys")
_CUT_UP = frozenset({".chunk", ".split", ".unbind", "torch.chunk", "torch.split", "torch.unbind"})
_RETAINS = re.compile(r"retain_graph\s*=\s*True")
_DIFFERENTIATED = re.compile(r"create_graph\s*=\s*True")
_OFF = re.compile(r"^torch\.(?:autograd\.)?set_grad_enabled\(\s*(?:mode\s*=\s*)?False\s*\)", re.M)
"""No graph is built in the whole script: its backward passes are its own."""


def goes_backward(file: Code, index: int, name: str) -> bool:
    """Whether a sum of losses goes backward itself: as a part of something, or of what the function returns."""
    for event in events_of(file, index):
        if event.kind == "backward" and not event.via and name in named_behind(file, event.subject):
            return True
    is_returned = any(name in named_behind(file, one.value) for one in file.functions[index].returns)
    return (
        bool(index)
        and is_returned
        and any(
            event.kind == "backward" and not event.via and may_come_of(file, event.subject, call)
            for call in call_sites(file, index)
            for event in events_of(file, file.function_at(call.context))
        )
    )


def named_behind(file: Code, value: Value | None) -> set[str]:
    """The names in a value, and in those of the sums, means and products that it is made of."""
    found, waiting = set[str](), [value]
    for _ in range(MOST_NAMES):
        if not waiting:
            break
        for one in names_in(waiting.pop()):
            if one.name not in found:
                found.add(one.name)
                binding = file.bindings[one.binding] if one.binding != NOWHERE else None
                if binding is not None and binding.how == "assign" and isinstance(binding.value, Operation):
                    waiting.append(binding.value)
    return found


MOST_NAMES = 16
"""Values that are looked into for the sums that they are made of, at most."""


def _kept_by_steps(file: Code, backed: set[str]) -> Iterator[KeptLoss]:
    """The sums that an object keeps, where a method that takes one step adds to them: `self.total += loss`."""
    for index in functions_going_backward(file):
        function = file.functions[index]
        subjects = [
            event.subject for event in events_of(file, index)
            if event.kind == "backward" and not event.via and innermost_loop(file, event.context, index) == NOWHERE
        ]  # fmt: skip
        if not subjects or function.owner == NOWHERE:
            continue
        given = {subject.binding for subject in subjects if isinstance(subject, Name)}
        behind = {number for subject in subjects for number in _behind(file, subject)}
        losses = {number for number in behind if number in given or file.bindings[number].how != "argument"}
        for binding in file.bindings[slice(*function.bindings)]:
            if not binding.name.startswith("self.") or binding.how != "augment" or binding.name in backed:
                continue
            kept = _loss_in(file, binding, losses, subjects)
            is_quiet = is_under(file, binding.context, *NO_GRAD)
            if kept is not None and not is_quiet and _lasts(file, index, binding.name):
                yield KeptLoss(binding, kept, True)


def _lasts(file: Code, index: int, name: str) -> bool:
    """Whether a number that an object keeps lasts while a loop calls one of its methods again and again."""
    owner = file.class_of(index)
    loops = {
        loop
        for call in call_sites(file, index)
        if (loop := innermost_loop(file, call.context, file.function_at(call.context))) != NOWHERE
    }
    starts = [
        one for one in file.bindings
        if one.name == name and one.how == "assign" and file.class_of(file.function_at(one.context)) == owner
    ]  # fmt: skip
    if not loops or not starts or any(thing_of(file, one.value).kind != "number" for one in starts):
        return False
    homes = {file.function_at(loop_context) for loop_context in loops}
    for one in starts:
        home = file.function_at(one.context)
        is_made = file.functions[home].name == "__init__"
        is_outside = home in homes and not loops & set(file.numbers_around(one.context))
        if not is_made and not is_outside:
            return False  # set back, perhaps after a few steps
    return True


def _begins_anew(file: Code, binding: Binding, loop: int) -> bool:
    """Whether the same loop sets the sum back, as after the few batches of one step."""
    first, last = file.functions[file.function_at(loop)].bindings
    name = binding.name.removesuffix("[]")
    emptied = [one for one in file.calls_of(".clear") if name_of(file, one.receiver) == name != binding.name]
    return any(loop in file.numbers_around(one.context) for one in emptied) or any(
        other.name == binding.name
        and other.how == "assign"
        and not isinstance(other.value, Operation)
        and loop in file.numbers_around(other.context)
        for other in file.bindings[first:last]
    )


def _is_let_go(file: Code, binding: Binding, kept: Value, loop: int) -> bool:
    """Whether the loop takes the graph from the loss or the sum in place: `loss.detach_()`."""
    names = {binding.name, name_of(file, kept)}
    return any(
        name_of(file, call.receiver) in names and loop in file.numbers_around(call.context)
        for call in file.calls_of(".detach_")
    )


def _behind(file: Code, value: Value | None, depth: int = 0, with_factors: bool = True) -> set[int]:
    """The bindings of the loss that goes backward: also of what was scaled, or divided by the number of steps."""
    if depth > 8 or value is None:
        return set()
    if isinstance(value, Call) and value.name == ".scale":
        return _behind(file, value.argument(0), depth + 1, with_factors)
    if isinstance(value, Operation) and value.operator == "/":
        return _behind(file, value.operands[0], depth + 1, with_factors)
    if isinstance(value, Operation) and value.operator == "*":
        operands = value.operands if with_factors else ()
        return {number for one in operands for number in _behind(file, one, depth + 1)}
    if not isinstance(value, Name) or value.binding == NOWHERE:
        return set()
    binding, found = file.bindings[value.binding], {value.binding}
    if binding.how == "merge":
        ways = [Name(value.name, one, value.at) for one in binding.options]
        found.update(*(_behind(file, one, depth + 1, with_factors) for one in ways))
    elif binding.how in ("assign", "augment") and not binding.item and isinstance(binding.value, Name | Operation):
        found |= _behind(file, binding.value, depth + 1, with_factors)
    elif binding.how == "with" and isinstance(binding.value, Call) and binding.value.name.endswith(".scale_loss"):
        found |= _behind(file, binding.value.argument(0), depth + 1, with_factors)  # apex's
    return found


def _is_made_in(file: Code, number: int, loop: int) -> bool:
    """Whether a variable is bound anew in each round, as a loss is: a weight, or a number of steps, stands before."""
    return loop in file.numbers_around(file.bindings[number].context)


def _is_object(file: Code, value: Value | None) -> bool:
    """Whether a sum begins as an object of a class, which takes up a loss in a way of its own: `total = Meter()`."""
    return isinstance(value, Call) and not value.name.startswith(_COUNTS) and _names_class(file, value)


_COUNTS = ("builtins.", "numpy.", "torch.", "collections.Counter")


def _names_class(file: Code, value: Value) -> bool:
    """Whether a text begins with the name of a class: `meters.Mean()`, `Mean`, `lambda: Mean()`."""
    return _CLASS.match(file.text(value.at)) is not None


_CLASS = re.compile(r"(?:lambda\s*:\s*)?(?:\w+\.)*[A-Z]\w*\s*(?:\(|$)")


def _start(file: Code, binding: Binding) -> Binding | None:
    """What a sum was before; of a place in a list or dict, where that was made."""
    if not binding.name.endswith("[]"):
        return file.bindings[binding.before] if binding.before != NOWHERE else None
    summed = binding.value.operands[0] if isinstance(binding.value, Operation) else None
    made = binding_of(file, summed.value) if isinstance(summed, Item) else None
    return made if made is not None and _is_list_or_dict(file, made.value) else None


def _is_list_or_dict(file: Code, value: Value | None) -> bool:
    """Whether a value is a list or a dict that is written out, or one of so many zeros; an array would not take it."""
    if isinstance(value, Operation) and value.operator == "*":
        return any(isinstance(one, Group) for one in value.operands)
    if isinstance(value, Call):
        kinds = value.arguments[:1] if value.name == "collections.defaultdict" else ()
        is_counted = value.name in ("builtins.dict", "collections.defaultdict")
        return is_counted and not any(_names_class(file, one) for one in kinds)
    if isinstance(value, Group):
        return not any(isinstance(one, Call) and _names_class(file, one) for one in value.items)
    return isinstance(value, Each) and value.kind in ("list", "dict")


def _loss_in(
    file: Code,
    binding: Binding,
    losses: set[int],
    subjects: list[Value | None],
    has_graph: Callable[[Value], bool] = lambda one: True,
) -> Value | None:
    """The back-propagated loss that a sum takes up as it is, or times a number; None when it takes none."""
    value = binding.value
    if binding.how not in ("augment", "assign") or not isinstance(value, Operation) or value.operator != "+":
        return None
    first, last = value.operands[0], value.operands[-1]
    is_place = binding.how == "augment" and isinstance(first, Item | Attribute)
    if not is_place and (not isinstance(first, Name) or first.name != binding.name):
        return None
    parts = last.operands if isinstance(last, Operation) and last.operator in ("*", "/") else (last,)
    for one in parts:
        if isinstance(one, Name) and _is_lost(file, one.binding, losses) and has_graph(one):
            return one
        if isinstance(one, Attribute | Item) and any(_is_same(file, one, subject) for subject in subjects):
            return one
    return None


def _is_same(file: Code, one: Attribute | Item, subject: Value | None) -> bool:
    """Whether a part, as `outputs.loss` or `losses[0]`, is of the same value as the one that goes backward."""
    if not isinstance(subject, Attribute | Item):
        return False
    if not isinstance(one.value, Name) or not isinstance(subject.value, Name):
        return False
    if isinstance(one, Item) or isinstance(subject, Item):
        is_part = isinstance(one, Item) and isinstance(subject, Item)
        keys = {literal(file, part.key) for part in (one, subject) if isinstance(part, Item)}
        if not is_part or len(keys) > 1 or not isinstance(next(iter(keys)), int | str):
            return False
        if any(other.name == f"{one.value.name}[]" for other in file.bindings):
            return False  # its places are written to: a number may stand there by then
        return NOWHERE != one.value.binding == subject.value.binding
    return one.name == subject.name and NOWHERE != one.value.binding == subject.value.binding


_ARITHMETIC = ("+", "-", "*", "/")


def _is_lost(file: Code, number: int, losses: set[int], depth: int = 0) -> bool:
    """Whether a variable is a loss that goes backward, on each of the ways that meet in it; or what one was made by
    arithmetic: `loss = loss / num_processes`.
    """
    if number == NOWHERE or depth > MOST_WAYS:
        return False
    if number in losses:
        return True
    binding = file.bindings[number]
    if binding.how == "merge":
        # A validation on another way leaves no graph: what training adds to the same sum is kept all the same.
        ways = [one for one in binding.options if not is_under(file, file.bindings[one].context, *NO_GRAD)]
        return bool(ways) and all(_is_lost(file, one, losses, depth + 1) for one in ways)
    value = binding.value
    if binding.how not in ("assign", "augment") or binding.item or not isinstance(value, Operation):
        return False
    lost = [one for one in value.operands if isinstance(one, Name) and _is_lost(file, one.binding, losses, depth + 1)]
    return value.operator in _ARITHMETIC and bool(lost)
