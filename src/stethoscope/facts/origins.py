"""Where a value in source code comes from, and what kind of thing it is: an optimizer, a loss, a model of that class.

Three-valued everywhere: what is not known, or differs between two paths, is unknown, and rules are silent about it.

    thing_of(code, value).kind        "optimizer"
    origin(code, value)               the expression that a variable was bound to, and the lines it came through
"""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.facts.code import (
    NOWHERE,
    Attribute,
    Binding,
    Call,
    Choice,
    Class,
    Code,
    Constant,
    Defined,
    Each,
    Function,
    Group,
    Item,
    Name,
    Operation,
    Symbol,
    Value,
)  # fmt: skip
from stethoscope.facts.libraries import (
    MODULE_BASES,
    NUMBERS,
    SAME,
    SAME_METHODS,
    kind_of_library,
    kind_of_type,
)  # fmt: skip
from stethoscope.facts.things import MOST_STEPS, TENSOR, UNKNOWN, Thing, binding_of, followed, iterated


def thing_of(code: Code, value: Value | None, depth: int = 0) -> Thing:
    """What kind of thing a value is."""
    if depth > MOST_STEPS or value is None:
        return UNKNOWN
    if isinstance(value, Name):
        return UNKNOWN if value.binding == NOWHERE else _bound(code, value.binding, depth)
    if isinstance(value, Call):
        return _called(code, value, depth + 1)
    if isinstance(value, Symbol):
        return _symbol(code, value.name)
    if isinstance(value, Defined):
        return Thing(value.kind, _own_name(code, value), code, value.number)
    if isinstance(value, Attribute):
        return _attribute(code, value, depth + 1)
    if isinstance(value, Constant):
        return Thing("none" if value.value is None else "text" if isinstance(value.value, str | bytes) else "number")
    if isinstance(value, Operation):
        return _operation(code, value, depth + 1)
    if isinstance(value, Choice):
        return _agreed([thing_of(code, one, depth + 1) for one in value.options])
    if isinstance(value, Item):
        whole = thing_of(code, value.value, depth + 1)
        if whole.kind == "tensor" or whole.name == "torch.nn.Sequential":
            return TENSOR if whole.kind == "tensor" else Thing("module")
        return UNKNOWN
    if isinstance(value, Group | Each):
        return Thing("container", value.kind)
    return UNKNOWN


def _own_name(code: Code, value: Defined) -> str:
    name = code.classes[value.number].name if value.kind == "class" else code.functions[value.number].name
    return f"{code.module}.{name}" if code.module else name


def _bound(code: Code, number: int, depth: int) -> Thing:
    known: dict[int, Thing] = code.memo.setdefault("things", {})
    if number in known:
        return known[number]
    known[number] = UNKNOWN  # what a variable is may hang on itself: `model = model.to(device)` in a loop
    found = _binding_thing(code, code.bindings[number], number, depth + 1)
    known[number] = found
    return found


def _binding_thing(code: Code, binding: Binding, number: int, depth: int) -> Thing:
    if binding.how == "merge":
        return _agreed([_bound(code, option, depth) for option in binding.options])
    if binding.how == "augment":
        return thing_of(code, binding.value, depth)
    if binding.how == "argument":
        return _argument(code, binding, number, depth)
    if binding.how in ("for", "with") or binding.item:
        return _part(code, binding, depth)
    return thing_of(code, binding.value, depth)


def _agreed(things: list[Thing]) -> Thing:
    """What several paths agree on; None on one of them does not count."""
    real = [thing for thing in things if thing.kind != "none"]
    if not real:
        return things[0] if things else UNKNOWN
    first = real[0]
    if all((one.kind, one.code, one.number) == (first.kind, first.code, first.number) for one in real[1:]):
        if all(one.made is first.made and one.name == first.name for one in real[1:]):
            return first
        same_name = all(one.name == first.name for one in real[1:])
        return first._replace(name=first.name if same_name else "", made=None, made_in=None)
    return Thing(first.kind) if all(one.kind == first.kind for one in real[1:]) else UNKNOWN


def _part(code: Code, binding: Binding, depth: int) -> Thing:
    """What a variable is that got a part of something: of a tuple, or one after the other in a loop."""
    value, item = binding.value, binding.item
    if binding.how == "for":
        source, item = iterated(code, value, item)
        kind = thing_of(code, source, depth).kind
        if kind in ("loader", "tensor"):
            return TENSOR if kind == "tensor" or item else Thing("batch")
        return UNKNOWN
    if binding.how == "with":
        thing = thing_of(code, value, depth)
        return thing if thing.kind == "loader" else UNKNOWN
    return part_of(code, value, item, depth)


