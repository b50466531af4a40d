"""Classes of the project that draw weights for layers of theirs each time that one is made."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, Class, Code
from stethoscope.facts.layers import chain_of, short
from stethoscope.facts.module_classes import has_weights, made_in
from stethoscope.facts.origins import bases, lineage, thing_of
from stethoscope.facts.things import Thing
from stethoscope.facts.uses import times_said

_NOT_AS_DRAWN = re.compile(
    r"load|pretrain|ckpt|checkpoint|requires_grad|no_grad|inference_mode|detach|optim|\bseed|_seed|Generator\(|\.data\b"
    r"|\b_parameters\b|lru_cache|_instance\b|\b(?:constant|eye|dirac|ones|zeros|copy)_\((?!.*\bbias\b)"
    r"|\.weight\s*(?:\[[^\]]*\]\s*)?[-+*/]?=(?!=)|\.weight\.(?!device|dtype|shape|size)|\bcopy\b"
)
"""What gives layers other weights than new random ones, keeps them as they are, or answers without gradients."""
_OWN_MAKING = ("__new__", "__call__", "__setattr__", "__getattr__")
_PASSED = frozenset({"for", "comprehension"})
"""What may stand around a layer in a constructor that makes it anyway."""


def draws_weights(thing: Thing, seen: frozenset[int] = frozenset()) -> bool:
    """Whether a class of the project, the whole of which is seen, surely makes a layer with random weights in its
    constructor and uses it in another method, and does nothing else with weights.
    """
    if thing.cls is None or id(thing.cls) in seen or bases(thing) != ("torch.nn.Module",):
        return False
    family = list(lineage(thing))
    if any(_is_special(home, cls) for home, cls in family):
        return False
    return any(_draws_in(home, cls, family, seen | {id(thing.cls)}) for home, cls in family)


def _is_special(home: Code, cls: Class) -> bool:
    """Whether more than `nn.Module` and one class above makes what a class is, or its weights are not as drawn."""
    above = home.lines[cls.at.line - 2].strip() if cls.at.line > 1 else ""
    is_marked = above.startswith("@") or "@" in home.lines[cls.at.line - 1].partition("class")[0]
    return (
        is_marked
        or len(cls.bases) != 1
        or any(name in cls.methods for name in _OWN_MAKING)
        or home.matches(_NOT_AS_DRAWN, cls.at)
    )


def _draws_in(home: Code, cls: Class, family: list[tuple[Code, Class]], seen: frozenset[int]) -> bool:
    """Whether the constructor of one class of a family always makes such a layer, which one of them uses."""
    number = cls.methods.get("__init__", NOWHERE)
    if number == NOWHERE:
        return False
    own = home.functions[number]
    for name, bound in cls.attributes.items():
        for one in bound:
            binding = home.bindings[one] if one != NOWHERE else None
            if binding is None or binding.how != "assign" or binding.item or binding.value is None:
                continue
            if home.function_at(binding.context) != number or not _is_passed(home, binding.context):
                continue
            said = f"self.{name}"
            uses = sum(times_said(code, said, every.at) for code, every in family) - times_said(home, said, own.at)
            if uses and any(_is_drawn(layer, seen) for layer in _made(home, number, thing_of(home, binding.value))):
                return True
    return False


def _is_passed(home: Code, context: int) -> bool:
    """Whether nothing but loops stands between a constructor and a place in it."""
    for here in home.around(context):
        if here.kind == "function":
            return True
        if here.kind not in _PASSED:
            return False
    return False


def _made(home: Code, function: int, thing: Thing) -> Iterator[Thing]:
    """The layers that a value of a constructor holds and that are made there, itself or those in a container."""
    made = thing.made
    if made is None or thing.made_in is not home or home.function_at(made.context) != function:
        return
    if not _is_passed(home, made.context):
        return
    kind = short(thing.name) if thing.cls is None else ""
    if kind == "sequential":
        for layer in chain_of(thing) or ():
            yield from _made(home, function, layer.thing)
    elif kind in ("modulelist", "moduledict"):
        for one in made_in(home, made.argument(0)):
            yield from _made(home, function, thing_of(home, one))
    else:
        yield thing


def _is_drawn(layer: Thing, seen: frozenset[int]) -> bool:
    """Whether a layer has weights, and random ones: those of a normalization are 1."""
    if layer.kind != "module":
        return False
    if layer.cls is not None:
        return draws_weights(layer, seen)
    name = short(layer.name)
    return has_weights(layer) and "norm" not in name and name not in ("prelu", "parameter")
