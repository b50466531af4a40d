"""Which layers a model is seen to hold that act otherwise in train mode than in evaluation.

mode_layers(thing)      {"dropout"}, of a class with `nn.Dropout` and no batch normalization
"""

from __future__ import annotations

import re

from stethoscope.facts.code import Call, Code
from stethoscope.facts.layers import chain_of, parts_of
from stethoscope.facts.made_layers import keeps_no_statistics, makes_batch_norm
from stethoscope.facts.options import is_zero
from stethoscope.facts.origins import lineage, thing_of
from stethoscope.facts.things import Thing

DROPOUT, BATCH_NORM, OWN = "dropout", "batch normalization", "self.training"
DEEPEST = 6
_DROPS = re.compile(r"drop_?out|drop_?path|torch\.nn\.Transformer", re.I)
_NORMALIZES = re.compile(r"BatchNorm|(?:^|\.)batch_norm$")
_READS_MODE = re.compile(r"self\.training\b")


def mode_layers(thing: Thing, depth: int = 0) -> set[str]:
    """The kinds of such layers that a model, and what it is made of, names; `self.training` of a class that asks for
    its mode. Empty where none is seen, as of a model of a library.
    """
    if depth > DEEPEST or thing.kind not in ("module", "loss"):
        return set()
    if thing.made is not None and thing.made_in is not None:
        if keeps_no_statistics(thing.made_in, thing.made):
            return set()
        given = thing.made.keyword("dropout")
        if thing.cls is None and given is not None and thing.name.startswith("torch.nn."):
            return set() if is_zero(thing.made_in, given) else {DROPOUT}
    if thing.cls is None:
        layers = chain_of(thing) or ()
        return _named(thing.name).union(*(mode_layers(one.thing, depth + 1) for one in layers))
    found: set[str] = set()
    for home, cls in lineage(thing):
        if home.matches(_READS_MODE, cls.at):
            found.add(OWN)
        for index in cls.methods.values():
            for call in home.calls[slice(*home.functions[index].calls)]:
                found |= _called(home, call, depth)
    for _, part in parts_of(thing):
        found |= mode_layers(part, depth + 1)
    return found


def _named(name: str) -> set[str]:
    kinds = {DROPOUT} if _DROPS.search(name) else set()
    return kinds | ({BATCH_NORM} if _NORMALIZES.search(name) else set())


def _called(home: Code, call: Call, depth: int) -> set[str]:
    """What a call in a model's method makes or runs."""
    if keeps_no_statistics(home, call):
        return set()
    if makes_batch_norm(home, call):
        return {BATCH_NORM}
    found = _named(call.name)
    if DROPOUT in found and is_zero(home, call.argument(int(".functional." in call.name), "p")):
        found.discard(DROPOUT)
    if call.name.startswith("torch.nn.") and call.name.rpartition(".")[2][:1].isupper():
        found |= mode_layers(thing_of(home, call), depth + 1)
    return found