def part_of(code: Code, value: Value | None, item: tuple[int, ...], depth: int = 0) -> Thing:
    """What stands at a position of what a call gives."""
    found, _ = followed(code, value)
    if depth > MOST_STEPS:
        return UNKNOWN
    if not item:
        return thing_of(code, found, depth + 1)
    if isinstance(found, Group) and -len(found.items) <= item[0] < len(found.items):
        return part_of(code, found.items[item[0]], item[1:], depth + 1)
    if not isinstance(found, Call):
        return TENSOR if thing_of(code, found, depth + 1).kind in ("tensor", "batch") else UNKNOWN
    is_prepared = found.name in (".prepare", ".setup") and not found.is_open and item[0] < len(found.arguments)
    if is_prepared and thing_of(code, found.receiver, depth + 1).kind == "framework":
        return thing_of(code, found.arguments[item[0]], depth + 1)
    if found.name == "apex.amp.initialize" and item[0] < len(found.arguments):
        return thing_of(code, found.arguments[item[0]], depth + 1)
    if found.name == "deepspeed.initialize":
        return Thing("framework", "deepspeed")
    callee = called(code, found, depth + 1)
    if callee.kind == "function" and callee.code is not None and callee.function is not None:
        return _returned(callee.code, callee.number, item, depth + 1)
    whole = thing_of(code, found, depth + 1)
    return TENSOR if whole.kind == "tensor" else UNKNOWN


def _symbol(code: Code, name: str) -> Thing:
    """What an imported name is. Asked once: a file says the same few names again and again."""
    known: dict[str, Thing] = code.memo.setdefault("symbols", {})
    found = known.get(name)
    if found is None:
        found = known[name] = _linked(code, name) or Thing("imported", name)
    return found


def _linked(code: Code, name: str) -> Thing | None:
    """What the project says of an imported name."""
    real = code.linked.real(name)
    return _defined(code, real) or (Thing("imported", real) if real != name else None)


