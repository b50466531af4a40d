"""Layers that source code makes by all that their names say, where it is not seen that they have parameters."""

from __future__ import annotations

import re

from stethoscope.facts.code import (
    NOWHERE,
    Call,
    Choice,
    Code,
    Defined,
    Each,
    Group,
    Name,
    Operation,
    Starred,
    Value,
)  # fmt: skip
from stethoscope.facts.libraries import SAME_METHODS
from stethoscope.facts.likely_modules import is_likely_module
from stethoscope.facts.module_classes import DEEPEST, assigned, has_own_weights, layers_inside, made_for_list, made_in
from stethoscope.facts.origins import bases, called, is_module, thing_of
from stethoscope.facts.things import followed

_LAYERS = re.compile(
    r"(?=[A-Z])(?!\w*(?:Label|OneHot|Ordinal|Target|JSON|Json|Video|Image|Audio|Text|Dropout|Pool|Up|Down)(?:En|De)coder)"
    r"(?!\w*(?:Dropout|DropPath|Pool|Identity|Mask|Upsample))\w*"
    r"(?:Linear|Conv(?:Transpose)?(?:[123][dD])?(?:Module|Unit|Norm|B[nN]|Re[lL][uU]|Act)*|Attention|Attn|Embedding|Embed|M[lL][pP]|Block|Layer|Encoder|Decoder|Cell"
    r"|LSTM|GRU|FeedForward|FFN|Proj|Projection|Head|Downsample(?:[123][dD])?)(?:V?\d+\w?)?$"
)
"""How classes are called whose objects have parameters: whole names, as of `operations.Linear` or `DecoderLayer`."""
_FUNCTIONS = re.compile(r"(?:[a-z0-9]+_)*(?:conv|linear)(?:_?(?:nd|[123]d|\dx\d|bn|block|layer))?$")
"""How functions that are not seen are called, which give layers with parameters: `conv_nd`, `normalized_conv1d`."""
_CHOSEN = re.compile(
    r"(?!\w*(?:act|pool|drop|down|up|identity|rate|size|num))(?:\w+_)?(?:block|layer|conv|attn|attention|linear)"
    r"(?:_(?:fn|layer|cls|class|type|module))?$"
)
"""How parameters are called that hold the class of a layer: `block_fn`, `norm_layer`."""
_COPIED = re.compile(r"(?:\w+_)?(?:layer|block|module|cell|net|model|head|expert)$")
"""How parameters are called that hold a layer, of which each member of a list is a copy."""
_OF_OTHERS = re.compile(r"\.(?:weight|bias)\b")
"""What an object is given that computes with the parameters of another layer."""
_LISTING = ("builtins.list", "builtins.tuple")
_HOLDING = ("torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict")


def may_be_made_in(code: Code, value: Value | None, depth: int = 0) -> list[Call]:
    """What is a layer with parameters by its name, or for certain, of what a list, dict or comprehension constructs,
    or a local list is filled with.
    """
    sure = made_in(code, value)
    if sure or depth > DEEPEST:
        return sure
    put = _put_into(code, value)
    value, _ = followed(code, value)
    parts: tuple[Value, ...] = ()
    if isinstance(value, Group | Choice):
        parts = value.items if isinstance(value, Group) else value.options
    elif isinstance(value, Each):
        parts = (value.element,)
    elif isinstance(value, Operation) and value.operator in ("+", "*"):
        return [found for part in value.operands for found in may_be_made_in(code, part, depth + 1)]
    elif isinstance(value, Call) and value.name == "builtins.map" and isinstance(value.argument(0), Defined):
        # `map(lambda width: Block(width), widths)`
        parts = _given_by(code, value.arguments[0])
    elif isinstance(value, Call) and value.name in _LISTING and value.arguments:
        return may_be_made_in(code, value.arguments[0], depth + 1) or [
            found for part in put for found in _may_be(code, part, depth + 1)
        ]
    return [found for part in (*put, *parts) for found in _may_be(code, part, depth + 1)]


