"""Whether a value in source code is what a model says, or comes with the data."""

from __future__ import annotations

from collections.abc import Callable

from stethoscope.facts.code import (
    NOWHERE,
    Attribute,
    Call,
    Choice,
    Code,
    Constant,
    Each,
    Group,
    Item,
    Name,
    Operation,
    Symbol,
    Value,
)  # fmt: skip
from stethoscope.facts.model_like import is_model_attribute, is_model_like
from stethoscope.facts.origins import called, given_to, thing_of
from stethoscope.facts.things import iterated
from stethoscope.facts.uses import readings_of

KEEPING = frozenset({
    ".to", ".cuda", ".float", ".long", ".view", ".squeeze", ".unsqueeze", ".reshape", ".cpu", ".type", ".flatten",
    ".double", ".int", ".contiguous", ".permute", ".transpose", ".clone", ".detach", ".half", ".view_as", ".t",
    ".type_as", ".expand", ".chunk", ".split", ".unbind",
})  # fmt: skip
"""Methods that move, cast or reshape."""
_WRAPPING = frozenset({
    "torch.autograd.Variable", "torch.squeeze", "torch.unsqueeze", "torch.flatten", "torch.reshape", "torch.transpose",
    "torch.permute", "builtins.tuple", "builtins.list", "builtins.next", "builtins.iter",
    "torch.nn.utils.rnn.pack_padded_sequence", "torch.chunk", "torch.split", "torch.unbind",
})  # fmt: skip
_OF_DATA = frozenset({".astype", ".argmax", ".repeat", ".numpy", ".copy", ".masked_fill", ".tolist", ".pop", ".get",
                      ".int", ".bool", ".next"})  # fmt: skip
"""Further methods that make data of data."""
_LIBRARIES = ("torch.", "numpy.", "sklearn.", "pandas.", "builtins.")
_PARTS = frozenset({"logits", "last_hidden_state", "sample", "data", "pooler_output"})
"""Attributes that a model's answer keeps tensors in."""
DEEPEST = 30


