"""Functions whose annotations ask for names that nothing binds: the line that defines one ends with an error.

class Agent:
    def board(self, game: ChessGame):       nothing in the file binds `ChessGame`: there is no `Agent`

So it is in Python up to 3.13, in a file that does not begin with `from __future__ import annotations`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from stethoscope.facts.code import Code
from stethoscope.facts.evaluated import Scope
from stethoscope.facts.parsed import Parsed, bound_by_module
from stethoscope.facts.unbound import brought_by_name

_TYPE_PARAMETERS = ("TypeVar", "ParamSpec", "TypeVarTuple")
"""Nodes of Python 3.12: `def f[T](x: T)`."""


def ill_annotated(code: Code, whole: Parsed) -> Iterator[ast.stmt]:
    """The functions that cannot be defined, and the classes in which one of them stands."""
    functions = [one for one in whole.nodes if isinstance(one, Scope)]
    asked = {id(one): _asked(one) for one in functions}
    names = frozenset().union(*asked.values()) if functions else frozenset[str]()
    missing = names - bound_by_module(whole) if names and not _are_texts(whole) else frozenset[str]()
    missing -= _bound_anywhere(whole) if missing else frozenset()
    brought = brought_by_name(code, whole) if missing else frozenset[str]()
    if brought is None or not missing - brought:
        return
    ill = {number for number, each in asked.items() if each & (missing - brought)}
    yield from (one for one in functions if id(one) in ill)
    for one in whole.nodes:
        if isinstance(one, ast.ClassDef) and any(id(each) in ill for each in one.body):
            yield one


def _asked(function: Scope) -> frozenset[str]:
    """The names in the annotations of a function."""
    told = function.args
    given = (*told.posonlyargs, *told.args, *told.kwonlyargs, told.vararg, told.kwarg)
    said = [one.annotation for one in given if one is not None and one.annotation is not None]
    said += [function.returns] if function.returns is not None else []
    return frozenset(each.id for one in said for each in ast.walk(one) if isinstance(each, ast.Name))


def _are_texts(whole: Parsed) -> bool:
    """Whether the file leaves its annotations as they are."""
    future = (one for one in whole.tree.body if isinstance(one, ast.ImportFrom) and one.module == "__future__")
    return any(each.name == "annotations" for one in future for each in one.names)


def _bound_anywhere(whole: Parsed) -> frozenset[str]:
    """The names that classes and functions bind, for themselves as it may be."""
    found = set[str]()
    for node in whole.nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                found.add(name)
            case ast.alias():
                found.add((node.asname or node.name).partition(".")[0])
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case _ if type(node).__name__ in _TYPE_PARAMETERS:
                found.add(getattr(node, "name", ""))
    return frozenset(found)
