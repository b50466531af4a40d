"""The classes of a file that are modules, and what they construct."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from operator import attrgetter

from stethoscope.facts.code import (
    NOWHERE,
    Attribute,
    Binding,
    Call,
    Choice,
    Code,
    Constant,
    Each,
    Group,
    Item,
    Name,
    Operation,
    Starred,
    Symbol,
    Value,
)  # fmt: skip
from stethoscope.facts.layers import LINEAR, chain_of, short
from stethoscope.facts.likely_modules import is_known_module
from stethoscope.facts.origins import bases, called, is_module, lineage, thing_of
from stethoscope.facts.things import Thing, followed, literal
from stethoscope.facts.uses import times_said

_WEIGHTY = (
    "batchnorm", "syncbatchnorm", "layernorm", "groupnorm", "instancenorm", "embedding", "lstm", "gru", "rnn",
    "transformer", "multiheadattention", "rmsnorm", "prelu", "parameter", "conv", "lazy",
)  # fmt: skip
"""How the names of layers with parameters begin, beside those of `LINEAR`."""
_FLAX = frozenset({"conv", "convtranspose", "batchnorm", "instancenorm"})
"""What torch.nn does not have, and Flax does: the line cannot run, or its `nn` is another."""
_FACTORIES = {
    "torch.randn", "torch.rand", "torch.zeros", "torch.ones", "torch.full", "torch.empty", "torch.tensor", "torch.eye",
    "torch.normal", "torch.linspace",
}  # fmt: skip
_MOVES = (".to", ".cuda", ".cpu")
"""They give back what they are asked of where it is there already."""
DEEPEST = 12
_OWN_TRAINING = re.compile(
    r"optim|\bgrad\(|\.backward\(|register_|add_module|setattr|def parameters|\b_parameters"
    r"|jacobian|hessian|\b[vj][jv]p\b|checkpoint"
)
"""What trains a tensor in a way of its own, registers it after all, or asks for gradients of what goes in."""
_MODELS = ("torchvision.models.", "timm.create_model", "torch_geometric.nn.", "transformers.AutoModel")
"""What makes models with parameters in other libraries."""
_LAYER_LIKE = re.compile(
    r"(?=[A-Z])(?!\w*(?:Config|Sampl|Loss|Mask|Refin|Transform(?!er)|Dropout|DropPath|Pool|Identity|Norm\b))"
    r"\w*(?:Linear|Conv|Attention|Attn|Embed|M[lL][pP]|Block|Layer|Encoder|Decoder|LSTM|GRU|FeedForward|Proj|Net\b|Head\b)"
)
"""How classes that are not seen are called, where they surely have parameters."""


def modules_in(code: Code) -> tuple[Thing, ...]:
    """The classes of a file that are certainly modules."""
    if "modules" not in code.memo:
        things = (Thing("class", cls.name, code, number) for number, cls in enumerate(code.classes))
        code.memo["modules"] = tuple(thing for thing in things if is_module(thing))
    found: tuple[Thing, ...] = code.memo["modules"]
    return found


def defines(thing: Thing, *names: str) -> bool:
    """Whether a class, or one of the project that it inherits from, has a method or property of one of these names."""
    return any(name in cls.methods for _, cls in lineage(thing) for name in names)


def is_plain_module(thing: Thing) -> bool:
    """Whether a class inherits from `nn.Module` and from nothing else, so that the whole of it is seen."""
    return (
        thing.cls is not None
        and len(thing.cls.bases) == 1
        and bases(thing) == ("torch.nn.Module",)
        and (len(list(lineage(thing))) == 1)
    )


NESTED = 8
"""Sequences in sequences that are looked into: `self.g = nn.Sequential(self.g, pool)` may read as one within itself."""


def has_weights(thing: Thing, depth: int = 0) -> bool:
    """Whether a module certainly has parameters."""
    if thing.kind != "module" or depth > NESTED:
        return False
    if thing.cls is not None and thing.code is not None:
        known: dict[int, bool] = thing.code.memo.setdefault("weighty", {})
        if thing.number not in known:
            known[thing.number] = False  # while it is asked: a class may make objects of its own, to hold them
            known[thing.number] = has_own_weights(thing)
        return known[thing.number]
    name = short(thing.name)
    if name == "sequential":
        layers = chain_of(thing)
        if layers is None and thing.made is not None and thing.made.arguments:
            return True  # of what cannot be listed: nobody makes these of activations alone
        return any(
            has_weights(layer.thing, depth + 1)
            or (layer.call is not None and (_is_either(layer.code, layer.call) or _is_given(layer.code, layer.call)))
            for layer in layers or ()
        )
    if name in ("modulelist", "moduledict") and thing.made is not None and thing.made_in is not None:
        return bool(thing.made.arguments) and bool(made_in(thing.made_in, thing.made.arguments[0]))
    made, home = thing.made, thing.made_in
    if made is not None and home is not None and "norm" in name and not _is_affine(home, made, name):
        return False
    is_weighty = name in LINEAR or (name.startswith(_WEIGHTY) and name not in _FLAX)
    return thing.name.startswith("torch.nn.") and is_weighty


def _is_affine(code: Code, made: Call, name: str) -> bool:
    """Whether a normalization certainly has weights: it is told so, or not told otherwise where that is the default."""
    by_sample = name in ("layernorm", "rmsnorm")
    place = 2 if by_sample or name.startswith("lazy") else 3
    given = made.argument(place, "elementwise_affine" if by_sample else "affine")
    if given is None:
        return "instancenorm" not in name and not made.is_open
    if isinstance(given, Name) and given.binding != NOWHERE and code.bindings[given.binding].how == "argument":
        given = code.bindings[given.binding].value
    return literal(code, given) is True


def _is_either(code: Code, call: Call) -> bool:
    """Whether a call makes a module of one of two classes of the project, both with parameters."""
    chosen, _ = followed(code, call.receiver) if call.name == "()" else (None, [])
    if not isinstance(chosen, Choice):
        return False
    classes = [thing_of(code, one) for one in chosen.options]
    return all(
        one.kind == "class" and one.cls is not None and is_module(one) and has_own_weights(one) for one in classes
    )


def has_own_weights(thing: Thing, seen: set[int] | None = None) -> bool:
    """Whether a class of the project surely makes something with parameters, or inherits from what has them; `seen` are
    the classes that were asked before, which may make each other.
    """
    seen = set() if seen is None else seen
    if any(name.startswith("torch.nn.") and has_weights(Thing("module", name)) for name in bases(thing)):
        return True
    for home, cls in lineage(thing):
        if id(cls) in seen:
            continue
        seen.add(id(cls))
        for number in cls.methods.values():
            first, last = home.functions[number].calls
            if any(_weighs(home, call, seen) for call in home.calls[first:last]):
                return True
    return False


def _weighs(home: Code, call: Call, seen: set[int]) -> bool:
    """Whether a call gives something with parameters."""
    if call.name == "torch.nn.Parameter":
        return literal(home, call.argument(1, "requires_grad")) is not False  # a constant, as it is meant
    if call.name.startswith(_MODELS) or call.name == ".register_parameter":
        return True
    made = thing_of(home, call)
    if made.kind == "unknown" or made.kind == "imported":
        spelled = call.receiver.name if call.name == "()" and isinstance(call.receiver, Name) else call.name
        return bool(_LAYER_LIKE.match(spelled.rpartition(".")[2].lstrip("_")))
    if made.kind != "module" or made.made is not call:
        return made.name == "torch.nn.Parameter" and made.made is call
    return has_own_weights(made, seen) if made.cls is not None else has_weights(made)


def made_in(code: Code, value: Value | None) -> list[Call]:
    """The layers with parameters that a list, tuple, dict or comprehension constructs on the spot, or just before."""
    value, _ = followed(code, value)
    if isinstance(value, Group):
        items = [item.value if isinstance(item, Starred) else item for item in value.items]
        return [call for item in items for call in _constructed(code, item)]
    if isinstance(value, Each) and value.kind in ("list", "dict"):
        return _constructed(code, value.element)
    if isinstance(value, Call) and value.name in ("builtins.list", "builtins.tuple"):
        inner = value.argument(0)
        return _constructed(code, inner.element) if isinstance(inner, Each) else made_in(code, inner)
    if isinstance(value, Operation) and value.operator in ("+", "*"):
        return [call for operand in value.operands for call in made_in(code, operand)]
    return []


def _constructed(code: Code, value: Value) -> list[Call]:
    if isinstance(value, Group | Each):
        return made_in(code, value)
    if isinstance(value, Choice):
        each = [_constructed(code, one) for one in value.options]
        return [call for found in each for call in found] if all(each) else []
    made = value if isinstance(value, Call) else made_for_list(code, value)
    return [made] if made is not None and _makes_layer(code, made) else []


def made_for_list(code: Code, value: Value) -> Call | None:
    """The call that made a local variable which no attribute is bound to: what it holds is kept nowhere else."""
    if not isinstance(value, Name) or "." in value.name or value.binding == NOWHERE:
        return None
    binding = code.bindings[value.binding]
    if binding.how != "assign" or binding.item or not isinstance(binding.value, Call):
        return None
    function = code.functions[code.function_at(binding.context)]
    if "named alone" not in code.memo:
        code.memo["named alone"] = {one.binding for bound in code.bindings for one in _in_tuple(bound.value)}
    kept = value.binding in code.memo["named alone"] or any(
        one.binding == value.binding for returned in function.returns for one in _in_tuple(returned.value)
    )
    return None if kept or _is_given_away(code, value) else binding.value


def _in_tuple(value: Value | None) -> list[Name]:
    """The names that stand alone, or side by side: `return layer, width`."""
    items = value.items if isinstance(value, Group) and value.kind == "tuple" else (value,)
    return [one for one in items if isinstance(one, Name)]


def _is_given_away(code: Code, layer: Name) -> bool:
    """Whether a layer is given to more than the list in question: what takes it may register it."""
    first, last = code.functions[code.function_at(code.bindings[layer.binding].context)].calls
    takes = 0
    for call in code.calls[first:last]:
        if call.name.startswith(("torch.nn.init.", "builtins.")):
            continue
        given = [*call.arguments, *(one for _, one in call.keywords)]
        given += [item for one in given if isinstance(one, Group) for item in one.items]
        takes += any(isinstance(one, Name) and one.binding == layer.binding for one in given)
    return takes > 1


def _makes_layer(code: Code, call: Call) -> bool:
    """Whether a call is that of a layer's class, and not one that gives a layer which is kept elsewhere."""
    thing = thing_of(code, call)
    is_made = thing.made is call or call.name == "copy.deepcopy"
    if is_made and thing.name == "torch.nn.Sequential" and _chains_what_is_kept(code, call):
        return False
    if is_made and (has_weights(thing) or (is_known_module(thing) and has_own_weights(thing))):
        return True
    return _is_either(code, call) or _wraps_layer(code, call) or _is_given(code, call)


