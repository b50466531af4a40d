"""Calls that do not fit what they call: too many arguments, one that is missing, or a keyword that is not there.

nn.AdaptiveAvgPool2d(2, 2)      takes one
compute_loss(scores, labels)    a function of the project, which has a third parameter without a default
"""

from __future__ import annotations

import ast
import os
import re
import textwrap
from collections.abc import Iterable
from typing import NamedTuple

from stethoscope.facts.code import NOWHERE, At, Call, Class, Code, Function, Name, Starred, Symbol
from stethoscope.facts.layer_calls import layer_that_refuses
from stethoscope.facts.module_classes import defines, is_plain_module
from stethoscope.facts.needed import is_needed, lacks_what_is_needed
from stethoscope.facts.origins import bases, called, lineage, member
from stethoscope.facts.things import Thing, binding_of
from stethoscope.facts.torch_names import TAKES, is_slip

_TRANSPARENT = frozenset({
    "torch.no_grad", "torch.enable_grad", "torch.inference_mode", "torch.set_grad_enabled", "builtins.staticmethod",
    "builtins.classmethod", "functools.lru_cache", "functools.cache", "torch.jit.ignore", "torch.jit.unused",
    "torch.jit.export", "typing.override",
})  # fmt: skip
"""Decorators that leave the parameters of a function as they are."""
_MADE_OTHERWISE = re.compile(r"\Aclass [^\n]*metaclass")
"""Classes whose call is not that of their constructor alone."""
_KNOWN_BASES = re.compile(r"builtins\.object|abc\.ABC|torch\.nn\.Module|torch\.utils\.data\.\w*Dataset")
"""Bases whose objects are made by the constructor of the class that inherits."""
_SPELLED = re.compile(r"[\w.]+\Z")
_WHERE = ("module", "class", "function")
"""What stands around a function that is defined in any case."""
_FIELDS = "dataclasses.dataclass"


class Slot(NamedTuple):
    """A parameter as a call sees it."""

    name: str
    is_needed: bool
    by_keyword: bool = False
    """Whether only a keyword gives it."""


def does_not_fit(code: Code, call: Call) -> bool:
    """Whether a call surely ends with an error, since what it calls is not there or takes other arguments."""
    if call.receiver is None and call.name.startswith("torch."):
        return _is_refused_by_torch(code, call)
    if call.receiver is None and call.name.startswith("os."):
        return is_not_there(code, Symbol(call.name, call.at))
    layer = layer_that_refuses(code, call)
    if layer:
        return not _is_given(code, layer) and not (_is_by_self(call) and _is_given_from_outside(code, call))
    if _is_by_self(call):
        thing = called(code, call)
        return _forward_refuses(code, thing, call) if thing.kind == "module" else _method_refuses(code, call)
    if call.receiver is not None and call.name != "()":
        return False
    thing = called(code, call)
    if thing.kind == "imported":
        return lacks_what_is_needed(code, call)
    if thing.kind == "module" and call.name == "()":
        return _forward_refuses(code, thing, call)
    if thing.kind == "function" and thing.function is not None and thing.code is not None:
        refuses = thing.function.owner == NOWHERE and _refuses(thing.code, thing.function, call, 0)
    elif thing.kind == "class" and thing.cls is not None and thing.code is not None:
        refuses = _class_refuses(thing, thing.code, thing.cls, call)
    else:
        return False
    spelled = _spelled(code, call.at) if refuses else ""
    return bool(spelled) and _is_plainly_bound(code, call, spelled.partition(".")[0])


def is_surely_called(code: Code, call: Call, home: Code, function: Function) -> bool:
    """Whether a call by a name is that of this function of another file, as no other thing may be meant by it."""
    spelled = _spelled(code, call.at)
    is_one = _is_defined_anyway(home, function.context) and is_said_once(home, function.name)
    return is_one and bool(spelled) and _is_plainly_bound(code, call, spelled.partition(".")[0])


def is_not_there(code: Code, symbol: Symbol) -> bool:
    """Whether a name of torch's is misspelt, and nothing in the project gives it a meaning; or `os` is asked for what
    `os.path` has.
    """
    home, _, name = symbol.name.rpartition(".")
    if home == "os" and not name.startswith("_"):
        is_meant = hasattr(os.path, name) and not hasattr(os, name) and _spelled(code, symbol.at) == f"os.{name}"
        return is_meant and not code.says(f"os.{name} =")
    return is_slip(symbol.name) and "." in _spelled(code, symbol.at) and not _is_given(code, symbol.name)


