"""Parameters that a function cannot do without, though None is their default: it asks them for something in any case.

def load(root, changes=None):
    return Pictures(root, changes.train)        ends with an error where no `changes` are given
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator

from stethoscope.facts.code import Call, Code, Constant, Function, Parameter
from stethoscope.facts.endings import FAILS, Endings, Ways, always_ends, is_exit, is_meant
from stethoscope.facts.evaluated import Scope, evaluated
from stethoscope.facts.linked import uncommented

_DEEPEST = 3
"""Functions through which such a parameter is handed on."""
_EXITS = frozenset({"exit", "quit"})
_IS_SPECIAL = re.compile(r"__\w+__")
"""Attributes that None has."""


def is_needed(home: Code, function: Function, parameter: Parameter) -> bool:
    """Whether a call that leaves a parameter with the default None always ends with an error that nobody meant."""
    if not isinstance(parameter.default, Constant) or parameter.default.value is not None:
        return False
    known: dict[tuple[int, str], bool] = home.memo.setdefault("needed", {})
    key = function.at.line, parameter.name
    if key not in known:
        text = "\n".join(home.lines[function.at.line - 1 : function.at.end_line])
        known[key] = False  # while it is looked for
        known[key] = _is_asked(text, parameter.name) and _fails(home, _scope(text), parameter.name, _DEEPEST)
    return known[key]


def lacks_what_is_needed(code: Code, call: Call) -> bool:
    """The same of a call of what a file imports from a module of its own package that is not read, as it defines no
    network and trains none.
    """
    first, _, rest = call.name.partition(".")
    name = rest.rpartition(".")[2]
    if call.is_open or not name or first != code.module.partition(".")[0] or name[:1].isupper():
        return False
    scope = _function(code, name) if code.names.get(name) == call.name else None
    if scope is None or scope.decorator_list:
        return False
    own = [*scope.args.posonlyargs, *scope.args.args]
    optional = own[len(own) - len(scope.args.defaults) :]
    absent = [one.arg for one, value in zip(optional, scope.args.defaults, strict=True) if _is_none(value)]
    given = {*(one.arg for one in own[: len(call.arguments)]), *(word for word, _ in call.keywords)}
    return any(_fails(code, scope, one, _DEEPEST) for one in absent if one not in given)


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _is_asked(text: str, name: str) -> bool:
    """Whether a text asks a name for anything, hands it on, or hangs on it."""
    asks = rf"(?<![\w.]){name}\s*[.\[(]|[\[(,=]\s*\*?{name}\s*[\],)]|=\s*{name}\s*$"
    decides = rf"\b(?:in|if|not) {name}\b|\b{name} (?:==|!=|is) "
    return re.search(f"{asks}|{decides}", text, re.M) is not None


def _scope(text: str) -> Scope | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (found,) = ast.parse(textwrap.dedent(text)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return found if isinstance(found, ast.FunctionDef) else None


def _fails(home: Code, scope: Scope | None, name: str, depth: int) -> bool:
    """Whether a function always ends with an error where a parameter of it is None."""
    if scope is None or depth <= 0 or any(_may_bind(one, name) for each in scope.body for one in ast.walk(each)):
        return False

    def ends(statement: ast.stmt) -> Ways | None:
        nodes = [statement, *evaluated(statement)]
        return FAILS if any(_is_refused(home, one, name, depth) for one in nodes) else None

    folded = _Folded(name)
    body = folded.visit(ast.Module([*scope.body], [])).body
    ways = Endings(ends, _EXITS, has_rounds=False).of(body)
    return always_ends(ways) and (folded.is_decided or not is_meant(ways)) and not is_exit(ways)


class _Folded(ast.NodeTransformer):
    """Puts what the conditions of branches come to in their place, where a name is None."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.is_decided = False
        """Whether any condition hangs on it."""

    def visit_If(self, node: ast.If) -> ast.If:
        """Another branch, as what a syntax tree holds is asked for again."""
        known = _truth(node.test, self._name)
        self.is_decided |= known is not None
        test = node.test if known is None else ast.copy_location(ast.Constant(known), node.test)
        inner = [[self.visit(one) for one in block] for block in (node.body, node.orelse)]
        return ast.copy_location(ast.If(test, *inner), node)


