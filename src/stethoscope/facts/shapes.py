"""What source code says of shapes: a tensor reshaped to its own sizes in another order, targets with one axis."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Constant, Item, Name, Operation, Value
from stethoscope.facts.layers import chain_of
from stethoscope.facts.origins import called, thing_of
from stethoscope.facts.things import UNKNOWN, followed, iterated, literal

_PADS = re.compile(r"\bpad\b")


def exchanged_by_view(code: Code) -> Iterator[tuple[Call, tuple[int, ...]]]:
    """The calls of `view` and `reshape` that are given a tensor's own sizes in another order, with that order."""
    for call in code.calls_of(".view", ".reshape"):
        name = call.receiver
        if not isinstance(name, Name) or name.binding == NOWHERE or call.is_open or len(call.arguments) < 2:
            continue
        made = code.bindings[name.binding].value
        if isinstance(made, Call) and _PADS.search(made.name if made.name != "()" else code.text(made.at)):
            continue  # a row that is padded and cut anew is skewed on purpose, as of relative positions
        order: list[int] = []
        for argument in call.arguments:
            size = _size_of(code, argument)
            if size is None or size[0] != name.binding:
                break
            order.append(size[1])
        rest = call.arguments[len(order) :]
        closed = all(isinstance(one, Constant) and one.value == -1 for one in rest) and len(rest) <= 1
        if closed and len(order) >= 2 and len(set(order)) == len(order) and min(order) >= 0:
            first = sorted(order) == list(range(len(order)))
            if first and order != sorted(order):
                yield call, tuple(order)


def _size_of(code: Code, value: Value) -> tuple[int, int] | None:
    """The tensor and the axis whose size a value is: `x.size(1)`, `x.shape[1]`, or a name for one."""
    if isinstance(value, Name) and value.binding != NOWHERE:
        binding = code.bindings[value.binding]
        whole = binding.value
        if binding.how != "assign":
            return None
        if len(binding.item) == 1:
            tensor = whole.value if isinstance(whole, Attribute) and whole.name == "shape" else (
                whole.receiver if isinstance(whole, Call) and whole.name == ".size" and not whole.arguments else None
            )  # fmt: skip
            return (tensor.binding, binding.item[0]) if isinstance(tensor, Name) and binding.item[0] >= 0 else None
        return _size_of(code, whole) if whole is not None and not binding.item else None
    axis, tensor = None, None
    if isinstance(value, Call) and value.name == ".size":
        axis, tensor = value.argument(0, "dim"), value.receiver
    elif isinstance(value, Item) and isinstance(value.value, Attribute) and value.value.name == "shape":
        axis, tensor = value.key, value.value.value
    number = literal(code, axis) if axis is not None else None
    known = isinstance(tensor, Name) and tensor.binding != NOWHERE and type(number) is int
    return (tensor.binding, number) if known and isinstance(tensor, Name) and isinstance(number, int) else None


def logs_of(code: Code) -> Iterator[tuple[Call, Value]]:
    """The logarithms that are taken of something, and of what."""
    for call in code.calls_of("torch.log", ".log", "torch.log2", "torch.log10"):
        value = call.argument(0, "input") if call.name.startswith("torch.") else call.receiver
        if value is not None and not (call.name == ".log" and (call.arguments or call.keywords)):
            yield call, followed(code, value)[0] or value


def column_of(code: Code, value: Value | None) -> Call | None:
    """The layer with one output that gives a value as a column, with nothing behind it that takes the axis away."""
    found, _ = followed(code, value)
    thing = called(code, found) if isinstance(found, Call) else UNKNOWN
    if thing.kind != "module":
        return None
    layers = chain_of(thing)
    if layers:
        last = layers[-1]
        return _one_wide(last.thing.made_in, last.thing.made)
    if thing.cls is None:
        return _one_wide(thing.made_in, thing.made)
    index = thing.cls.methods.get("forward")
    if index is None or thing.code is None or len(thing.code.functions[index].returns) != 1:
        return None
    inner, _ = followed(thing.code, thing.code.functions[index].returns[0].value)
    layer = called(thing.code, inner) if isinstance(inner, Call) else UNKNOWN
    if layer.name == "torch.nn.Sequential":
        chain = chain_of(layer)
        return _one_wide(chain[-1].thing.made_in, chain[-1].thing.made) if chain else None
    return _one_wide(layer.made_in, layer.made)


def _one_wide(code: Code | None, made: Call | None) -> Call | None:
    if code is None or made is None or made.name != "torch.nn.Linear":
        return None
    return made if literal(code, made.argument(1, "out_features")) == 1 else None