def _is_refused_by_torch(code: Code, call: Call) -> bool:
    takes = TAKES.get(call.name)
    keywords = {name for name, _ in call.keywords if name}
    if takes is None or any(isinstance(one, Starred) for one in call.arguments):
        return is_not_there(code, Symbol(call.name, call.at))
    is_unknown = not keywords <= takes.named
    keywords |= _may_be_handed_on(code, call, takes.required) if call.is_open else set()
    missing = [name for name in takes.required[len(call.arguments) :] if name not in keywords]
    if len(call.arguments) <= takes.most and not missing and not is_unknown:
        return False
    spelled = _spelled(code, call.at)
    is_torchs = "." in spelled or (spelled in code.names and is_said_once(code, spelled))  # and not by some `*`
    return is_torchs and not _is_given(code, call.name)


def _may_be_handed_on(code: Code, call: Call, names: Iterable[str]) -> set[str]:
    """Which of these `**options` may hold: not what the function that is given them takes by a name of its own."""
    given = [value for name, value in call.keywords if not name]
    binding = binding_of(code, given[0]) if len(given) == 1 else None
    if binding is None or binding.how != "argument":
        return set(names)
    function = code.functions[code.function_at(call.context)]
    own = {one.name for one in function.parameters}
    lines = "\n".join(code.lines[function.at.line - 1 : function.at.end_line])
    is_plain = binding.name not in own and len(re.findall(rf"\b{re.escape(binding.name)}\b", lines)) == 2
    return set(names) - own if is_plain else set(names)


def _spelled(code: Code, at: At) -> str:
    """What is called, or named, as it is written; empty where it is no plain name."""
    found = _SPELLED.match(code.text(at).partition("(")[0].strip())
    return found[0] if found is not None else ""


def _is_given(code: Code, name: str) -> bool:
    """Whether anything in the project may give a name of torch's another meaning: `nn.Linear = Quantized`."""
    last = name.rpartition(".")[2]
    given = re.compile(rf"\.{last}\s*=(?!=)|\b(?:class|def)\s+{last}\b|^\s*{last}\s*=(?!=)|[\"']{last}[\"']", re.M)
    return code.matches(given) or _is_elsewhere(code, given, last)


def _is_by_self(call: Call) -> bool:
    return call.name != "()" and isinstance(call.receiver, Name) and call.receiver.name == "self"


def _is_plainly_bound(code: Code, call: Call, name: str) -> bool:
    """Whether the first name of what is called has one meaning in the file: a definition, or an import."""
    if call.name == "()":
        number = call.receiver.binding if isinstance(call.receiver, Name) else NOWHERE
        return number != NOWHERE and code.bindings[number].how == "define" and is_said_once(code, name)
    if code.stars and name not in code.names:
        return _is_by_known_star(code, call)
    # What is put first in `sys.path` comes before the file's own folder.
    return is_said_once(code, name) and not code.says("sys.path.insert") and _is_handed_on_anyway(code, call)


def _is_handed_on_anyway(code: Code, call: Call) -> bool:
    """Whether a package that hands on what is called has no other of its name, which it may hand on by a condition."""
    real = code.linked.real(call.name)
    if real == call.name:
        return True
    said = re.compile(rf"^\s*(?:(?:async\s+)?def|class)\s+{re.escape(real.rpartition('.')[2])}\b", re.M)
    text = code.linked.anywhere(real.rpartition(".")[2])
    return text is not None and len(said.findall(text)) == 1


def _is_by_known_star(code: Code, call: Call) -> bool:
    """Whether no module that may bring another meaning was imported by `*` behind the one that brings this."""
    home = called(code, call).code
    for star in reversed(code.stars):
        found = code.linked.get(star)
        if found is None:
            return False
        if found is home:
            return not code.says("sys.path.insert")
    return False


