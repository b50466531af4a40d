"""Attributes that a file sets, and what they are set on: `model.requires_grad = False`."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, Attribute, Binding, Call, Code, Group, Name, Value
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import UNKNOWN, Thing, followed

_PARTS = frozenset({".children", ".modules", ".named_children", ".named_modules"})


def attributes_set(code: Code, *names: str) -> Iterator[tuple[int, Binding]]:
    """The assignments to attributes of these names, each with its number."""
    index: dict[str, list[int]] | None = code.memo.get("attributes set")
    if index is None:
        index = code.memo["attributes set"] = {}
        for number, binding in enumerate(code.bindings):
            if binding.how == "assign" and "." in binding.name:
                index.setdefault(binding.name.rpartition(".")[2], []).append(number)
    for number in sorted(number for name in names for number in index.get(name, ())):
        yield number, code.bindings[number]


def owner_of(code: Code, number: int) -> Value | None:
    """What an attribute is set on, as a value: of `model.head.bias = None` that of `model.head`."""
    binding = code.bindings[number]
    path = binding.name.rpartition(".")[0]
    return variable_at(code, path, number)


def variable_at(code: Code, path: str, number: int) -> Value | None:
    """A variable as it is known just before a binding of the same function; None where that is not certain."""
    binding = code.bindings[number]
    first, _ = code.functions[code.function_at(binding.context)].bindings
    for place in range(number - 1, first - 1, -1):
        if code.bindings[place].name == path:
            return Name(path, place, binding.at)
    if first and "." not in path:
        meaning = code.names.get(path)
        return Name(path, meaning, binding.at) if isinstance(meaning, int) else None
    above, _, last = path.rpartition(".")
    inner = variable_at(code, above, number) if above else None
    return Attribute(inner, last, binding.at) if inner is not None else None


def part_of_model(code: Code, value: Value | None) -> Thing:
    """What a value is; of a variable that goes over the layers of a model, a module."""
    if isinstance(value, Name) and value.binding != NOWHERE:
        binding = code.bindings[value.binding]
        source, _ = followed(code, binding.value)
        if binding.how == "for" and isinstance(source, Call) and source.name in _PARTS and not source.arguments:
            layer = binding.item == ((1,) if "named" in source.name else ())
            return Thing("module") if layer else UNKNOWN
        if binding.how == "for" and not binding.item and _gives_modules(code, source):
            return Thing("module")
    return thing_of(code, value)


_LISTS = ("torch.nn.ModuleList", "torch.nn.Sequential")


def _gives_modules(code: Code, source: Value | None) -> bool:
    """Whether a loop goes over layers: those of a list of torch's, of several such lists, or some by name."""
    if isinstance(source, Group):
        return bool(source.items) and all(thing_of(code, one).kind == "module" for one in source.items)
    if isinstance(source, Name) and source.binding != NOWHERE and code.bindings[source.binding].how == "for":
        outer, _ = followed(code, code.bindings[source.binding].value)
        lists = outer.items if isinstance(outer, Group) and not code.bindings[source.binding].item else ()
        return bool(lists) and all(thing_of(code, one).name in _LISTS for one in lists)
    return isinstance(source, Name | Attribute) and thing_of(code, source).name in _LISTS
