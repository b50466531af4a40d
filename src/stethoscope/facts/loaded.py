"""What loaders of source code yield: of which data set, from which side of a split, prepared how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.facts.code import NOWHERE, Call, Class, Code, Constant, Group, Name, Operation, Value
from stethoscope.facts.layers import chain_of, parts_of, short
from stethoscope.facts.loops import Loop, loops_of
from stethoscope.facts.origins import lineage, thing_of
from stethoscope.facts.ownership import owners_of
from stethoscope.facts.things import Thing, followed, iterated, literal

_GENERATORS = frozenset({"numpy.random.default_rng", "numpy.random.RandomState", "random.Random"})
_SIDES = {"train": "train", "training": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}


class Side(NamedTuple):
    """A data set of torchvision's that has a training and a test side."""

    call: Call
    name: str
    is_test: bool


class Fed(NamedTuple):
    """A training loop and the loader that it goes over."""

    loop: Loop
    loader: Call
    data: Call | None


def fed_by_loaders(code: Code) -> Iterator[Fed]:
    """The loops of a file that go backward over a loader which it makes."""
    for loop in loops_of(code):
        if not loop.is_loop:
            continue
        source, _ = iterated(code, code.contexts[loop.context].value)
        loader = thing_of(code, source)
        if loader.kind == "loader" and loader.made is not None and loader.made_in is code:
            data, _ = followed(code, loader.made.argument(0, "dataset"))
            yield Fed(loop, loader.made, data if isinstance(data, Call) else None)


def steps_a_model(code: Code, loop: Loop) -> bool:
    """Whether the optimizer that steps in a loop holds a model's parameters."""
    made = [step.thing.made for step in loop.of("step") if step.thing.made_in is code]
    return bool(made) and all(one is not None and owners_of(code, one.argument(0, "params")) for one in made)


def side_of(code: Code, data: Call | None) -> Side | None:
    """Which side of its split a data set of torchvision's is."""
    if data is None or not data.name.startswith("torchvision.datasets."):
        return None
    name = data.name.rpartition(".")[2]
    is_train = literal(code, data.argument(1, "train") if name != "SVHN" else None)
    split = literal(code, data.keyword("split"))
    if isinstance(is_train, bool):
        return Side(data, name, not is_train)
    return Side(data, name, split != "train") if split in ("train", "test") else None


def normalizations_of(code: Code, transform: Value | None) -> list[str] | None:
    """The numbers that a `Compose` normalizes by, as they are written; None where not all of its parts are seen."""
    found, _ = followed(code, transform)
    if not isinstance(found, Call) or not found.name.endswith("transforms.Compose"):
        return None
    steps, _ = followed(code, found.argument(0, "transforms"))
    if not isinstance(steps, Group):
        return None
    numbers = []
    for step in steps.items:
        made, _ = followed(code, step)
        if not isinstance(made, Call) or not made.name.startswith("torchvision.transforms."):
            return None
        if made.name.endswith(".Normalize"):
            given = [followed(code, value)[0] or value for value in (*made.arguments, *(v for _, v in made.keywords))]
            if not all(isinstance(one, Group) for one in given):
                return None
            numbers.append(", ".join("".join(code.text(one.at).split()).strip("()[]").rstrip(",") for one in given))
        elif made.name.endswith((".Lambda", ".ConvertImageDtype", ".ToDtype", ".LinearTransformation")):
            return None
    return numbers


class Prepared(NamedTuple):
    """The two sides of a data set, and what they are normalized by."""

    train: Call
    test: Call
    numbers: tuple[str, str]


def prepared_apart(code: Code) -> Iterator[Prepared]:
    """Training and test data that are normalized by different numbers, or one of them not at all."""
    sets = code.calls_named(lambda name: name.startswith("torchvision.datasets."))
    sides = [side for call in sets if (side := side_of(code, call)) is not None]
    for test in sides:
        pairs = [one for one in sides if one.name == test.name and not one.is_test and test.is_test
                 and code.function_at(one.call.context) == code.function_at(test.call.context)]  # fmt: skip
        if len(pairs) != 1:
            continue
        numbers = [normalizations_of(code, one.call.keyword("transform")) for one in (pairs[0], test)]
        if numbers[0] is not None and numbers[1] is not None and numbers[0] != numbers[1]:
            yield Prepared(pairs[0].call, test.call, ("; ".join(numbers[0]), "; ".join(numbers[1])))
    for binding in code.bindings:
        table = binding.value
        if binding.how != "assign" or not isinstance(table, Group) or table.kind != "dict":
            continue
        known = {_SIDES.get(str(key.value)): (value, normalizations_of(code, value))
                 for key, value in zip(table.keys, table.items, strict=False) if isinstance(key, Constant)}  # fmt: skip
        if "train" in known and "test" in known:
            (first, one), (second, other) = known["train"], known["test"]
            if one is not None and other is not None and one != other:
                made = followed(code, first)[0], followed(code, second)[0]
                if isinstance(made[0], Call) and isinstance(made[1], Call):
                    yield Prepared(made[0], made[1], ("; ".join(one), "; ".join(other)))