def _defined(code: Code, name: str) -> Thing | None:
    """A function, class or variable of another file of the project."""
    module, _, rest = name.rpartition(".")
    module = _star_of(code, module, rest) if module in code.stars else module
    while module:
        other = code.linked.get(module)
        if other is not None:
            first, _, more = rest.partition(".")
            meaning = other.names.get(first)
            if isinstance(meaning, str):
                return Thing("imported", f"{meaning}.{more}" if more else meaning)
            if meaning is None:
                return None
            thing = _bound(other, meaning, MOST_STEPS // 2)
            for part in more.split(".") if more else ():
                thing = member(other, thing, part, MOST_STEPS // 2)
            return thing
        module, _, last = module.rpartition(".")
        rest = f"{last}.{rest}"
    return None


def _star_of(code: Code, module: str, name: str) -> str:
    """Of the modules that were imported by `*`, the last that defines a name."""
    for star in reversed(code.stars):
        other = code.linked.get(star)
        if other is not None and isinstance(other.names.get(name), int):
            return star
    return module


def called(code: Code, call: Call, depth: int = 0) -> Thing:
    """What a call calls: a function or a class of the project, a module, a loss, or something imported. Kept where a
    rule asks: many ask the same of each call of a file.
    """
    if call.receiver is None:
        return _symbol(code, call.name) if depth <= MOST_STEPS else UNKNOWN
    if depth:
        return _callee(code, call, depth)
    known: dict[int, Thing] = code.memo.setdefault("called", {})
    found = known.get(call.number)
    if found is None:
        found = known[call.number] = _callee(code, call, 0)
    return found


def _callee(code: Code, call: Call, depth: int) -> Thing:
    if depth > MOST_STEPS:
        return UNKNOWN
    if call.name == "()":
        return thing_of(code, call.receiver, depth + 1)
    return member(code, thing_of(code, call.receiver, depth + 1), call.name[1:], depth + 1)


def member(code: Code, owner: Thing, name: str, depth: int = 0) -> Thing:
    """A method or an attribute of an instance of a class of the project."""
    if depth > MOST_STEPS or owner.code is None:
        return UNKNOWN
    for home, cls in lineage(owner):
        if name in cls.methods:
            index = cls.methods[name]
            return Thing("function", name, home, index)
        if name in cls.attributes:
            numbers = [n for n in cls.attributes[name] if home.bindings[n].how != "delete"]
            return _agreed([_bound(home, number, depth) for number in numbers])
    return UNKNOWN


def lineage(thing: Thing, depth: int = 0) -> Iterator[tuple[Code, Class]]:
    """A class and those that it inherits from, as far as they are known, each with its file."""
    cls = thing.cls
    if cls is None or thing.code is None or depth > 8:
        return
    yield thing.code, cls
    for base in map(_wanted, cls.bases):
        above = thing_of(thing.code, base, MOST_STEPS - 8)
        if above.kind == "class":
            yield from lineage(above, depth + 1)


def bases(thing: Thing) -> tuple[str, ...]:
    """Full names of the imported classes that a class of the project inherits from."""
    if thing.code is None or thing.cls is None:
        return ()
    known: dict[int, tuple[str, ...]] = thing.code.memo.setdefault("bases", {})
    if thing.number not in known:
        known[thing.number] = tuple(_bases(thing))
    return known[thing.number]


def _bases(thing: Thing) -> Iterator[str]:
    for home, cls in lineage(thing):
        for base in map(_wanted, cls.bases):
            above = thing_of(home, base, MOST_STEPS - 8)
            if above.kind == "imported":
                yield above.name
            elif above.kind == "unknown":
                yield "?"


def _wanted(base: Value) -> Value:
    """What a class inherits from where its library is installed: of `nn.Module if HAS_TORCH else object`."""
    if not isinstance(base, Choice) or len(base.options) != 2:
        return base
    others = [one for one in base.options if not (isinstance(one, Symbol) and one.name == "builtins.object")]
    return others[0] if len(others) == 1 else base


def is_module(thing: Thing) -> bool | None:
    """Whether a class is a `torch.nn.Module`; None when a base is not known."""
    names = bases(thing)
    if any(name in MODULE_BASES or name.startswith("torch.nn.") for name in names):
        return True
    return None if any(not name.startswith(("builtins.", "abc.", "typing.")) for name in names) else False


def _instance(code: Code, cls: Thing, call: Call) -> Thing:
    """What calling a class gives."""
    names = bases(cls)
    kind = "instance"
    if is_module(cls):
        kind = "loss" if cls.name.endswith("Loss") else "module"
    else:
        kind = next((k for k in map(kind_of_library, names) if k in ("optimizer", "scheduler", "dataset")), kind)
    return Thing(kind, cls.name, cls.code, cls.number, call, code)


def _called(code: Code, call: Call, depth: int) -> Thing:
    """What a call gives."""
    if depth > MOST_STEPS:
        return UNKNOWN
    if call.receiver is None:
        thing = _symbol(code, call.name)
        if thing.kind == "imported":
            return _library(code, call, thing.name, depth)
        return _result(code, call, thing, depth)
    if call.name == "()":
        return _result(code, call, thing_of(code, call.receiver, depth), depth)
    owner = thing_of(code, call.receiver, depth)
    if owner.kind in ("module", "loss") and call.name in SAME_METHODS:
        return owner
    if owner.kind == "tensor":
        return Thing("number") if call.name in NUMBERS else TENSOR
    if owner.kind == "framework" and call.name in (".prepare", ".prepare_model", ".setup", ".setup_module"):
        return thing_of(code, call.argument(0), depth) if len(call.arguments) == 1 else UNKNOWN
    if call.name in (".parameters", ".named_parameters") and not call.arguments:
        return Thing("parameters")
    if owner.kind == "class" and call.name == ".from_pretrained":
        return _instance(code, owner, call)
    if owner.kind == "imported":
        return _library(code, call, owner.name + call.name, depth)
    return _result(code, call, member(code, owner, call.name[1:], depth), depth)


def _result(code: Code, call: Call, callee: Thing, depth: int) -> Thing:
    """What calling a thing gives."""
    if callee.kind == "class":
        return _instance(code, callee, call)
    if callee.kind in ("module", "loss"):
        return TENSOR
    if callee.kind == "imported":
        return _library(code, call, callee.name, depth)
    if callee.function is None or callee.code is None or depth > MOST_STEPS // 2:
        return UNKNOWN
    return _returned(callee.code, callee.number, (), depth + 2)


def _returned(code: Code, number: int, item: tuple[int, ...], depth: int) -> Thing:
    """What a function gives, or what stands at a position of it. Asked once: one that calls itself has no end."""
    known: dict[tuple[int, tuple[int, ...]], Thing] = code.memo.setdefault("returned", {})
    if (number, item) not in known:
        known[number, item] = UNKNOWN
        values = [one.value for one in code.functions[number].returns]
        things = [part_of(code, one, item, depth) if item else thing_of(code, one, depth) for one in values]
        known[number, item] = _agreed(things) if things else UNKNOWN
    return known[number, item]


def _library(code: Code, call: Call, name: str, depth: int) -> Thing:
    """What a call into a library gives."""
    if name in SAME:
        inner = call.argument(0)
        return UNKNOWN if inner is None else thing_of(code, inner, depth)
    kind = kind_of_library(name)
    if kind == "container" and call.arguments and thing_of(code, call.arguments[0], depth).kind == "parameters":
        kind = "parameters"
    return Thing(kind, name, made=call, made_in=code) if kind != "unknown" else UNKNOWN


def _attribute(code: Code, value: Attribute, depth: int) -> Thing:
    owner = thing_of(code, value.value, depth)
    if owner.kind == "tensor":
        return TENSOR if value.name in ("data", "grad", "T", "mT", "H", "real", "imag") else UNKNOWN
    if value.name == "module" and owner.kind == "module":
        return owner
    return member(code, owner, value.name, depth)


def _operation(code: Code, value: Operation, depth: int) -> Thing:
    if value.operator == "await":
        return UNKNOWN
    if value.operator in ("not", "and", "in", "not in", "is", "is not"):
        return Thing("number")
    kinds = [thing_of(code, one, depth).kind for one in value.operands]
    if "tensor" in kinds and value.operator != ":":
        return TENSOR
    if value.operator == "+" and "container" in kinds:
        return Thing("container")
    return Thing("number") if kinds and all(kind == "number" for kind in kinds) else UNKNOWN


def _argument(code: Code, binding: Binding, number: int, depth: int) -> Thing:
    """What a parameter is: by its place as `self`, its annotation, or what the calls in this file give it."""
    index = code.function_at(binding.context)
    function = code.functions[index]
    place = next((i for i, one in enumerate(function.parameters) if one.binding == number), NOWHERE)
    if place == NOWHERE:
        return UNKNOWN
    if place == 0 and function.owner != NOWHERE:
        cls = Thing("class", code.classes[function.owner].name, code, function.owner)
        if _decorated(function, "builtins.classmethod"):
            return cls
        if not _decorated(function, "builtins.staticmethod"):
            kind = "instance" if is_module(cls) is not True else "module"
            return cls._replace(kind=kind)
    annotated = _annotated(code, function.parameters[place].annotation)
    if annotated.kind not in ("unknown", "module", "optimizer", "loader") or annotated.cls is not None:
        return annotated
    given = [thing_of(site_code, value, depth + 1) for site_code, value in given_to(code, index, place)]
    found = _agreed(given) if given else UNKNOWN
    if annotated.kind == "unknown":
        return found
    is_such = found.kind == annotated.kind or (found.kind, annotated.kind) == ("loss", "module")
    return found if is_such else annotated  # what is given says more than `nn.Module` or `DataLoader`


def _decorated(function: Function, name: str) -> bool:
    return any(isinstance(one, Symbol) and one.name == name for one in function.decorators)


def _annotated(code: Code, name: str) -> Thing:
    if not name:
        return UNKNOWN
    kind = kind_of_type(name)
    if kind != "unknown":
        return Thing(kind, name)
    meaning = code.names.get(name)
    if isinstance(meaning, int):
        cls = _bound(code, meaning, MOST_STEPS // 2)
        if cls.kind == "class" and is_module(cls):
            return cls._replace(kind="module")
    return UNKNOWN


def call_sites(code: Code, index: int) -> tuple[Call, ...]:
    """The calls of a function in its own file."""
    sites: dict[int, list[Call]] | None = code.memo.get("sites")
    if sites is None:
        sites = code.memo["sites"] = {}
        names: dict[str, list[int]] = {}
        for number, function in enumerate(code.functions):
            owner = function.name if function.name != "__init__" or function.owner == NOWHERE else (
                code.classes[function.owner].name
            )  # fmt: skip
            names.setdefault(owner, []).append(number)
        for call in code.calls_named(lambda name: name == "()" or name[1:] in names):
            name = call.receiver.name.rpartition(".")[2] if call.name == "()" and isinstance(call.receiver, Name) else (
                call.name[1:]
            )  # fmt: skip
            for number in names.get(name, ()):
                sites.setdefault(number, []).append(call)
    function = code.functions[index]
    return tuple(call for call in sites.get(index, ()) if _may_call(code, call, function, index))


def _may_call(code: Code, call: Call, function: Function, index: int) -> bool:
    if call.name == "()":
        binding = binding_of(code, call.receiver)
        defined = binding.value if binding is not None else None
        if not isinstance(defined, Defined):
            return False
        if defined.kind == "function":
            return defined.number == index
        return function.owner == defined.number and function.name == "__init__"
    if function.owner == NOWHERE:
        return False
    owner = thing_of(code, call.receiver, MOST_STEPS // 2)
    return owner.code is code and any(cls is code.classes[function.owner] for _, cls in lineage(owner))


def given_to(code: Code, index: int, place: int) -> list[tuple[Code, Value]]:
    """What the calls in its own file give a function's parameter; empty when one of them cannot be read."""
    function = code.functions[index]
    name = function.parameters[place].name
    bound = function.owner != NOWHERE and not _decorated(function, "builtins.staticmethod")
    given: list[tuple[Code, Value]] = []
    for call in call_sites(code, index):
        value = call.argument(place - (1 if bound else 0), name) if place >= bound else None
        if value is None:
            value = call.keyword(name)
        if value is None:
            if call.is_open or function.parameters[place].default is None:
                return []
            value = function.parameters[place].default
        if value is not None:
            given.append((code, value))
    return given
