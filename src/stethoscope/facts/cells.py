"""Scripts that are cut into cells, as editors and notebooks write them: what stands alone there is displayed."""

from __future__ import annotations

import re

from stethoscope.facts.code import Bare, Code

_MARKS = re.compile(r"^(?:#\s?%%|#\s?In\s?\[|#\s*<codecell>|#\s?COMMAND -{5}|#{20,}\s*$)")
"""How VS Code and Spyder, nbconvert, older notebooks, Databricks and Sphinx-Gallery begin a cell."""


def is_displayed(code: Code, bare: Bare) -> bool:
    """Whether an expression is shown to who runs its cell: the last of a notebook's, or one of a script in cells that
    stands outside of all loops and functions.
    """
    if bare.displayed:
        return True
    if code.contexts[bare.context].kind != "module":
        return False
    if "in cells" not in code.memo:
        code.memo["in cells"] = any(_MARKS.match(line) for line in code.lines if line.startswith("#"))
    is_in_cells: bool = code.memo["in cells"]
    return is_in_cells
