"""What a model of the project is made of and gives, read from its class: its layers, and the last operation before each
thing that it returns.

    output_of(code, value)    Output("softmax", steps=(train.py:38 `probs = ...`, model.py:25 `return F.softmax(x)`))
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.facts.code import (
    NOWHERE,
    Binding,
    Call,
    Choice,
    Class,
    Code,
    Constant,
    Group,
    Item,
    Name,
    Starred,
    Value,
)  # fmt: skip
from stethoscope.facts.filled_lists import items_of
from stethoscope.facts.made_layers import drops_nothing, keeps_no_statistics, makes_batch_norm
from stethoscope.facts.options import is_zero
from stethoscope.facts.origins import called, given_to, is_module, lineage, thing_of
from stethoscope.facts.rebuilt import changed_in_place, is_rebuilt
from stethoscope.facts.things import MOST_STEPS, Step, Thing, followed, literal
from stethoscope.facts.uses import times_ended

ACTIVATIONS = {
    "softmax": "softmax", "log_softmax": "log_softmax", "logsoftmax": "log_softmax", "sigmoid": "sigmoid",
    "logsigmoid": "log_sigmoid", "relu": "relu", "relu6": "relu", "tanh": "tanh", "softplus": "softplus",
    "gumbel_softmax": "softmax", "hardsigmoid": "sigmoid", "softmax2d": "softmax", "leaky_relu": "leaky_relu",
    "leakyrelu": "leaky_relu", "elu": "elu", "gelu": "gelu", "silu": "silu", "selu": "selu", "prelu": "prelu",
    "softmin": "softmax", "mish": "mish", "hardswish": "hardswish", "celu": "celu", "rrelu": "rrelu",
    "hardtanh": "hardtanh", "adaptivelogsoftmaxwithloss": "log_softmax", "log_sigmoid": "log_sigmoid",
}  # fmt: skip
"""Functions and layers, in lower case, and what they give."""
LINEAR = {"linear", "lazylinear", "bilinear", "conv1d", "conv2d", "conv3d", "convtranspose1d", "convtranspose2d",
          "convtranspose3d", "lazyconv1d", "lazyconv2d", "lazyconv3d", "lazyconvtranspose2d"}  # fmt: skip
_KEEPS = {
    "view", "reshape", "squeeze", "unsqueeze", "flatten", "permute", "transpose", "contiguous", "to", "float", "double",
    "half", "cuda", "cpu", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "identity", "unflatten",
    "movedim", "swapaxes", "type", "clone", "t", "expand", "bfloat16", "view_as", "reshape_as", "type_as", "moveaxis",
    "alphadropout", "featurealphadropout",
}  # fmt: skip
"""Operations, functions and layers after which values are as before."""
_MODES = re.compile(
    r"torch\.nn\.(?:\w*Dropout\w*|(?:Lazy|Sync)?BatchNorm\w*|RReLU|Transformer\w*)|torchvision\.models(?:\.\w+)*\.[a-z]\w*"
    r"|timm\.(?:models\.(?:\w+\.)*)?create_model|segmentation_models_pytorch\.[A-Z]\w*"
)
_DROPOUT = re.compile(r"torch\.nn\.\w*Dropout\w*")
_BY_ARGUMENT = ("torch.nn.functional.", "torch.dropout", "torch.alpha_dropout")
"""Functions that act by what they are given, and not by a mode."""
_READS_MODE = re.compile(r"self\.training\b")
_HANDS_MODE_ON = re.compile(r"self\.(?!\w*(?:drop|norm|bn))\w+\([^()]*(?<![=\w.])self\.training\b[^()]*\)", re.I)
"""A part that is told the mode: whether it heeds it is seen there, or not at all."""
_MODELESS = re.compile(r"torch\.nn\.(?!Module)[A-Z]\w*")


class Output(NamedTuple):
    """What a value is made by."""

    kind: str
    """softmax, log_softmax, sigmoid, relu, ..., linear (a layer without activation), or unknown."""
    steps: tuple[Step, ...] = ()
    """The lines that it came through, from where it is used back to where it was made."""
    made: Call | None = None
    """The operation that made it."""
    made_in: Code | None = None


NOTHING_KNOWN = Output("unknown")


class Layer(NamedTuple):
    """One layer of a chain, as it was constructed."""

    thing: Thing
    call: Call | None
    code: Code

    @property
    def kind(self) -> str:
        """Its class in lower case without its package: `linear`, `batchnorm2d`."""
        return short(self.thing.name)


def short(name: str) -> str:
    """The last part of a full name in lower case."""
    return name.rpartition(".")[2].lower()


def output_of(code: Code, value: Value | None, item: tuple[int, ...] = (), depth: int = 0) -> Output:
    """What made a value, or the part of it at a position."""
    if value is None or depth > MOST_STEPS:
        return NOTHING_KNOWN
    if isinstance(value, Name):
        return NOTHING_KNOWN if value.binding == NOWHERE else _bound(code, value.binding, item, depth + 1)
    if isinstance(value, Call):
        return _called(code, value, item, depth + 1)
    if isinstance(value, Group):
        if item and -len(value.items) <= item[0] < len(value.items):
            return output_of(code, value.items[item[0]], item[1:], depth + 1)
        return NOTHING_KNOWN
    if isinstance(value, Choice):
        return _agreed([output_of(code, one, item, depth + 1) for one in value.options])
    if isinstance(value, Item):
        index = literal(code, value.key)
        if isinstance(index, int) and not isinstance(index, bool):
            return output_of(code, value.value, (index, *item), depth + 1)
        if isinstance(index, str):
            return NOTHING_KNOWN
        return output_of(code, value.value, item, depth + 1) if not item else NOTHING_KNOWN
    return NOTHING_KNOWN


def _bound(code: Code, number: int, item: tuple[int, ...], depth: int) -> Output:
    binding = code.bindings[number]
    if binding.how == "merge":
        return _agreed([_bound(code, option, item, depth + 1) for option in binding.options])
    if binding.how == "assign" and not changed_in_place(code, number):
        found = output_of(code, binding.value, (*binding.item, *item), depth + 1)
        if found.kind == "unknown":
            return found
        step = Step(code.file, binding.at, f"`{binding.name}` is made")
        return found._replace(steps=(step, *found.steps))
    if binding.how == "argument":
        return _argument(code, binding, number, item, depth + 1)
    return NOTHING_KNOWN


def _argument(code: Code, binding: Binding, number: int, item: tuple[int, ...], depth: int) -> Output:
    """What the calls in this file give a parameter."""
    index = code.function_at(binding.context)
    parameters = code.functions[index].parameters
    place = next((i for i, one in enumerate(parameters) if one.binding == number), NOWHERE)
    if place == NOWHERE or depth > MOST_STEPS // 2:
        return NOTHING_KNOWN
    return _agreed([output_of(home, value, item, depth + 1) for home, value in given_to(code, index, place)])


def _agreed(outputs: list[Output]) -> Output:
    if not outputs:
        return NOTHING_KNOWN
    first = outputs[0]
    return first if all(one.kind == first.kind for one in outputs) else NOTHING_KNOWN


def _called(code: Code, call: Call, item: tuple[int, ...], depth: int) -> Output:
    if depth > MOST_STEPS:
        return NOTHING_KNOWN
    callee = called(code, call, depth)
    if callee.kind == "function" and callee.code is not None and callee.function is not None:
        return _through(code, call, _returned(callee.code, callee.number, item, depth + 1))
    if callee.kind == "module" or (callee.kind == "loss" and callee.cls is not None):
        return _through(code, call, module_output(callee, item, depth + 1, given=(code, call)))
    if callee.kind == "imported" and callee.name.startswith(("torch.nn.functional.", "torch.")):
        return _operation(code, call, short(callee.name), call.argument(0, "input"), item, depth)
    if call.name.startswith(".") and call.name != ".forward" and callee.kind == "unknown":
        owner = thing_of(code, call.receiver, depth + 1)
        if owner.kind in ("tensor", "unknown"):
            return _operation(code, call, call.name[1:], call.receiver, item, depth)
    if call.name == ".forward":
        owner = thing_of(code, call.receiver, depth + 1)
        if owner.kind == "module":
            return _through(code, call, module_output(owner, item, depth + 1, given=(code, call)))
    return NOTHING_KNOWN


def _operation(
    code: Code, call: Call, name: str, operand: Value | None, item: tuple[int, ...], depth: int
) -> Output:  # fmt: skip
    """What an operation on tensors gives."""
    name = name.rstrip("_") if name != "_" else name
    if name in ACTIVATIONS and name not in ("softmin",):
        return Output(ACTIVATIONS[name], (Step(code.file, call.at, f"`{name}` is applied"),), call, code)
    if name in ("linear", "conv1d", "conv2d", "conv3d"):
        return Output("linear", (Step(code.file, call.at, f"`{name}` is applied"),), call, code)
    # A position that was asked for was meant to be one in a tuple; of a tensor it is a row or a column.
    return output_of(code, operand, (), depth + 1) if name in _KEEPS else NOTHING_KNOWN


def _through(code: Code, call: Call, found: Output) -> Output:
    """An output of something that was called here."""
    if found.kind == "unknown":
        return found
    if found.steps and found.steps[0].file == code.file and found.steps[0].at == call.at:
        return found
    return found._replace(steps=(Step(code.file, call.at, "is given here"), *found.steps))


def _returned(code: Code, index: int, item: tuple[int, ...], depth: int) -> Output:
    """What a function gives, at a position."""
    known: dict[tuple[int, tuple[int, ...]], Output] = code.memo.setdefault("outputs", {})
    key = index, item
    if key not in known:
        known[key] = NOTHING_KNOWN  # a function may call itself
        returned = [one.value for one in code.functions[index].returns]
        real = [value for value in returned if not (isinstance(value, Constant) and value.value is None)]
        if not item:
            real = [value for value in real if not isinstance(followed(code, value)[0], Group)] or []
        known[key] = _agreed([output_of(code, value, item, depth + 1) for value in real])
    return known[key]


def module_output(
    thing: Thing, item: tuple[int, ...] = (), depth: int = 0, given: tuple[Code, Call] | None = None
) -> Output:  # fmt: skip
    """What a module gives when it is called; `given` is the call, for layers that pass on what they get."""
    if depth > MOST_STEPS or is_rebuilt(thing):
        return NOTHING_KNOWN
    nearer: set[str] = set()
    for home, cls in lineage(thing):
        own = {*cls.methods, *cls.attributes} - {"__init__"}
        if "__call__" in own:
            return NOTHING_KNOWN
        if "forward" in cls.methods:
            # What a subclass sets or defines anew is not what the base's forward names.
            return NOTHING_KNOWN if nearer & own else _returned(home, cls.methods["forward"], item, depth + 1)
        nearer |= own
    if thing.cls is not None and not _is_sequential(thing):
        return NOTHING_KNOWN
    name = short(thing.name)
    where = thing.made_in or thing.code
    if name == "sequential" or _is_sequential(thing):
        layers = chain_of(thing)
        if layers is None:
            return NOTHING_KNOWN
        for layer in reversed(layers):
            found = module_output(layer.thing, (), depth + 1)
            if layer.kind in _KEEPS:
                continue
            if found.kind != "unknown" and layer.call is not None and not found.steps:
                step = Step(layer.code.file, layer.call.at, f"`{layer.thing.name.rpartition('.')[2]}` comes last")
                return found._replace(steps=(step,), made=layer.call, made_in=layer.code)
            return found
        return NOTHING_KNOWN
    if not thing.name.startswith("torch.nn."):
        return NOTHING_KNOWN
    steps: tuple[Step, ...] = ()
    if thing.made is not None and where is not None:
        steps = (Step(where.file, thing.made.at, f"`{thing.name.rpartition('.')[2]}` is made"),)
    if name in ACTIVATIONS:
        return Output(ACTIVATIONS[name], steps, thing.made, where)
    if name in LINEAR:
        return Output("linear", steps, thing.made, where)
    if (name in _KEEPS or "dropout" in name) and given is not None:
        return output_of(given[0], given[1].argument(0), (), depth + 1)
    return NOTHING_KNOWN


def _is_sequential(thing: Thing) -> bool:
    """Whether a class of the project is a `Sequential` that adds no forward of its own."""
    if thing.cls is None:
        return False
    for home, cls in lineage(thing):
        if "forward" in cls.methods:
            return False
        if any(thing_of(home, base).name == "torch.nn.Sequential" for base in cls.bases):
            return True
    return False


def chain_of(thing: Thing) -> list[Layer] | None:
    """The layers of a `Sequential` in order, also one that is built from a list; None when they are not all known."""
    made, where = thing.made, thing.made_in
    if thing.name != "torch.nn.Sequential" or made is None or where is None:
        return None
    return layers_in(where, made)


def layers_in(code: Code, made: Call) -> list[Layer] | None:
    """The layers that a call of `nn.Sequential` is given. Asked once: each call of the chain asks for them."""
    known: dict[int, list[Layer] | None] = code.memo.setdefault("layers in chains", {})
    if made.number not in known:
        known[made.number] = _layers_in(code, made)
    return known[made.number]


def _layers_in(code: Code, made: Call) -> list[Layer] | None:
    values: list[Value] = []
    for argument in made.arguments:
        if isinstance(argument, Starred):
            listed = items_of(code, argument.value)
            if listed is None:
                return None
            values += listed
        else:
            values.append(argument)
    if made.keywords:
        return None
    if len(values) == 1 and isinstance(values[0], Call) and short(values[0].name) == "ordereddict":
        pairs = items_of(code, values[0].argument(0)) or []
        values = [pair.items[1] for pair in pairs if isinstance(pair, Group) and len(pair.items) == 2]
        if len(values) != len(pairs):
            return None
    layers = []
    for value in values:
        found, _ = followed(code, value)
        layers.append(Layer(thing_of(code, value), found if isinstance(found, Call) else None, code))
    return layers or None


def parts_of(thing: Thing) -> Iterator[tuple[str, Thing]]:
    """The attributes of a module that are modules, by name; of things that are not understood, too."""
    seen = set()
    for home, cls in lineage(thing):
        for name, numbers in cls.attributes.items():
            if name in seen:
                continue
            seen.add(name)
            for number in numbers:
                if home.bindings[number].how in ("assign", "merge"):
                    yield name, thing_of(home, Name(name, number, home.bindings[number].at))


def _is_one_recurrent_layer(thing: Thing) -> bool:
    """Whether a recurrent layer has one layer, or as many as a parameter says that is 1 by default: no dropout then."""
    where, made = thing.made_in or thing.code, thing.made
    if where is None or made is None or thing.name not in ("torch.nn.RNN", "torch.nn.LSTM", "torch.nn.GRU"):
        return False
    count, _ = followed(where, made.argument(2, "num_layers"))
    if isinstance(count, Name) and count.binding != NOWHERE and where.bindings[count.binding].how == "argument":
        count = where.bindings[count.binding].value
    return count is None or (isinstance(count, Constant) and count.value == 1)


def has_modes(thing: Thing, depth: int = 0) -> bool | None:
    """Whether a module behaves differently in train and in eval mode: it holds dropout or batch normalization, or reads
    `self.training`. None when that is not known.
    """
    if thing.kind not in ("module", "loss") or depth > 6:
        return None
    if thing.made is not None and thing.made_in is not None and keeps_no_statistics(thing.made_in, thing.made):
        return False
    if _MODES.fullmatch(thing.name):
        return None if drops_nothing(thing.made_in, thing.made) else True
    if thing.cls is None:
        layers = chain_of(thing)
        if layers is not None:
            return _any_known([has_modes(layer.thing, depth + 1) for layer in layers])
        if thing.made is not None and thing.made.keyword("dropout") is not None:
            return not _is_one_recurrent_layer(thing)
        known = _MODELESS.fullmatch(thing.name) and short(thing.name) not in ("sequential", "modulelist", "moduledict")
        return False if known else None
    answers: list[bool | None] = []
    for home, cls in lineage(thing):
        if home.matches(_READS_MODE, cls.at):
            if not _only_hands_mode_on(home, cls):
                return True
            answers.append(None)
        asked = _switched_by_argument(home, cls) | _never_run(home, cls)
        for index in cls.methods.values():
            first, last = home.functions[index].calls
            for call in home.calls[first:last]:
                if call.number in asked or keeps_no_statistics(home, call):
                    continue
                if _is_off(home, cls, call, thing.made):
                    answers.append(None)
                    continue
                if call.name.startswith(_BY_ARGUMENT):
                    continue  # `self.training` would have been read above
                if "dropout" in call.name.lower() or "BatchNorm" in call.name or makes_batch_norm(home, call):
                    return True
                if call.name.startswith("torch.nn.") and call.name.rpartition(".")[2][:1].isupper():
                    answers.append(has_modes(thing_of(home, call), depth + 1))
    if is_module(Thing("class", thing.name, thing.code, thing.number)) is None:
        answers.append(None)
    own = set[int]()
    if thing.code is not None and thing.cls is not None:
        own = _switched_by_argument(thing.code, thing.cls) | _never_run(thing.code, thing.cls)
    for _, part in parts_of(thing):
        if part.made is not None and part.made_in is thing.code and part.made.number in own:
            continue
        if _is_part_off(thing, part):
            answers.append(None)
            continue
        if part.kind in ("module", "unknown", "imported"):
            answers.append(has_modes(part, depth + 1) if part.kind == "module" else None)
    return _any_known(answers)


def _only_hands_mode_on(home: Code, cls: Class) -> bool:
    lines = (line.partition("#")[0] for line in home.lines[cls.at.line - 1 : cls.at.end_line])
    return not any(_READS_MODE.search(_HANDS_MODE_ON.sub("", line)) for line in lines)


_REACHES_ALL = re.compile(
    r"getattr|setattr|__dict__|_modules\b|\.children\(|named_children|\.modules\(|named_modules|get_submodule|vars\("
)

_TAKES_APART = re.compile(r"\*\s*(?:list\()?[\w.]+\.(?:named_)?(?:children|modules)\(|\bgetattr\((?!self\b)")
"""What runs the layers of a model from outside, whatever they are called."""


def _never_run(code: Code, cls: Class) -> set[int]:
    """The calls that make a layer for an attribute which the file names nowhere else: no mode decides on that one."""
    found = set[int]()
    for name, numbers in cls.attributes.items():
        made = [code.bindings[number].value for number in numbers]
        if len(made) == 1 and isinstance(made[0], Call) and times_ended(code, name) == 1:
            found.add(made[0].number)
    return found if found and not code.matches(_REACHES_ALL, cls.at) and not code.matches(_TAKES_APART) else set()


def _is_off(code: Code, cls: Class, call: Call, made: Call | None) -> bool:
    """Whether a call makes or runs a dropout whose share is 0, or is a parameter of the constructor that is 0 unless
    someone says otherwise.
    """
    if call.name.startswith(".") and isinstance(call.receiver, Name) and call.receiver.name == "self":
        values = [code.bindings[number].value for number in cls.attributes.get(call.name[1:], ())]
        return bool(values) and all(isinstance(one, Call) and _is_off(code, cls, one, made) for one in values)
    share = call.argument(0, "p") if _DROPOUT.fullmatch(call.name) else None
    if isinstance(share, Name) and share.binding != NOWHERE and code.bindings[share.binding].how == "argument":
        function = code.functions[code.function_at(code.bindings[share.binding].context)]
        place = next((i for i, one in enumerate(function.parameters) if one.binding == share.binding), NOWHERE)
        given = made.argument(place - 1, share.name) if made is not None else None
        is_open = place == NOWHERE or (made is not None and made.is_open)
        share = None if is_open else given or code.bindings[share.binding].value
    return is_zero(code, share)


def _is_part_off(thing: Thing, part: Thing) -> bool:
    """The same of a layer that a class makes."""
    made, home = part.made, part.made_in
    if made is None or home is None or home is not thing.code or thing.cls is None:
        return False
    return _is_off(home, thing.cls, made, thing.made)


def _switched_by_argument(code: Code, cls: Class) -> set[int]:
    """The calls of a class that make or run a dropout which runs nowhere but under an argument of `forward`, as in
    `if is_training: x = self.dropout(x)`: no mode decides on that one.
    """
    if "forward" not in cls.methods:
        return set()
    first, last = code.functions[cls.methods["forward"]].calls
    runs: dict[str, list[Call]] = {}
    for call in code.calls[first:last]:
        if isinstance(call.receiver, Name) and call.receiver.name == "self" and "dropout" in call.name.lower():
            runs.setdefault(f"self.{call.name[1:]}", []).append(call)
    found: set[int] = set()
    for name, calls in runs.items():
        made = [code.bindings[number].value for number in cls.attributes.get(name.partition(".")[2], ())]
        if all(_is_under_argument(code, call) for call in calls):
            found.update(call.number for call in (*calls, *made) if isinstance(call, Call))
    return found


def _is_under_argument(code: Code, call: Call) -> bool:
    return any(
        here.kind == "if" and isinstance(here.value, Name) and here.value.binding != NOWHERE
        and code.bindings[here.value.binding].how == "argument"
        for here in code.around(call.context)
    )  # fmt: skip


def _any_known(answers: list[bool | None]) -> bool | None:
    if True in answers:
        return True
    return None if None in answers else False
