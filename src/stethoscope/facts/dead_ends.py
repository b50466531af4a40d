"""Lines that nothing comes to, since a line before them always ends with an error, and classes that cannot be made.

def train(loader):
    net = make_net(width)       nothing in the file binds `width`
    for x, y in loader:         is not reached
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stethoscope.facts.code import NOWHERE, At, Call, Code
from stethoscope.facts.evaluated import Scope, evaluated
from stethoscope.facts.module_classes import is_plain_module
from stethoscope.facts.origins import called, lineage, thing_of
from stethoscope.facts.parsed import Parsed, parsed
from stethoscope.facts.things import Thing
from stethoscope.facts.unbound import called_before_bound, unbound_names
from stethoscope.facts.unset import given_attributes, is_whole

_TAKES_ERRORS = re.compile(r"aises|uppress|assert|warns|catch|ignor|try|handl|guard|safe", re.I)
"""A `with` that may go on behind an error."""
MOST_ROUNDS = 4
"""Classes that make each other through which an error is followed."""


class DeadEnds(NamedTuple):
    """Where the lines of a file end with an error."""

    behind: tuple[At, ...]
    """Stretches of which each begins with such a line, and the classes that cannot be made."""
    classes: frozenset[int]
    """Those that cannot be made."""


NOWHERE_DEAD = DeadEnds((), frozenset())


def dead_ends(code: Code) -> DeadEnds:
    """What of a file is never reached."""
    if "dead ends" not in code.memo:
        whole = parsed(code)
        code.memo["dead ends"] = NOWHERE_DEAD  # while it is looked for
        code.memo["dead ends"] = NOWHERE_DEAD if whole is None else _Search(code, whole).found()
        code.memo.pop("parsed")  # large, and not asked for again
    ends: DeadEnds = code.memo["dead ends"]
    return ends


class _Home(NamedTuple):
    """A function whose lines are looked at."""

    node: Scope | ast.Module
    number: int
    """NOWHERE of the module's own lines, and of what the facts leave out."""
    owner: int
    """The class whose method it is."""
    unbound: frozenset[str]
    is_whole: bool
    """Whether `self` is its instance of a class of which all is seen."""