def _may_be(code: Code, value: Value, depth: int) -> list[Call]:
    """The same of one thing that a list holds: what another attribute holds as well is none of its own."""
    if isinstance(value, Name):
        made = (*_made_for_list(code, value), *_added_to(code, value))
        return [found for one in made for found in _may_be(code, one, depth + 1)]
    if isinstance(value, Group | Each | Choice | Starred):
        return may_be_made_in(code, value.value if isinstance(value, Starred) else value, depth)
    if not isinstance(value, Call) or depth > DEEPEST:
        return []
    sure = made_in(code, Group("list", (value,), (), value.at))
    if sure:
        return sure
    if value.name in SAME_METHODS and isinstance(value.receiver, Call):
        return _may_be(code, Group("list", (value.receiver,), (), value.at), depth + 1)  # `Block().to(device)`
    if is_named_as_layer(code, value) or _wraps_some_layer(code, value, depth) or _copies_some_layer(code, value):
        return [value]
    if _keeps_some_layer(code, value, depth):
        return [value]
    inherited = bases(thing_of(code, value))
    if "torch.nn.ModuleList" in inherited and thing_of(code, value).made is value and value.arguments:
        return [value]  # a class of lists, which hold nothing but modules
    is_chain = "torch.nn.Sequential" in inherited
    if value.name not in (*_HOLDING, "collections.OrderedDict") and not is_chain:
        return []
    found = [one for part in value.arguments for one in _may_hold(code, part, depth + 1)]
    if not found and value.name == "torch.nn.ModuleList" and any(_is_some_module(code, one) for one in _held(value)):
        return [value]
    return [value] if found and (is_chain or value.name in _HOLDING) else found


def _may_hold(code: Code, value: Value, depth: int) -> list[Call]:
    """The same of what a container is made of: a layer, or a local list of layers."""
    return _may_be(code, value, depth) or (may_be_made_in(code, value, depth) if isinstance(value, Name) else [])


def _given_by(code: Code, value: Value) -> tuple[Value, ...]:
    """What a lambda gives."""
    if not isinstance(value, Defined) or value.kind != "function":
        return ()
    returned = code.functions[value.number].returns
    return tuple(one.value for one in returned if one.value is not None)


def _wraps_some_layer(code: Code, call: Call, depth: int) -> bool:
    """Whether a function that is not seen gets a layer that is made on the spot, and nothing that could keep it:
    `norm(nn.Conv2d(1, 8, 3))`, where `norm` is one of two.
    """
    callee = called(code, call)
    if callee.function is not None or callee.cls is not None or thing_of(code, call).kind not in ("unknown", "module"):
        return False
    if call.name.startswith((".", "builtins.", "torch.", "numpy.")):
        return False
    given = (*call.arguments, *(one for _, one in call.keywords))
    if any(isinstance(one, Name) and one.name == "self" for one in given):
        return False
    return any(isinstance(one, Call) and bool(made_in(code, Group("list", (one,), (), one.at))) for one in given)


def _keeps_some_layer(code: Code, call: Call, depth: int) -> bool:
    """Whether a module of the project keeps a layer that it is given: `Node(conv)`, where `self.conv = conv` is set."""
    thing = thing_of(code, call)
    cls, home = thing.cls, thing.code
    if cls is None or home is None or thing.made is not call or not is_module(thing) or "__init__" not in cls.methods:
        return False
    kept = {
        value.name
        for _, binding in assigned(home, thing)
        if isinstance(value := binding.value, Name)
        and value.binding != NOWHERE
        and home.bindings[value.binding].how == "argument"
    }
    names = [one.name for one in home.functions[cls.methods["__init__"]].parameters[1:]]
    given = (*zip(names, call.arguments, strict=False), *call.keywords)
    return any(name in kept and bool(_may_be(code, one, depth + 1)) for name, one in given)


def _copies_some_layer(code: Code, call: Call) -> bool:
    """Whether a call copies a layer that a function is given: `copy.deepcopy(layer)`."""
    given = call.argument(0) if call.name == "copy.deepcopy" else None
    if not isinstance(given, Name) or given.binding == NOWHERE or not _COPIED.match(given.name):
        return False
    return code.bindings[given.binding].how == "argument"


