"""What a file's own lines, and the constructors of its classes, keep from being run.

if x > 1: ...           `x` is bound further down only: the file ends here whenever it is run or imported
x = torch.rand(8)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from stethoscope.facts.code import At, Code
from stethoscope.facts.evaluated import Scope, evaluated
from stethoscope.facts.parsed import GIVEN, Parsed
from stethoscope.facts.unbound import brought_by_name, is_of_cells

_Known = dict[int, frozenset[str]]
"""By `id` of a statement, what it may bind: each is asked for by every block around it."""
_BINDING_NOTHING = frozenset({ast.Constant, ast.Load, ast.Store, ast.Del, ast.Lambda, ast.Pass})


def read_before_bound(code: Code, whole: Parsed) -> frozenset[int]:
    """By `id`, the names that the module's own lines, or those of a function, ask for, and that only later ones give a
    value: `x = self.layer(x)`, where the function is given `inputs`.

    Names that no line binds are left to `unbound`.
    """
    known: _Known = {}
    renamed = any(isinstance(one, ast.Global | ast.Nonlocal) for one in whole.nodes)
    functions = (node for node in whole.nodes if isinstance(node, Scope))
    early = (id(one) for node in functions for one in _unbound_locals(node, known, renamed=renamed))
    return frozenset(early) | _read_before_bound_at_top(code, whole, known)


def _unbound_locals(function: Scope, known: _Known, *, renamed: bool) -> Iterator[ast.Name]:
    """The local variables that a function asks for before any of its lines may have bound them."""
    own = frozenset[str]().union(*(_bound_in(one, known) for one in function.body))
    given = function.args
    every = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
    handed = {one.arg for one in every if one is not None}
    own -= handed
    if renamed and own:
        told = (one for one in ast.walk(function) if isinstance(one, ast.Global | ast.Nonlocal))
        own -= {name for one in told for name in one.names}
    return (one for one in _too_early(function.body, handed, known) if one.id in own) if own else iter(())


def _read_before_bound_at_top(code: Code, whole: Parsed, known: _Known) -> frozenset[int]:
    if is_of_cells(code):
        return frozenset()
    own = frozenset[str]().union(*(_bound_in(one, known) for one in whole.tree.body))
    later = own - GIVEN - {name for one in whole.nodes if isinstance(one, ast.Global) for name in one.names}
    early = [one for one in _too_early(whole.tree.body, set(), known) if one.id in later]
    brought = brought_by_name(code, whole) if early else None
    return frozenset(id(one) for one in early if brought is not None and one.id not in brought)


def _too_early(block: Sequence[ast.stmt], bound: set[str], known: _Known) -> Iterator[ast.Name]:
    """The names that the lines of a block ask for while nothing has bound them."""
    for one in block:
        names = (each for each in evaluated(one) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load))
        yield from (each for each in names if each.id not in bound)
        if isinstance(one, ast.If | ast.With):
            for inner in (one.body, getattr(one, "orelse", [])):
                yield from _too_early(inner, bound | set(_bound_by_head(one)), known)
        bound |= _bound_in(one, known)


def _bound_by_head(one: ast.If | ast.With) -> Iterator[str]:
    heads = [one.test] if isinstance(one, ast.If) else one.items
    for head in heads:
        yield from (each.id for each in ast.walk(head) if isinstance(each, ast.Name))


def _bound_in(statement: ast.stmt, known: _Known) -> frozenset[str]:
    """What a statement may bind in the block around it."""
    if id(statement) not in known:
        known[id(statement)] = frozenset(_binds(statement, known))
    return known[id(statement)]


def _binds(statement: ast.stmt, known: _Known) -> Iterator[str]:
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if type(node) in _BINDING_NOTHING or (type(node) is ast.Name and type(node.ctx) is not ast.Store):
            continue  # as most do
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
                continue
            case ast.stmt() if node is not statement:
                yield from _bound_in(node, known)
                continue
            case ast.Name(id=name):
                yield name
                continue
            case ast.alias():
                yield (node.asname or node.name).partition(".")[0]
            case ast.ExceptHandler(name=str() as name) | ast.MatchAs(name=str() as name):
                yield name
            case ast.MatchStar(name=str() as name) | ast.MatchMapping(rest=str() as name):
                yield name
            case ast.comprehension():  # its variable is nobody else's
                waiting += (node.iter, *node.ifs)
                continue
        waiting += ast.iter_child_nodes(node)


def unused_above(whole: Parsed, line: int) -> list[At]:
    """The functions and classes above a line of the module, of which neither that line nor one before it speaks."""
    above = [one for one in whole.tree.body if one.lineno <= line]
    defined = [one for one in above if isinstance(one, Scope | ast.ClassDef)]
    plain = (one for one in above if not isinstance(one, Scope | ast.ClassDef | ast.Import | ast.ImportFrom))
    used = {name for one in plain for name in _spoken_of(one)}
    used |= {name for one in defined for each in one.decorator_list for name in _spoken_of(each)}
    used |= {one.name for one in defined if one.decorator_list}
    left = defined
    while True:
        more = [one for one in left if one.name in used]
        left = [one for one in left if one.name not in used]
        if not more:
            return [At(one.lineno, 0, one.end_lineno or one.lineno, 0) for one in left]
        used |= {name for one in more for name in _spoken_of(one)}


def _spoken_of(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        match one:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str() as name):
                yield name


def option_of(maker: Scope, test: ast.expr, *, is_own: bool) -> str:
    """The parameter of a constructor that a condition asks for, itself or as the attribute that keeps it."""
    match test:
        case ast.Name(id=name) if is_own:
            asked = name
        case ast.Attribute(value=ast.Name(id="self"), attr=attribute):
            asked = _kept_in(maker).get(attribute, "")
        case _:
            return ""
    own = {one.arg for one in (*maker.args.posonlyargs, *maker.args.args, *maker.args.kwonlyargs)}
    return asked if asked in own and asked not in set(_stored(maker)) else ""


def _kept_in(maker: Scope) -> dict[str, str]:
    """The attributes that are given a parameter, and nothing else."""
    kept: dict[str, str] = {}
    for one in ast.walk(maker):
        match one:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                kept[name] = "" if name in kept else "?"
    for statement in maker.body:
        match statement:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)], value=ast.Name(id=given)):
                kept[name] = given if kept.get(name) == "?" else ""
    return kept


def _stored(maker: Scope) -> Iterator[str]:
    return (one.id for one in ast.walk(maker) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load))
