"""Finds the lines that cut a graph, on the way from the model's call to the loss, in the user's source.

What is cut is measured elsewhere; this only says where to look. It reads the source once for a line that
backpropagates, and follows names: only what the model's output goes into, and what the loss is made of, counts.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import CodeType

from stethoscope.facts.code import Site
from stethoscope.observe.training.sites import Spot, site_of

METHODS = frozenset({"detach", "detach_", "item", "numpy", "tolist", "argmax", "long", "int", "bool"})
"""Methods whose result has no graph."""
FUNCTIONS = frozenset({"tensor", "as_tensor", "from_numpy", "argmax", "array", "asarray", "float", "int", "Variable"})
"""Functions whose result has no graph, by their last name."""
CONTEXTS = frozenset({"no_grad", "inference_mode"})
MOST_CUTS = 4
_EXACT_MODULES = frozenset({"torch", "np", "numpy", "F", "functional"})


@lru_cache(maxsize=16)
def _functions(file: str) -> tuple[ast.AST, ...]:
    """Every function of a file, and the file itself."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return ()
    return (tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)))


def _function_of(code: CodeType) -> ast.AST | None:
    """The function that a code object was compiled from."""
    for node in _functions(code.co_filename):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if node.name == code.co_name and code.co_firstlineno in (first, node.lineno):
                return node
        elif code.co_name == "<module>":
            return node
    return None


def cuts_in_loop(forward: Spot | None, backward: Spot | None) -> tuple[Site, ...]:
    """Lines between the model's call and `backward()` that cut the graph from one to the other."""
    if backward is None:
        return ()
    if forward is None or forward[0] is backward[0]:
        return _sites(backward[0], forward[1] if forward else 0, backward[1])
    return (*_sites(forward[0], forward[1], 1 << 30), *_sites(backward[0], 0, backward[1]))[:MOST_CUTS]


def cuts_in_models(codes: Iterable[CodeType]) -> tuple[Site, ...]:
    """Lines of the models' own functions that cut a graph."""
    return tuple(site for code in codes for site in _sites(code, 0, 1 << 30))[:MOST_CUTS]


def _sites(code: CodeType, first: int, last: int) -> tuple[Site, ...]:
    function = _function_of(code)
    if function is None:
        return ()
    found = [site_of((code, line)) for line in dict.fromkeys(_cut_lines(function, first, last))]
    return tuple(site for site in found if site is not None)[:MOST_CUTS]


def _cut_lines(function: ast.AST, first: int, last: int) -> Iterator[int]:
    if isinstance(function, ast.FunctionDef):
        yield from (d.lineno for d in function.decorator_list if _names_context(d))
    statements = sorted(_statements(function, first, last), key=lambda s: s.lineno)
    if not statements:
        return
    needed = _needed(statements, function)
    flowing: set[str] = set()
    for number, statement in enumerate(statements):
        if isinstance(statement, ast.With):
            if any(_names_context(item.context_expr) for item in statement.items):
                yield statement.lineno
            continue
        value = getattr(statement, "value", None)
        if value is None:
            continue
        # In the statement that calls the model its output has no name yet; without a first line any name may be it.
        starts = statement.lineno <= first <= (statement.end_lineno or statement.lineno) or not first
        for node in ast.walk(value):
            if isinstance(node, ast.expr) and _cuts(node) and number in needed and (starts or flowing & _names(node)):
                yield node.lineno
        if starts or flowing & _names(value):
            flowing |= _targets(statement)


def _statements(function: ast.AST, first: int, last: int) -> Iterator[ast.stmt]:
    """Simple statements and `with` lines between two lines, nested functions left out."""
    waiting: list[ast.AST] = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        waiting += ast.iter_child_nodes(node)
        if not isinstance(node, ast.stmt):
            continue
        end = node.end_lineno or node.lineno
        simple = isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr | ast.Return)
        if (simple and end >= first and node.lineno <= last) or (
            isinstance(node, ast.With) and node.lineno <= last and end >= first
        ):
            yield node


def _needed(statements: list[ast.stmt], function: ast.AST) -> set[int]:
    """Indexes of the statements that the last one, or what is returned, is made of."""
    needed: set[int] = set()
    names: set[str] = set()
    for number in reversed(range(len(statements))):
        statement = statements[number]
        is_end = isinstance(statement, ast.Return) or number == len(statements) - 1
        if is_end or names & _targets(statement):
            needed.add(number)
            names |= _names(statement)
    return needed


def _targets(statement: ast.stmt) -> set[str]:
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    found = {name for target in targets if target is not None for name in _names(target)}
    value = getattr(statement, "value", None)
    if isinstance(statement, ast.Expr) and isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        # `loss.detach_()` and `outputs.append(x)` change what they are called on.
        found |= _names(value.func.value)
    return found


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _cuts(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "data"
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    if isinstance(function, ast.Name):
        return (function.id in FUNCTIONS and function.id not in METHODS) or function.id == "int"
    if not isinstance(function, ast.Attribute):
        return False
    owner = function.value
    if isinstance(owner, ast.Name) and owner.id in _EXACT_MODULES:
        return function.attr in FUNCTIONS
    return function.attr in METHODS


def _names_context(node: ast.AST) -> bool:
    """Whether an expression is `torch.no_grad()` or its like."""
    for part in ast.walk(node):
        name = part.attr if isinstance(part, ast.Attribute) else part.id if isinstance(part, ast.Name) else ""
        if name in CONTEXTS:
            return True
    return False


def handing_on(place: Spot | None) -> tuple[Site, ...]:
    """Lines of a function that add up or collect, with its graph, the loss that is backpropagated at a line."""
    function = _function_of(place[0]) if place is not None else None
    if place is None or function is None:
        return ()
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and node.lineno == place[1]]
    losses = {
        call.func.value.id
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "backward"
        and isinstance(call.func.value, ast.Name)
    }
    statements = sorted(_statements(function, 0, 1 << 30), key=lambda s: s.lineno)
    lines = dict.fromkeys(s.lineno for s in statements if losses and _collects(s, losses))
    found = [site_of((place[0], line)) for line in lines]
    return tuple(site for site in found if site is not None)[:MOST_CUTS]


def _collects(statement: ast.stmt, losses: set[str]) -> bool:
    """Whether a statement adds one of these tensors to something else: `total += loss`, `history.append(loss)`."""
    value: ast.AST | None = getattr(statement, "value", None)
    if isinstance(statement, ast.AugAssign):
        return not _targets(statement) & losses and bool(losses & _names_with_graph(statement.value))
    if isinstance(statement, ast.Assign):
        totals = _targets(statement) - losses
        return bool(totals & _names(statement.value) and losses & _names_with_graph(statement.value))
    if isinstance(statement, ast.Expr) and isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        arguments = {name for part in value.args for name in _names_with_graph(part)}
        return value.func.attr in ("append", "add", "update", "extend", "appendleft") and bool(losses & arguments)
    return False


def _names_with_graph(node: ast.AST) -> set[str]:
    """Names in an expression, those left out that lose their graph in it (`loss.item()`)."""
    if isinstance(node, ast.expr) and _cuts(node):
        return set()
    names = {node.id} if isinstance(node, ast.Name) else set()
    return names.union(*(_names_with_graph(child) for child in ast.iter_child_nodes(node)))
