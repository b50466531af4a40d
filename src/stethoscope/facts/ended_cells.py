"""Which lines of a notebook that end with an error keep its other cells from being run.

model = Nte(3)                  nothing is called so, and nothing else binds `model`: cells that ask for it fail, too
sizes = measure(modle)          nobody asks for `sizes`: who sees the error runs the next cell
train(modle)                    binds nothing
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from stethoscope.facts.code import At
from stethoscope.facts.evaluated import Scope
from stethoscope.facts.parsed import Parsed

_BLOCKS = (ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith)


class Cells:
    """The lines of the cells that fail by themselves."""

    def __init__(self, whole: Parsed, fails: Callable[[ast.stmt], bool]) -> None:
        failing = [one for one in _statements(whole.tree.body) if fails(one)]
        lost = {id(one): frozenset(_bound(one)) for one in failing}
        if any(lost.values()):
            otherwise = _bound_otherwise(whole.tree.body, set(lost))
            otherwise |= {name for one in whole.nodes if isinstance(one, ast.Global) for name in one.names}
            lost = {number: names - otherwise for number, names in lost.items()}
        wanted = frozenset[str]().union(*lost.values())
        names = (one for one in whole.nodes if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load))
        asked = [one for one in names if one.id in wanted] if wanted else []
        self._last = {id(one) for one in failing if any(_is_outside(each, one, lost[id(one)]) for each in asked)}
        self.blocks = [_at(one) for one in failing if isinstance(one, _BLOCKS)]
        """Loops and branches whose own line fails, so that nothing comes to what is in them."""

    def goes_on(self, statement: ast.stmt) -> bool:
        """Whether a statement leaves nothing behind that other cells ask for: where it fails, only its cell ends."""
        return id(statement) not in self._last


def _at(one: ast.stmt) -> At:
    return At(one.lineno, 0, one.end_lineno or one.lineno, 0)


def _is_outside(name: ast.Name, statement: ast.stmt, lost: frozenset[str]) -> bool:
    """Whether a name asks for one of those that a statement would have bound, somewhere else."""
    return name.id in lost and not statement.lineno <= name.lineno <= (statement.end_lineno or 0)


def _statements(block: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of the cells, also those of their loops and branches, and none of functions and classes."""
    waiting: list[ast.AST] = list(block)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, Scope | ast.ClassDef | ast.expr):
            waiting += ast.iter_child_nodes(node)


def _bound(statement: ast.stmt) -> Iterator[str]:
    """What a statement would have bound, with all that is in it."""
    return (name for one in _statements([statement]) for name in _names_of(one))


def _bound_otherwise(block: Sequence[ast.stmt], failing: set[int]) -> set[str]:
    """What the other statements bind, but for those that ask for the name itself: `model = model.to(device)`."""
    waiting: list[ast.AST] = list(block)
    found = set[str]()
    while waiting:
        node = waiting.pop()
        if id(node) in failing or isinstance(node, ast.expr):
            continue
        if isinstance(node, ast.stmt):
            found |= set(_names_of(node)) - _asked_by(node)
        if not isinstance(node, Scope | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)
    return found


def _asked_by(statement: ast.stmt) -> set[str]:
    """The names that an assignment needs."""
    match statement:
        case ast.AugAssign(target=ast.Name(id=name)):
            return {name}
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            return {one.id for one in ast.walk(value) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}
    return set()


def _names_of(statement: ast.stmt) -> Iterator[str]:
    """What a statement binds itself, without what its blocks do."""
    if isinstance(statement, Scope | ast.ClassDef):
        yield statement.name
        return
    waiting: list[ast.AST] = [one for one in ast.iter_child_nodes(statement) if not isinstance(one, ast.stmt)]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.stmt() | ast.Lambda() | ast.comprehension():
                continue
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.alias():
                yield (node.asname or node.name).partition(".")[0]
            case (
                ast.ExceptHandler(name=str() as name)
                | ast.MatchAs(name=str() as name)
                | ast.MatchStar(name=str() as name)
            ):
                yield name
        waiting += ast.iter_child_nodes(node)
