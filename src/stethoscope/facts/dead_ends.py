"""Lines that nothing comes to, since a line before them always ends with an error, and classes that cannot be made.

def train(loader):
    net = make_net(width)       nothing in the file binds `width`
    for x, y in loader:         is not reached

What fails is said by its neighbours: `unbound` (names), `unset` (attributes), `signatures` (calls, and what torch does
not have); `endings` says how a block ends then.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_left
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from stethoscope.facts.asked_networks import asked_of_networks
from stethoscope.facts.called_in_vain import called_in_vain
from stethoscope.facts.code import NOWHERE, At, Call, Code, Symbol
from stethoscope.facts.elsewhere import fails_elsewhere, has_no_batches, loops_without_batches
from stethoscope.facts.ended_cells import Cells
from stethoscope.facts.endings import FAILS, Endings, Ways, always_ends, ends_of, is_exit, is_meant
from stethoscope.facts.evaluated import Scope, evaluated
from stethoscope.facts.first_rounds import EXITS
from stethoscope.facts.misread import misread
from stethoscope.facts.module_classes import is_plain_module
from stethoscope.facts.origins import called, lineage
from stethoscope.facts.own_modules import asked_in_vain
from stethoscope.facts.parsed import Parsed, parsed
from stethoscope.facts.signatures import (
    does_not_fit,
    has_heirs,
    has_no_other,
    is_defined_once,
    is_not_there,
    is_said_once,
    name_of,
    own_method,
)
from stethoscope.facts.things import Thing, binding_of
from stethoscope.facts.unbound import called_before_bound, unbound_at_top, unbound_names
from stethoscope.facts.unentered import unentered
from stethoscope.facts.unpacked import ill_unpacked
from stethoscope.facts.unset import Unset
from stethoscope.facts.whole_runs import option_of, read_before_bound, unused_above

MOST_ROUNDS = 4
"""Classes that make each other through which an error is followed."""


_RUNNING = ("torch.no_grad", "torch.enable_grad", "torch.inference_mode", "tensorflow.function")
"""Decorators that run a function as it is."""
_BY_CLASS = ("builtins.classmethod", "builtins.staticmethod")
"""Decorators of methods that are called of the class itself."""


class DeadEnds(NamedTuple):
    """Where the lines of a file end with an error."""

    behind: tuple[At, ...]
    """Stretches of which each begins with such a line, and the classes that cannot be made."""
    left: tuple[At, ...]
    """Likewise, where a `raise` or an exit is the end, or the block is left in another way: that is meant."""
    classes: frozenset[int]
    """Those that cannot be made."""
    unrun: tuple[At, ...] = ()
    """What a line of the module's own keeps from ever being run, be it made or not."""
    broken: tuple[At, ...] = ()
    """Networks whose `forward` always ends with an error, and that have nothing else to be used by."""
    failing: tuple[At, ...] = ()
    """Functions that always end with an error that nobody meant, where their loops have a round."""
    functions: frozenset[int] = frozenset()
    """Those that always do, as it is."""


NOWHERE_DEAD = DeadEnds((), (), frozenset())


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
    unset: frozenset[str]
    """What `self` does not have."""