def one_axis(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a value has a single axis for certain: as targets of scikit-learn's data sets have."""
    if depth > 30 or value is None:
        return False
    found, _ = followed(code, value)
    if isinstance(found, Name) and found.binding != NOWHERE:
        return _one_axis_of(code, found.binding, depth)
    if isinstance(found, Call):
        if found.name in (".float", ".to", ".cuda", ".cpu", ".double", ".astype", ".numpy", ".to_numpy", ".long"):
            return one_axis(code, found.receiver, depth + 1)
        wraps = ("torch.tensor", "torch.from_numpy", "torch.as_tensor", "torch.FloatTensor", "torch.Tensor",
                 "numpy.array", "numpy.asarray")  # fmt: skip
        return found.name in wraps and one_axis(code, found.argument(0), depth + 1)
    if isinstance(found, Attribute):
        if found.name == "target":
            made, _ = followed(code, found.value)
            return isinstance(made, Call) and made.name in _ONE_TARGET
        return found.name == "values" and one_axis(code, found.value, depth + 1)
    if isinstance(found, Operation) and found.operator in ("+", "-", "*", "/"):
        return any(one_axis(code, one, depth + 1) for one in found.operands) and all(
            isinstance(one, Constant) or (isinstance(one, Call) and one.name in _REDUCING)
            or one_axis(code, one, depth + 1) for one in found.operands
        )  # fmt: skip
    if isinstance(found, Item):
        rows = isinstance(found.key, Operation) and found.key.operator == ":"
        rows = rows or (isinstance(found.key, Name) and one_axis(code, found.value, depth + 1))
        return rows and one_axis(code, found.value, depth + 1)
    return False


_REDUCING = (".mean", ".std", ".max", ".min", ".sum", ".var")
_ONE_TARGET = frozenset({
    "sklearn.datasets.load_diabetes", "sklearn.datasets.fetch_california_housing", "sklearn.datasets.load_boston",
    "sklearn.datasets.make_regression", "sklearn.datasets.make_friedman1",
    "sklearn.datasets.load_breast_cancer", "sklearn.datasets.load_iris", "sklearn.datasets.load_wine",
    "sklearn.datasets.load_digits",
})  # fmt: skip


def is_centred(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a value has been standardized in plain sight, so that about half of it is negative."""
    if depth > 20 or value is None:
        return False
    found, _ = followed(code, value)
    if isinstance(found, Call):
        if found.name in (".float", ".to", ".cuda", ".unsqueeze", ".view", ".reshape"):
            return is_centred(code, found.receiver, depth + 1)
        return found.name in ("torch.tensor", "torch.from_numpy", "torch.FloatTensor") and is_centred(
            code, found.argument(0), depth + 1
        )
    if isinstance(found, Operation) and found.operator == "/":
        return is_centred(code, found.operands[0], depth + 1)
    if isinstance(found, Operation) and found.operator == "-":
        whole, mean = found.operands[0], followed(code, found.operands[1])[0]
        own = isinstance(mean, Call) and mean.name == ".mean" and mean.receiver is not None
        return own and isinstance(mean, Call) and code.text(mean.receiver.at) == code.text(whole.at)  # type: ignore[union-attr]
    if isinstance(found, Name) and found.binding != NOWHERE and code.bindings[found.binding].how == "for":
        binding = code.bindings[found.binding]
        source, item = iterated(code, binding.value, binding.item)
        loader = thing_of(code, source)
        if loader.kind == "loader" and loader.made is not None and loader.made_in is code and len(item) == 1:
            data = _whole(code, loader.made.argument(0, "dataset"))
            if isinstance(data, Call) and data.name == "torch.utils.data.TensorDataset":
                return is_centred(code, data.argument(item[0]), depth + 1)
    return False


def _whole(code: Code, value: Value | None) -> Value | None:
    """The data set behind a random part of it."""
    data, _ = followed(code, value)
    binding = code.bindings[data.binding] if isinstance(data, Name) and data.binding != NOWHERE else None
    parted = binding.value if binding is not None and binding.how == "assign" else None
    if isinstance(parted, Call) and parted.name == "torch.utils.data.random_split":
        return followed(code, parted.argument(0, "dataset"))[0]
    return data


def _one_axis_of(code: Code, number: int, depth: int) -> bool:
    binding = code.bindings[number]
    made = binding.value
    if binding.how == "for":
        source, item = iterated(code, made, binding.item)
        loader = thing_of(code, source)
        if loader.kind != "loader" or loader.made is None or loader.made_in is not code or len(item) != 1:
            return False
        data = _whole(code, loader.made.argument(0, "dataset"))
        known = isinstance(data, Call) and data.name == "torch.utils.data.TensorDataset"
        return known and isinstance(data, Call) and one_axis(code, data.argument(item[0]), depth + 1)
    if binding.how != "assign" or not isinstance(made, Call) or len(binding.item) != 1 or made.is_open:
        return False
    if made.name in _ONE_TARGET:
        plain = made.name.rpartition(".")[2] in ("make_regression", "make_friedman1")
        many = made.keyword("n_targets") is not None
        return binding.item == (1,) and not many and (plain or literal(code, made.keyword("return_X_y")) is True)
    if made.name.endswith(".train_test_split") and binding.item[0] >= 0:
        return one_axis(code, made.argument(binding.item[0] // 2), depth + 1)
    return False