def is_said_once(code: Code, name: str) -> bool:
    """Whether one statement of a file, and no other, binds a name, as far as its lines say."""
    known: dict[str, bool] = code.memo.setdefault("said once", {})
    if name not in known:
        said = re.escape(name)
        binds = re.compile(
            rf"^\s*(?:(?:async\s+)?def|class)\s+{said}\b|^\s*(?:[\w.]+\s*,\s*)*{said}\s*(?:,[^=\n]*|:[^=\n]*)?=(?!=)"
            rf"|^\s*global\b.*\b{said}\b|\bas\s+{said}\b|\bfor\s+{said}\b",
            re.M,
        )
        count = sum(1 for _ in binds.finditer(code.uncommented())) + sum(name in names for _, _, names in code.imports)
        known[name] = count + any(not names and one.partition(".")[0] == name for one, _, names in code.imports) == 1
    return known[name]


def _method_refuses(code: Code, call: Call) -> bool:
    """The same of a method of the own object: of a class that is seen, which nobody inherits from."""
    thing = own_method(code, call)
    if thing is None or thing.function is None or thing.code is None:
        return False
    is_bound = not any(name_of(one) == "builtins.staticmethod" for one in thing.function.decorators)
    refuses = _refuses(thing.code, thing.function, call, int(is_bound), is_method=True)
    return refuses and has_no_other(code, call)


def _forward_refuses(code: Code, thing: Thing, call: Call) -> bool:
    """The same of a network that the file makes of a class of the project: `forward` does not take what it is given."""
    if thing.made is None or thing.made_in is not code or not all(_KNOWN_BASES.fullmatch(one) for one in bases(thing)):
        return False
    forward = member(code, thing, "forward")
    if forward.function is None or forward.code is None or defines(thing, "__call__"):
        return False
    refuses = _refuses(forward.code, forward.function, call, 1, is_method=True)
    is_plain = refuses and not code.and_linked_say("forward_pre_hook", ".forward =")
    return is_plain and _is_bound_by(code, call, thing.made)


def _is_bound_by(code: Code, call: Call, made: Call) -> bool:
    """Whether what is called is a variable, or an attribute of the own object, that the file binds to a new object."""
    if call.name == "()":
        binding = binding_of(code, call.receiver)
        return binding is not None and binding.how == "assign"
    owner, name = code.class_of(code.function_at(call.context)), call.name[1:]
    numbers = code.classes[owner].attributes.get(name, ()) if owner != NOWHERE else ()
    if len(numbers) != 1 or code.bindings[numbers[0]].value is not made:
        return False
    return not _is_given_from_outside(code, call)


def _is_given_from_outside(code: Code, call: Call) -> bool:
    """Whether an heir, or something that is no method of the class, may give the attribute that a call names."""
    owner, name = code.class_of(code.function_at(call.context)), call.name[1:]
    if has_heirs(code, code.classes[owner]):
        return True
    given = re.compile(rf"(?<!\bself)\.{re.escape(name)}\s*=(?!=)")
    return code.matches(given) or _is_elsewhere(code, given, f".{name}")


def own_method(code: Code, call: Call) -> Thing | None:
    """The method of the own object that a call names, as far as the class around it says."""
    thing = called(code, call) if _is_by_self(call) else None
    if thing is None or thing.function is None or thing.function.owner == NOWHERE:
        return None
    owner = code.class_of(code.function_at(call.context))
    return None if thing.code is None or owner == NOWHERE or _is_static(code, call) else thing


def has_no_other(code: Code, call: Call) -> bool:
    """Whether the own object surely has no other method of the name: all its bases are seen, and nobody inherits."""
    owner = code.class_of(code.function_at(call.context))
    cls = Thing("class", code.classes[owner].name, code, owner)
    return (
        all(_KNOWN_BASES.fullmatch(one) for one in bases(cls))
        and all(call.name[1:] not in above.attributes for _, above in lineage(cls))
        and not has_heirs(code, code.classes[owner])
    )


def _is_static(code: Code, call: Call) -> bool:
    """Whether the `self` of a call is no object of the class around it."""
    function = code.functions[code.function_at(call.context)]
    first = function.parameters[0].name if function.parameters else ""
    is_other = any(name_of(one) in ("builtins.staticmethod", "builtins.classmethod") for one in function.decorators)
    return function.owner == NOWHERE or first != "self" or is_other


def has_heirs(code: Code, cls: Class) -> bool:
    """Whether any class of the project may inherit from this one, or something of it is set from outside."""
    known: dict[str, bool] = code.memo.setdefault("heirs", {})
    if cls.name not in known:
        said = re.escape(cls.name)
        inherits = re.compile(
            rf"\bclass\s+\w+\s*\([^)]*\b{said}\b|\b{said}\s*\.\s*\w+\s*=(?!=)|setattr\(\s*{said}\b"
            rf"|\b{said}\s+as\s|=\s*(?:\w+\.)*{said}\s*$",  # by another name
            re.M,
        )
        known[cls.name] = code.matches(inherits) or _is_elsewhere(code, inherits, cls.name)
    return known[cls.name]


