"""Layers that a module keeps in lists: whether something registers them, and what would."""

from __future__ import annotations

import re
from collections.abc import Sequence

from stethoscope.core.finding import Edit
from stethoscope.facts.code import Binding, Call, Code, Constant, Each, Group, Name, Operation, Value
from stethoscope.facts.module_classes import assigned, attribute_of, in_methods
from stethoscope.facts.origins import lineage, thing_of
from stethoscope.facts.things import Thing
from stethoscope.rules.carried_layers import REGISTERING, code_lines, is_surely_looked_after, is_taken_or_registered
from stethoscope.rules.hand_kept import is_hidden_on_purpose, is_kept_by_hand
from stethoscope.rules.handed_layers import freezing_some, lines_that_leave_it
from stethoscope.rules.lines import insertion
from stethoscope.rules.list_uses import asks_for_list, chooses_from_list


def is_plain_list(file: Code, thing: Thing, name: str) -> bool:
    """Whether an attribute starts as an empty list, and is one wherever something is added to it."""
    every = [binding for one, binding in assigned(file, thing) if one == name]
    lists = [one for one in every if isinstance(one.value, Group) and one.value.kind == "list"]
    others = [one for one in every if one not in lists and not _is_none(one) and not _is_itself(file, one)]
    return bool(lists) and all(
        _part_ways(file, lists[0].context, other.context) or _is_filled_elsewhere(file, thing, other)
        for other in others
    )


def _is_filled_elsewhere(file: Code, thing: Thing, binding: Binding) -> bool:
    """Whether all that is added to an attribute is added in another branch than this one, which makes it no list."""
    fillings = [
        call
        for _, call in in_methods(file, thing, ".append", ".extend")
        if f"self.{attribute_of(file, call.receiver)}" == binding.name
    ]
    return bool(fillings) and all(_part_ways(file, call.context, binding.context) for call in fillings)


def _is_itself(file: Code, binding: Binding) -> bool:
    """Whether a list stays one: `self.layers = list(self.layers)`."""
    value = binding.value
    is_listed = isinstance(value, Call) and value.name in ("builtins.list", "builtins.tuple")
    return is_listed and isinstance(value, Call) and f"self.{attribute_of(file, value.argument(0))}" == binding.name


def _is_none(binding: Binding) -> bool:
    return isinstance(binding.value, Constant) and binding.value.value is None


def wrapped_in_module_list(file: Code, thing: Thing, name: str) -> tuple[Edit, ...]:
    """What makes a plain list of layers a `ModuleList`, where nothing is done with it that one cannot do."""
    values = [binding.value for one, binding in assigned(file, thing) if one == name]
    prefix = "nn" if file.names.get("nn") == "torch.nn" else "torch.nn" if file.names.get("torch") == "torch" else ""
    if len(values) != 1 or not prefix or file.matches(re.compile(rf"\bself\.{name}\.(?!append\(|extend\()")):
        return ()
    if asks_for_list(file, thing, name) is not None or not _are_modules(file, thing, name):
        return ()
    (value,) = values
    is_plain = isinstance(value, Group) and value.kind == "list" and all(isinstance(it, Call) for it in value.items)
    is_made = isinstance(value, Each) and value.kind == "list" and isinstance(value.element, Call)
    if value is None or not (is_plain or is_made):
        return ()
    at = value.at
    return (
        insertion(file, at.line, at.column, f"{prefix}.ModuleList("),
        insertion(file, at.end_line, at.end_column, ")"),
    )


def _are_modules(file: Code, thing: Thing, name: str) -> bool:
    """Whether all that a list is seen to get are modules: a `ModuleList` takes nothing else."""
    put: list[Value | None] = []
    for one, binding in assigned(file, thing):
        value = binding.value if one == name else None
        put += value.items if isinstance(value, Group) else [value.element] if isinstance(value, Each) else []
    for _, call in in_methods(file, thing, ".append"):
        if attribute_of(file, call.receiver) == name:
            put.append(call.argument(0))
    return all(thing_of(file, one).kind == "module" for one in put)


def registers(file: Code, thing: Thing, binding: Binding) -> bool:
    """Whether an attribute gets a module, and not in another branch than all lists that it may get."""
    if thing_of(file, binding.value).kind != "module":
        return False
    return not _is_filled_elsewhere(file, thing, binding) and not any(
        other.name == binding.name
        and isinstance(_listed(other.value), Group | Each | Operation)
        and _part_ways(file, other.context, binding.context)
        for _, other in assigned(file, thing)
    )


def _part_ways(file: Code, first: int, second: int) -> bool:
    """Whether two contexts are two branches of one condition."""
    one, other = set(file.numbers_around(first)), set(file.numbers_around(second))
    kinds = [{file.contexts[number].kind for number in side} for side in (one - other, other - one)]
    return all(side & {"if", "else"} for side in kinds)


def is_left_plain(file: Code, thing: Thing, name: str) -> bool:
    """Whether it is sure of a list that may be left plain: its class registers nothing else, and looks after none."""
    lines = code_lines(file, thing.cls.at) if thing.cls is not None else ()
    if any(REGISTERING.search(line) and (not _reads(line) or _BY_NAME.search(line)) for line in lines):
        return False
    return not (is_kept_by_hand(file, thing, name) or freezing_some(file, thing, name))


def may_be_left_plain(file: Code, thing: Thing, name: str) -> bool:
    """Whether something uses the list, and nothing that is seen registers its layers or looks after them: what a class
    does with itself, with other layers or under names that the list does not give does not count.
    """
    lines = code_lines(file, thing.cls.at) if thing.cls is not None else ()
    return (
        not _goes_elsewhere(file, thing, name)
        and (_is_used(lines, name) or _is_used_above(thing, name))
        and not is_hidden_on_purpose(file, thing, name)
        and not is_surely_looked_after(file, thing, name, lines_that_leave_it(file, thing, name))
    )