class _Search:
    """Goes through the functions of a file, until no more of them are seen to fail."""

    def __init__(self, code: Code, whole: Parsed) -> None:
        self.code, self.whole = code, whole
        self.given = given_attributes(code, whole)
        self.unbound = unbound_names(code, whole)
        self.early = called_before_bound(whole)
        self.functions: set[int] = set()
        self.classes: set[int] = set()
        self.dead: set[At] = set()
        """Calls of these classes, and of such ones of other files."""
        self.homes: list[_Home] = []
        self.lines: list[int] = []
        """On which anything may fail."""

    def found(self) -> DeadEnds:
        behind: list[At] = []
        names = frozenset[str]().union(*self.unbound.values())
        first = {node.lineno for node in self.whole.nodes if isinstance(node, ast.expr) and self._may_fail(node, names)}
        self.dead = {call.at for call in self.code.calls if self._is_dead(call)}
        for _ in range(MOST_ROUNDS):
            self.lines = sorted(first | {at.line for at in self.dead})
            if not self.lines:
                return NOWHERE_DEAD
            self.homes = self.homes or list(self._homes())
            before = len(self.functions) + len(self.classes)
            behind = [at for home in self.homes for at in self._of(home)]
            self.classes |= {n for n in range(len(self.code.classes)) if self._cannot_be_made(n)}
            if len(self.functions) + len(self.classes) == before:
                break
            self.dead |= {call.at for call in self.code.calls if self._is_dead(call)}
            first |= {one.lineno for one in self.whole.nodes if isinstance(one, ast.Call) and _is_of_base(one)}
        behind += [self.code.classes[one].at for one in self.classes if not self._is_left_by_heirs(one)]
        if self._has_no_batches():
            behind.append(At(1, 0, len(self.code.lines), 0))
        return DeadEnds(tuple(behind), frozenset(self.classes))

    def _may_fail(self, node: ast.expr, names: frozenset[str]) -> bool:
        match node:
            case ast.Name(ctx=ast.Load()):
                return node.id in names or id(node) in self.early
            case ast.Attribute(value=ast.Name(id="self"), ctx=ast.Load()):
                return self.given is not None and self.given.lacks(node.attr)
        return _is_of_base(node) and isinstance(node, ast.Call) and bool(node.args or node.keywords)

    def _homes(self) -> Iterator[_Home]:
        functions = {(one.at.end_line, one.at.end_column, one.name): n for n, one in enumerate(self.code.functions)}
        classes = {(one.at.end_line, one.at.end_column, one.name): n for n, one in enumerate(self.code.classes)}
        plain = set[int]()
        for node in self.whole.nodes:
            if isinstance(node, ast.ClassDef) and not node.decorator_list and not node.keywords:
                plain.add(classes.get((node.end_lineno or 0, node.end_col_offset or 0, node.name), NOWHERE))
        for node in self.whole.nodes:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            number = functions.get((node.end_lineno or 0, node.end_col_offset or 0, node.name), NOWHERE)
            owner = self.code.functions[number].owner if number != NOWHERE else NOWHERE
            owner = owner if owner in plain else NOWHERE
            names = self.unbound.get((node.name, node.lineno), frozenset())
            yield _Home(node, number, owner, names, self._is_hot(node) and self._has_whole(node, number, owner))
        if not self.code.cells:  # there only the cell ends
            yield _Home(self.whole.tree, NOWHERE, NOWHERE, frozenset(), False)

    def _is_hot(self, node: ast.stmt) -> bool:
        """Whether anything may fail in the lines of a statement."""
        place = bisect_left(self.lines, node.lineno)
        return place < len(self.lines) and self.lines[place] <= (node.end_lineno or node.lineno)

    def _has_whole(self, node: Scope, number: int, owner: int) -> bool:
        """Whether all attributes of the `self` of a method can be known: its class is made by the file, and until its
        constructor is done, or where that is the module's own variable, nobody else gives it any.
        """
        first = next(iter((*node.args.posonlyargs, *node.args.args)), None)
        if first is None or first.arg != "self" or owner == NOWHERE or self.given is None:
            return False
        names = (one for one in ast.walk(node) if isinstance(one, ast.Name) and one.id == "self")
        if not all(isinstance(one.ctx, ast.Load) for one in names) or not is_whole(self.code, owner):
            return False
        things = ((call, called(self.code, call)) for call in self.code.calls)
        made = [call for call, one in things if one.kind == "class" and one.code is self.code and one.number == owner]
        is_first = self.code.functions[number].name == "__init__"
        return any(is_first or self.code.function_at(call.context) == 0 for call in made)

    def _of(self, home: _Home) -> list[At]:
        behind: list[At] = []
        always = self._ends(home, home.node.body, behind)
        node = home.node
        is_plain = isinstance(node, ast.FunctionDef) and not node.decorator_list and not _has(_YIELDS, node.body)
        if always and is_plain and home.number != NOWHERE:
            self.functions.add(home.number)
        return behind

    def _has_no_batches(self) -> bool:
        """Whether the module itself makes loaders, all of data of which no sample can be read."""
        loaders = self.code.calls_of("torch.utils.data.DataLoader")
        data = [thing_of(self.code, one.argument(0, "dataset")) for one in loaders]
        is_own = all(self.code.function_at(one.context) == 0 for one in loaders)
        return bool(data) and is_own and all(self._reads_nothing(one) for one in data)

    def _reads_nothing(self, data: Thing) -> bool:
        methods = data.cls.methods if data.cls is not None and data.code is self.code else {}
        return methods.get("__getitem__", NOWHERE) in self.functions

    def _cannot_be_made(self, number: int) -> bool:
        thing = Thing("class", self.code.classes[number].name, self.code, number)
        for home, cls in lineage(thing) if self.functions else ():
            if "__new__" in cls.methods or home is not self.code:
                return False
            if "__init__" in cls.methods:
                return cls.methods["__init__"] in self.functions
            if len(cls.bases) != 1:
                return False
        return False

    def _is_left_by_heirs(self, number: int) -> bool:
        """Whether a class of the file inherits from one that cannot be made, and can be."""
        at = self.code.classes[number].at
        for heir in range(len(self.code.classes)):
            thing = Thing("class", self.code.classes[heir].name, self.code, heir)
            if heir not in self.classes and any(cls.at == at for home, cls in lineage(thing) if home is self.code):
                return True
        return False

    def _ends(self, home: _Home, block: Sequence[ast.stmt], behind: list[At]) -> bool:
        """Whether the lines of a block end with an error whenever they are begun; adds what stands behind that."""
        for place, statement in enumerate(block):
            if self._is_hot(statement) and (
                any(self._fails(home, one) for one in evaluated(statement)) or self._inner_ends(home, statement, behind)
            ):
                behind.append(_from(statement, block))
                return not _has(_LEAVES, block[:place])
        return False

    def _inner_ends(self, home: _Home, statement: ast.stmt, behind: list[At]) -> bool:
        """The same of the blocks of a statement; a loop may have no round at all."""
        match statement:
            case ast.With() | ast.AsyncWith():
                ends = self._ends(home, statement.body, behind)
                return ends and not any(_TAKES_ERRORS.search(ast.unparse(one.context_expr)) for one in statement.items)
            case ast.If() | ast.For() | ast.AsyncFor() | ast.While():
                ways = [self._ends(home, one, behind) for one in (statement.body, statement.orelse)]
                return isinstance(statement, ast.If) and all(ways)
        return False

    def _fails(self, home: _Home, node: ast.AST) -> bool:
        """Whether an expression ends with an error when it is evaluated."""
        match node:
            case ast.Name(ctx=ast.Load()):
                return node.id in home.unbound or id(node) in self.early
            case ast.Attribute(value=ast.Name(id="self"), ctx=ast.Load()) if home.is_whole:
                return self.given is not None and self.given.lacks(node.attr)
            case ast.Call() if _is_of_base(node):
                return home.owner != NOWHERE and self._is_refused(home.owner, node)
            case ast.Call():
                return At(node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0) in self.dead
        return False

    def _is_refused(self, owner: int, node: ast.Call) -> bool:
        """Whether the call of the constructor of the base ends with an error."""
        thing = Thing("class", self.code.classes[owner].name, self.code, owner)
        if is_plain_module(thing):
            plain = [one for one in node.args if not isinstance(one, ast.Starred)]
            named = [one for one in node.keywords if one.arg]
            is_mixed_in = len(self.code.classes[owner].bases) != 1 or self._has_mixing_heirs(owner)
            return bool(plain or named) and not is_mixed_in and not self.code.says("call_super_init")
        above = [cls for home, cls in lineage(thing) if home is self.code][1:]
        dead = {self.code.classes[one].at for one in self.classes}
        return len(self.code.classes[owner].bases) == 1 and bool(above) and above[0].at in dead

    def _has_mixing_heirs(self, owner: int) -> bool:
        """Whether a class inherits from this one and from another, whose constructor it then calls."""
        name = self.code.classes[owner].name
        mixing = (cls for cls in self.code.classes if len(cls.bases) > 1)
        return any(self.code.text(base.at) == name for cls in mixing for base in cls.bases) or "Mixin" in name

    def _is_dead(self, call: Call) -> bool:
        """Whether a call makes what cannot be made, or names a parameter that is not there."""
        if call.receiver is not None and call.name != "()":
            return False
        if call.receiver is None and not call.name.rpartition(".")[2][:1].isupper():
            return False  # so that few files are read that this one imports
        thing = called(self.code, call)
        if thing.code is None or thing.kind not in ("class", "function"):
            return False
        if _takes_no_such(thing, call):
            return True
        if thing.kind == "function":
            return False
        return thing.number in (self.classes if thing.code is self.code else dead_ends(thing.code).classes)