class _Search:
    """Goes through the functions of a file, until no more of them are seen to fail."""

    def __init__(self, code: Code, whole: Parsed) -> None:
        self.code, self.whole = code, whole
        self.unset = Unset(code, whole)
        self.unbound = unbound_names(code, whole)
        self.early = called_before_bound(whole) | read_before_bound(code, whole)
        self.functions: dict[int, Ways] = {}
        """Those that always end with an error, or an exit."""
        self.classes: dict[int, bool] = {}
        """Those that cannot be made, and whether that is meant."""
        self.dead: set[At] = set()
        """Calls of these classes, of such ones of other files, and what else ends with an error."""
        self.last: dict[At, Ways] = {}
        """Calls of these functions."""
        self.homes: list[_Home] = []
        self.taken = frozenset[str]()
        self.cells: Cells | None = None
        """Of a notebook."""
        self.failing: list[At] = []
        self.lines: list[int] = []
        """On which anything may fail."""
        self.ill: frozenset[int] = frozenset()
        """By `id`, what is unpacked into other numbers of names."""

    def found(self) -> DeadEnds:
        behind, left = list[At](), list[At]()
        names = unbound_at_top(self.code, self.whole).union(*self.unbound.values())
        first = {node.lineno for node in self.whole.nodes if isinstance(node, ast.expr) and self._may_fail(node, names)}
        self.dead = {call.at for call in self.code.calls if does_not_fit(self.code, call)}
        self.dead |= {one.at for one in self._symbols() if is_not_there(self.code, one)}
        self.dead |= {*misread(self.code, self.whole), *asked_in_vain(self.code, self.whole)}
        self.dead |= set(asked_of_networks(self.code, self.whole))
        unpacked = list(ill_unpacked(self.code, self.whole))
        self.ill = frozenset(id(one) for one in unpacked)
        first |= {one.lineno for one in unpacked}
        self.homes, self.taken = list(self._homes()), self._taken()
        for _ in range(MOST_ROUNDS):
            self.dead |= {call.at for call in self.code.calls if self._is_dead(call)}
            self.dead |= {*loops_without_batches(self.code, self._failing_of)}
            self.last = {
                call.at: ends_of(ways) for call in self.code.calls if (ways := self._ways_of(call)) is not None
            }
            self.lines = sorted(first | {at.line for at in (*self.dead, *self.last)})
            before = len(self.functions) + len(self.classes)
            self.failing.clear()
            endings = [self._of(home) for home in self.homes]
            behind, left = [at for one in endings for at in one.behind], [at for one in endings for at in one.left]
            for number in range(len(self.code.classes)):
                self._look_at_class(number)
            if len(self.functions) + len(self.classes) == before:
                break
            first |= {one.lineno for one in self.whole.nodes if isinstance(one, ast.Call) and _is_of_base(one)}
        for number, is_so_meant in self.classes.items():
            if is_so_meant or not self._is_left_by_heirs(number):
                (left if is_so_meant else behind).extend(self._needing_an_object(number))
        if has_no_batches(self.code, self._failing_of):
            behind.append(At(1, 0, len(self.code.lines), 0))
        behind += [*self._under_options(), *(self.cells.blocks if self.cells is not None else ())]
        behind += called_in_vain(self.code, self.dead, behind) if self.dead or behind else ()
        left += unentered(self.whole)
        broken = tuple(self.code.classes[one].at for one in self._broken())
        functions = frozenset(one for one, ways in self.functions.items() if not is_meant(ways) and not is_exit(ways))
        return DeadEnds(
            tuple(behind), tuple(left), frozenset(self.classes), tuple(self._unrun()), broken, tuple(self.failing),
            functions,
        )  # fmt: skip

    def _failing_of(self, home: Code) -> Container[int]:
        """The functions of a file that always end with an error, also of one of those that this one imports."""
        return self.functions if home is self.code else dead_ends(self.code.linked.further(home)).functions

    def _unrun(self) -> Iterator[At]:
        """What is never run as the lines of the module itself always end with an error."""
        module = next((home for home in self.homes if isinstance(home.node, ast.Module)), None)
        if module is None or not module.node.body:
            return
        endings = Endings(lambda one: self._ends(module, one), self.taken, has_rounds=False)
        ways = endings.of(module.node.body)
        last = module.node.body[-1].end_lineno
        lines = [at.line for at in endings.behind if at.end_line == last]
        if lines and always_ends(ways) and not is_meant(ways) and not is_exit(ways):
            yield At(min(lines), 0, last or 0, 0)
            yield from unused_above(self.whole, min(lines))

    def _broken(self) -> Iterator[int]:
        """The networks that cannot be asked."""
        for home in self.homes:
            node, owner = home.node, home.owner
            if owner == NOWHERE or not isinstance(node, ast.FunctionDef) or node.name != "forward":
                continue
            cls = self.code.classes[owner]
            others = [name for name in cls.methods if name not in ("__init__", "forward")]
            if node.decorator_list or not all(self._is_only_own(one) for one in others):
                continue
            is_last = home.number == cls.methods.get("forward")
            if is_last and self._fails_in_rounds(home) and not has_heirs(self.code, cls):
                yield owner

    def _fails_in_rounds(self, home: _Home) -> bool:
        """Whether a `forward` always ends with an error that nobody meant, where all of its loops have a round; or the
        program does, by an exit.
        """
        node = home.node
        if isinstance(node, ast.Module) or not (self._is_hot(node) or self.code.calls_of(*EXITS)):
            return False
        ways = Endings(lambda one: self._ends(home, one), self.taken, has_rounds=True, is_run=True).of(node.body)
        return always_ends(ways) and (is_exit(ways) or not is_meant(ways))

    def _is_only_own(self, name: str) -> bool:
        """Whether only the own object calls a method of this name, as far as the file says."""
        called = re.findall(rf"(\bself)?\.{re.escape(name)}\b", self.code.uncommented())
        return bool(called) and all(called)

    def _under_options(self) -> Iterator[At]:
        """What stands under an option of a constructor with which it always ends with an error."""
        homes = {home.number: home for home in self.homes if home.number != NOWHERE}
        for maker in homes.values():
            if maker.owner == NOWHERE or not isinstance(maker.node, ast.FunctionDef) or maker.node.name != "__init__":
                continue
            nodes = {id(home.node): home for home in (maker, *self._called_by(maker, homes))}
            parts = [home.node for home in nodes.values() if isinstance(home.node, Scope)]
            branches = [(part, one) for part in parts for one in part.body if isinstance(one, ast.If)]
            failing = {
                option_of(maker.node, one.test, is_own=part is maker.node)
                for part, one in branches
                if self._branch_fails(nodes[id(part)], one)
            } - {""}
            for home in homes.values() if failing else ():
                for one in ast.walk(home.node) if home.owner == maker.owner else ():
                    if isinstance(one, ast.If) and option_of(maker.node, one.test, is_own=home is maker) in failing:
                        yield At(one.body[0].lineno, 0, one.body[-1].end_lineno or 0, 0)

    def _called_by(self, maker: _Home, homes: Mapping[int, _Home]) -> Iterator[_Home]:
        """The methods that a constructor calls in any case, which are no other ones for any heir."""
        calls = {call.at: call for call in self.code.calls if call.name != "()" and call.receiver is not None}
        for statement in maker.node.body:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                call = calls.get(_at(statement.value))
                method = own_method(self.code, call) if call is not None else None
                is_own = method is not None and method.code is self.code and method.number in homes
                if call is not None and method is not None and is_own and has_no_other(self.code, call):
                    yield homes[method.number]

    def _branch_fails(self, home: _Home, branch: ast.If) -> bool:
        """Whether the lines under a condition always end with an error that nobody meant."""
        if not self._is_hot(branch):
            return False
        ways = Endings(lambda one: self._ends(home, one), self.taken, has_rounds=False).of(branch.body)
        return always_ends(ways) and not is_meant(ways)

    def _symbols(self) -> Iterator[Symbol]:
        """What stands as it is in the head of a class, or is given to a call."""
        values = [base for cls in self.code.classes for base in cls.bases]
        values += [one for call in self.code.calls for one in (*call.arguments, *(each for _, each in call.keywords))]
        return (one for one in values if isinstance(one, Symbol))

    def _may_fail(self, node: ast.expr, names: frozenset[str]) -> bool:
        match node:
            case ast.Name(ctx=ast.Load()):
                return node.id in names or id(node) in self.early
            case ast.Attribute(value=ast.Name(id="self")):
                return node.attr in self.unset.names
        return _is_of_base(node) and isinstance(node, ast.Call) and bool(node.args or node.keywords)

    def _taken(self) -> frozenset[str]:
        """Names of exits that mean something else here; a notebook only ends its cell, and then goes on."""
        stored = {one.id for one in self.whole.nodes if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)}
        stored |= {one.arg for one in self.whole.nodes if isinstance(one, ast.arg)}
        defined = {one.name for one in self.whole.nodes if isinstance(one, Scope | ast.ClassDef)}
        return frozenset(stored | defined | ({"exit", "quit"} if self.code.cells else set()))

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
            yield _Home(node, number, owner, names, self.unset.missing(node, number, owner))
        yield _Home(self.whole.tree, NOWHERE, NOWHERE, unbound_at_top(self.code, self.whole), frozenset())

    def _is_hot(self, node: ast.stmt) -> bool:
        """Whether anything may fail in the lines of a statement."""
        place = bisect_left(self.lines, node.lineno)
        return place < len(self.lines) and self.lines[place] <= (node.end_lineno or node.lineno)

    def _of(self, home: _Home) -> Endings:
        """Where the lines of a function end."""
        endings = Endings(lambda one: self._ends(home, one), self.taken, has_rounds=True)
        node = home.node
        if self.code.cells and node is self.whole.tree:
            self.cells = Cells(self.whole, lambda one: self._ends_itself(home, one) is not None)
        ways = endings.of(node.body)
        is_plain = isinstance(node, ast.FunctionDef) and self._is_plainly_called(node, home.number)
        if is_plain and home.number != NOWHERE and always_ends(ways) and not _has_yield(node.body):
            if not is_meant(ways) and not is_exit(ways):
                self.failing.append(self.code.functions[home.number].at)
            ways = Endings(lambda one: self._ends(home, one), self.taken, has_rounds=False).of(node.body)
            if always_ends(ways):
                self.functions[home.number] = ways
        return endings

    def _is_plainly_called(self, node: ast.FunctionDef, number: int) -> bool:
        """Whether a call of a function runs its lines."""
        told = self.code.functions[number].decorators if number != NOWHERE else ()
        return all(name_of(one) in _RUNNING for one in told) and len(told) == len(node.decorator_list)

    def _ends(self, home: _Home, statement: ast.stmt) -> Ways | None:
        """How a statement ends with an error, without what its blocks do; by one of a notebook only its cell may."""
        if self.cells is not None and home.node is self.whole.tree and self.cells.goes_on(statement):
            return None
        return self._ends_itself(home, statement)

    def _ends_itself(self, home: _Home, statement: ast.stmt) -> Ways | None:
        if not self._is_hot(statement):
            return None
        match statement:
            case ast.AugAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=name)) if name in home.unset:
                return FAILS
        nodes = list(evaluated(statement))
        if any(self._fails(home, one) for one in nodes):
            return FAILS
        return next((self.last[_at(one)] for one in nodes if isinstance(one, ast.Call) and _at(one) in self.last), None)

    def _needing_an_object(self, number: int) -> list[At]:
        """The lines of a class that nothing comes to where it cannot be made."""
        cls = self.code.classes[number]
        methods = [self.code.functions[one] for one in cls.methods.values()]
        by_class = [one for one in methods if any(name_of(each) in _BY_CLASS for each in one.decorators)]
        return [one.at for one in methods if one not in by_class] if by_class else [cls.at]

    def _look_at_class(self, number: int) -> None:
        """Keep a class that cannot be made."""
        thing = Thing("class", self.code.classes[number].name, self.code, number)
        for home, cls in lineage(thing) if self.functions else ():
            if "__new__" in cls.methods or home is not self.code:
                return
            if "__init__" in cls.methods:
                ways = self.functions.get(cls.methods["__init__"])
                if ways is not None and not is_exit(ways):
                    self.classes[number] = is_meant(ways)
                return
            if len(cls.bases) != 1:
                return

    def _is_left_by_heirs(self, number: int) -> bool:
        """Whether a class of the file inherits from one that cannot be made, and can be."""
        at = self.code.classes[number].at
        for heir in range(len(self.code.classes)):
            thing = Thing("class", self.code.classes[heir].name, self.code, heir)
            if heir not in self.classes and any(cls.at == at for home, cls in lineage(thing) if home is self.code):
                return True
        return False

    def _fails(self, home: _Home, node: ast.AST) -> bool:
        """Whether an expression ends with an error when it is evaluated, or unpacked."""
        if id(node) in self.ill:
            return True
        match node:
            case ast.Name(ctx=ast.Load()):
                return node.id in home.unbound or id(node) in self.early or _at(node) in self.dead
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Load()) if name in home.unset:
                return True
            case ast.Call() if _is_of_base(node):
                return home.owner != NOWHERE and self._is_refused(home.owner, node)
            case ast.Call() | ast.Attribute() | ast.Subscript():
                return _at(node) in self.dead
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
        """Whether a call makes what cannot be made."""
        if call.receiver is None and not call.name.rpartition(".")[2][:1].isupper():
            return False  # so that few files are read that this one imports
        if call.receiver is not None and not self._is_defined_here(call):
            return False
        thing = called(self.code, call)
        if thing.kind != "class" or thing.code is None:
            return False
        if thing.code is self.code:
            return thing.number in self.classes
        return thing.number in dead_ends(self.code.linked.further(thing.code)).classes

    def _ways_of(self, call: Call) -> Ways | None:
        """The ways in which a function of the project ends, where it always ends with an error."""
        if fails_elsewhere(self.code, call, self._failing_of):
            return FAILS
        if not self.functions:
            return None
        method = own_method(self.code, call)
        if method is not None:
            return self._ways_of_method(call, method)
        if not self._is_defined_here(call):
            return None
        thing = called(self.code, call)
        if thing.function is None or thing.code is not self.code or thing.function.owner != NOWHERE:
            return None
        return self.functions.get(thing.number) if is_said_once(self.code, thing.function.name) else None

    def _ways_of_method(self, call: Call, method: Thing) -> Ways | None:
        """The same of a method of the own object; one that raises an error itself is left to those who inherit."""
        ways = self.functions.get(method.number) if method.code is self.code else None
        if ways is None or is_meant(ways) or method.function is None:
            return None
        return ways if is_defined_once(self.code, method.function) and has_no_other(self.code, call) else None

    def _is_defined_here(self, call: Call) -> bool:
        """Whether a call is that of a name which a `def` or `class` binds: `cls()` makes an heir."""
        binding = binding_of(self.code, call.receiver) if call.name == "()" else None
        return binding is not None and binding.how == "define"


def _at(node: ast.expr) -> At:
    return At(node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0)


def _is_of_base(node: ast.AST) -> bool:
    """Whether an expression is the call of the constructor of a base."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__")):
            return True
    return False


def _has_yield(body: Sequence[ast.stmt]) -> bool:
    """Whether some lines are those of a generator, outside of the functions and classes in them."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return False
