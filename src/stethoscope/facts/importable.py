"""Files that end with an error as soon as they are imported: a name is used there that nothing binds.

What stands in such a file never ran as it stands: a draft, half a translation from another framework, a base class
whose import was lost. Python looks a name up when it comes to it, so only what a function or a class needs to be made
is looked at: decorators, defaults, base classes, and annotations that are evaluated. Statements of the module are not:
a few lines of a script, on their way from an editor, may well begin in the middle.
"""

from __future__ import annotations

import ast
import builtins
import symtable
import warnings
from collections.abc import Iterator, Sequence

from stethoscope.facts.code import Code

_GIVEN = frozenset((*dir(builtins), "__file__", "__path__", "__builtins__", "__annotations__", "WindowsError"))
_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def cannot_be_imported(code: Code) -> str:
    """A name without which the import fails, empty where none is seen to be missing.

    Notebooks are left out, whose cells run in any order, and files with `import *`, which may bring any name. So is
    what stands under a condition or in a `try`.
    """
    if code.cells or code.stars:
        return ""
    text = "\n".join(line.rstrip("\r\n") for line in code.lines)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree, table = ast.parse(text), symtable.symtable(text, code.file, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    if "__getattr__" in text or "exec(" in text or "globals()" in text:
        return ""
    packages = {
        one.module.partition(".")[0] for one in ast.walk(tree) if isinstance(one, ast.ImportFrom) and one.module
    }
    bound = _GIVEN | _bound(table) | packages  # `from .part import x` binds `part`, too, in an `__init__.py`
    lazy = any(isinstance(one, ast.ImportFrom) and one.module == "__future__" for one in tree.body)
    return next((name for name in _read(tree.body, frozenset(), annotated=not lazy) if name not in bound), "")


def _bound(table: symtable.SymbolTable) -> set[str]:
    """What the module binds anywhere, by `global` from inside of a function, too."""
    names = {
        one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported() or one.is_namespace()
    }
    waiting = list(table.get_children())
    while waiting:
        inner = waiting.pop()
        names |= {one.get_name() for one in inner.get_symbols() if one.is_declared_global() and one.is_assigned()}
        waiting += inner.get_children()
    return names


def _read(body: list[ast.stmt], around: frozenset[str], *, annotated: bool) -> Iterator[str]:
    """Names that are looked up when these functions and classes are made, but for those of a class around them."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            looked = [*statement.decorator_list, *_defaults(statement)]
            yield from _names([*looked, *(_annotations(statement) if annotated else ())], around)
        elif isinstance(statement, ast.ClassDef):
            yield from _names([*statement.decorator_list, *statement.bases, *statement.keywords], around)
            own = {name for one in statement.body for name in _made(one)}
            yield from _read(statement.body, around | own, annotated=annotated)


def _made(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement of a class body binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


def _names(nodes: Sequence[ast.AST], around: frozenset[str]) -> Iterator[str]:
    """Names that are read in these; what a lambda does comes later, and a comprehension has names of its own."""
    own = set(around)
    waiting: list[ast.AST] = list(nodes)
    read: list[str] = []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Lambda):
            waiting += _defaults(node)
            continue
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                read.append(node.id)
            else:
                own.add(node.id)
        waiting += ast.iter_child_nodes(node)
    yield from (name for name in reversed(read) if name not in own)


def _defaults(function: _Scope) -> list[ast.expr]:
    return [*function.args.defaults, *(one for one in function.args.kw_defaults if one is not None)]


def _annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    said = [one.annotation for one in every if one is not None and one.annotation is not None]
    return said if function.returns is None else [*said, function.returns]
