"""Whether a tensor in source code certainly holds whole numbers, as those of classes, and how many axes it has.

is_whole(code, value)     of `labels.long()`, `torch.arange(10)`, `scores.argmax(1)`
is_flat(code, value)      of `labels.view(-1)`
is_table(code, value)     of `scores.view(-1, 10)`
"""

from __future__ import annotations

from collections.abc import Callable

from stethoscope.facts.code import (
    NOWHERE,
    Attribute,
    Call,
    Choice,
    Code,
    Each,
    Group,
    Item,
    Name,
    Operation,
    Symbol,
    Value,
)  # fmt: skip
from stethoscope.facts.origins import called, given_to
from stethoscope.facts.things import followed, iterated, literal

_KEEPING = frozenset({
    ".cuda", ".cpu", ".view", ".reshape", ".squeeze", ".unsqueeze", ".contiguous", ".flatten", ".clone", ".detach",
    ".expand", ".repeat", ".permute", ".transpose", ".t", ".ravel", ".view_as", ".reshape_as", ".expand_as",
    ".pin_memory", ".masked_select", ".index_select", ".flip", ".roll", ".chunk", ".split",
})  # fmt: skip
"""Methods that move, cut or reshape, and leave the numbers as they are."""
_WRAPPING = frozenset({
    "torch.autograd.Variable", "torch.squeeze", "torch.unsqueeze", "torch.flatten", "torch.reshape", "torch.transpose",
    "torch.permute", "torch.cat", "torch.concat", "torch.stack", "torch.hstack", "torch.masked_select", "torch.flip",
    "torch.roll", "torch.repeat_interleave",
})  # fmt: skip
"""Functions that do so with their first argument, or with the tensors that are listed in it."""
_WHOLE_TYPES = frozenset({
    f"torch.{name}" for name in ("long", "int", "short", "int8", "int16", "int32", "int64", "LongTensor", "IntTensor",
                                 "cuda.LongTensor", "cuda.IntTensor")
})  # fmt: skip
_WHOLE_CALLS = frozenset({
    ".long", ".int", ".short", ".argmax", ".argmin", ".argsort", "torch.argmax", "torch.argmin", "torch.argsort",
    "torch.LongTensor", "torch.IntTensor", "torch.cuda.LongTensor", "torch.randperm", "torch.bucketize",
})  # fmt: skip
_TYPED = frozenset({
    "torch.zeros", "torch.ones", "torch.full", "torch.tensor", "torch.as_tensor", "torch.empty", "torch.arange",
    "torch.randint", "torch.zeros_like", "torch.ones_like", "torch.full_like", ".new_zeros", ".new_ones", ".new_full",
    ".new_tensor",
})  # fmt: skip
"""Functions that make numbers of the type that is asked for."""
_NUMBERED = frozenset({".max", ".min", ".topk", ".sort", ".kthvalue", "torch.max", "torch.min", "torch.topk",
                       "torch.sort"})  # fmt: skip
"""Functions that give values, and behind them where these stand."""
DEEPEST = 30