def _truth(test: ast.expr, name: str) -> bool | None:
    """What a condition comes to where a name is None; None where that hangs on more."""
    match test:
        case ast.Name(id=said) if said == name:
            return False
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            known = _truth(inner, name)
            return None if known is None else not known
        case ast.BoolOp(op=operator, values=values):
            found = [_truth(one, name) for one in values]
            decides = isinstance(operator, ast.Or)
            if decides in found:
                return decides
            return None if None in found else not decides
        case ast.Compare(left=ast.Name(id=said), ops=[operator], comparators=[ast.Constant(value=other)]) if (
            said == name
        ):
            if isinstance(operator, ast.Eq | ast.Is):
                return other is None
            return other is not None if isinstance(operator, ast.NotEq | ast.IsNot) else None
    return None


def _may_bind(node: ast.AST, name: str) -> bool:
    """Whether something in a function gives the parameter another value, or makes a generator of it."""
    match node:
        case ast.Name(id=said, ctx=ast.Store() | ast.Del()):
            return said == name
        case ast.Global() | ast.Nonlocal():
            return name in node.names
        case ast.Yield() | ast.YieldFrom():
            return True
        case ast.ExceptHandler(name=said) | ast.MatchAs(name=said) | ast.MatchStar(name=said):
            return said == name
        case ast.FunctionDef(name=said) | ast.ClassDef(name=said):
            return said == name
        case ast.alias():
            return (node.asname or node.name) == name
    return False


def _is_refused(home: Code, node: ast.AST, name: str, depth: int) -> bool:
    """Whether an expression, or a statement's own part of it, always fails as this name is None."""
    match node:
        case ast.Attribute(value=ast.Name(id=said), attr=attribute):
            return said == name and not _IS_SPECIAL.fullmatch(attribute)
        case ast.Subscript(value=ast.Name(id=said)) | ast.Starred(value=ast.Name(id=said)):
            return said == name
        case ast.For(iter=ast.Name(id=said)) | ast.Assign(targets=[ast.Tuple()], value=ast.Name(id=said)):
            return said == name
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return ast.unparse(node.generators[0].iter) == name
        case ast.Call(func=ast.Name(id=said)):
            is_length = said == "len" and [ast.unparse(one) for one in node.args] == [name]
            return said == name or is_length or _is_handed_on(home, node, said, name, depth)
    return False


def _is_handed_on(home: Code, call: ast.Call, called: str, name: str, depth: int) -> bool:
    """Whether a call gives the parameter to a function of the project that cannot do without it."""
    places = [number for number, one in enumerate(call.args) if isinstance(one, ast.Name) and one.id == name]
    words = [one.arg for one in call.keywords if isinstance(one.value, ast.Name) and one.value.id == name]
    if not (places or words) or any(isinstance(one, ast.Starred) for one in call.args) or None in words:
        return False
    scope = _function(home, called)
    if scope is None or scope.decorator_list:
        return False
    own = [one.arg for one in (*scope.args.posonlyargs, *scope.args.args)]
    handed = [own[place] for place in places if place < len(own)]
    known = {*own, *(one.arg for one in scope.args.kwonlyargs)}
    return any(_fails(home, scope, one, depth - 1) for one in (*handed, *words) if one in known)


def _function(home: Code, name: str) -> Scope | None:
    """The one function of the project that has this name at the top of a file."""
    known: dict[str, Scope | None] = home.memo.setdefault("functions by text", {})
    if name not in known:
        text = "" if isinstance(home.names.get(name), int) else home.linked.anywhere(name)
        texts = [uncommented(home.lines), text or ""]
        said = re.compile(rf"^(?:(?:async\s+)?def|class)\s+{re.escape(name)}\b|^{re.escape(name)}\s*=(?!=)", re.M)
        found = [(each, one.start()) for each in texts for one in said.finditer(each)]
        known[name] = _scope("\n".join(_block(*found[0]))) if len(found) == 1 and text is not None else None
    return known[name]


def _block(text: str, start: int) -> Iterator[str]:
    """The lines of a definition that stands at the very left."""
    for number, line in enumerate(text[start:].split("\n")):
        if number and line[:1].strip() and not line.startswith(")"):
            return
        yield line
