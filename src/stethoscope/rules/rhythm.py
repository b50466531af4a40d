"""Schedules in source code that are stepped per batch where they count epochs, or the reverse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.facts.code import NOWHERE, Call, Code, Constant, Name, Operation, Value
from stethoscope.facts.events import Event, events_of
from stethoscope.facts.loops import has_own_loop, innermost_loop
from stethoscope.facts.things import followed, iterated
from stethoscope.rules.changing import Edits, moved_behind

_SCHEDULES = "torch.optim.lr_scheduler."
_LENGTHS = {
    "CosineAnnealingLR": (1, "T_max"), "LinearLR": (3, "total_iters"), "PolynomialLR": (1, "total_iters"),
    "OneCycleLR": (2, "total_steps"),
}  # fmt: skip
"""Where schedules are told how many times they will be stepped."""
_RANGES = ("builtins.range", "tqdm.trange", "tqdm.auto.trange", "tqdm.notebook.trange")


class Rhythm(NamedTuple):
    """A schedule that is stepped in the wrong loop."""

    event: Event
    made: Call
    length: Value
    """What tells the schedule how long it is."""
    stepped: str
    """batch or epoch: once for each."""
    epochs: int
    """The loop over epochs."""


def may_schedule(file: Code) -> bool:
    """Whether anything that a file steps can be a schedule of a library's."""
    return bool(file.calls_of(".step")) and file.and_linked_say("sched", "LRScheduler", "swa_utils")


def wrong_rhythms(file: Code) -> Iterator[Rhythm]:
    """The schedules that count batches and are stepped once an epoch, or count epochs and are stepped each batch."""
    for index in range(len(file.functions)):
        events = events_of(file, index)
        for event in events:
            made = event.thing.made
            if event.kind != "schedule" or event.thing.made_in is not file or made is None or event.hinted:
                continue
            if not made.name.startswith(_SCHEDULES) or made.is_open or event.in_branch or _is_told(event):
                continue
            loop = innermost_loop(file, event.outer_context, index)
            if loop == NOWHERE:
                continue
            outer = innermost_loop(file, file.contexts[loop].parent, index)
            if event.via and has_own_loop(event):
                outer, loop = loop, NOWHERE
            length = _length(made)
            batches = _batches(made, length)
            steps = [one for one in events if one.kind == "step"]
            if loop != NOWHERE and batches is not None and _are_deeper(file, steps, loop, index):
                yield Rhythm(event, made, batches, "epoch", loop)
            elif length is not None and outer != NOWHERE and _counts(file, outer, length) and steps and all(
                outer in file.numbers_around(one.outer_context) for one in steps
            ):  # fmt: skip
                yield Rhythm(event, made, length, "batch", outer)


def _is_told(event: Event) -> bool:
    """Whether a schedule is told its epoch, or its loss, and does not count."""
    return event.call is None or bool(event.call.arguments or event.call.keywords)


def _length(made: Call) -> Value | None:
    place = _LENGTHS.get(made.name.rpartition(".")[2])
    return made.argument(*place) if place is not None else None


def _batches(made: Call, length: Value | None) -> Value | None:
    """What says that a schedule counts batches: `steps_per_epoch`, or a length that is a product with `len(...)`."""
    per_epoch = made.keyword("steps_per_epoch") if made.name.endswith("OneCycleLR") else None
    if isinstance(per_epoch, Call) and per_epoch.name == "builtins.len":
        return per_epoch
    is_product = isinstance(length, Operation) and length.operator == "*"
    if is_product and isinstance(length, Operation):
        whole = any(isinstance(one, Call) and one.name == "builtins.len" for one in length.operands)
        return length if whole else None
    return None


def _are_deeper(file: Code, steps: list[Event], loop: int, index: int) -> bool:
    """Whether all steps in a loop are taken in a loop inside of it."""
    inside = [step for step in steps if loop in file.numbers_around(step.outer_context)]
    return bool(inside) and all(
        (step.via and has_own_loop(step)) or innermost_loop(file, step.outer_context, index) != loop for step in inside
    )


def _counts(file: Code, loop: int, length: Value) -> bool:
    """Whether a loop has as many rounds as a schedule is told to have steps."""
    counted, _ = iterated(file, file.contexts[loop].value)
    if not isinstance(counted, Call) or counted.name not in _RANGES or not counted.arguments:
        return False
    rounds = counted.arguments[-1] if len(counted.arguments) < 3 else counted.arguments[1]
    first, second = followed(file, rounds)[0], followed(file, length)[0]
    if isinstance(first, Constant) and isinstance(second, Constant):
        return bool(first.value == second.value)
    if isinstance(rounds, Name) and isinstance(length, Name):
        return rounds.binding == length.binding != NOWHERE
    text = file.text(rounds.at)
    return text == file.text(length.at) and "(" not in text and "." in text


LOOPS = ("for", "while")


def moved_after(file: Code, schedule: Event, step: Event) -> Edits:
    """The schedule's line behind the step; where that is deeper, at the end of the schedule's own loop."""
    home = file.contexts[schedule.context]
    if schedule.via or home.kind not in LOOPS:
        return ()
    if step.code is file and not step.via and step.context == schedule.context:
        return moved_behind(file, schedule.at, step.at)
    return moved_behind(file, schedule.at, home.at, to_end=True)


def shown(value: float | str | bool) -> str:
    """A setting of a schedule as it is written."""
    return value if isinstance(value, str) else f"{value:g}"
