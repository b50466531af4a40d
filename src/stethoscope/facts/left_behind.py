"""What a file leaves behind: a later class or function has its name, it cannot be made, or nothing comes to it.

raise Exception(out.shape)                              a look at the first batch, that was left there
loss.backward()                                         is not reached, and what stands behind the loop is not
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, At, Call, Class, Code, Function
from stethoscope.facts.linked import uncommented


def left_behind(code: Code) -> list[At]:
    """Where that stands from which nothing follows: it is replaced before anybody names it, cannot be made, or is not
    reached.
    """
    if "left behind" not in code.memo:
        code.memo["left behind"] = [one.at for one in code.classes if _cannot_be_made(code, one)]
        code.memo["left behind"] += [one.at for one, later in _replaced(code) if not _is_named(code, one, later)]
        code.memo["left behind"] += [at for call in code.calls if (at := _unreached_behind(code, call)) is not None]
    found: list[At] = code.memo["left behind"]
    return found


def _definitions(code: Code) -> Iterator[Class | Function]:
    yield from code.classes
    yield from (one for one in code.functions[1:] if one.owner == NOWHERE and one.name.isidentifier())


def _cannot_be_made(code: Code, cls: Class) -> bool:
    """Whether the constructor of a class ends with an error, whatever it is given."""
    if "__init__" not in cls.methods:
        return False
    at = code.functions[cls.methods["__init__"]].at
    body = [line for line in code.lines[at.line : at.end_line] if line.strip()]
    edge = len(body[-1]) - len(body[-1].lstrip()) if body else 0
    is_flat = all(len(line) - len(line.lstrip()) >= edge for line in body)
    return bool(body) and is_flat and re.match(r"\s*raise\b", body[-1]) is not None and not _is_left(body)


def _is_left(body: list[str]) -> bool:
    return any(re.match(r"\s*return\b", line) for line in body)


def _unreached_behind(code: Code, call: Call) -> At | None:
    """What stands behind a line of its block that always leaves, and behind the loops whose first round it ends."""
    line = code.lines[call.at.line - 1]
    if not _LEAVES.match(line) or (code.cells and code.function_at(call.context) == 0):
        return None  # of a notebook only the cell ends there
    edge, number = _edge(line), call.context
    end = _end_of_block(code, call.at.end_line, edge)
    if end == call.at.end_line:
        return None
    while code.contexts[number].kind in _GOES_THROUGH:
        head = code.contexts[number].at.line
        if any(_GOES_ON.match(before) for before in code.lines[head : call.at.line - 1]):
            break  # a round may end before it comes to that line
        edge, number = _edge(code.lines[code.contexts[number].at.line - 1]), code.contexts[number].parent
        end = _end_of_block(code, end, edge)
    return At(call.at.end_line + 1, 0, end, 0)


def _end_of_block(code: Code, behind: int, edge: int) -> int:
    """The last line of the block with this edge, of which a line was given."""
    end = behind
    for number, line in enumerate(code.lines[behind:], behind + 1):
        if line.strip() and _edge(line) < edge:
            return end
        end = number if line.strip() and not line.lstrip().startswith("#") else end
    return end


def _edge(line: str) -> int:
    return len(line) - len(line.lstrip())


_LEAVES = re.compile(r"\s*(?:raise\s+[\w.]+\(|(?:sys\.exit|os\._exit|exit|quit)\()")
_GOES_ON = re.compile(r"\s*(?:break|continue)\b|.*:\s*(?:break|continue)\b")
_GOES_THROUGH = ("for", "while")
"""Blocks that an error leaves, so that what stands behind them is not reached."""


def _replaced(code: Code) -> Iterator[tuple[Class | Function, Class | Function]]:
    """What stands in the same block as a later one of its name, and that one."""
    latest = dict[tuple[str, int], Class | Function]()
    for one in sorted(_definitions(code), key=lambda each: each.at, reverse=True):
        parent = code.contexts[one.context].parent
        is_marked = code.lines[one.at.line - 2].lstrip().startswith("@") if one.at.line > 1 else False
        if (one.name, parent) in latest and not is_marked:  # a decorator may keep it
            yield one, latest[one.name, parent]
        latest[one.name, parent] = one


def _is_named(code: Code, one: Class | Function, later: Class | Function) -> bool:
    """Whether what stands before the later one, outside of the class or function itself, speaks of it."""
    outside = [*code.lines[: one.at.line - 1], *code.lines[one.at.end_line : later.at.line - 1]]
    return re.search(rf"\b{re.escape(one.name)}\b", uncommented(outside)) is not None
