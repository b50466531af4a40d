"""How a block of statements ends: it goes on, leaves a loop or its function, or always ends with an error.

for x, y in loader:
    raise ValueError(x.shape)       a look at the first batch, that was left there
    loss.backward()                 is not reached, and what stands behind the loop is not
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence

from stethoscope.facts.code import At
from stethoscope.facts.unentered import is_nothing

_TAKES_ERRORS = re.compile(r"aises|uppress|assert|warns|catch|ignor|try|handl|guard|safe", re.I)
"""A `with` that may go on behind an error."""
_EXITS = {("sys", "exit"), ("os", "_exit"), ("", "exit"), ("", "quit")}

Ways = frozenset[str]
"""In which ways a block may be left; each is one of the words below."""
_ON, _NEXT, _BREAK, _RETURN = "on", "next", "break", "return"
_ERROR, _LEFT, _EXIT = "error", "left", "exit"
"""It ends by an error that nobody meant, by a `raise`, or an exit: said only where that is certain of a statement."""
_CUT = "cut"
"""Behind the error stand more lines of the same block."""
_ENDS = frozenset({_ERROR, _LEFT, _EXIT})
FAILS: Ways = frozenset({_ERROR})
"""How a statement ends in which something fails."""
_PLAIN: dict[type[ast.stmt], Ways] = {
    ast.Return: frozenset({_RETURN}), ast.Break: frozenset({_BREAK}), ast.Continue: frozenset({_NEXT}),
    ast.Raise: frozenset({_LEFT}),
}  # fmt: skip
_GOES_ON: Ways = frozenset({_ON})


class Endings:
    """Looks how blocks end, and keeps where the lines stand that nothing comes to."""

    def __init__(
        self, ends: Callable[[ast.stmt], Ways | None], taken: frozenset[str], *, has_rounds: bool, is_run: bool = False
    ) -> None:  # fmt: skip
        """`ends` says how a statement ends with an error whenever it is come to, None where it need not, without what
        its blocks do; `taken` are names that the file gives another meaning; `has_rounds` is True where each loop is
        taken to have a first round, in which an error in the middle of its lines counts; with `is_run` each one does.
        """
        self._ends, self._taken, self._has_rounds, self._is_run = ends, taken, has_rounds, is_run
        self.behind: list[At] = []
        """What an error keeps from being reached, the line itself included; also loops whose first round fails."""
        self.left: list[At] = []
        """What stands behind a `raise`, an exit, or a line that leaves the block in another way."""

    def of(self, block: Sequence[ast.stmt]) -> Ways:
        """The ways in which a block is left."""
        found: set[str] = set()
        for place, statement in enumerate(block):
            ways = self._ends(statement)
            if ways is not None and (ways == FAILS or hasattr(statement, "body")):
                self.behind.append(_from(statement.lineno, block))
            else:
                ways = self._statement(statement) if ways is None else ways
                if _ON not in ways and place + 1 < len(block):
                    stretch = _from(block[place + 1].lineno, block)
                    (self.behind if _ERROR in ways else self.left).append(stretch)
            found |= ways
            if _ON not in ways:
                return frozenset(found - {_ON} | ({_CUT} if ways & _ENDS and place + 1 < len(block) else set()))
        return frozenset(found | {_ON})

    def _statement(self, statement: ast.stmt) -> Ways:
        known = _PLAIN.get(type(statement))
        if known is not None:
            return known
        match statement:
            case ast.If(test=ast.Constant(value=value)):
                return self.of(statement.body if value else statement.orelse)
            case ast.If():
                return self.of(statement.body) | self.of(statement.orelse)
            case ast.For() | ast.AsyncFor() | ast.While():
                return self._loop(statement)
            case ast.With() | ast.AsyncWith():
                ways = self.of(statement.body)
                is_on = _ON in ways or any(_TAKES_ERRORS.search(ast.unparse(one)) for one in statement.items)
                return ways | {_ON} if is_on else ways
            case ast.Try() | ast.TryStar():
                return self._try(statement)
            case ast.Match():
                return frozenset({_ON}).union(*(self.of(case.body) for case in statement.cases))
            case ast.Assert(test=ast.Constant(value=value)) if not value:
                return frozenset({_LEFT})
            case ast.Expr(value=ast.Call() as call) if self._is_exit(call.func):
                return frozenset({_EXIT})
        return _GOES_ON

    def _loop(self, loop: ast.For | ast.AsyncFor | ast.While) -> Ways:
        if is_nothing(loop):
            return self.of(loop.orelse)
        ways = self.of(loop.body)
        if always_ends(ways) and _ERROR in ways and not ways & {_NEXT, _BREAK}:
            self.behind.append(_from(loop.lineno, [loop]))  # each of its lines is run once at most
        is_endless = isinstance(loop, ast.While) and isinstance(loop.test, ast.Constant) and bool(loop.test.value)
        otherwise = _GOES_ON if is_endless else self.of(loop.orelse)
        # Where its first round always ends with an error in the middle of its lines, as in what was left there to look
        # at something; `for name in unknown: raise KeyError(name)` mostly has no round.
        is_cut = _CUT in ways and not ways & {_ON, _NEXT, _BREAK}
        is_cut = is_cut or (self._is_run and always_ends(ways) and not ways & {_NEXT, _BREAK} and not is_meant(ways))
        inner = ways - {_ON, _NEXT, _BREAK}
        if is_endless or (is_cut and self._has_rounds):
            return inner | {_ON} if _BREAK in ways else inner
        return (inner | otherwise | ({_ON} if _BREAK in ways else frozenset())) - {_CUT}

    def _try(self, statement: ast.Try | ast.TryStar) -> Ways:
        ways = self.of(statement.body)
        if _ON in ways:
            ways = ways - {_ON} | self.of(statement.orelse)
        if statement.handlers:
            caught = frozenset[str]().union(*(self.of(one.body) for one in statement.handlers))
            ways = (ways | caught) - {_CUT}
        last = self.of(statement.finalbody)
        return last if _ON not in last else ways | (last - {_ON})

    def _is_exit(self, called: ast.expr) -> bool:
        """Whether a call ends the program: `sys.exit(1)`."""
        match called:
            case ast.Name(id=name):
                return ("", name) in _EXITS and name not in self._taken
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                return (owner, name) in _EXITS and owner not in self._taken
        return False


def always_ends(ways: Ways) -> bool:
    """Whether a block that is left in these ways ends with an error whenever it is begun."""
    return bool(ways & _ENDS) and _ON not in ways and _RETURN not in ways


def is_meant(ways: Ways) -> bool:
    """Whether every such end is a `raise` or an exit."""
    return _ERROR not in ways


def is_exit(ways: Ways) -> bool:
    """Whether the program may come to an end there that is none of the block's own."""
    return _EXIT in ways


def ends_of(ways: Ways) -> Ways:
    """How a line ends that calls a function which always ends in these ways: all of the function has run by then."""
    return ways & _ENDS | {_LEFT}


def _from(line: int, block: Sequence[ast.stmt]) -> At:
    return At(line, 0, block[-1].end_lineno or line, 0)
