"""Files that end with an error as soon as they are imported: a name is used there that nothing binds, or a module of
their own project that is not there, be it by a file that they import.

What stands in such a file never ran as it stands: a draft, half a translation from another framework, a base class
whose import was lost. Python looks a name up when it comes to it, so only what a function or a class needs to be made
is looked at: decorators, defaults, base classes, and annotations that are evaluated. Statements of the module are not:
a few lines of a script, on their way from an editor, may well begin in the middle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from stethoscope.facts.code import Code
from stethoscope.facts.evaluated import defaults
from stethoscope.facts.linked import Import
from stethoscope.facts.parsed import bound_by_module, parsed
from stethoscope.facts.unbound import brought_by_name


def cannot_be_imported(code: Code) -> str:
    """A name or module without which the import fails, or a word by which it does; empty where none is seen.

    Notebooks are left out, whose cells run in any order, and for names files whose `import *` may bring any. So is
    what stands under a condition or in a `try`.
    """
    whole = None if code.cells else parsed(code)
    if whole is None or code.says("__getattr__"):
        return ""
    body = whole.tree.body
    if any(isinstance(one, ast.Return) for one in body):
        return "return"  # outside of a function, which is read and not compiled
    lost = code.linked.lost(imported_by(body))
    if lost:
        return lost
    bound = bound_by_module(whole)
    lazy = any(isinstance(one, ast.ImportFrom) and one.module == "__future__" for one in body)
    absent = [name for name in _read(body, frozenset(), annotated=not lazy) if name not in bound]
    brought = brought_by_name(code, whole) if absent else None
    return next((name for name in absent if brought is not None and name not in brought), "")


def imported_by(body: Iterable[ast.stmt]) -> Iterator[Import]:
    """What these statements import themselves: nothing that stands under a condition, in a `try` or in a function."""
    for one in body:
        match one:
            case ast.ImportFrom(module=name, names=names, level=dots):
                yield Import(name or "", dots, tuple(each.name for each in names))
            case ast.Import(names=names):
                yield from (Import(each.name, 0, ()) for each in names)


def _read(body: list[ast.stmt], around: frozenset[str], *, annotated: bool) -> Iterator[str]:
    """Names that are looked up when these functions and classes are made, but for those of a class around them."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            looked = [*statement.decorator_list, *defaults(statement)]
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
            waiting += defaults(node)
            continue
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                read.append(node.id)
            else:
                own.add(node.id)
        waiting += ast.iter_child_nodes(node)
    yield from (name for name in reversed(read) if name not in own)


def _annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    said = [one.annotation for one in every if one is not None and one.annotation is not None]
    return said if function.returns is None else [*said, function.returns]
