"""Lines of source code that have to do with gradients themselves, and not only with how they look in a plot."""

from __future__ import annotations

import re

from stethoscope.facts.code import At, Code

_PLOTTED = re.compile(r"\s*(?:[\w.\[\]]+\.)?(?:add_(?:histogram|scalar)s?|hist\w*_summary|scalar_summary)\(")

_TEXT = re.compile(r"""(["'])[^"']*\1""")


def says_gradients(code: Code, pattern: re.Pattern[str], at: At) -> bool:
    """Whether a stretch has words of a pattern, in lines that do more than hand a gradient to a plot."""
    return any(
        pattern.search(_TEXT.sub("", text)) and not _PLOTTED.match(text)
        for text in (line.partition("#")[0] for line in code.lines[at.line - 1 : at.end_line])
    )
