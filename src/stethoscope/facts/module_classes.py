"""The classes of a file that are modules, and what they construct."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, Attribute, Binding, Call, Code, Each, Group, Name, Operation, Starred, Value
from stethoscope.facts.layers import LINEAR, chain_of, short
from stethoscope.facts.origins import is_module, thing_of
from stethoscope.facts.things import Thing, followed

_WEIGHTY = (
    "batchnorm", "syncbatchnorm", "layernorm", "groupnorm", "instancenorm", "embedding", "lstm", "gru", "rnn",
    "transformer", "multiheadattention", "rmsnorm", "prelu", "parameter", "conv", "lazy",
)  # fmt: skip
"""How the names of layers with parameters begin, beside those of `LINEAR`."""


def modules_in(code: Code) -> Iterator[Thing]:
    """The classes of a file that are certainly modules."""
    for number, cls in enumerate(code.classes):
        thing = Thing("class", cls.name, code, number)
        if is_module(thing):
            yield thing


def has_weights(thing: Thing) -> bool:
    """Whether a module certainly has parameters."""
    if thing.kind != "module":
        return False
    if thing.cls is not None:
        return True
    name = short(thing.name)
    if name == "sequential":
        layers = chain_of(thing)
        if layers is None and thing.made is not None and thing.made.arguments:
            return True  # of what cannot be listed: nobody makes these of activations alone
        return any(has_weights(layer.thing) for layer in layers or ())
    if name in ("modulelist", "moduledict") and thing.made is not None and thing.made_in is not None:
        return bool(thing.made.arguments) and bool(made_in(thing.made_in, thing.made.arguments[0]))
    return thing.name.startswith("torch.nn.") and (name in LINEAR or name.startswith(_WEIGHTY))


def made_in(code: Code, value: Value | None) -> list[Call]:
    """The layers with parameters that a list, tuple, dict or comprehension constructs on the spot, or just before."""
    value, _ = followed(code, value)
    if isinstance(value, Group):
        items = [item.value if isinstance(item, Starred) else item for item in value.items]
        return [call for item in items for call in _constructed(code, item)]
    if isinstance(value, Each) and value.kind in ("list", "dict"):
        return _constructed(code, value.element)
    if isinstance(value, Operation) and value.operator in ("+", "*"):
        return [call for operand in value.operands for call in made_in(code, operand)]
    return []


def _constructed(code: Code, value: Value) -> list[Call]:
    if isinstance(value, Group | Each):
        return made_in(code, value)
    made = value if isinstance(value, Call) else _made_for_it(code, value)
    return [made] if made is not None and _makes_layer(code, made) else []


def _made_for_it(code: Code, value: Value) -> Call | None:
    """The call that made a local variable which no attribute is bound to: what it holds is kept nowhere else."""
    if not isinstance(value, Name) or "." in value.name or value.binding == NOWHERE:
        return None
    binding = code.bindings[value.binding]
    if binding.how != "assign" or binding.item or not isinstance(binding.value, Call):
        return None
    kept = any(isinstance(one.value, Name) and one.value.binding == value.binding for one in code.bindings)
    return None if kept else binding.value


def _makes_layer(code: Code, call: Call) -> bool:
    """Whether a call is that of a layer's class, and not one that gives a layer which is kept elsewhere."""
    thing = thing_of(code, call)
    return (thing.made is call or call.name == "copy.deepcopy") and has_weights(thing)


def attribute_of(code: Code, value: Value | None) -> str:
    """`hidden` of `self.hidden` in a method; empty of anything else."""
    if isinstance(value, Name) and value.name.startswith("self.") and value.name.count(".") == 1:
        return value.name[5:]
    if isinstance(value, Attribute) and isinstance(value.value, Name) and value.value.name == "self":
        return value.name
    return ""


def in_methods(code: Code, thing: Thing) -> Iterator[tuple[str, Call]]:
    """All calls in the methods of a class, each with the method's name."""
    cls = thing.cls
    for name, number in (cls.methods if cls is not None else {}).items():
        first, last = code.functions[number].calls
        for call in code.calls[first:last]:
            yield name, call


def assigned(code: Code, thing: Thing) -> Iterator[tuple[str, Binding]]:
    """What the methods of a class bind its attributes to."""
    cls = thing.cls
    for name, numbers in (cls.attributes if cls is not None else {}).items():
        for number in numbers:
            if number != NOWHERE and code.bindings[number].how == "assign":
                yield name, code.bindings[number]


def shared_layer(code: Code, value: Value | None) -> Value | None:
    """The one layer that a list holds several times: of `[layer] * 3`, and of `[layer for _ in range(3)]`."""
    found, _ = followed(code, value)
    if isinstance(found, Starred):
        found, _ = followed(code, found.value)
    if isinstance(found, Operation) and found.operator == "*":
        for one in found.operands:
            if isinstance(one, Group) and one.kind == "list" and len(one.items) == 1:
                return one.items[0] if has_weights(thing_of(code, one.items[0])) else None
    if isinstance(found, Each) and isinstance(found.element, Name) and found.element.binding != NOWHERE:
        binding = code.bindings[found.element.binding]
        inside = any(here.kind == "comprehension" for here in code.around(binding.context))
        if binding.how == "assign" and not inside and has_weights(thing_of(code, found.element)):
            return found.element
    return None