def is_answer(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a value is what a model gives, as it is, or moved, cast or reshaped."""
    if depth > DEEPEST or value is None:
        return False
    if isinstance(value, Call):
        inner = _kept(value)
        if inner is not None:
            return is_answer(code, inner, depth + 1)
        receiver = value.receiver
        is_like = value.name == "()" and isinstance(receiver, Name) and is_model_like(code, receiver.binding)
        callee = called(code, value)
        if callee.kind == "function" and callee.code is not None and callee.function is not None:
            return _gives_answer(callee.code, callee.number, depth)
        return callee.kind == "module" or is_like or is_model_attribute(code, value)
    if isinstance(value, Name) and value.binding != NOWHERE:
        return _is_bound_answer(code, value, depth)
    if isinstance(value, Item | Attribute):
        fits = isinstance(value, Item) or value.name in _PARTS
        return fits and is_answer(code, value.value, depth + 1)
    return False


def _is_bound_answer(code: Code, value: Name, depth: int) -> bool:
    binding = code.bindings[value.binding]
    if binding.how == "merge":
        return all(is_answer(code, Name(value.name, one, value.at), depth + 1) for one in binding.options)
    if binding.how == "for":
        source, _ = iterated(code, binding.value, binding.item)
        named = isinstance(source, Call) and source.name in (".items", ".values")
        return named and isinstance(source, Call) and is_answer(code, source.receiver, depth + 1)
    if binding.how == "argument":
        return _is_handed(code, value.binding, is_answer, depth)
    return binding.how == "assign" and is_answer(code, _at(binding.value, binding.item), depth + 1)


def _gives_answer(code: Code, index: int, depth: int) -> bool:
    """Whether a function of the project returns what a model gives, whatever it returns."""
    known: dict[int, bool] = code.memo.setdefault("gives answer", {})
    if index not in known:
        known[index] = False  # it may call itself
        returned = [one.value for one in code.functions[index].returns]
        known[index] = bool(returned) and all(is_answer(code, one, depth + 5) for one in returned)
    return known[index]


def _is_handed(code: Code, number: int, asked: Callable[[Code, Value | None, int], bool], depth: int) -> bool:
    """Whether all calls of a function give such a value for a parameter."""
    index = code.function_at(code.bindings[number].context)
    places = [i for i, one in enumerate(code.functions[index].parameters) if one.binding == number]
    handed = given_to(code, index, places[0]) if places else []
    return bool(handed) and all(asked(home, one, depth + 5) for home, one in handed)


def comes_with_data(code: Code, value: Value | None, depth: int = 0, given: int = NOWHERE) -> bool:
    """Whether a value is a part of what a loop goes over, as it is, or moved, cast, sliced or reshaped; or a part of a
    function's argument, `given`, that is taken for data.
    """
    if depth > DEEPEST or value is None:
        return False
    if isinstance(value, Call):
        return _made_of_data(code, value, depth, given)
    if isinstance(value, Item | Attribute):
        return comes_with_data(code, value.value, depth + 1, given)
    if isinstance(value, Each):
        return comes_with_data(code, value.element, depth + 1, given)
    if isinstance(value, Choice):
        return all(comes_with_data(code, one, depth + 1, given) for one in value.options)
    if isinstance(value, Group | Operation):
        parts = value.items if isinstance(value, Group) else value.operands
        known = [one for one in parts if not _is_plain(one)]
        return bool(known) and all(comes_with_data(code, one, depth + 1, given) for one in known)
    if not isinstance(value, Name) or value.binding == NOWHERE:
        return False
    return _bound(code, value, depth, given)


def is_handed_model(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a value is what something gives, for a part of the data, that the function or the object was handed:
    `net(x)`, where nothing else tells that `net` is a model.
    """
    if depth > DEEPEST or value is None:
        return False
    if isinstance(value, Name) and value.binding != NOWHERE:
        binding = code.bindings[value.binding]
        return binding.how == "assign" and is_handed_model(code, _at(binding.value, binding.item), depth + 1)
    if not isinstance(value, Call):
        return False
    inner = _kept(value)
    if inner is not None:
        return is_handed_model(code, inner, depth + 1)
    if called(code, value).kind != "unknown" or not any(comes_with_data(code, one) for one in value.arguments):
        return False
    return value.name == "()" and isinstance(value.receiver, Name) and _was_handed(code, value.receiver.binding)


def _was_handed(code: Code, number: int, depth: int = 0) -> bool:
    """Whether a variable is an argument of its function, as it is or moved to a device."""
    if number == NOWHERE or depth > 4:
        return False
    binding = code.bindings[number]
    if binding.how == "merge":
        return all(_was_handed(code, one, depth + 1) for one in binding.options)
    if binding.how != "assign" or binding.item:
        return binding.how == "argument"
    made = binding.value
    moved = made.receiver if isinstance(made, Call) and made.name in (".to", ".cuda") else None
    return isinstance(moved, Name) and _was_handed(code, moved.binding, depth + 1)


def is_fed(code: Code, value: Value | None, given: int, depth: int = 0) -> bool:
    """Whether a model's answer is one to a part of this argument of the function, also through further models."""
    if depth > DEEPEST or value is None:
        return False
    if isinstance(value, Name) and value.binding != NOWHERE:
        binding = code.bindings[value.binding]
        return binding.how == "assign" and is_fed(code, _at(binding.value, binding.item), given, depth + 1)
    if not isinstance(value, Call):
        return False
    inner = _kept(value)
    if inner is not None:
        return is_fed(code, inner, given, depth + 1)
    return any(comes_with_data(code, one, depth + 1, given) or is_fed(code, one, given, depth + 1)
               for one in value.arguments)  # fmt: skip


def is_made_of(code: Code, value: Value | None, number: int, depth: int = 0) -> bool:
    """Whether the call that gave a value read this binding among its arguments, in whatever form."""
    if depth > DEEPEST or value is None or number == NOWHERE:
        return False
    if isinstance(value, Name) and value.binding != NOWHERE:
        binding = code.bindings[value.binding]
        return binding.how == "assign" and is_made_of(code, binding.value, number, depth + 1)
    if not isinstance(value, Call):
        return False
    inner = _kept(value)
    if inner is not None:
        return is_made_of(code, inner, number, depth + 1)
    read = [name.at for name in readings_of(code, number)]
    return any(value.at[:2] <= at[:2] and at[2:] <= value.at[2:] for at in read)


def _made_of_data(code: Code, call: Call, depth: int, given: int) -> bool:
    """Whether a call gives data of data, or of constants, through libraries alone."""
    inner = _kept(call)
    if call.name == "builtins.next" and isinstance(inner, Call | Name) and _is_of_loader(code, inner):
        return True
    if inner is not None or call.name in _OF_DATA:
        return comes_with_data(code, inner if inner is not None else call.receiver, depth + 1, given)
    if not call.name.startswith(_LIBRARIES) or call.name.startswith("torch.nn.") or call.keyword("requires_grad"):
        return False
    if call.name.startswith("torch.") and called(code, call).kind != "imported":
        return False
    values = (*call.arguments, *(value for _, value in call.keywords))
    return all(_is_plain(value) or comes_with_data(code, value, depth + 1, given) for value in values)


def _is_of_loader(code: Code, value: Value, depth: int = 0) -> bool:
    """Whether an iterator is that of a loader."""
    if isinstance(value, Name) and value.binding != NOWHERE and depth < 4:
        binding = code.bindings[value.binding]
        if binding.how == "merge":
            every = (Name(value.name, one, value.at) for one in binding.options)
            return bool(binding.options) and all(_is_of_loader(code, one, depth + 1) for one in every)
        return binding.how == "assign" and binding.value is not None and _is_of_loader(code, binding.value, depth + 1)
    is_iterator = isinstance(value, Call) and value.name == "builtins.iter"
    return is_iterator and isinstance(value, Call) and thing_of(code, value.argument(0)).kind == "loader"


def _is_plain(value: Value) -> bool:
    """Whether a value says only how: a number, a type, a list of such."""
    if isinstance(value, Group):
        return all(_is_plain(one) for one in value.items)
    return isinstance(value, Constant | Symbol)


def _bound(code: Code, value: Name, depth: int, given: int) -> bool:
    binding = code.bindings[value.binding]
    if value.binding == given:
        return True
    if binding.how == "merge":
        return all(comes_with_data(code, Name(value.name, one, value.at), depth + 1, given) for one in binding.options)
    if binding.how == "assign":
        return comes_with_data(code, _at(binding.value, binding.item), depth + 1, given)
    if binding.how == "for":
        source, _ = iterated(code, binding.value, binding.item)
        if given != NOWHERE or code.contexts[binding.context].kind == "comprehension":
            return comes_with_data(code, source, depth + 1, given)  # a list may hold a model's answers, level by level
        is_count = isinstance(source, Call) and source.name in ("builtins.range", "tqdm.trange", ".parameters")
        # A list that is filled elsewhere may hold anything, answers as well.
        is_filled = isinstance(source, Group | Each)
        return source is not None and not is_count and not is_filled and not is_answer(code, source)
    if binding.how == "argument":
        return _is_handed(code, value.binding, comes_with_data, depth)
    return False


def _kept(call: Call) -> Value | None:
    """What a call gives in another form; None where it makes something new."""
    if call.name in KEEPING:
        return call.receiver
    return call.argument(0) if call.name in _WRAPPING else None


def _at(value: Value | None, item: tuple[int, ...]) -> Value | None:
    """A position of what was unpacked: of a tuple that is written out, that part; else the whole."""
    if item and isinstance(value, Group) and value.kind in ("tuple", "list") and item[0] < len(value.items):
        return _at(value.items[item[0]], item[1:])
    return value
