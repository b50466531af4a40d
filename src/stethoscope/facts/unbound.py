"""Names that functions look up, and that nothing has bound: the line that asks for one ends with an error.

net = make_net(width)           nothing in the file binds `width`
loss = loss(scores, labels)     nothing in the function has bound `loss` before, which makes it the function's own
"""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Iterator
from typing import TypeGuard

from stethoscope.facts.code import Code
from stethoscope.facts.parsed import Parsed, bound_by_module, stars_of

BINDS_BY_NAME = re.compile(
    r"(?<!\bin )\bglobals\((?!\)\.get\()|\bexec\(|\bexecfile\(|\bbuiltins\b|__builtins?__"
    r"|\bsys\.modules\b|\bvars\(\)|\blocals\(\)\s*[.\[]"
)
"""What may bind a name that stands in no statement."""
_OF_CELLS = re.compile(r"^# (?:In ?\[|%%|<codecell>|COMMAND ---)")
"""What stands above the cells of a notebook that was written down as a script."""
_IS_RUN = re.compile(r"^if\s*\(?\s*__name__\s*==", re.M)
_BY_HOSTS = frozenset({
    "get_ipython", "display", "In", "Out", "_", "__", "ngettext", "profile", "reveal_type", "ic", "spark", "sc",
    "sqlContext", "dbutils", "displayHTML", "__class__", "__IPYTHON__", "__cached__",
})  # fmt: skip
"""Names that notebooks and profilers give, and `gettext`."""
_OF_IPYTHON = re.compile(r"_+|_i{0,3}|_i?\d+|_[iod]h")
"""What a notebook's cells were, and gave."""
_OF_PYTHON_2 = frozenset({
    "xrange", "unicode", "raw_input", "long", "basestring", "reduce", "unichr", "file", "cmp", "reload", "buffer",
    "apply", "intern", "coerce", "StandardError",
})  # fmt: skip
"""Builtins of Python 2, in which the file did run."""

Unbound = dict[tuple[str, int], frozenset[str]]


def is_of_cells(code: Code) -> bool:
    """Whether a file is a notebook, or was written down from one."""
    return bool(code.cells) or any(line[:1] == "#" and _OF_CELLS.match(line) for line in code.lines)


def unbound_at_top(code: Code, whole: Parsed) -> frozenset[str]:
    """The names that the module's own lines look up, and that nothing binds.

    Those of a whole program: a few lines from the middle of one ask for what stood above them. So the file tells what
    it does when it is run, or one of its functions has a variable that is called so. A notebook is there to be run from
    its first cell; there a name counts that no cell binds, be it a later one.
    """
    if (is_of_cells(code) and not code.cells) or _may_bind_by_words(code):
        return frozenset()
    asked = {one.get_name() for one in whole.table.get_symbols() if one.is_referenced()}
    names = asked - bound_by_module(whole) - _BY_HOSTS - _OF_PYTHON_2
    if code.cells:
        names = set() if code.says("get_ipython") else {one for one in names if not _OF_IPYTHON.fullmatch(one)}
    elif names and not code.matches(_IS_RUN):
        functions = (one for one in whole.nodes if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
        names &= {each.id for one in functions for each in ast.walk(one) if _is_stored(each)}
    brought = brought_by_stars(code, whole) if names else None
    return frozenset() if brought is None else frozenset(names - brought)


def _is_stored(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def unbound_names(code: Code, whole: Parsed) -> Unbound:
    """By name and line of a function, what it looks up among the module's names and does not find there.

    Empty where an `import *`, a magic of a notebook or a cell that does not parse may bring any name.
    """
    if _may_bind_by_words(code):
        return {}
    bound = bound_by_module(whole) | _BY_HOSTS | _OF_PYTHON_2
    found: Unbound = {}
    waiting = list(whole.table.get_children())
    while waiting:
        table = waiting.pop()
        waiting += table.get_children()
        if isinstance(table, symtable.Function):
            names = {one.get_name() for one in table.get_symbols() if one.is_global() and one.is_referenced()}
            if names - bound:
                found[table.get_name(), table.get_lineno()] = frozenset(names - bound)
    brought = brought_by_stars(code, whole) if found else frozenset()
    if brought is None:
        return {}
    return {where: names - brought for where, names in found.items() if names - brought}


def brought_by_name(code: Code, whole: Parsed) -> frozenset[str] | None:
    """The names that stand in no statement of a file and may be bound there; None where that may be any."""
    return None if _may_bind_by_words(code) else brought_by_stars(code, whole)


def brought_by_stars(code: Code, whole: Parsed) -> frozenset[str] | None:
    """The names that may come by `import *`; None where they cannot be told: other modules than those of the project
    give any, and so do the lines of a notebook that are IPython's own, which stand among the modules.
    """
    if not code.stars:
        return frozenset()
    if "brought" not in code.memo:
        stars = stars_of(whole.nodes)
        code.memo["brought"] = code.linked.brought(stars) if len(stars) >= len(code.stars) else None
    found: frozenset[str] | None = code.memo["brought"]
    return found


def _may_bind_by_words(code: Code) -> bool:
    """Whether anything but an `import *` may bind names in a file that stand in no statement of it."""
    if "binds by name" not in code.memo:
        code.memo["binds by name"] = bool(code.confusing) or code.matches(BINDS_BY_NAME)
    found: bool = code.memo["binds by name"]
    return found


def called_before_bound(whole: Parsed) -> frozenset[int]:
    """By `id`, the names that a function calls where it gives them their first value: `loss = loss(scores, labels)`."""
    if all(_called_as_bound(node) is None for node in whole.nodes):
        return frozenset()  # as in nearly all files
    functions = (node for node in whole.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(id(name) for function in functions for name in _called_before_bound(function))


def _called_as_bound(node: ast.AST) -> ast.Name | None:
    """What an assignment calls, where that is the name that it gives a value."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name() as asked)) if asked.id == name:
            return asked
    return None


def _called_before_bound(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.Name]:
    first = dict[str, ast.Name]()
    for asked in filter(None, map(_called_as_bound, ast.walk(function))):
        before = first.get(asked.id, asked)
        first[asked.id] = asked if asked.lineno <= before.lineno else before
    if first:
        taken = _bound_otherwise(function, first)
        yield from (asked for name, asked in first.items() if name not in taken)


def _bound_otherwise(function: ast.FunctionDef | ast.AsyncFunctionDef, first: dict[str, ast.Name]) -> set[str]:
    """Of these names those that are parameters, are no names of the function's own, or that may be bound before."""
    taken = {one.arg for one in ast.walk(function) if isinstance(one, ast.arg)}
    for node in ast.walk(function):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if name in first and node.lineno < first[name].lineno:
                taken.add(name)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                taken.update(names)
            case ast.alias():
                taken.add((node.asname or node.name).partition(".")[0])
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                taken.update({name, *_names_in(node)} if node is not function else ())
            case (
                ast.ExceptHandler(name=str() as name)
                | ast.MatchAs(name=str() as name)
                | ast.MatchStar(name=str() as name)
            ):
                taken.add(name)
    return taken


def _names_in(scope: ast.AST) -> set[str]:
    """The names of an inner function or class, which may be its own."""
    return {one.id for one in ast.walk(scope) if isinstance(one, ast.Name)}
