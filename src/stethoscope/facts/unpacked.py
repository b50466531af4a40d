"""Answers and batches that are unpacked into more or fewer names than they have parts.

for images, labels in loader:      `__getitem__` of its data set returns `image, text, label`
    ...                            ends with an error
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from stethoscope.facts.code import NOWHERE, Call, Code, Group, Name, Starred, Value
from stethoscope.facts.libraries import ITERATING
from stethoscope.facts.origins import called, member, thing_of
from stethoscope.facts.parsed import Parsed
from stethoscope.facts.things import Thing

_OF_FORM = frozenset({"torch.utils.data.DataLoader"})
_OWN_COLLATION = ("collate_fn", "batch_sampler")


def ill_unpacked(code: Code, whole: Parsed) -> Iterator[ast.expr]:
    """The values that a file takes apart in a way that always ends with an error."""
    calls = {(call.at.line, call.at.column): call for call in code.calls if call.name != ".next"}
    loops = {(here.at.line, here.at.column): here.value for here in code.contexts if here.kind in ("for", "once")}
    for node in whole.nodes:
        match node:
            case ast.Assign(targets=[target], value=ast.Call() as value):
                call = calls.get((value.lineno, value.col_offset))
                if call is not None and _differ(_count(target), _parts_of_answer(code, call)):
                    yield value
            case ast.For():
                yield from _in_rounds(code, node, loops.get((node.lineno, node.col_offset)))


def _in_rounds(code: Code, loop: ast.For, source: Value | None) -> Iterator[ast.expr]:
    """What a loop over a loader takes apart: the batch, at once or in its lines."""
    target: ast.expr = loop.target
    while isinstance(source, Call) and source.name in ITERATING and source.arguments:
        if source.name == "builtins.enumerate":
            if not (isinstance(target, ast.Tuple) and len(target.elts) == 2):
                return
            target = target.elts[1]
        source = source.arguments[0]
    taken = [(target, loop.iter)] if not isinstance(target, ast.Name) else _taken_apart(target.id, loop.body)
    if not taken:
        return
    parts = _parts_of_batch(code, source)
    yield from (value for names, value in taken if _differ(_count(names), parts))


def _taken_apart(name: str, body: Iterable[ast.stmt]) -> list[tuple[ast.expr, ast.expr]]:
    """The statements of a loop that take a variable apart before anything binds it anew."""
    found = list[tuple[ast.expr, ast.expr]]()
    for statement in body:
        match statement:
            case ast.Assign(targets=[target], value=ast.Name(id=same) as value) if same == name:
                found.append((target, value))
        if any(isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Store)
               for one in ast.walk(statement)):  # fmt: skip
            break
    return found


def _count(target: ast.expr) -> int:
    """Into how many names a value is taken apart; 0 where that is open."""
    if not isinstance(target, ast.Tuple | ast.List) or any(isinstance(one, ast.Starred) for one in target.elts):
        return 0
    return len(target.elts)


def _differ(names: int, parts: int) -> bool:
    return names > 0 and parts > 0 and names != parts


def _parts_of_answer(code: Code, call: Call) -> int:
    """How many parts the answer of a function, or of a network, has on every way; 0 where that is not known."""
    if call.receiver is not None and call.name != "()":
        return 0
    thing = called(code, call)
    if thing.kind == "module" and thing.made is not None and call.name == "()":
        thing = member(code, thing, "forward")
    return _parts_returned(thing)


def _parts_of_batch(code: Code, source: Value | None) -> int:
    """The same of the batches of a loader, whose data set is one of the project."""
    loader = _made_once(code, source)
    if loader is None or loader.name not in _OF_FORM or loader.is_open or len(loader.arguments) > 4:
        return 0
    if any(loader.keyword(word) is not None for word in _OWN_COLLATION):
        return 0
    data = thing_of(code, loader.argument(0, "dataset"))
    return _parts_returned(member(code, data, "__getitem__")) if data.cls is not None else 0


def _made_once(code: Code, value: Value | None) -> Call | None:
    """The call by which a variable is bound in the one place that binds it."""
    if not isinstance(value, Name) or value.binding == NOWHERE:
        return value if isinstance(value, Call) else None
    binding = code.bindings[value.binding]
    is_plain = binding.how == "assign" and not binding.item and isinstance(binding.value, Call)
    return binding.value if is_plain and isinstance(binding.value, Call) else None


def _parts_returned(thing: Thing) -> int:
    function, home = thing.function, thing.code
    if function is None or home is None or function.decorators or not function.returns:
        return 0
    if any("yield" in line for line in home.lines[function.at.line - 1 : function.at.end_line]):
        return 0
    counts = {_size(one.value) for one in function.returns}
    return counts.pop() if len(counts) == 1 else 0


def _size(value: Value) -> int:
    if not isinstance(value, Group) or value.kind != "tuple" or any(isinstance(one, Starred) for one in value.items):
        return 0
    return len(value.items)
