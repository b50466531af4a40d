"""What is likely a model, or a part of one, by its name and its uses, where nothing else tells what it is."""

from __future__ import annotations

import re

from stethoscope.facts.attributes import part_of_model
from stethoscope.facts.code import NOWHERE, Attribute, Binding, Call, Code, Group, Item, Name, Value
from stethoscope.facts.events import name_of
from stethoscope.facts.libraries import SAME_METHODS
from stethoscope.facts.model_like import is_used_by_class, model_like
from stethoscope.facts.origins import given_to, lineage
from stethoscope.facts.things import Thing, followed
from stethoscope.facts.uses import readings_of

_OF_MODELS = (".eval", ".train", ".parameters", ".named_parameters", ".load_state_dict", ".modules", ".named_modules")
_PARTS = re.compile(
    r"(?:\w+_)?(?:backbone|encoder|decoder|classifier|fc|head|neck|body|trunk|stem|teacher|student|net|network|model|bert"
    r"|extractor|layer\d*|conv\d*|(features|embeddings?))$"
)
"""How parts of networks are called; the last ones may be tensors as well, in an object that is no network."""
_NORMS = re.compile(r"(?:bn|norm)\d*$")
_MODELS = re.compile(
    r"(?:\w+_)?(?:module|unet|vae|generator|discriminator|actor|critic|transformer|pretrained|resnet\d*|vgg\d*)"
    r"(?:_targ(?:et)?)?$"
)
_STORED = re.compile(r"(?:.*\.)?(?:\w*(?:Model|Autoencoder|LMHead)\w*|\w+For[A-Z]\w+)\.from_pretrained$")
"""Calls that load a network of a library's by its name."""
_DEEPEST = 3
"""Parts of parts, and functions that hand something on, at most."""


def is_hinted(file: Code, owner: Value | None) -> bool:
    """Whether a variable is used as a model of torch's, as it is bound here: under its name there may have been another
    thing before, as in `layer = layer.weight`, or in another loop.
    """
    if not isinstance(owner, Name) or owner.binding not in model_like(file) or not file.says("torch"):
        return False
    if file.bindings[owner.binding].how == "for":
        return False
    here = {(name.at, name.binding) for name in readings_of(file, owner.binding)}
    uses = (call.receiver for call in file.calls_of(*_OF_MODELS))
    return any(isinstance(one, Name) and (one.at, one.binding) in here for one in uses)


def is_part_or_model(file: Code, owner: Value | None) -> bool:
    """Whether something is named as a model or a part of one, used as such by its class, or handed to a function only
    where it is one.
    """
    if not file.says("torch"):
        return False
    return (
        _is_named_as_part(file, owner)
        or _is_named_as_model(file, owner)
        or _is_used_by_class(file, owner)
        or _is_handed_parts(file, owner)
    )


def keeps_models(thing: Thing) -> bool:
    """Whether a class is seen to keep weights of its own, or what it uses as a model: `self.model.eval()`."""
    for home, cls in lineage(thing):
        for numbers in cls.attributes.values():
            for number in (one for one in numbers if one >= 0):
                value, _ = followed(home, home.bindings[number].value)
                if isinstance(value, Call) and value.name in ("torch.nn.Parameter", "torch.nn.parameter.Parameter"):
                    return True
                if number in model_like(home):
                    return True
    return False


def _is_named_as_part(file: Code, owner: Value | None, depth: int = 0) -> bool:
    """Whether an attribute is named as a part of a network: of one, or of the object that holds it."""
    if isinstance(owner, Name) and "." not in owner.name:
        found, _ = followed(file, owner)
        owner = found if isinstance(found, Attribute) else owner
    if not isinstance(owner, Name | Attribute) or depth > _DEEPEST:
        return False
    root, _, last = owner.name.rpartition(".")
    named = _PARTS.match(last)
    if isinstance(owner, Name):
        return root == "self" and _is_named(last)
    if isinstance(owner.value, Name) and owner.value.name == "self":
        return _is_named(last)
    if named is None:
        return False
    if part_of_model(file, owner.value).kind == "module" or is_hinted(file, owner.value):
        return True
    above = _is_named_as_part(file, owner.value, depth + 1) or _is_named_as_model(file, owner.value)
    return named[1] is None and above