def _is_elsewhere(code: Code, pattern: re.Pattern[str], word: str) -> bool:
    text = code.linked.anywhere(word)
    return text is None or pattern.search(text) is not None


def _class_refuses(thing: Thing, home: Code, cls: Class, call: Call) -> bool:
    """Whether the constructor of a class does not take what a call gives."""
    slots = _slots_of_class(thing)
    if slots is not None:
        refuses = _misses(slots, call) or _maker_lacks(thing, call)
        return refuses and is_said_once(home, cls.name) and _is_defined_anyway(home, cls.context)
    own = cls.methods.get("__init__", NOWHERE)
    if (
        own == NOWHERE
        or _MADE_OTHERWISE.search(home.text(cls.at))
        or "__new__" in cls.methods
        or _decorators(home, cls)
    ):
        return False
    function = home.functions[own]
    slots = _slots(home, function, 1)
    return not function.decorators and slots is not None and _names_no_such(slots, call)


def _maker_lacks(thing: Thing, call: Call) -> bool:
    """Whether a call leaves out what the constructor of a class has a default for, and always asks for something."""
    for home, cls in lineage(thing):
        if _decorators(home, cls):
            return False
        if "__init__" in cls.methods:
            return _lacks_what_is_needed(home, home.functions[cls.methods["__init__"]], call, 1)
    return False


def _slots_of_class(thing: Thing) -> list[Slot] | None:
    """What a class takes, None where something that is not seen may take it."""
    if not all(_KNOWN_BASES.fullmatch(one) for one in bases(thing)):
        return None
    family = list(lineage(thing))
    for home, cls in family:
        is_odd = _MADE_OTHERWISE.search(home.text(cls.at)) or len(cls.bases) > 1 or "__new__" in cls.methods
        if is_odd or {"__init__", "__new__"} & set(cls.attributes) or _decorators(home, cls) not in ([], [_FIELDS]):
            return None
    for home, cls in family:
        if "__init__" in cls.methods:
            function = home.functions[cls.methods["__init__"]]
            is_plain = not function.decorators and _is_defined_anyway(home, function.context)
            return _slots(home, function, 1) if is_plain else None
        if _decorators(home, cls):
            return _fields(family[family.index((home, cls)) :])
    home, cls = family[-1]
    is_module = is_plain_module(Thing("class", cls.name, home, home.classes.index(cls)))
    return [] if not cls.bases or (is_module and not home.says("call_super_init")) else None


def _decorators(home: Code, cls: Class) -> list[str]:
    """The decorators of a class by their full names, without what they are given; `?` of what is not one line."""
    found = []
    line = cls.at.line - 1
    while line and home.lines[line - 1].lstrip().startswith("@"):
        name = home.lines[line - 1].strip()[1:].partition("(")[0].strip()
        first, dot, rest = name.partition(".")
        found.append(f"{home.names.get(first, '?')}{dot}{rest}")
        line -= 1
    is_longer = line > 0 and home.lines[line - 1].startswith((")", "    )", "]"))
    return [*found, "?"] if is_longer else found


def _fields(family: list[tuple[Code, Class]]) -> list[Slot] | None:
    """What a dataclass takes, those that it inherits from included."""
    found: dict[str, Slot] = {}
    for home, cls in reversed(family):
        if _decorators(home, cls) == [_FIELDS]:
            own = _own_fields(home, cls)
            if own is None:
                return None
            for slot in own:
                found.pop(slot.name, None) if slot.by_keyword else None
                found[slot.name] = slot
    return [*(one for one in found.values() if not one.by_keyword), *(one for one in found.values() if one.by_keyword)]