def _made_for_list(code: Code, value: Name) -> list[Call]:
    """The calls that made a local variable, one in each branch of a condition."""
    binding = code.bindings[value.binding] if value.binding != NOWHERE else None
    ways = [Name(value.name, one, value.at) for one in binding.options] if binding and binding.how == "merge" else []
    return [made for one in ways or [value] if (made := made_for_list(code, one)) is not None]


def _added_to(code: Code, value: Name) -> list[Value]:
    """What is added to an empty sequence of a local name: `block.add_module("conv", nn.Conv2d(3, 8, 3))`."""
    binding = code.bindings[value.binding] if value.binding != NOWHERE else None
    made = binding.value if binding is not None else None
    if binding is None or not isinstance(made, Call) or made.name != "torch.nn.Sequential" or made.arguments:
        return []
    first, last = code.functions[code.function_at(binding.context)].calls
    return [
        call.arguments[1]
        for call in code.calls[first:last]
        if call.name == ".add_module" and isinstance(call.receiver, Name) and len(call.arguments) == 2
        and call.receiver.binding == value.binding
    ]  # fmt: skip


def _held(holding: Call) -> tuple[Value, ...]:
    first = holding.argument(0)
    return first.items if isinstance(first, Group) else (first.element,) if isinstance(first, Each) else ()


def _is_some_module(code: Code, value: Value) -> bool:
    """Whether what a `ModuleList` is given, which can be nothing but a module, is made there by who knows what: a
    function that wraps a layer, say.
    """
    return (
        isinstance(value, Call) and thing_of(code, value).kind == "unknown" and bool(value.arguments or value.keywords)
    )


def is_named_as_layer(code: Code, call: Call) -> bool:
    """Whether a call makes an object of a class that is no other than a module, and has a layer's name."""
    spelled = code.text(call.at).partition("(")[0].rpartition(".")[2].strip().lstrip("_")
    if _is_likely_layer(code, call) or _is_of_chosen_class(code, call):
        return True
    if call.receiver is None and _FUNCTIONS.match(spelled) and not call.name.startswith("torch."):
        is_unseen = called(code, call).kind in ("unknown", "imported")
        return is_unseen and bool(call.arguments or call.keywords)
    if not _LAYERS.match(spelled) or called(code, call).kind == "function" or code.matches(_OF_OTHERS, call.at):
        return False
    thing = thing_of(code, call)
    if thing.cls is not None:
        # Of a class that is seen whole a name proves nothing: a `Head` that only decodes boxes has no parameters.
        return is_module(thing) is not False and (layers_inside(thing) is None or has_own_weights(thing))
    return thing.kind in ("unknown", "imported", "module") or (thing.kind == "instance" and not thing.name)


def _is_likely_layer(code: Code, call: Call) -> bool:
    """Whether a call makes an object of a class that is likely a module, and makes layers with parameters."""
    thing = thing_of(code, call)
    return thing.cls is not None and thing.made is call and is_likely_module(thing) and has_own_weights(thing)


def _is_of_chosen_class(code: Code, call: Call) -> bool:
    """Whether a call makes an object of a class that a parameter of the function holds: `block_fn(width)`."""
    kind = call.receiver if call.name == "()" else None
    if not isinstance(kind, Name) or kind.binding == NOWHERE or not _CHOSEN.match(kind.name):
        return False
    return code.bindings[kind.binding].how == "argument" and bool(call.arguments or call.keywords)


def is_of_module_class(code: Code, call: Call) -> bool:
    """Whether a call makes an object of a class that is seen, and is a module."""
    thing = thing_of(code, call)
    return thing.kind == "module" and (thing.cls is None or bool(is_module(thing)))


def _put_into(code: Code, value: Value | None) -> list[Value]:
    """What is appended to a local list."""
    while isinstance(value, Call) and value.name in _LISTING and value.arguments:
        value = value.arguments[0]
    if not isinstance(value, Name) or value.binding == NOWHERE or "." in value.name:
        return []
    first, last = code.functions[code.function_at(code.bindings[value.binding].context)].calls
    return [
        one
        for call in code.calls[first:last]
        if call.name == ".append" and isinstance(call.receiver, Name) and call.receiver.binding == value.binding
        for one in call.arguments
    ]
