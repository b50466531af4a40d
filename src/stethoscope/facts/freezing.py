"""Models whose parameters source code freezes, and whether what they normalize by stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.facts.code import NOWHERE, At, Attribute, Binding, Call, Class, Code, Constant, Function, Name, Value
from stethoscope.facts.events import NO_GRAD, Event, events_of, is_under
from stethoscope.facts.libraries import SAME, SAME_METHODS
from stethoscope.facts.loaded import everything_in
from stethoscope.facts.loops import loops_of
from stethoscope.facts.origins import called, given_to, lineage, thing_of
from stethoscope.facts.things import Thing, literal

DEEPEST = 12
"""Names, calls and parameters that a network is followed through to where it is made, at most."""

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
    if not code.says("requires_grad") or (code.says("BatchNorm", "freeze_bn") and code.matches(_FOR_NORMS)):
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


def builds_no_graph(code: Code, model: Value | None, depth: int = 0) -> bool:
    """Whether all parameters of a network are switched off, or may be, where it is made: nothing wants a gradient."""
    if model is None or depth > DEEPEST or not code.and_linked_say("requires_grad", "detach_", "quantiz", "jit"):
        return False
    if isinstance(model, Name) and model.binding != NOWHERE:
        return _is_bound_frozen(code, model.binding, depth + 1)
    if isinstance(model, Attribute):
        for home, cls in lineage(thing_of(code, model.value)):
            if model.name in cls.attributes:
                return all(_is_bound_frozen(home, number, depth + 1) for number in cls.attributes[model.name])
    if not isinstance(model, Call):
        return False
    if model.name == ".requires_grad_" and literal(code, model.argument(0)) is False:
        return True
    if model.name in _FOR_USE:
        return True
    if model.name in SAME_METHODS or model.name in SAME:
        inner = model.receiver if model.name in SAME_METHODS else model.argument(0)
        return builds_no_graph(code, inner, depth + 1)
    return is_made_frozen(thing_of(code, model)) or _is_given_frozen(code, model)


_FOR_USE = frozenset({
    "torch.jit.freeze", "torch.jit.load", "torch.jit.optimize_for_inference",
    *(f"torch.{home}.{name}" for home in ("quantization", "ao.quantization")
      for name in ("convert", "quantize", "quantize_dynamic")),
    *(f"torch.{home}.quantize_fx.convert_fx" for home in ("quantization", "ao.quantization")),
})  # fmt: skip
"""What makes a network that is only used: of whole numbers, or of constants. A stored one may be of either."""


def _is_bound_frozen(code: Code, number: int, depth: int) -> bool:
    """Whether what a variable got is a network without gradients."""
    binding = code.bindings[number]
    if binding.how == "merge":
        return all(_is_bound_frozen(code, option, depth + 1) for option in binding.options if depth <= DEEPEST)
    if binding.how == "argument":
        if _is_switched_off(code, binding):
            return True
        index = code.function_at(binding.context)
        places = [i for i, one in enumerate(code.functions[index].parameters) if one.binding == number]
        given = given_to(code, index, places[0]) if places else []
        return bool(given) and all(builds_no_graph(home, value, depth + 1) for home, value in given)
    if binding.how != "assign" or binding.item:
        return False
    return _is_switched_off(code, binding) or builds_no_graph(code, binding.value, depth + 1)


def _is_given_frozen(code: Code, call: Call) -> bool:
    """Whether a function of the project switches all parameters of the network off that it gives."""
    callee = called(code, call)
    if callee.function is None or callee.code is None or not callee.function.returns:
        return False
    given = [_unmoved(one.value) for one in callee.function.returns]
    return all(
        isinstance(one, Name)
        and one.binding != NOWHERE
        and _is_switched_off(callee.code, callee.code.bindings[one.binding], call)
        for one in given
    )


def _unmoved(value: Value | None) -> Value | None:
    """A network before it was moved or put into a mode: `net` of `net.eval().cuda()`."""
    while isinstance(value, Call) and value.name in SAME_METHODS:
        value = value.receiver
    return value


class _Switch(NamedTuple):
    """That all parameters of a network are switched off."""

    name: str
    """The network, as it is written."""
    context: int
    order: int


def _is_switched_off(code: Code, network: Binding, made: Call | None = None) -> bool:
    """Whether all parameters of what a variable got are switched off in its function, and no layers are new since.

    What stands under a condition counts, but for one that the call of the function makes false.
    """
    index = code.function_at(network.context)
    function = code.functions[index]
    for switch in _switches(code, index):
        later = [one for one in code.bindings[slice(*function.bindings)] if one.order >= switch.order]
        is_changed = any(one.name.startswith(f"{network.name}.") and isinstance(one.value, Call) for one in later)
        if switch.name == network.name and not is_changed and not _switches_on(code):
            tests = [here.value for here in code.around(switch.context) if here.kind == "if"]
            return not any(_is_off(function, test, made) for test in tests)
    return False


def _switches(code: Code, index: int, is_inner: bool = False) -> Iterator[_Switch]:
    """Where a function switches all parameters of a network off: in a loop over them, by a call, or by a function that
    does so.
    """
    function = code.functions[index]
    for binding in code.bindings[slice(*function.bindings)]:
        whole = _gone_over(code, binding.context)
        off = isinstance(binding.value, Constant) and binding.value.value is False
        if whole and off and binding.name.endswith(".requires_grad"):
            yield _Switch(whole, binding.context, binding.order)
    for call in code.calls[slice(*function.calls)]:
        off = call.name == ".detach_" or (call.name == ".requires_grad_" and literal(code, call.argument(0)) is False)
        whole = _gone_over(code, call.context) if isinstance(call.receiver, Name) else ""
        if off and whole:
            yield _Switch(whole, call.context, call.number)
        elif off and call.name == ".requires_grad_" and isinstance(call.receiver, Name):
            yield _Switch(call.receiver.name, call.context, call.number)
        elif not is_inner:
            yield from (_Switch(name, call.context, call.number) for name in _handed_over(code, call))


def _handed_over(code: Code, call: Call) -> Iterator[str]:
    """The networks that a function or a method of the project switches off: `freeze(teacher)`, `teacher.freeze()`."""
    given = [one for one in (call.receiver, *call.arguments) if isinstance(one, Name) and one.binding != NOWHERE]
    callee = called(code, call) if given else None
    if callee is None or callee.function is None or callee.code is None or _switches_on(callee.code):
        return
    function = callee.function
    own = 1 if function.owner != NOWHERE else 0
    for switch in _switches(callee.code, callee.number, is_inner=True):
        tests = [here.value for here in callee.code.around(switch.context) if here.kind == "if"]
        for place, parameter in enumerate(function.parameters):
            network = call.receiver if own and not place else call.argument(place - own, parameter.name)
            if parameter.name != switch.name or not isinstance(network, Name):
                continue
            if not any(_is_off(function, test, call) for test in tests):
                yield network.name


def _gone_over(code: Code, context: int) -> str:
    """The network over all of whose parameters a loop goes, as it is written."""
    here = code.contexts[context]
    source = here.value
    is_whole = here.kind == "for" and isinstance(source, Call) and source.name in (".parameters", ".named_parameters")
    if not is_whole or not isinstance(source, Call) or source.arguments:
        return ""
    return code.text(source.receiver.at) if isinstance(source.receiver, Name | Attribute) else ""


def _switches_on(code: Code) -> bool:
    """Whether a file switches parameters on, of any network."""
    by_value = any(
        one.name.endswith(".requires_grad") and isinstance(one.value, Constant) and one.value.value is True
        for one in code.bindings
    )
    return by_value or any(literal(code, one.argument(0)) is not False for one in code.calls_of(".requires_grad_"))


def is_made_frozen(thing: Thing) -> bool:
    """Whether a network of the project switches all of its parameters off as it is made, or runs without graphs."""
    for home, cls in lineage(thing):
        if "forward" in cls.methods:
            function = home.functions[cls.methods["forward"]]
            own = [call for call in _own_calls(home, function) if not _is_arithmetic(home, cls, call)]
            if own and all(is_under(home, call.context, *NO_GRAD) for call in own):
                return True
            break
    for home, cls in lineage(thing):
        if "__init__" in cls.methods:
            return _freezes_itself(home, home.functions[cls.methods["__init__"]], thing.made)
    return False


def _own_calls(home: Code, function: Function) -> list[Call]:
    """The calls of what the network itself holds: `self.body(x)`."""
    calls = home.calls[slice(*function.calls)]
    return [call for call in calls if isinstance(call.receiver, Name) and call.receiver.name == "self"]


def _is_arithmetic(home: Code, cls: Class, call: Call) -> bool:
    """Whether what is called is a method of the class that calls nothing of the network."""
    index = cls.methods.get(call.name[1:])
    return index is not None and not _own_calls(home, home.functions[index])


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
            and source.name in (".parameters", ".named_parameters")
            and isinstance(source.receiver, Name)
            and source.receiver.name == itself
        ):
            return _is_off(constructor, binding.value, made)
    return False


def _is_off(function: Function, value: Value | None, made: Call | None) -> bool:
    """Whether a value is false: as it stands, or as the function is called."""
    own = 1 if function.owner != NOWHERE else 0
    for place, parameter in enumerate(function.parameters):
        if isinstance(value, Name) and value.binding == parameter.binding and made is not None:
            given = made.argument(place - own, parameter.name)
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
