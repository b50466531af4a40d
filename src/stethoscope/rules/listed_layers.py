"""The lists of layers that a module keeps, and how sure it is that nothing registers them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stethoscope.core.finding import Edit
from stethoscope.facts.code import At, Call, Code, Each, Group, Item, Name, Operation, Value
from stethoscope.facts.layer_names import is_of_module_class, may_be_made_in
from stethoscope.facts.likely_modules import is_known_module, likely_modules_in
from stethoscope.facts.module_classes import assigned, attribute_of, in_methods, made_in, modules_in
from stethoscope.facts.origins import called, is_module
from stethoscope.facts.things import Thing
from stethoscope.rules.carried_layers import are_called
from stethoscope.rules.containers import is_left_plain, is_plain_list, may_be_left_plain, wrapped_in_module_list
from stethoscope.rules.lines import line_of, quoted
from stethoscope.rules.spared_layers import are_spared
from stethoscope.rules.unused_answers import answers_are_unused

_Making = Callable[[Code, Value | None], list[Call]]


class Listed(NamedTuple):
    """An attribute that is a plain list, tuple or dict of layers."""

    name: str
    at: At
    layers: list[Call]
    """The calls that make them."""
    kind: str
    is_sure: bool
    """Whether they surely have parameters, and surely nothing registers them."""
    edits: tuple[Edit, ...] = ()
    under: str = ""
    """The condition under which alone it gets layers, in words; empty where it always does."""


def every_list(file: Code) -> Iterator[tuple[Thing, Listed]]:
    """What the modules of a file keep in plain lists, and what classes do that are modules by all that they show."""
    for thing in (*modules_in(file), *likely_modules_in(file)):
        for found in lists_of_layers(file, thing):
            yield thing, found


def lists_of_layers(file: Code, thing: Thing) -> Iterator[Listed]:
    """What a module keeps in plain lists, the sure ones first."""
    every = [*_listed(file, thing, made_in)]
    seen = {one.name: one for one in reversed(every)}
    for name, one in seen.items():
        if may_be_left_plain(file, thing, name):
            is_sure = are_called(file, thing, name) and is_left_plain(file, thing, name)
            is_sure = is_sure and (bool(is_module(thing)) or is_known_module(thing))
            is_sure = is_sure and not are_spared(file, thing, name, one.layers)
            is_sure = is_sure and not answers_are_unused(file, thing, name)
            edits = wrapped_in_module_list(file, thing, name) if is_sure else ()
            under = {_condition(file, layer) for it in every if it.name == name for layer in it.layers}
            is_known = len(under) == 1 and _is_filled_as_seen(file, thing, name)
            yield one._replace(is_sure=is_sure, edits=edits, under=under.pop() if is_known else "")
    named = {one.name: one for one in reversed([*_listed(file, thing, may_be_made_in)]) if one.name not in seen}
    for name, one in named.items():
        is_layer = is_of_module_class(file, one.layers[0]) or are_called(file, thing, name)
        is_layer = is_layer or bool(
            made_in(file, Group("list", one.layers[0].arguments, (), one.at))
        )  # `norm(Linear())`
        if is_layer and may_be_left_plain(file, thing, name):
            yield one


def _is_filled_as_seen(file: Code, thing: Thing, name: str) -> bool:
    """Whether all that is put into a list is seen to be layers with weights, or to do nothing: `nn.Identity()`."""
    for _, call in in_methods(file, thing, ".append", ".extend", ".insert"):
        if attribute_of(file, call.receiver) == name:
            one = call.argument(1 if call.name == ".insert" else 0)
            idle = isinstance(one, Call) and one.name in ("torch.nn.Identity", "torch.nn.Sequential")
            is_idle = idle and isinstance(one, Call) and not one.arguments
            put = one if call.name == ".extend" or one is None else Group("list", (one,), (), call.at)
            if not is_idle and not made_in(file, put):
                return False
    return True


def _condition(file: Code, layer: Call) -> str:
    """The nearest condition of the function under which a layer is made, in words; empty where there is none."""
    for here in file.around(layer.context):
        if here.kind == "function":
            break
        if here.kind in ("if", "else") and here.value is not None:
            said = quoted(file, here.value, f"what {line_of(file, here.value.at)} asks", LONGEST_CONDITION)
            return f"where {said} {'holds' if here.kind == 'if' else 'does not hold'}"
    return ""


LONGEST_CONDITION = 80
"""Characters of a condition that is quoted."""


def unlike_a_module(thing: Thing) -> str:
    """What hidden layers miss, but for what a class of the project does by a method of its own."""
    own = set(thing.cls.methods) if thing.cls is not None else set[str]()
    return ", ".join(words for name, words in _REACHES.items() if name not in own)


_REACHES = {"parameters": "not trained", "to": "not moved by `to()`", "eval": "not switched by `eval()`"}
"""Methods by which a module reaches its layers, and what those miss that it does not know."""


def comma_behind(file: Code, name: str, layer: Call) -> At | None:
    """The comma that makes a tuple of one layer which is called as a layer: `self.fc = nn.Linear(3, 3),`."""
    line = file.lines[layer.at.end_line - 1].encode()
    before = file.lines[layer.at.line - 1].encode()[: layer.at.column].decode(errors="replace")
    behind = line[layer.at.end_column :].decode(errors="replace")
    is_bare = re.search(rf"self\.{name}\s*(?::[^=]*)?=\s*$", before) and re.match(r",\s*(?:#|$)", behind)
    if not is_bare or not any(re.search(rf"self\.{name}\(", one) for one in file.lines):
        return None
    return At(layer.at.end_line, layer.at.end_column, layer.at.end_line, layer.at.end_column + 1)


def _listed(file: Code, thing: Thing, makes: _Making) -> Iterator[Listed]:
    """Attributes that get a list of layers, or an empty one to which layers are added."""
    if thing.cls is None:
        return
    for name, binding in assigned(file, thing):
        value = binding.value if makes is made_in else _given(file, binding.value)
        # Of `self.a, self.b = [Linear(...), Linear(...)]` each gets a layer, and not the list.
        layers = makes(file, value) if not binding.item and _may_be_list(value) else []
        if layers:
            kind = value.kind if isinstance(value, Group | Each) else "list"
            yield Listed(name, binding.at, layers, kind, is_sure=False)
    for _, call in in_methods(file, thing, ".append", ".extend"):
        filled = call.receiver.value if isinstance(call.receiver, Item) else call.receiver  # a list of lists
        name = attribute_of(file, filled)
        added = call.argument(0) if call.name == ".extend" else Group("list", call.arguments, (), call.at)
        layers = makes(file, added) if name else []
        if layers and is_plain_list(file, thing, name):
            yield Listed(name, call.at, layers, "list", is_sure=False)


def _given(file: Code, value: Value | None) -> Value | None:
    """What a function of the file gives where it is called, and anything else as it is: `clones(layer, 6)`."""
    thing = called(file, value) if isinstance(value, Call) else None
    if thing is None or thing.function is None or thing.code is not file:
        return value
    given = [one.value for one in thing.function.returns]
    return given[0] if len(given) == 1 else value


def _may_be_list(value: Value | None) -> bool:
    """Whether an attribute gets a list by its form, and not the answer of a call, a layer or one of two things."""
    if isinstance(value, Call):
        return value.name in ("builtins.list", "builtins.tuple")
    return isinstance(value, Group | Each | Name | Operation)
