"""Edits of source text, and questions to a syntax tree: what the faults of `injections` are made with.

None of it uses the facts of the linter: what makes a place fit for a fault is read from the syntax tree alone, so that
the bench does not ask the linter what the linter will find.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

Statements = list[ast.stmt]
SCHEDULER = re.compile(r"sched|lr_|warmup|annealer", re.I)
OPTIMIZER = re.compile(r"(?:^|[._])(?:\w*optim\w*|opt|opt_\w+|\w+_opt|solver)(?:\[[^\]]*\])?$", re.I)
MODAL = re.compile(
    r"[dD]ropout|BatchNorm(?!\.convert)|torchvision\.models|\bmodels\.(?!\w*Model)[a-z]\w*\(|from_pretrained|timm\.create"
)
"""Text of a file whose models act differently in train and eval mode."""


@dataclass(frozen=True)
class Change:
    """A stretch of the text, as offsets, and what stands there instead."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Mutant:
    """A fault in a text."""

    line: int
    """Where it was made."""
    region: tuple[int, int]
    """Lines, one of which a finding must name."""
    changes: tuple[Change, ...]
    identity: str = ""
    """Text of what surrounds it: of two alike, one is a copy."""
    others: tuple[tuple[int, int], ...] = ()
    """Where else the same fault was made: a finding may name a line of these instead."""


@dataclass
class Script:
    """A file that is to be changed."""

    text: str
    tree: ast.Module
    around: str = ""
    """What the files that it imports from its project name of layers with modes."""
    project: str = ""
    """The text of these files."""
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self.lines = self.text.split("\n")
        self.starts = [0, *accumulate(len(line) + 1 for line in self.lines)]

    # Places

    def offset(self, line: int, column: int) -> int:
        """A place that `ast` names, as an index of the text."""
        text = self.lines[line - 1]
        shown = column if text.isascii() else len(text.encode()[:column].decode("utf-8", "replace"))
        return self.starts[line - 1] + shown

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """A node, as indices of the text."""
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self.offset(node.lineno, node.col_offset), self.offset(end_line, end_column)

    def source(self, node: ast.expr | ast.stmt) -> str:
        """The text of a node."""
        start, end = self.span(node)
        return self.text[start:end]

    def up(self, node: ast.AST) -> Iterator[ast.AST]:
        """What is around a node, innermost first."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def function(self, node: ast.AST) -> ast.AST:
        """The function around a node, or the module."""
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module
        return next((one for one in self.up(node) if isinstance(one, kinds)), self.tree)

    def class_(self, node: ast.AST) -> ast.ClassDef | None:
        """The class around a node."""
        return next((one for one in self.up(node) if isinstance(one, ast.ClassDef)), None)

    def statement(self, node: ast.AST) -> ast.stmt:
        """The statement that a node belongs to."""
        return node if isinstance(node, ast.stmt) else next(one for one in self.up(node) if isinstance(one, ast.stmt))

    def block(self, statement: ast.stmt) -> Statements:
        """The list of statements in which one stands."""
        parent = self.parents[statement]
        for name in ("body", "orelse", "finalbody"):
            block = getattr(parent, name, None)
            if isinstance(block, list) and statement in block:
                return block
        return [statement]

    def region(self, node: ast.AST) -> tuple[int, int]:
        """The lines in which a finding about a node stands: its function; at module level its outermost block."""
        home = self.function(node)
        if isinstance(home, ast.Module):
            home = [node, *self.up(node)][-2] if node in self.parents else node
            assert isinstance(home, ast.stmt | ast.expr)
            return home.lineno - 3, (home.end_lineno or home.lineno) + 3
        assert isinstance(home, ast.stmt)
        first = min([home.lineno, *(one.lineno for one in getattr(home, "decorator_list", ()))])
        return first, home.end_lineno or home.lineno

    # Edits

    def replaced(self, node: ast.expr | ast.stmt, text: str) -> Change:
        """Another text for a node."""
        return Change(*self.span(node), text)

    def gone(self, statement: ast.stmt) -> Change:
        """A statement that does nothing."""
        return self.replaced(statement, "pass")

    def followed(self, statement: ast.stmt, other: ast.stmt) -> Change:
        """Another statement behind a simple one, on its line."""
        end = self.span(statement)[1]
        return Change(end, end, f"; {self.source(other)}")

    def led(self, statement: ast.stmt, text: str) -> Change:
        """A line in front of a statement."""
        start = self.span(statement)[0]
        indent = " " * statement.col_offset
        return Change(start, start, f"{text}\n{indent}")

    def mutant(self, at: ast.expr | ast.stmt, *changes: Change, region: tuple[int, int] | None = None) -> Mutant:
        """A fault at a node."""
        lines = region or self.region(at)
        around = "\n".join(self.lines[max(0, lines[0] - 1) : lines[1]])
        return Mutant(at.lineno, lines, changes, re.sub(r"\s+", " ", around))

    # Questions

    def nodes(self, kind: type | tuple[type, ...]) -> Iterator[ast.AST]:
        """All nodes of a kind."""
        return (node for node in ast.walk(self.tree) if isinstance(node, kind))

    def calls(self, *names: str) -> Iterator[ast.Call]:
        """All calls whose last name is one of these."""
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call) and last(node) in names)


def within(node: ast.AST) -> Iterator[ast.AST]:
    """A node and what is inside of it, in order, without functions and classes that it defines."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from within(child)


