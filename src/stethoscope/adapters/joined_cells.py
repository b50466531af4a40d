"""A notebook that an editor hands over as one text of Python: JupyterLab does, all cells below each other.

Where a cell ends matters: what its last line gives is displayed, and so not dropped. The text does not say it, but its
cells are two empty lines apart. Where those stand within a cell it is taken for two: less is found then, and not more.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from stethoscope.core.finding import Finding, Place

EMPTY_LINES = 2
"""Between two cells: as jupyterlab-lsp joins them."""
_PLACE = re.compile(r"cell (\d+), line (\d+)")


def first_lines(lines: Sequence[str]) -> tuple[int, ...] | None:
    """The line, from 1, at which each cell begins; None where the text does not parse.

    Args:
        lines: of the text, without their ends.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            statements = ast.parse("\n".join(lines)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    starts, before = [1], 0
    for statement in statements:
        first = min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", []))])
        empty = 0
        for number in range(before + 1, first):
            if lines[number - 1].strip():
                empty = 0
                continue
            empty += 1
            if empty >= EMPTY_LINES and lines[number].strip():
                starts.append(number + 1)
        before = statement.end_lineno or first
    return tuple(dict.fromkeys(starts))


def cells_at(lines: Sequence[str], starts: Sequence[int]) -> list[str]:
    """The text of each cell."""
    ends = [*(start - 1 for start in starts[1:]), len(lines)]
    return ["\n".join(lines[start - 1 : end]) for start, end in zip(starts, ends, strict=True)]


def in_the_whole(finding: Finding, lines: Sequence[str], starts: Sequence[int]) -> Finding:
    """A finding in these cells as one in the text. What it says quotes a line, since whoever has the notebook open sees
    neither the numbers of these cells nor those of the text's lines.
    """

    def quoted(match: re.Match[str]) -> str:
        number = starts[int(match[1]) - 1] + int(match[2]) - 1
        return f"`{lines[number - 1].strip().replace('`', '')}`"

    def moved(value: Any) -> Any:
        if isinstance(value, str):
            return _PLACE.sub(quoted, value)
        if isinstance(value, tuple):
            return tuple(moved(one) for one in value)
        if isinstance(value, Place) and value.cell is not None:
            above = starts[value.cell - 1] - 1
            line, end = (number + above if number is not None else None for number in (value.line, value.end_line))
            return replace(value, cell=None, line=line, end_line=end)
        if is_dataclass(value) and not isinstance(value, type | Place):
            return replace(value, **{one.name: moved(getattr(value, one.name)) for one in fields(value) if one.init})
        return value

    whole = moved(finding)
    assert isinstance(whole, Finding)
    return whole