def _chains_what_is_kept(code: Code, chain: Call) -> bool:
    """Whether a `Sequential` is made of layers that attributes hold, and of none with parameters beside them."""
    others = [one for one in chain.arguments if not _is_of_attribute(code, one)]
    return len(others) < len(chain.arguments) and not any(
        isinstance(one, Starred) or has_weights(thing_of(code, one)) for one in others
    )


def _is_of_attribute(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether layers are an attribute, or parts of one: `self.first`, `list(self.net.children())[:4]`.

    A list that is displayed holds its layers itself.
    """
    if depth > DEEPEST:
        return False
    if isinstance(value, Name):
        found, way = followed(code, value)
        behind = {binding.name for binding in way} | {value.name}
        if _is_registered(code, value):
            return True
        if isinstance(found, Group) or (isinstance(found, Each) and made_in(code, found)):
            return False
        is_kept = any(name.startswith("self.") for name in behind) or _gets_attribute(code, value)
        return is_kept or (found is not value and _is_of_attribute(code, found, depth + 1))
    if isinstance(value, Each):
        return any(_is_of_attribute(code, one, depth + 1) for one in (value.element, value.source))
    if isinstance(value, Call):
        inner = value.argument(0) if value.name in _LISTING else value.receiver if value.name in _CHILDREN else None
        return _is_of_attribute(code, inner, depth + 1)
    return isinstance(value, Item | Attribute | Starred) and _is_of_attribute(code, value.value, depth + 1)


def _is_registered(code: Code, layers: Name) -> bool:
    """Whether an attribute is a container of torch's that is given the whole of a list."""
    kept = [one.value for one in code.bindings if one.name.startswith("self.") and isinstance(one.value, Call)]
    given = [one for call in kept if call.name in _CONTAINERS for one in call.arguments]
    parts = [one.value if isinstance(one, Starred) else one for one in given]
    return any(isinstance(one, Name) and one.binding == layers.binding != NOWHERE for one in parts)


_CONTAINERS = frozenset({"torch.nn.ModuleList", "torch.nn.ModuleDict", "torch.nn.Sequential"})


def _gets_attribute(code: Code, value: Name) -> bool:
    """Whether an attribute is set to what a variable holds."""
    return value.binding != NOWHERE and any(
        one.name.startswith("self.") and isinstance(one.value, Name) and one.value.binding == value.binding
        for one in code.bindings
    )


_LISTING = frozenset({"builtins.list", "builtins.tuple", "builtins.reversed", "builtins.iter"})
_CHILDREN = frozenset({".children", ".modules", ".named_children", ".named_modules", ".values", ".items"})


def _is_given(code: Code, call: Call) -> bool:
    """Whether a function of the project makes a layer in its `return`, another one at each call."""
    callee = called(code, call)
    function, home = callee.function, callee.code
    if function is None or home is None or not function.returns or function.decorators:
        return False
    known: dict[int, bool] = home.memo.setdefault("gives layers", {})
    if callee.number not in known:
        known[callee.number] = False  # a function may call itself
        values = [returned.value for returned in function.returns]
        known[callee.number] = all(isinstance(one, Call) and _makes_layer(home, one) for one in values)
    return known[callee.number]


def _wraps_layer(code: Code, call: Call) -> bool:
    """Whether a class, or a function of torch's, is given a layer with parameters that is made on the spot."""
    callee = called(code, call)
    wraps = callee.kind == "class" or call.name.startswith(("torch.nn.utils.", "torch.nn.SyncBatchNorm."))
    given = (*call.arguments, *(value for _, value in call.keywords)) if wraps else ()
    return any(isinstance(one, Call) and _makes_layer(code, one) for one in given)


def attribute_of(code: Code, value: Value | None) -> str:
    """`hidden` of `self.hidden` in a method; empty of anything else."""
    if isinstance(value, Name) and value.name.startswith("self.") and value.name.count(".") == 1:
        return value.name[5:]
    if isinstance(value, Attribute) and isinstance(value.value, Name) and value.value.name == "self":
        return value.name
    return ""


def in_methods(code: Code, thing: Thing, *names: str) -> Iterator[tuple[str, Call]]:
    """All calls in the methods of a class, or those of these names, each with the method's name."""
    cls = thing.cls
    calls = code.calls_of(*names) if names else code.calls
    for name, number in (cls.methods if cls is not None and calls else {}).items():
        first, last = (bisect_left(calls, end, key=_NUMBER) for end in code.functions[number].calls)
        for call in calls[first:last]:
            yield name, call


_NUMBER = attrgetter("number")


def assigned(code: Code, thing: Thing) -> Iterator[tuple[str, Binding]]:
    """What the methods of a class bind its attributes to."""
    cls = thing.cls
    for name, numbers in (cls.attributes if cls is not None else {}).items():
        for number in numbers:
            if number != NOWHERE and code.bindings[number].how == "assign":
                yield name, code.bindings[number]


def plain_tensor(code: Code, thing: Thing, name: str, binding: Binding) -> str:
    """How an attribute that is set in `__init__` misses being a parameter: `asks` of a tensor that asks for gradients,
    `derived` of what an operation made of an `nn.Parameter`; empty where it does not, or is trained in another way.
    """
    cls, value = thing.cls, binding.value
    if cls is None or binding.item or code.function_at(binding.context) != cls.methods.get("__init__"):
        return ""
    how = "asks" if _asks(code, value) else "derived" if _derived(value) and not _has_no_value(value) else ""
    if not how or len(cls.attributes[name]) > 1 or code.matches(_OWN_TRAINING, cls.at):
        return ""
    if defines(thing, name, "__setattr__"):
        return ""
    # Of what is no parameter there is no gradient, so that who uses it knows that the move gives the parameter back.
    if isinstance(value, Call) and value.name in _MOVES and times_said(code, f"self.{name}.grad", cls.at):
        return ""
    if how == "asks" and not code.matches(_as_weight(name), cls.at):
        return ""
    collected = rf"(?:=|return|yield)\s*[\[(]\s*(?:[\w.]+,\s*)*self\.{re.escape(name)}\s*[,\])]"
    if code.matches(re.compile(collected), cls.at):
        return ""
    # Whoever names it from outside may give it to an optimizer.
    first = code.functions[cls.methods["__init__"]].at
    read = times_said(code, f"self.{name}", cls.at) > times_said(code, f"self.{name}", first)
    elsewhere = sum(len(re.findall(rf"\.{name}\b", line)) for line in code.lines)
    return how if read and elsewhere == times_said(code, f"self.{name}", cls.at) else ""


def _as_weight(name: str) -> re.Pattern[str]:
    """Where a tensor is written as weights are: as a factor, a term, or beside the input of a layer's function."""
    said = rf"self\.{re.escape(name)}\b(?:\.\w+(?:\([^()]*\))?|\[[^\]]*\])*"
    return re.compile(
        rf"[-*+/@]\s*{said}|{said}\s*[-*+/@]"
        rf"|\b(?:mat)?mul\(.*{said}|\b(?:mm|bmm|einsum|addmm|add|linear|conv[123]d|embedding)\(.*,.*{said}"
    )


def _asks(code: Code, value: Value | None) -> bool:
    if not isinstance(value, Call):
        return False
    if value.name == ".requires_grad_" and isinstance(value.receiver, Call):
        return value.receiver.name in _FACTORIES and literal(code, value.argument(0, "requires_grad")) in (None, True)
    made = value.name in (*_FACTORIES, "torch.autograd.Variable")
    return made and literal(code, value.keyword("requires_grad")) is True


def _derived(value: Value | None) -> bool:
    if isinstance(value, Operation) and value.operator in ("*", "/", "+", "-"):
        return any(
            isinstance(one, Call) and one.name == "torch.nn.Parameter" and _learns(one) for one in value.operands
        )
    changes = isinstance(value, Call) and value.name in (".to", ".cuda", ".half", ".double", ".clone", ".bfloat16")
    inner = value.receiver if changes and isinstance(value, Call) else None
    if not isinstance(value, Call) or not isinstance(inner, Call) or inner.name != "torch.nn.Parameter":
        return False
    if not _learns(inner):
        return False
    return value.name == ".clone" or not _is_there_already(value, inner)


def _learns(parameter: Call) -> bool:
    """Whether a parameter is not told to be a constant."""
    told = parameter.argument(1, "requires_grad")
    return not (isinstance(told, Constant) and told.value is False)


def _is_there_already(move: Call, parameter: Call) -> bool:
    """Whether a parameter may be made where, or of the type, that it is then moved to: that gives the parameter itself.

    Data of a type or on a device that is told may be there; the usual type is float32, the usual device the processor.
    """
    goal, data = move.argument(0), parameter.argument(0, "data")
    if isinstance(data, Call) and (data.is_open or data.keyword("device") or data.keyword("dtype")):
        return True
    is_usual = isinstance(goal, Symbol) and goal.name in ("torch.float32", "torch.float")
    return (
        is_usual or (isinstance(goal, Constant) and goal.value == "cpu") or (move.name == ".to" and not move.arguments)
    )


def _has_no_value(value: Value | None) -> bool:
    """Whether a parameter has no value: it only tells the device, or the type."""
    inner = value.receiver if isinstance(value, Call) else None
    data = inner.argument(0) if isinstance(inner, Call) else None
    made = isinstance(data, Call) and data.name in ("torch.empty", "torch.zeros", "torch.tensor") and data.arguments
    first = data.arguments[0] if made and isinstance(data, Call) else None
    return (isinstance(first, Constant) and first.value == 0) or (isinstance(first, Group) and not first.items)


def layers_inside(thing: Thing, depth: int = 0) -> set[str] | None:
    """The full names of the layers of torch's that a module is made of; None when not all of them are known."""
    if thing.kind not in ("module", "loss") or depth > 6:
        return None
    if thing.cls is None:
        if thing.name == "torch.nn.Sequential":
            chain = chain_of(thing)
            return None if chain is None else _joined([layers_inside(layer.thing, depth + 1) for layer in chain])
        if not thing.name.startswith("torch.nn.") or "Transformer" in thing.name or "Multihead" in thing.name:
            return None
        return {thing.name.replace(".Lazy", ".")}
    if is_module(Thing("class", thing.name, thing.code, thing.number)) is None:
        return None
    found: list[set[str] | None] = []
    for home, cls in lineage(thing):
        for number in cls.methods.values():
            first, last = home.functions[number].calls
            found += [_inside(home, call, depth) for call in home.calls[first:last]]
    return _joined(found)


def _inside(home: Code, call: Call, depth: int) -> set[str] | None:
    """What a call in a module's method may add to it."""
    made = thing_of(home, call)
    if made.kind == "module":
        if short(made.name) in ("sequential", "modulelist", "moduledict") and made.made is call:
            return set()  # what they hold is made by calls of its own
        return layers_inside(made, depth + 1) if made.made is not None else None
    in_init = home.functions[home.function_at(call.context)].name == "__init__"
    owner = call.name if call.receiver is None else ""
    is_known = owner.startswith(("builtins.", "torch.", "numpy.", "math.", "copy.")) or call.name.startswith(".")
    if not in_init or made.kind not in ("unknown", "imported") or is_known:
        method = call.name[1:]
        own = call.name.startswith(".") and isinstance(call.receiver, Name) and call.receiver.name == "self"
        return None if in_init and own and method.startswith(("_make", "make", "build")) else set()
    return None


def _joined(found: list[set[str] | None]) -> set[str] | None:
    whole: set[str] = set()
    for one in found:
        if one is None:
            return None
        whole |= one
    return whole