def inside(block: ast.AST | Iterable[ast.AST]) -> Iterator[ast.AST]:
    """What is inside of a function's or a loop's body, or of statements."""
    for child in ast.iter_child_nodes(block) if isinstance(block, ast.AST) else block:
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from within(child)


def last(call: ast.Call) -> str:
    """`step` of `a.b.step()`."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def owner(call: ast.Call) -> str:
    """`a.b` of `a.b.step()`."""
    return ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def methods(block: ast.AST | Iterable[ast.AST], name: str) -> list[ast.Call]:
    """Calls of a method."""
    return [
        node for node in inside(block)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name
    ]  # fmt: skip


def alone(call: ast.Call, script: Script) -> ast.Expr | None:
    """The statement that is nothing but this call."""
    parent = script.parents.get(call)
    return parent if isinstance(parent, ast.Expr) else None


def steps(block: ast.AST | Iterable[ast.AST]) -> list[ast.Call]:
    """Steps of optimizers, straight or through a scaler."""
    found = []
    for call in methods(block, "step"):
        given = ast.unparse(call.args[0]) if call.args else owner(call)
        if OPTIMIZER.search(given) and not SCHEDULER.search(given) and not SCHEDULER.search(owner(call)):
            found.append(call)
    return found


def trainings(script: Script) -> Iterator[ast.AST]:
    """The innermost loops that go backward and step; and functions that do, without a loop of their own."""
    functions = [script.tree, *script.nodes((ast.FunctionDef, ast.AsyncFunctionDef))]
    for function in functions:
        loops = [node for node in inside(function) if isinstance(node, ast.For | ast.While | ast.AsyncFor)]
        training = [loop for loop in loops if methods(loop, "backward") and steps(loop)]
        inner = [one for one in training if not any(other is not one and other in within(one) for other in training)]
        yield from inner
        if not inner and not isinstance(function, ast.Module) and methods(function, "backward") and steps(function):
            yield function


def name_of(node: ast.AST | None) -> str:
    """A plain or dotted name, or nothing."""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def made_as(script: Script, pattern: str) -> dict[str, ast.Call]:
    """Names, with and without `self.`, that are assigned a call whose full text matches a pattern."""
    match = re.compile(pattern)
    found: dict[str, ast.Call] = {}
    for node in script.nodes((ast.Assign, ast.AnnAssign)):
        assert isinstance(node, ast.Assign | ast.AnnAssign)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        value = node.value
        while (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Attribute)
            and value.func.attr in ("to", "cuda", "cpu", "double", "float", "half")
        ):
            value = value.func.value
        if isinstance(value, ast.Call) and match.fullmatch(ast.unparse(value.func)):
            found.update({name_of(target): value for target in targets if name_of(target)})
    return found


def keyword(call: ast.Call, name: str) -> ast.keyword | None:
    """A keyword argument of a call."""
    return next((one for one in call.keywords if one.arg == name), None)


def without(script: Script, call: ast.Call, name: str) -> Change | None:
    """A call without one of its keyword arguments."""
    kept = [script.source(one) for one in call.args]
    kept += [
        (f"{one.arg}=" if one.arg else "**") + script.source(one.value) for one in call.keywords if one.arg != name
    ]
    if len(kept) == len(call.args) + len(call.keywords):
        return None
    return script.replaced(call, f"{script.source(call.func)}({', '.join(kept)})")


def changed(text: str, changes: Iterable[Change]) -> str:
    """A text after its edits."""
    for change in sorted(changes, key=lambda one: (one.start, one.end), reverse=True):
        text = text[: change.start] + change.text + text[change.end :]
    return text


_WITHOUT_GRAPH = {
    "detach", "data", "item", "tolist", "argmax", "argmin", "argsort", "max", "min", "topk", "sort", "numpy", "eq",
    "shape", "size", "round", "long", "int", "bool", "dtype", "device",
}  # fmt: skip
"""What of an answer has no graph, or may have none."""
_ARRAYS = re.compile(r"(?:np|numpy)\.(?:array|asarray|concatenate|append|vstack|hstack|stack|mean)")


def becomes_array(block: ast.AST, script: Script, models: set[str]) -> bool:
    """Whether an answer of one of these models, given in a block, becomes an array as it is: torch refuses that where
    the answer has a graph (`Can't call numpy() on Tensor that requires grad`), so that without `no_grad` the program
    ends with an error and is no silent fault.
    """
    names: set[str] = set()
    for _ in range(3):  # what a variable gets further down may be used in the next round
        for node in within(block):
            names |= _named_with_graph(node, models, names)
    home = block if isinstance(block, ast.FunctionDef) else script.function(block)
    first, end = getattr(block, "lineno", 1), getattr(block, "end_lineno", 0)
    for node in within(home):
        if not isinstance(node, ast.Call) or node.lineno < first:
            continue
        if node.lineno > end and names & _bound(home, end, node.lineno):
            continue  # bound anew behind the block
        taken: list[ast.expr] = list(node.args[:1]) if _ARRAYS.fullmatch(ast.unparse(node.func)) else []
        if isinstance(node.func, ast.Attribute) and node.func.attr == "numpy":
            taken = [node.func.value]
        if any(_has_graph(one, models, names) for one in taken):
            return True
    return False


def _named_with_graph(node: ast.AST, models: set[str], names: set[str]) -> set[str]:
    """The variables that get an answer with its graph in a statement, or the list that it is put into."""
    if isinstance(node, ast.Assign) and _has_graph(node.value, models, names):
        targets = [
            one for target in node.targets for one in (target.elts if isinstance(target, ast.Tuple) else [target])
        ]
        return {name_of(one) for one in targets if name_of(one)}
    if isinstance(node, ast.For | ast.comprehension) and _has_graph(_gone_over(node.iter), models, names):
        return {one.id for one in ast.walk(node.target) if isinstance(one, ast.Name)}
    puts = isinstance(node, ast.Call) and last(node) in ("append", "extend")
    if isinstance(node, ast.Call) and puts and node.args and _has_graph(node.args[0], models, names):
        return {owner(node)} - {""}
    return set()


def _gone_over(rounds: ast.expr) -> ast.expr:
    """What a loop takes one by one: `answers` of `enumerate(answers)`."""
    named = isinstance(rounds, ast.Call) and ast.unparse(rounds.func) in ("enumerate", "zip", "list", "reversed")
    return ast.Tuple(rounds.args) if isinstance(rounds, ast.Call) and named else rounds


def _bound(home: ast.AST, first: int, end: int) -> set[str]:
    """The variables that are assigned in some lines of a function."""
    nodes = [one for one in within(home) if isinstance(one, ast.Assign) and first < one.lineno < end]
    return {name_of(target) for one in nodes for target in one.targets}


def _has_graph(node: ast.expr, models: set[str], names: set[str]) -> bool:
    if name_of(node) in names:
        return True
    if isinstance(node, ast.Subscript):
        return _has_graph(node.value, models, names)
    if isinstance(node, ast.List | ast.Tuple):
        return any(_has_graph(one, models, names) for one in node.elts)
    if isinstance(node, ast.IfExp):
        return _has_graph(node.body, models, names) or _has_graph(node.orelse, models, names)
    if isinstance(node, ast.BinOp):
        return _has_graph(node.left, models, names) or _has_graph(node.right, models, names)
    if isinstance(node, ast.Attribute):
        return node.attr not in _WITHOUT_GRAPH and _has_graph(node.value, models, names)
    if not isinstance(node, ast.Call):
        return False
    if name_of(node.func) in models:
        return True
    if last(node) in _WITHOUT_GRAPH:
        return False
    if re.match(r"(?:torch|F|nn\.functional)\.[\w.]+$", name_of(node.func)):
        return bool(node.args) and _has_graph(node.args[0], models, names)
    return isinstance(node.func, ast.Attribute) and _has_graph(node.func.value, models, names)


def stops_without_gradients(block: ast.AST) -> bool:
    """Whether a training reads a part of a gradient that must be there, `parameter.grad.data.clamp_(-1, 1)`: where
    there is none the program ends with an error and is no silent fault.
    """
    reads = any(isinstance(one, ast.Attribute) and isinstance(one.value, ast.Attribute) and one.value.attr == "grad"
                for one in inside(block))  # fmt: skip
    return reads and not re.search(r"\.grad is |hasattr\(|getattr\(|try:", ast.unparse(block))


Finder = Callable[[Script], Iterator[Mutant]]


@dataclass(frozen=True)
class Kind:
    """A kind of fault."""

    name: str
    rules: tuple[str, ...]
    """Any of them is right."""
    find: Finder
    bar: float = 0.85