def _takes_no_such(thing: Thing, call: Call) -> bool:
    """Whether a call names a parameter that its function, or the constructor of its class, does not have."""
    home, function = thing.code, thing.function
    if home is not None and thing.cls is not None:
        is_plain = not _MADE_OTHERWISE.search(home.text(thing.cls.at)) and not _is_marked(home, thing.cls.at)
        own = thing.cls.methods.get("__init__") if is_plain else None
        function = home.functions[own] if own is not None else None
    if home is None or function is None or function.decorators or not call.keywords:
        return False
    known = {one.name for one in function.parameters}
    arguments = {one.name for one in home.bindings[slice(*function.bindings)] if one.how == "argument"}
    return arguments <= known and any(name and name not in known for name, _ in call.keywords)


def _is_marked(home: Code, at: At) -> bool:
    return at.line > 1 and home.lines[at.line - 2].lstrip().startswith(("@", ")"))


_MADE_OTHERWISE = re.compile(r"\bdef __new__|\Aclass [^\n]*metaclass")
"""Classes whose call is not that of their constructor alone."""


def _is_of_base(node: ast.AST) -> bool:
    """Whether an expression is the call of the constructor of a base."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__")):
            return True
    return False


def _from(statement: ast.stmt, block: Sequence[ast.stmt]) -> At:
    return At(statement.lineno, 0, block[-1].end_lineno or statement.lineno, 0)


_LEAVES = (ast.Return, ast.Break, ast.Continue)
_YIELDS = (ast.Yield, ast.YieldFrom)


def _has(kinds: tuple[type[ast.AST], ...], body: Sequence[ast.stmt]) -> bool:
    """Whether one of these stands in some lines, outside of the functions and classes in them."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, kinds):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return False
