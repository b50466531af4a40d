"""How many classes a softmax or sigmoid gives shares to, where the layer before it says so.

num_classes(file, output)    2, of `nn.Softmax(dim=1)` behind `nn.Linear(64, labels_number)` and `Net(labels_number=2)`
"""

from __future__ import annotations

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Name, Value
from stethoscope.facts.layers import Output, layers_in, output_of
from stethoscope.facts.origins import called, lineage
from stethoscope.facts.things import literal


def num_classes(file: Code, output: Output) -> int:
    """Outputs of the layer in front of an activation; 0 where they are not known, and where there is only one, which
    may be a score of each of several choices.
    """
    size = num_outputs(file, output)
    return size if size > 1 else 0


def num_outputs(file: Code, output: Output) -> int:
    """Outputs of the layer in front of an activation; 0 where they are not known."""
    sizes = {_size(file, layer) for layer in before(output)}
    return sizes.pop() if len(sizes) == 1 else 0


def before(output: Output) -> list[Output]:
    """The layers in front of an activation, which is a function, a method, or a layer that is made here."""
    made, home = output.made, output.made_in
    if made is None or home is None:
        return []
    if made.name in _METHODS:
        return [output_of(home, made.receiver)]
    if not made.name.rpartition(".")[2][:1].isupper():
        return [output_of(home, made.argument(0, "input"))]  # also of a function that an attribute keeps
    found = []
    for call in home.calls:
        if call.name == "torch.nn.Sequential":
            found += _in_chain(home, call, made)
        elif call.receiver is not None and call.arguments:
            asked = called(home, call)
            if asked.made is made and asked.made_in is home:
                found.append(output_of(home, call.argument(0)))
    return found


_METHODS = frozenset({".softmax", ".log_softmax", ".sigmoid", ".softmax_", ".sigmoid_"})


def _in_chain(home: Code, chain: Call, made: Call) -> list[Output]:
    layers = layers_in(home, chain) or []
    place = next((i for i, one in enumerate(layers) if one.call is made), 0)
    before = layers[place - 1] if place else None
    return [Output(before.kind, (), before.call, before.code)] if before is not None else []


def _size(file: Code, layer: Output) -> int:
    if layer.kind != "linear" or layer.made is None or layer.made_in is None:
        return 0
    if not layer.made.name.startswith("torch.nn.") or layer.made.name.startswith("torch.nn.functional"):
        return 0
    size = layer.made.argument(1, "out_features") or layer.made.keyword("out_channels")
    return _number(file, layer.made_in, size)


def _number(file: Code, home: Code, value: Value | None) -> int:
    """A whole number that is written down, or that every call which makes the model gives its constructor."""
    found = literal(home, value)
    if type(found) is int:
        return found
    if isinstance(found, Name | Attribute):
        return _given(file, home, found)
    return 0


def _given(file: Code, home: Code, value: Name | Attribute) -> int:
    binding = home.bindings[value.binding] if isinstance(value, Name) and value.binding != NOWHERE else None
    if binding is None or binding.how != "argument":
        return 0
    index = home.function_at(binding.context)
    function = home.functions[index]
    place = next((i for i, one in enumerate(function.parameters) if one.name == binding.name), NOWHERE)
    if function.name != "__init__" or function.owner == NOWHERE or place == NOWHERE:
        return 0
    default = literal(home, function.parameters[place].default)
    sizes = set()
    for code in {id(one): one for one in (file, home)}.values():
        for call in code.calls:
            thing = called(code, call)
            if thing.kind != "class" or not any(cls is home.classes[function.owner] for _, cls in lineage(thing)):
                continue
            if call.is_open or thing.cls is not home.classes[function.owner]:
                return 0
            given = call.argument(place - 1, binding.name)
            size = literal(code, given) if given is not None else default
            sizes.add(size if type(size) is int else 0)
    return sizes.pop() if len(sizes) == 1 else 0