def is_whole(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a value is certainly a tensor of whole numbers, to which no loss can give a gradient."""
    if value is None or depth > DEEPEST:
        return False
    if isinstance(value, Call):
        return _is_made_whole(code, value, depth)
    if isinstance(value, Name):
        return value.binding != NOWHERE and _is_bound_whole(code, value.binding, (), depth)
    if isinstance(value, Item):
        return _is_part_whole(code, value, depth)
    if isinstance(value, Attribute):
        if value.name == "indices" and isinstance(value.value, Call) and _says_where(code, value.value):
            return True
        return value.name in ("data", "T", "mT") and is_whole(code, value.value, depth + 1)
    if isinstance(value, Choice):
        return all(is_whole(code, one, depth + 1) for one in value.options)
    if isinstance(value, Operation) and value.operator in ("+", "-", "*", "//", "%") and len(value.operands) == 2:
        parts = [one for one in value.operands if not _is_whole_number(code, one)]
        return bool(parts) and all(is_whole(code, one, depth + 1) for one in parts)
    return False


def _is_made_whole(code: Code, call: Call, depth: int) -> bool:
    name = call.name
    if name in _WHOLE_CALLS:
        return True
    if name in (".to", ".type", ".type_as"):
        asked = call.argument(0, "dtype") or call.keyword("dtype")
        if isinstance(asked, Symbol) and asked.name.startswith("torch."):
            return asked.name in _WHOLE_TYPES
        # Of a device it stays as it was; `.to(scores)` and `.to(x.dtype)` may be anything.
        is_type = name != ".to" or (isinstance(asked, Attribute) and asked.name == "dtype") or call.keyword("dtype")
        return not is_type and is_whole(code, call.receiver, depth + 1)
    if name in _TYPED:
        asked = call.keyword("dtype")
        if asked is not None:
            return isinstance(asked, Symbol) and asked.name in _WHOLE_TYPES
        if name in ("torch.tensor", "torch.as_tensor"):
            return _is_counted(code, call.argument(0, "data"))
        counts = name == "torch.arange" and bool(call.arguments) and all(_is_count(code, one) for one in call.arguments)
        return name == "torch.randint" or counts
    if name == "torch.from_numpy":
        return _is_counted(code, call.argument(0))
    if name == "torch.where" and len(call.arguments) == 3:
        parts = [one for one in call.arguments[1:] if not _is_whole_number(code, one)]
        return bool(parts) and all(is_whole(code, one, depth + 1) for one in parts)
    if name in _KEEPING:
        return is_whole(code, call.receiver, depth + 1)
    if name in _WRAPPING:
        return _are_whole(code, call.argument(0), depth + 1)
    callee = called(code, call)
    if callee.kind == "function" and callee.code is not None and callee.function is not None:
        return _gives_whole(code, call, callee.code, callee.number, (), depth + 1)
    return False


def _is_counted(code: Code, value: Value | None) -> bool:
    """Whether a list or an array is that of a range: `list(range(n))`, `numpy.arange(n)`, without another type."""
    found, _ = followed(code, value)
    if not isinstance(found, Call) or found.keywords or found.is_open:
        return False
    if found.name in ("builtins.list", "numpy.array", "numpy.asarray"):
        return len(found.arguments) == 1 and _is_counted(code, found.arguments[0])
    if found.name == "builtins.range":
        return True
    return found.name == "numpy.arange" and all(_is_count(code, one) for one in found.arguments)


def _are_whole(code: Code, value: Value | None, depth: int) -> bool:
    """Whether a tensor is whole, or all those of a list are."""
    found, _ = followed(code, value)
    if isinstance(found, Group):
        return bool(found.items) and all(is_whole(code, one, depth + 1) for one in found.items)
    if isinstance(found, Each):
        return is_whole(code, found.element, depth + 1)
    return is_whole(code, value, depth + 1)


def _is_part_whole(code: Code, value: Item, depth: int) -> bool:
    whole, _ = followed(code, value.value)
    if isinstance(whole, Each) and whole.kind == "list":
        return is_whole(code, whole.element, depth + 1)
    if isinstance(whole, Call) and _says_where(code, whole):
        return literal(code, value.key) == 1
    if isinstance(whole, Group):
        place = literal(code, value.key)
        inside = type(place) is int and -len(whole.items) <= place < len(whole.items)
        return inside and isinstance(place, int) and is_whole(code, whole.items[place], depth + 1)
    return is_whole(code, value.value, depth + 1)


def _says_where(code: Code, call: Call) -> bool:
    """Whether a call gives values, and behind them where these stand: `max(1)`, and not the larger of two tensors."""
    if call.name not in _NUMBERED:
        return False
    axis = call.argument(1 if call.name.startswith("torch.") else 0, "dim")
    plain = call.name.rpartition(".")[2] in ("sort", "topk", "kthvalue")
    return plain or _is_whole_number(code, axis)


def _is_bound_whole(code: Code, number: int, item: tuple[int, ...], depth: int) -> bool:
    known: dict[tuple[int, tuple[int, ...]], bool] = code.memo.setdefault("whole", {})
    if (number, item) not in known:
        known[number, item] = False  # a variable may hang on itself
        known[number, item] = _read_binding(code, number, item, depth + 1)
    return known[number, item]


def _read_binding(code: Code, number: int, item: tuple[int, ...], depth: int) -> bool:
    binding = code.bindings[number]
    if binding.how == "merge":
        return bool(binding.options) and all(_is_bound_whole(code, one, item, depth) for one in binding.options)
    if binding.how == "assign":
        return _is_place_whole(code, binding.value, (*binding.item, *item), depth)
    if binding.how == "for":
        source, place = iterated(code, binding.value, (*binding.item, *item))
        if isinstance(source, Each):
            return _is_place_whole(code, source.element, place, depth)
        return not place and is_whole(code, source, depth)
    if binding.how == "argument":
        index = code.function_at(binding.context)
        places = [i for i, one in enumerate(code.functions[index].parameters) if one.binding == number]
        given = given_to(code, index, places[0]) if places and depth < DEEPEST // 2 else []
        return bool(given) and all(is_whole(home, one, depth + 5) for home, one in given)
    return False


def _is_place_whole(code: Code, value: Value | None, item: tuple[int, ...], depth: int) -> bool:
    """Whether what stands at a position of a value is whole."""
    if not item or depth > DEEPEST:
        return is_whole(code, value, depth + 1)
    found, _ = followed(code, value)
    if isinstance(found, Group) and found.kind in ("tuple", "list"):
        inside = -len(found.items) <= item[0] < len(found.items)
        return inside and _is_place_whole(code, found.items[item[0]], item[1:], depth + 1)
    if not isinstance(found, Call):
        return False
    if _says_where(code, found):
        return item == (1,)
    if found.name in (".chunk", ".split", ".unbind", "torch.chunk", "torch.split", "torch.unbind"):
        return is_whole(code, found.receiver or found.argument(0), depth + 1)
    if found.name.endswith("train_test_split") and item[0] >= 0:
        return _is_place_whole(code, found.argument(item[0] // 2), item[1:], depth + 1)
    callee = called(code, found)
    if callee.kind == "function" and callee.code is not None and callee.function is not None:
        return _gives_whole(code, found, callee.code, callee.number, item, depth + 1)
    return False


def _gives_whole(code: Code, call: Call, home: Code, index: int, item: tuple[int, ...], depth: int) -> bool:
    """Whether all that a function returns is whole, by itself or since it is what this call gives it."""
    if depth > DEEPEST:
        return False
    returned = [one.value for one in home.functions[index].returns]
    if not returned:
        return False
    for value in returned:
        if _is_place_whole(home, value, item, depth + 1):
            continue
        number = _passed_on(home, value) if not item else NOWHERE
        function = home.functions[index]
        place = next((i for i, one in enumerate(function.parameters) if one.binding == number), NOWHERE)
        if number == NOWHERE or place == NOWHERE:
            return False
        bound = 1 if function.owner != NOWHERE else 0
        if not is_whole(code, call.argument(place - bound, function.parameters[place].name), depth + 3):
            return False
    return True


def _passed_on(code: Code, value: Value | None, depth: int = 0) -> int:
    """The parameter that a value is, moved or reshaped at most; NOWHERE of all others."""
    if depth > 8:
        return NOWHERE
    if isinstance(value, Call) and value.name in (*_KEEPING, ".to"):
        asked = value.argument(0, "dtype") if value.name == ".to" else None
        is_type = isinstance(asked, Symbol) or (isinstance(asked, Attribute) and asked.name == "dtype")
        return NOWHERE if is_type or value.keyword("dtype") else _passed_on(code, value.receiver, depth + 1)
    if isinstance(value, Call) and value.name == "torch.autograd.Variable":
        return _passed_on(code, value.argument(0), depth + 1)
    if not isinstance(value, Name) or value.binding == NOWHERE:
        return NOWHERE
    binding = code.bindings[value.binding]
    if binding.how == "argument":
        return value.binding
    if binding.how == "assign" and not binding.item:
        return _passed_on(code, binding.value, depth + 1)
    if binding.how == "merge":
        all_of_them = {_passed_on(code, Name(value.name, one, value.at), depth + 1) for one in binding.options}
        return all_of_them.pop() if len(all_of_them) == 1 else NOWHERE
    return NOWHERE


def _is_whole_number(code: Code, value: Value | None) -> bool:
    number = literal(code, value)
    if isinstance(number, Operation) and number.operator == "-" and len(number.operands) == 1:
        number = literal(code, number.operands[0])
    return type(number) is int


def _is_count(code: Code, value: Value) -> bool:
    """Whether a number is whole by what it counts: a length, a size, a literal."""
    found, _ = followed(code, value)
    if isinstance(found, Call):
        return found.name in ("builtins.len", ".size", ".numel")
    if isinstance(found, Item):
        return isinstance(found.value, Attribute) and found.value.name == "shape"
    return _is_whole_number(code, value)


# Axes

_SAME_AXES = frozenset({
    ".to", ".cuda", ".cpu", ".contiguous", ".clone", ".detach", ".float", ".double", ".half", ".long", ".int", ".type",
    ".type_as", ".bfloat16",
})  # fmt: skip


def is_flat(code: Code, value: Value | None) -> bool:
    """Whether a tensor was laid out along one axis: `.view(-1)`, `.flatten()`."""
    return _axes(code, value, _flattened)


def is_table(code: Code, value: Value | None) -> bool:
    """Whether a tensor was given two axes or more: `.view(-1, 10)`."""
    return _axes(code, value, _tabled)


def _axes(code: Code, value: Value | None, asked: Callable[[Code, Call], bool], depth: int = 0) -> bool:
    if depth > DEEPEST or value is None:
        return False
    if isinstance(value, Call):
        return _axes(code, value.receiver, asked, depth + 1) if value.name in _SAME_AXES else asked(code, value)
    if not isinstance(value, Name) or value.binding == NOWHERE:
        return False
    binding = code.bindings[value.binding]
    if binding.how == "merge":
        every = (Name(value.name, one, value.at) for one in binding.options)
        return depth < 4 and bool(binding.options) and all(_axes(code, one, asked, depth + 1) for one in every)
    return binding.how == "assign" and not binding.item and _axes(code, binding.value, asked, depth + 1)


def _sizes(code: Code, call: Call) -> tuple[Value, ...] | None:
    """The sizes that a call of `view` or `reshape` asks for; None of other calls, and where they are not seen."""
    if call.name in (".view", ".reshape"):
        sizes = call.arguments
    elif call.name == "torch.reshape" and len(call.arguments) == 2:
        sizes = call.arguments[1:]
    else:
        return None
    if len(sizes) == 1 and isinstance(sizes[0], Group):
        sizes = sizes[0].items
    return None if call.is_open or call.keywords or not sizes else sizes


def _flattened(code: Code, call: Call) -> bool:
    if call.name in (".flatten", ".ravel"):
        return not call.arguments and not call.keywords
    if call.name in ("torch.flatten", "torch.ravel"):
        return len(call.arguments) == 1 and not call.keywords
    sizes = _sizes(code, call)
    return sizes is not None and len(sizes) == 1 and _is_whole_number(code, sizes[0])


def _tabled(code: Code, call: Call) -> bool:
    sizes = _sizes(code, call)
    return sizes is not None and len(sizes) >= 2
