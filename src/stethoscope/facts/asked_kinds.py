"""Which kinds of layers a condition asks for: by `isinstance`, by their type, or by the name of their class."""

from __future__ import annotations

import re

from stethoscope.facts.code import Call, Choice, Constant, Group, Name, Operation, Symbol, Value


def kinds_asked(value: Value | None) -> list[str]:
    """The kinds of layers that a condition asks for, in lower case: by `isinstance`, or by the name of the class."""
    if isinstance(value, Choice):
        asked_for = [kinds_asked(option) for option in value.options]
        return [name for names in asked_for for name in names or ["?"]] if any(asked_for) else []
    if isinstance(value, Operation) and value.operator in ("==", "is", "in") and _is_type(value.operands[0]):
        others = value.operands[1]
        return [_kind_named(one) for one in (others.items if isinstance(others, Group) else (others,))]
    if isinstance(value, Call) and value.name == "builtins.isinstance":
        kinds = value.argument(1)
        named = kinds.items if isinstance(kinds, Group) else (kinds,)
        return [_kind_named(one) for one in named]
    if isinstance(value, Operation) and value.operator == "and":
        return next(filter(None, (kinds_asked(one) for one in value.operands)), [])
    if isinstance(value, Operation) and value.operator == "!=" and isinstance(value.operands[0], Call):
        asked, word = value.operands[0], value.operands[0].argument(0)
        if asked.name == ".find" and isinstance(word, Constant) and isinstance(word.value, str):
            return [{"conv": "conv2d"}.get(word.value.lower(), word.value.lower())]
    return []


def _is_type(value: Value | None) -> bool:
    return isinstance(value, Call) and value.name == "builtins.type"


def _kind_named(kind: Value | None) -> str:
    """The kind of a class of layers in lower case; a class of the project's own is told by how its name ends."""
    if not isinstance(kind, Symbol | Name):
        return "?"
    name = kind.name.rpartition(".")[2]
    own = _OWN_KIND.fullmatch(name)
    if own:
        return own[1].lower()
    return name.lower() if isinstance(kind, Symbol) else "?"


_OWN_KIND = re.compile(r"\w*(Conv[123]d|Linear)")
"""Names of layers of these kinds, and of classes that add something to one."""
