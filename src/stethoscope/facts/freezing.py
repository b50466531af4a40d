"""Models whose parameters source code freezes, and whether what they normalize by stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.facts.code import NOWHERE, At, Call, Code, Constant, Function, Name, Value
from stethoscope.facts.events import Event, events_of
from stethoscope.facts.loaded import everything_in
from stethoscope.facts.loops import loops_of
from stethoscope.facts.origins import lineage, thing_of
from stethoscope.facts.things import Thing, literal

_NORMALIZED = re.compile(
    r"torchvision\.models(?:\.\w+)*\."
    r"(?:resnet|resnext|wide_resnet|mobilenet|densenet|efficientnet|inception|googlenet|regnet|shufflenet|mnasnet)\w*"
    r"|torchvision\.models(?:\.\w+)*\.vgg\d+_bn"
)
"""Networks of torchvision's with batch normalization."""
_FOR_NORMS = re.compile(r"isinstance\([^)]*BatchNorm|freeze_bn|FrozenBatchNorm")


class Frozen(NamedTuple):
    """A model that was frozen, and is put into train mode all the same."""

    name: str
    at: At
    """Where it is frozen."""
    train: Event
    """Where it is put into train mode."""


def frozen_in_train_mode(code: Code) -> Iterator[Frozen]:
    """The frozen networks with batch normalization that a training loop puts into train mode as they are."""
    if not code.says("requires_grad") or code.matches(_FOR_NORMS):
        return
    for model, at in _freezings(code):
        thing = thing_of(code, model)
        if not isinstance(model, Name) or thing.made is None or not _normalizes(thing):
            continue
        if any(_is_part_of(code, call, model.name) for call in code.calls_of(".eval")):
            continue
        for loop in loops_of(code):
            same = [event for event in loop.of("forward") if event.thing.made is thing.made]
            around = events_of(code, loop.function)  # `train()` stands in the loop of the epochs, mostly
            trains = [event for event in around if event.kind == "train" and event.thing.made is thing.made]
            if same and trains and loop.of("step"):
                yield Frozen(model.name, at, trains[0])
                break


def is_made_frozen(thing: Thing) -> bool:
    """Whether a network of the project switches all of its parameters off in its constructor."""
    for home, cls in lineage(thing):
        if "__init__" in cls.methods:
            return _freezes_itself(home, home.functions[cls.methods["__init__"]], thing.made)
    return False


def _freezes_itself(code: Code, constructor: Function, made: Call | None) -> bool:
    itself = constructor.parameters[0].name if constructor.parameters else ""
    for binding in code.bindings[slice(*constructor.bindings)]:
        here = code.contexts[binding.context]
        source = here.value
        if (
            binding.name.endswith(".requires_grad")
            and here.kind == "for"
            and here.parent == constructor.context
            and isinstance(source, Call)
            and source.name == ".parameters"
            and isinstance(source.receiver, Name)
            and source.receiver.name == itself
        ):
            return _is_off(constructor, binding.value, made)
    return False


def _is_off(constructor: Function, value: Value | None, made: Call | None) -> bool:
    """Whether a value is false: as it stands, or as the constructor is called."""
    for place, parameter in enumerate(constructor.parameters):
        if isinstance(value, Name) and value.binding == parameter.binding and made is not None:
            given = made.argument(place - 1, parameter.name)
            value = parameter.default if given is None and not made.is_open else given
    return isinstance(value, Constant) and value.value is False


def _normalizes(thing: Thing) -> bool:
    if _NORMALIZED.fullmatch(thing.name):
        return True
    return any("BatchNorm" in part.name for part in everything_in(thing))


def _freezings(code: Code) -> Iterator[tuple[Value, At]]:
    """What is frozen as a whole: `for p in net.parameters(): p.requires_grad = False`, `net.requires_grad_(False)`."""
    for call in code.calls_of(".requires_grad_"):
        if literal(code, call.argument(0)) is False and call.receiver is not None:
            yield call.receiver, call.at
    for binding in code.bindings:
        off = isinstance(binding.value, Constant) and binding.value.value is False
        if not binding.name.endswith(".requires_grad") or not off:
            continue
        here = code.contexts[binding.context]
        source = here.value
        if here.kind == "for" and isinstance(source, Call) and source.name == ".parameters" and source.receiver:
            yield source.receiver, here.at


def _is_part_of(code: Code, call: Call, name: str) -> bool:
    """Whether a part of a model is put into eval mode, or each of its modules."""
    receiver = call.receiver
    if not isinstance(receiver, Name) or receiver.binding == NOWHERE:
        return receiver is not None and code.text(receiver.at).startswith(name + ".")
    return receiver.name.startswith(name + ".") or code.bindings[receiver.binding].how == "for"