def _own_fields(home: Code, cls: Class) -> list[Slot] | None:
    text = textwrap.dedent("\n".join(home.lines[cls.at.line - 2 : cls.at.end_line]))
    try:
        (node,) = ast.parse(text).body
    except (SyntaxError, ValueError):
        return None
    if not isinstance(node, ast.ClassDef):
        return None
    told = {one.arg: one.value for decorator in node.decorator_list if isinstance(decorator, ast.Call)
            for one in decorator.keywords}  # fmt: skip
    if "init" in told or None in told or any(not isinstance(one, ast.Constant) for one in told.values()):
        return None
    by_keyword = "kw_only" in told and isinstance(told["kw_only"], ast.Constant) and bool(told["kw_only"].value)
    found = []
    for one in node.body:
        match one:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                said = ast.unparse(annotation)
                if "KW_ONLY" in said:
                    by_keyword = True
                elif "ClassVar" not in said:
                    slot = _field(name, value, by_keyword=by_keyword)
                    found += [slot] if slot is not None else []
            case ast.Assign() | ast.Expr() | ast.Pass() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                pass
            case _:
                return None
    return found


def _field(name: str, value: ast.expr | None, *, by_keyword: bool) -> Slot | None:
    """A field of a dataclass; None where the constructor does not take it."""
    if not isinstance(value, ast.Call):
        return Slot(name, value is None, by_keyword)
    told = {one.arg: one.value for one in value.keywords}
    match told.get("init"):
        case ast.Constant(value=False):
            return None
    match told.get("kw_only"):
        case ast.Constant(value=bool(only)):
            by_keyword = only
    is_field = ast.unparse(value.func) in ("field", "dataclasses.field")
    is_needed = is_field and None not in told and not value.args and not {"default", "default_factory"} & set(told)
    return Slot(name, is_needed, by_keyword)


def _refuses(home: Code, function: Function, call: Call, skipped: int, *, is_method: bool = False) -> bool:
    """Whether a function, which is defined in any case and once, does not take what a call gives."""
    if not all(name_of(one) in _TRANSPARENT for one in function.decorators) or not function.name.isidentifier():
        return False
    slots = _slots(home, function, skipped)
    if slots is None or not _is_defined_anyway(home, function.context):
        return False
    if not _misses(slots, call) and not _lacks_what_is_needed(home, function, call, skipped):
        return False
    return (is_method and is_defined_once(home, function)) or (not is_method and is_said_once(home, function.name))


def _lacks_what_is_needed(home: Code, function: Function, call: Call, skipped: int) -> bool:
    """Whether a call leaves out a parameter that has a default, without which the function always fails."""
    places, named = function.parameters[skipped + len(call.arguments) :], {name for name, _ in call.keywords}
    left = (one for one in places if one.name not in named)
    return not call.is_open and any(is_needed(home, function, one) for one in left)


def is_defined_once(home: Code, function: Function) -> bool:
    """Whether no other statement of its class has the name of a method."""
    cls = home.classes[function.owner]
    said = re.compile(rf"^\s*(?:(?:async\s+)?def\s+{function.name}\b|{function.name}\s*=(?!=))")
    return sum(1 for line in home.lines[cls.at.line : cls.at.end_line] if said.match(line)) == 1


def name_of(decorator: object) -> str:
    """The full name of a decorator."""
    named = decorator if isinstance(decorator, Symbol | Call) else None
    return named.name if named is not None else "?"


def _is_defined_anyway(home: Code, context: int) -> bool:
    """Whether no branch stands around a definition."""
    return all(one.kind in _WHERE for one in home.around(context))


def _slots(home: Code, function: Function, skipped: int) -> list[Slot] | None:
    """The parameters of a function but for the first ones; None where it takes any, or they cannot be told."""
    known = [one.name for one in function.parameters]
    arguments = {one.name for one in home.bindings[slice(*function.bindings)] if one.how == "argument"}
    if not arguments <= set(known) or len(known) < skipped:
        return None
    return [Slot(one.name, one.default is None) for one in function.parameters[skipped:]]


def _misses(slots: list[Slot], call: Call) -> bool:
    """Whether a call gives more than there is, leaves out what is needed, or names what is not there."""
    if call.is_open:
        return _names_no_such(slots, call)
    named = {name for name, _ in call.keywords}
    places = [one for one in slots if not one.by_keyword]
    filled = {one.name for one in places[: len(call.arguments)]}
    return (
        len(call.arguments) > len(places)
        or bool(filled & named)
        or any(one.is_needed and one.name not in filled | named for one in slots)
        or _names_no_such(slots, call)
    )


def _names_no_such(slots: list[Slot], call: Call) -> bool:
    known = {one.name for one in slots}
    return any(name and name not in known for name, _ in call.keywords)
