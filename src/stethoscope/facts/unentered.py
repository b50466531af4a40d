"""Blocks that nothing ever enters: loops over nothing, and branches whose condition is written down as false.

for epoch in range(0):      set to 0 by hand, to leave the training out
    train(model)            never runs
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from stethoscope.facts.code import At
from stethoscope.facts.evaluated import Scope
from stethoscope.facts.parsed import Parsed

_HANDING_ON = frozenset({"enumerate", "reversed", "sorted", "iter", "list", "tuple", "tqdm", "tqdm.tqdm"})
"""What gives as many rounds as what it is given."""
_EMPTY = frozenset({"list", "tuple", "dict", "set"})
"""What is empty when it is made of nothing."""
_BLOCKS = (ast.For, ast.While, ast.If)
_TELLING = (ast.Constant, ast.UnaryOp, ast.BoolOp, ast.List, ast.Tuple, ast.Dict, ast.Call)


def unentered(whole: Parsed) -> list[At]:
    """The blocks of a file that never run."""
    zeros = {name for node in whole.nodes if type(node) is ast.Assign for name in _zeros(node)}
    return [
        At(block[0].lineno, 0, block[-1].end_lineno or block[-1].lineno, 0)
        for node in whole.nodes
        if type(node) in _BLOCKS and isinstance(node, _BLOCKS) and _may_be(node)
        for block in _unentered(whole, node, zeros)
        if block
    ]


def _may_be(node: ast.For | ast.While | ast.If) -> bool:
    """Whether the line of a block is of a kind that may tell; most are not."""
    return type(node.iter if isinstance(node, ast.For) else node.test) in _TELLING


def is_nothing(node: ast.For | ast.AsyncFor | ast.While) -> bool:
    """Whether a loop never has a round, as its own line says."""
    if isinstance(node, ast.While):
        return truth(node.test) is False
    return isinstance(node, ast.For) and _is_empty(node.iter)


def truth(test: ast.expr) -> bool | None:
    """What a condition always comes to, as its own words say."""
    match test:
        case ast.Constant(value=value):
            return bool(value)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            known = truth(inner)
            return None if known is None else not known
        case ast.BoolOp(op=operator, values=values):
            decides = isinstance(operator, ast.Or)
            return decides if any(truth(one) is decides for one in values) else None
    return None


def _unentered(whole: Parsed, node: ast.For | ast.While | ast.If, zeros: set[str]) -> Iterator[Sequence[ast.stmt]]:
    if isinstance(node, ast.If):
        known = truth(node.test)
        if known is not None:
            yield node.orelse if known else node.body
    elif is_nothing(node) or (isinstance(node, ast.For) and _goes_to_zero(whole, node, zeros)):
        yield node.body


def _is_empty(looped: ast.expr) -> bool:
    match looped:
        case ast.List(elts=[]) | ast.Tuple(elts=[]) | ast.Dict(keys=[]) | ast.Constant(value="" | b""):
            return True
        case ast.Call(func=ast.Name(id="range"), args=[*limits], keywords=[]):
            numbers = [_number(one) for one in limits]
            known = [one for one in numbers if one is not None]
            is_known = len(known) == len(numbers) in (1, 2, 3) and known[2:] != [0]
            return is_known and not range(*known)
        case ast.Call(func=ast.Name(id=name), args=[], keywords=[]):
            return name in _EMPTY
        case ast.Call(func=ast.Name() | ast.Attribute() as maker, args=[first, *_]):
            return _is_empty(first) and ast.unparse(maker) in _HANDING_ON
    return False


def _number(node: ast.expr) -> int | None:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
            return -value
    return None


def _goes_to_zero(whole: Parsed, loop: ast.For, zeros: set[str]) -> bool:
    """Whether a loop counts to a variable of the function around it that is bound once, to 0: `for i in range(n)`."""
    match loop.iter:
        case ast.Call(func=ast.Name(id="range"), args=[ast.Name(id=name)], keywords=[]) if name in zeros:
            around = _around(whole, loop)
            return around is not None and _is_zero(around, name)
    return False


def _around(whole: Parsed, loop: ast.For) -> Scope | None:
    """The innermost function around a statement."""
    last = loop.end_lineno or loop.lineno
    scopes = (one for one in whole.nodes if isinstance(one, Scope))
    found = [one for one in scopes if one.lineno <= loop.lineno and last <= (one.end_lineno or 0)]
    return max(found, key=lambda one: (one.lineno, one.col_offset), default=None)


def _is_zero(function: Scope, name: str) -> bool:
    bound = 0
    for node in ast.walk(function):
        match node:
            case ast.Name(id=own, ctx=ast.Store() | ast.Del()) if own == name:
                bound += 1
            case ast.arg(arg=own) | ast.ExceptHandler(name=own) | ast.MatchAs(name=own) | ast.MatchStar(name=own):
                bound += 2 * (own == name)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                bound += 2 * (name in names)
            case ast.FunctionDef(name=own) | ast.AsyncFunctionDef(name=own) | ast.ClassDef(name=own):
                bound += 2 * (own == name)
            case ast.alias(name=own, asname=other):
                bound += 2 * (name == (other or own.partition(".")[0]))
            case ast.MatchMapping(rest=own):
                bound += 2 * (own == name)
    return bound == 1 and any(name in _zeros(one) for one in function.body)


def _zeros(statement: ast.stmt) -> Iterator[str]:
    """The name to which a statement gives 0, or less."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=int(value))) if value <= 0:
            yield name