def _is_named(last: str) -> bool:
    named = _PARTS.match(last)
    return (named is not None and named[1] is None) or _MODELS.match(last) is not None


def _is_named_as_model(file: Code, owner: Value | None) -> bool:
    """Whether a variable of its own is named as a model or a part of one, and is no weight of a layer: nothing else
    need tell in a function that freezes what it is handed.
    """
    if not isinstance(owner, Name) or owner.binding == NOWHERE or "." in owner.name:
        return False
    if file.bindings[owner.binding].how == "for":
        return _goes_over_parts(file, file.bindings[owner.binding])
    if not _is_named(owner.name):
        return False
    options = file.bindings[owner.binding].options or (owner.binding,)
    return all(_may_be_module(file, Name(owner.name, one, owner.at)) for one in options)


def _goes_over_parts(file: Code, binding: Binding) -> bool:
    """Whether a loop goes over attributes that are named as parts: `for layer in [self.conv1, self.bn1]`."""
    parts, _ = followed(file, binding.value)
    if not isinstance(parts, Group) or binding.item or not parts.items:
        return False
    names = [one.name.rpartition(".")[2] if isinstance(one, Attribute | Name) else "" for one in parts.items]
    found = [_PARTS.match(name) or _NORMS.match(name) for name in names]
    return all(one is not None and (one.re is _NORMS or one[1] is None) for one in found)


def _may_be_module(file: Code, value: Name) -> bool:
    found, _ = followed(file, value)
    last = file.bindings[found.binding if isinstance(found, Name) and found.binding != NOWHERE else value.binding]
    is_weight = isinstance(found, Attribute) and found.name in ("weight", "bias", "data")
    return last.how in ("argument", "assign") and not last.item and not is_weight and not isinstance(found, Item)


def _is_used_by_class(file: Code, owner: Value | None) -> bool:
    """Whether a class uses what it keeps as only a model is used, calls it, or loads it as a model of a library's."""
    if owner is None or not is_used_by_class(file, owner):
        found, _ = followed(file, owner)
        while isinstance(found, Call) and found.name in SAME_METHODS:
            found, _ = followed(file, found.receiver)
        is_kept = isinstance(owner, Name) and owner.name.startswith("self.")
        return is_kept and isinstance(found, Call) and _STORED.match(_written(file, found)) is not None
    return True


def _written(file: Code, call: Call) -> str:
    """What is called, with the class whose method it is: `GPT2Model.from_pretrained`."""
    return f"{name_of(file, call.receiver)}{call.name}"


def _is_handed_parts(file: Code, owner: Value | None) -> bool:
    """Whether a function gets parts of models alone, or each module there is: `net.apply(freeze)`."""
    if not isinstance(owner, Name) or owner.binding == NOWHERE or file.bindings[owner.binding].how != "argument":
        return False
    index = file.function_at(file.bindings[owner.binding].context)
    function = file.functions[index]
    places = [i for i, one in enumerate(function.parameters) if one.binding == owner.binding]
    if not places or function.owner != NOWHERE:
        return False
    name = re.escape(function.name)
    applied = rf"\.apply\(\s*(?:{name}\s*\)|lambda (\w+):\s*{name}\(\s*\1\s*\))"
    if len(function.parameters) == 1 and file.matches(re.compile(applied)):
        return True
    given = given_to(file, index, places[0])
    return bool(given) and all(
        part_of_model(home, one).kind == "module" or _is_named_as_part(home, one) or _is_named_as_model(home, one)
        for home, one in given
    )
