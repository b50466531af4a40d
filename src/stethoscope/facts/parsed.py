"""The text of a file as Python parses it, for what the facts of it leave out: names that nothing binds."""

from __future__ import annotations

import ast
import builtins
import symtable
import warnings
from collections.abc import Iterable
from typing import NamedTuple

from stethoscope.facts.code import Code
from stethoscope.facts.linked import Import

GIVEN = frozenset((*dir(builtins), "__file__", "__path__", "__builtins__", "__annotations__", "WindowsError"))
"""What is there before a file binds anything."""


class Parsed(NamedTuple):
    """A text that is Python."""

    nodes: tuple[ast.AST, ...]
    """The module, and all that is in it."""
    table: symtable.SymbolTable

    @property
    def tree(self) -> ast.Module:
        """The module itself."""
        assert isinstance(self.nodes[0], ast.Module)
        return self.nodes[0]


def stars_of(nodes: Iterable[ast.AST]) -> list[Import]:
    """The modules of which everything is imported."""
    taken = (one for one in nodes if isinstance(one, ast.ImportFrom) and any(each.name == "*" for each in one.names))
    return [Import(one.module or "", one.level, ("*",)) for one in taken]


def parsed(code: Code) -> Parsed | None:
    """The text of a file, None where it does not parse."""
    if "parsed" not in code.memo:
        code.memo["parsed"] = _parsed(code)
    found: Parsed | None = code.memo["parsed"]
    return found


def _parsed(code: Code) -> Parsed | None:
    return parsed_text("\n".join(line.rstrip("\r\n") for line in code.lines), code.file)


def parsed_text(text: str, file: str) -> Parsed | None:
    """A text, None where it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Parsed(tuple(ast.walk(ast.parse(text))), symtable.symtable(text, file, "exec"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def bound_by_module(whole: Parsed) -> frozenset[str]:
    """What a module binds anywhere, also by `global` from inside of a function, and what is there before."""
    table = whole.table
    names = {one.get_name() for one in table.get_symbols() if _is_bound(one)}
    waiting = list(table.get_children()) if any(isinstance(one, ast.Global) for one in whole.nodes) else []
    while waiting:
        inner = waiting.pop()
        names |= {one.get_name() for one in inner.get_symbols() if one.is_declared_global() and _is_bound(one)}
        waiting += inner.get_children()
    # `from .part import x` binds `part`, too, in an `__init__.py`
    imports = (one.module for one in whole.nodes if isinstance(one, ast.ImportFrom) and one.module)
    return GIVEN | names | {module.partition(".")[0] for module in imports}


def _is_bound(one: symtable.Symbol) -> bool:
    return one.is_assigned() or one.is_imported() or one.is_namespace()
