"""What a statement evaluates whenever it is come to: no branch, no lambda, and no round of a comprehension.

for x in load(root):            `load(root)`, and nothing of the block
    y = f(x) if x else g(x)     `x`
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

Scope = ast.FunctionDef | ast.AsyncFunctionDef


def evaluated(statement: ast.stmt) -> Iterator[ast.AST]:
    """The expressions that a statement always evaluates, each with what it is made of; no annotations."""
    waiting = list(_heads(statement))
    while waiting:
        node = waiting.pop()
        yield node
        waiting += _parts(node)


def defaults(function: Scope | ast.Lambda) -> list[ast.expr]:
    """The defaults of its parameters, evaluated when it is made."""
    return [*function.args.defaults, *(one for one in function.args.kw_defaults if one is not None)]


def _heads(statement: ast.stmt) -> Iterator[ast.AST]:
    """What a statement evaluates before, or without, any block of it."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from (*statement.decorator_list, *defaults(statement))
        case ast.ClassDef():
            yield from (*statement.decorator_list, *statement.bases, *statement.keywords)
        case ast.For() | ast.AsyncFor():
            yield statement.iter
        case ast.If() | ast.While() | ast.Assert():
            yield statement.test
        case ast.With() | ast.AsyncWith():
            yield from (item.context_expr for item in statement.items)
        case ast.Match():
            yield statement.subject
        case ast.AnnAssign():
            yield from (one for one in (statement.value, _place(statement.target)) if one is not None)
        case ast.Assign() | ast.AugAssign() | ast.Expr() | ast.Return() | ast.Raise():
            yield from ast.iter_child_nodes(statement)


def _place(target: ast.expr) -> ast.expr | None:
    return None if isinstance(target, ast.Name) else target


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Lambda():
            yield from defaults(node)
        case ast.IfExp():
            yield node.test
        case ast.BoolOp():
            yield node.values[0]
        case ast.Compare():
            yield from (node.left, node.comparators[0])
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            yield node.generators[0].iter
        case _:
            yield from ast.iter_child_nodes(node)
