"""Rounds of a training that clear an optimizer, go backward, and leave it at that.

opt.zero_grad()
loss.backward()      nothing steps `opt` before it is cleared again: in a loop, or in a function that takes a round
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, At, Code, Name
from stethoscope.facts.events import Event, events_of, is_in_loop, is_named_as_optimizer
from stethoscope.facts.loops import Loop, innermost_loop, is_driven
from stethoscope.facts.origins import bases, lineage, thing_of
from stethoscope.facts.things import Thing
from stethoscope.facts.unstepped import ITEM, is_left_there, is_read_otherwise, model_of

_TRAINS = re.compile(
    r"(?:^|_|(?<=[a-z]))(?:[Tt]rain|[Ll]earn|[Uu]pdate|[Oo]ptimi[sz]e|[Ff]it|[Ii]teration|[Ii]ter)(?:_|$|[A-Z])"
)
"""Names of functions that take a round of a training, and leave nothing of it to others."""
_IF_TRAINING = re.compile(r"^(?!not\b|.*!=).*(?:\b(?:is_)?train(?:ing)?\b)")
"""Conditions under which there is a training."""
_GRADIENTS = re.compile(r"grad|backward|closure|accum", re.I)
"""Names of functions that only compute gradients."""
_FRAMEWORKS = (
    "lightning.", "pytorch_lightning.", "transformers.", "mmcv.", "mmengine.", "fastai.", "ignite.", "catalyst.",
    "detectron2.", "composer.", "allennlp.", "fairseq.", "fvcore.", "deepspeed.", "torch.optim.",
)  # fmt: skip
"""Bases that step themselves behind a round begin with it."""


def left_rounds(file: Code, index: int, told: set[At]) -> Iterator[tuple[Event, str]]:
    """The backward passes of a function whose optimizer is cleared for them, and never steps, with its name; without
    those that were told, which they are from then on.
    """
    direct = [one for one in events_of(file, index) if not one.via and one.code is file and one.call is not None]
    for cleared in direct:
        zero = cleared if cleared.kind != "zero" or _is_of_optimizer(cleared) else _of_its_model(file, cleared)
        if zero.kind != "zero" or not _is_of_optimizer(zero):
            continue
        loop = _around(file, index, zero)
        backward = _backward_of(file, [zero if one is cleared else one for one in direct], zero, loop)
        if backward is None or backward.at in told or is_driven(backward):
            continue
        if is_left_there(file, loop, zero, is_open=True) and (loop.is_loop or _is_whole(file, index, loop, zero)):
            told.add(backward.at)
            yield backward, zero.name


def _of_its_model(file: Code, cleared: Event) -> Event:
    """The clearing of a model as one of its optimizer: of the only one that the file makes of its parameters."""
    made = [
        one for one in file.bindings
        if cleared.name and one.how == "assign" and not one.item and thing_of(file, one.value).kind == "optimizer"
        and model_of(file, one) == cleared.name
    ]  # fmt: skip
    if len(made) != 1 or made[0].value is None:
        return cleared
    value = Name(made[0].name, file.bindings.index(made[0]), made[0].value.at)
    return cleared._replace(subject=value, thing=thing_of(file, made[0].value))


def _is_of_optimizer(zero: Event) -> bool:
    return zero.thing.kind == "optimizer" or is_named_as_optimizer(ITEM.sub("", zero.name))


def _around(file: Code, index: int, zero: Event) -> Loop:
    """The innermost loop around a clearing, or its function."""
    around = innermost_loop(file, zero.context, index)
    is_loop = around != NOWHERE
    context = around if is_loop else file.functions[index].context
    at = file.contexts[around].at if is_loop else file.functions[index].at
    inside = tuple(one for one in events_of(file, index) if not is_loop or is_in_loop(file, one, around))
    return Loop(file, context, at, index, inside, is_loop=is_loop)


def _backward_of(file: Code, direct: list[Event], zero: Event, loop: Loop) -> Event | None:
    """The backward pass that an optimizer, and no other one, is cleared for; the clearing may stand behind it in a loop
    without another step.
    """
    inside = [one for one in direct if loop.context in file.numbers_around(one.context)]
    place = inside.index(zero)
    behind = [
        one for one in inside[place:] if one.kind == "backward" and zero.context in file.numbers_around(one.context)
    ]
    others = {one.name for one in inside if one.kind == "zero" and _is_of_optimizer(one)} - {zero.name}
    if not behind:
        before = [one for one in inside[:place] if one.kind == "backward"]
        return before[-1] if before and loop.is_loop and not others and not loop.of("step", "unknown step") else None
    last = max((one.call.number for one in inside[:place] if one.kind == "backward" and one.call), default=-1)
    first = behind[0]
    if any(
        one.kind == "zero"
        and one.name in others
        and one.call
        and first.call
        and last < one.call.number < first.call.number
        for one in inside
    ):
        return None
    return first


def _is_whole(file: Code, index: int, loop: Loop, zero: Event) -> bool:
    """Whether a function takes a whole round, by its name, and nothing that can be seen steps apart from a round."""
    name = file.functions[index].name
    asked = (file.text(here.value.at) for here in file.around(zero.context) if here.kind == "if" and here.value)
    if (
        not (_TRAINS.search(name) or any(map(_IF_TRAINING.search, asked)))
        or _GRADIENTS.search(name)
        or is_read_otherwise(file, loop, zero)
    ):
        return False
    codes, owner = {id(file): file}, file.class_of(index)
    if owner != NOWHERE:
        cls = Thing("class", "", file, owner)
        if any(one.startswith(_FRAMEWORKS) for one in bases(cls)):
            return False
        codes.update({id(home): home for home, _ in lineage(cls)})
    return not any(_steps_apart(code) for code in codes.values())


def _steps_apart(code: Code) -> bool:
    """Whether a function of a file steps what it does not go backward for."""
    if "steps apart" not in code.memo:
        code.memo["steps apart"] = any(
            any(one.kind == "step" and not one.via for one in events)
            and not any(one.kind == "backward" for one in events)
            for events in (events_of(code, index) for index in range(len(code.functions)))
        )
    answer: bool = code.memo["steps apart"]
    return answer
