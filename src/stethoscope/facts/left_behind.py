"""What a file leaves behind: a class or function of which a later one has the name, before anybody has named it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, At, Class, Code, Function
from stethoscope.facts.linked import uncommented


def left_behind(code: Code) -> list[At]:
    """Where that stands from which nothing follows, as it is replaced before anybody names it."""
    if "left behind" not in code.memo:
        replaced = _replaced(code)
        code.memo["left behind"] = [one.at for one, later in replaced if not _is_named(code, one, later)]
    found: list[At] = code.memo["left behind"]
    return found


def _definitions(code: Code) -> Iterator[Class | Function]:
    yield from code.classes
    yield from (one for one in code.functions[1:] if one.owner == NOWHERE and one.name.isidentifier())


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