def _is_used_above(thing: Thing, name: str) -> bool:
    """Whether a class above reads the list, which it neither sets nor registers itself."""
    above = [(cls, code_lines(home, cls.at)) for home, cls in lineage(thing) if cls is not thing.cls]
    if any(name in cls.attributes or is_taken_or_registered(lines, name) for cls, lines in above):
        return False
    return any(_is_used(lines, name) for _, lines in above)


def _goes_elsewhere(file: Code, thing: Thing, name: str) -> bool:
    """Whether a container, an attribute or a function gets the list, or a class only chooses from it what it holds."""
    if any(registers(file, thing, binding) for one, binding in assigned(file, thing) if one == name):
        return True
    values = [binding.value for one, binding in assigned(file, thing) if one == name]
    local = [re.escape(inner.name) for value in values if isinstance(inner := _listed(value), Name)]
    # Of `self.layers = layers = [...]` both names are bound to one list.
    local += [re.escape(one.name) for one in file.bindings if one.name.isidentifier() and _is_one(one.value, values)]
    cls = thing.cls
    names = "|".join(local)
    taken = re.compile(rf"{_TAKING}\(\**(?:{names})\b|\bself\.\w+\s*=\s*(?:{names})\[")
    if cls is not None and local and file.matches(taken, cls.at):
        return True
    lines = code_lines(file, cls.at) if cls is not None else ()
    if _goes_on_in_another(lines, name) or _is_table(file, thing, name):
        return True
    said = rf"self\.{re.escape(name)}"
    kept = re.compile(rf"ParameterList\(.*(?:parameters\(\)|{said}\b)")
    handed = re.compile(rf"[(*]{said}(?![\w\[(])")
    itself = re.compile(rf"{said}\s*=\s*(?:list|tuple)\({said}\)\s*$")
    return any(
        kept.search(line)
        or (handed.search(line) and not (_reads(line) or itself.search(line) or chooses_from_list(file, line, name)))
        for line in lines
    )


def _is_one(value: Value | None, others: Sequence[Value | None]) -> bool:
    """Whether a list is displayed once and bound several times."""
    return isinstance(value, Group | Each) and any(value is one for one in others)


def _listed(value: Value | None) -> Value | None:
    """What a list is made of: `layers` of `list(layers)`."""
    return value.argument(0) if isinstance(value, Call) and value.name in ("builtins.list", "builtins.tuple") else value


def _reads(line: str) -> bool:
    return any(word in line for word in _ONLY_READING)


def _is_used(lines: Sequence[str], name: str) -> bool:
    """Whether a class reads its list, and does more than fill it, and takes no weights out of it before it goes."""
    said = rf"self\.{re.escape(name)}\b"
    # Of `for layer in self.layers: x = layer(x)` the colon tells no type.
    read = re.compile(
        rf"^(?!\s*{said}\s*:[^=]*=(?!=)).*{said}(?!\.(?:append|extend|insert)\(|\s*=(?!=))|{said}.*{said}(?!\s*=(?!=))"
    )
    gone = re.compile(rf"\bdel\s+{said}|\.(?:weight|bias)(?:\.data|\.T|\.t\(\))?\s+for\s+\w+\s+in\s+{said}")
    return any(read.search(line) for line in lines) and not any(gone.search(line) for line in lines)


def _is_table(file: Code, thing: Thing, name: str) -> bool:
    """Whether the constructor only chooses from it what the module is made of: `layers.append(self.kinds[kind])`."""
    cls = thing.cls
    if cls is None or "__init__" not in cls.methods:
        return False
    here = file.functions[cls.methods["__init__"]].at
    made = {binding.at.line for one, binding in assigned(file, thing) if one == name}
    said = re.compile(rf"\bself\.{re.escape(name)}\b")
    uses = [n for n in range(cls.at.line, cls.at.end_line + 1) if n not in made and said.search(file.lines[n - 1])]
    chosen = re.compile(rf"\bself\.{re.escape(name)}\[")
    return bool(uses) and all(here.line <= n <= here.end_line and chosen.search(file.lines[n - 1]) for n in uses)


_TAKING = r"(?<![\w.])(?!(?:len|enumerate|zip|range|reversed|isinstance|print|list|iter)\()[\w.]+"
_BY_NAME = re.compile(r"\b(?:setattr\(\s*self|self\.(?:add_module|register_module)\(|exec\()")
_ONLY_READING = (
    "enumerate(", "zip(", "len(", "range(", "reversed(", "isinstance(", "print(", "chunked(", "pairwise(", "islice(",
    "deepcopy(",
)  # fmt: skip
_REGISTERED = re.compile(r"(?:Sequential|Module\w+)\(\**(\w+)")


def _goes_on_in_another(lines: Sequence[str], name: str) -> bool:
    """Whether a loop over a list, at its beginning, fills another one that a container is made of."""
    others = {found.group(1) for line in lines for found in _REGISTERED.finditer(line)}
    over = re.compile(rf"for (.+) in .*\bself\.{re.escape(name)}\b.*:")
    for number, line in enumerate(lines):
        found = over.search(line)
        for variable in re.findall(r"\w+", found.group(1)) if found else ():
            taken = re.compile(rf"(\w+)\.append\({variable}\)")
            if any(one.group(1) in others for later in lines[number : number + 8] for one in taken.finditer(later)):
                return True
    return False
