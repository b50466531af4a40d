"""Stacks of layers in source code with nothing between them but an activation."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.facts.code import At, Call, Code, Each, Value
from stethoscope.facts.layers import LINEAR, chain_of, short
from stethoscope.facts.module_classes import modules_in
from stethoscope.facts.origins import called, thing_of
from stethoscope.facts.things import binding_of, followed, literal

_BETWEEN = ("dropout", "flatten", "view", "reshape", "identity", "dropout1d", "dropout2d", "to", "float", "contiguous")


def sigmoids_of(code: Code) -> Iterator[tuple[At, list[At]]]:
    """Models by where they are made or defined, each with its longest row of sigmoids behind layers with weights."""
    for call in code.calls_of("torch.nn.Sequential"):
        layers = chain_of(thing_of(code, call))
        found: list[At] = []
        best: list[At] = []
        behind_weights = False
        for layer in layers or ():
            if layer.call is None or layer.code is not code:
                found, behind_weights = [], False
            elif layer.kind in LINEAR:
                behind_weights = True
            elif layer.kind == "sigmoid" and behind_weights:
                found.append(layer.call.at)
                best, behind_weights = max(best, list(found), key=len), False
            elif layer.kind not in _BETWEEN:
                found, behind_weights = [], False
        yield call.at, best
    yield from _repeated(code)
    for thing in modules_in(code):
        index = thing.cls.methods.get("forward") if thing.cls is not None else None
        for returned in code.functions[index].returns if index is not None else ():
            yield thing.cls.at if thing.cls is not None else returned.value.at, _backwards(code, returned.value)


def _repeated(code: Code) -> Iterator[tuple[At, list[At]]]:
    """Loops over a list of layers, each of which goes into a sigmoid: `x = torch.sigmoid(layer(x))`."""
    for binding in code.bindings:
        applied = binding.value
        here = code.contexts[binding.context]
        if binding.how != "assign" or here.kind != "for" or not isinstance(applied, Call):
            continue
        if short(applied.name).lstrip(".") != "sigmoid":
            continue
        inner = applied.receiver if applied.name == ".sigmoid" else applied.argument(0)
        layer = inner.receiver if isinstance(inner, Call) and inner.name == "()" else None
        bound = binding_of(code, layer)
        given = binding_of(code, inner.argument(0)) if isinstance(inner, Call) else None
        if bound is None or bound.how != "for" or given is None or given.name != binding.name:
            continue
        times = _times(code, here.value)
        if times and sum(one.context == binding.context and one.name == binding.name for one in code.bindings) == 1:
            yield here.at, [applied.at] * times


def _times(code: Code, value: Value | None) -> int:
    """How many layers with weights a `ModuleList` holds that is built in a comprehension over a range; 0 if unknown."""
    made = thing_of(code, value).made
    built = followed(code, made.argument(0))[0] if made is not None and made.name == "torch.nn.ModuleList" else None
    if not isinstance(built, Each) or not isinstance(built.element, Call) or short(built.element.name) not in LINEAR:
        return 0
    source, _ = followed(code, built.source)
    ends = source.arguments if isinstance(source, Call) and source.name == "builtins.range" else ()
    number = literal(code, ends[0]) if len(ends) == 1 else None
    return number if isinstance(number, int) else 0


def _backwards(code: Code, value: Value | None) -> list[At]:
    """The sigmoids that a value went through, from its end, as long as nothing else stands between."""
    found: list[At] = []
    expects_weights = False
    for _ in range(80):
        value, _ = followed(code, value)
        if not isinstance(value, Call):
            break
        thing = called(code, value)
        name = short(thing.name) if thing.kind in ("module", "imported") else value.name[1:]
        inner = value.receiver if value.name.startswith(".") and thing.kind == "unknown" else value.argument(0)
        if name == "sigmoid" and not expects_weights:
            found.append(value.at)
            expects_weights = True
        elif name in LINEAR and (thing.kind == "module") and (expects_weights or not found):
            expects_weights = False
        elif name not in _BETWEEN:
            break
        value = inner
    return found[:-1] if expects_weights else found