def keras_test_side(code: Code, value: Value | None) -> Call | None:
    """The `load_data()` of whose test images a value consists."""
    for _ in range(20):
        found, _ = followed(code, value)
        if isinstance(found, Name) and found.binding != NOWHERE:
            binding = code.bindings[found.binding]
            made = binding.value
            known = binding.how == "assign" and isinstance(made, Call) and made.name.startswith("keras.datasets.")
            is_test = known and len(binding.item) == 2 and binding.item[0] == 1
            if binding.how == "augment" and isinstance(made, Operation):
                value = made.operands[0]
                continue
            return made if is_test and isinstance(made, Call) else None
        if isinstance(found, Operation) and found.operator in ("/", "-", "*"):
            value = found.operands[0]
        elif isinstance(found, Call) and found.name in (".astype", ".reshape"):
            value = found.receiver
        elif isinstance(found, Call) and found.name in ("numpy.expand_dims", "keras.utils.to_categorical"):
            value = found.argument(0)
        else:
            return None
    return None


class Copied(NamedTuple):
    """A generator that a data set makes once and draws from for each sample."""

    attribute: str
    made: Call
    drawn: Call
    loader: Call
    workers: int


def generators_of(code: Code) -> Iterator[Copied]:
    """The generators that data sets keep, and loaders with several workers copy."""
    for loader in code.calls_of("torch.utils.data.DataLoader"):
        workers = literal(code, loader.argument(5, "num_workers"))
        if type(workers) is not int or loader.keyword("worker_init_fn") is not None or loader.is_open:
            continue
        data = thing_of(code, loader.argument(0, "dataset"))
        cls = data.cls
        if cls is None or data.code is not code or data.kind != "dataset":
            continue
        for name, made in _kept(code, cls):
            drawn = _drawn(code, cls, name)
            if drawn is not None:
                yield Copied(name, made, drawn, loader, workers)
                break


def _kept(code: Code, cls: Class) -> Iterator[tuple[str, Call]]:
    for name, numbers in cls.attributes.items():
        bindings = [code.bindings[number] for number in numbers]
        owners = {code.functions[code.function_at(one.context)].name for one in bindings}
        value = bindings[0].value if len(bindings) == 1 and owners == {"__init__"} else None
        if isinstance(value, Call) and value.name in _GENERATORS:
            yield name, value


def _drawn(code: Code, cls: Class, name: str) -> Call | None:
    """A call of a generator's method where a sample is made."""
    index = cls.methods.get("__getitem__")
    if index is None:
        return None
    first, last = code.functions[index].calls
    for call in code.calls[first:last]:
        text = code.text(call.receiver.at) if call.receiver is not None else ""
        if text == f"self.{name}" and call.name not in (".seed", "()"):
            return call
    return None


def seeded_alike(code: Code) -> Iterator[tuple[Call, Call]]:
    """Loaders whose `worker_init_fn` gives each worker the same seed, with the call that does."""
    for loader in code.calls_of("torch.utils.data.DataLoader"):
        thing = thing_of(code, loader.keyword("worker_init_fn"))
        workers = literal(code, loader.argument(5, "num_workers"))
        if thing.function is None or thing.code is not code or (type(workers) is int and workers < 2):
            continue
        first, last = thing.function.calls
        calls = code.calls[first:last]
        seeds = [call for call in calls if call.name in ("numpy.random.seed", "random.seed", "torch.manual_seed")]
        fixed = [call for call in seeds if _is_fixed(code, call.argument(0))]
        if seeds and len(fixed) == len(seeds):
            yield loader, fixed[0]


def _is_fixed(code: Code, value: Value | None) -> bool:
    return isinstance(literal(code, value), int) if value is not None else False


def everything_in(thing: Thing, depth: int = 0) -> Iterator[Thing]:
    """A module and all of its parts, as far as they are known."""
    if depth > 5:
        return
    yield thing
    for layer in chain_of(thing) or ():
        yield from everything_in(layer.thing, depth + 1)
    if thing.cls is not None and depth < 5:
        for _, part in parts_of(thing):
            if part.kind == "module":
                yield from everything_in(part, depth + 1)


def is_dense_with_norm(thing: Thing) -> bool:
    """Whether a module normalizes over its batch and has nothing but dense layers, so that each sample is one value."""
    parts = list(everything_in(thing))
    names = {short(part.name) for part in parts if part.cls is None}
    if "batchnorm1d" not in names or not names <= _DENSE:
        return False
    own = [(code, cls) for part in parts if part.cls is not None for code, cls in lineage(part)]
    called = [call.name for code, cls in own for number in cls.methods.values()
              for call in code.calls[slice(*code.functions[number].calls)]]  # fmt: skip
    return not any("conv" in name.lower() or "transpose" in name or "permute" in name for name in called)


_DENSE = frozenset({
    "sequential", "linear", "batchnorm1d", "relu", "dropout", "sigmoid", "tanh", "leakyrelu", "flatten", "softmax",
    "logsoftmax", "identity", "gelu", "elu", "selu", "silu",
})  # fmt: skip
