"""Scripts that are cut into cells, as editors and notebooks write them: what stands alone there is displayed."""

from __future__ import annotations

import re

from stethoscope.facts.code import Bare, Code

_MARKS = re.compile(r"^(?:#\s?%%|#\s?In\s?\[|#\s*<codecell>|#\s?COMMAND -{5})")
"""How VS Code and Spyder, nbconvert, older notebooks, and Databricks begin a cell."""
_GALLERY = re.compile(r"^\s*[rR]?(?:\"\"\"|''')(?:.*\n){0,6}?[=*]{5,}\s*\n")
"""The title with which each file of Sphinx-Gallery begins; its cells begin with a line of `#`."""

MOST_OF_TITLE = 12
"""Lines in which a title is looked for."""


def is_displayed(code: Code, bare: Bare) -> bool:
    """Whether an expression is shown to who runs its cell: the last of a notebook's, or one of a script in cells that
    stands outside of all loops and functions.
    """
    if bare.displayed or code.cells:
        return bare.displayed
    if code.contexts[bare.context].kind != "module":
        return False
    if "in cells" not in code.memo:
        marked = any(_MARKS.match(line) for line in code.lines if line.startswith("#"))
        code.memo["in cells"] = marked or _is_of_gallery(code)
    is_in_cells: bool = code.memo["in cells"]
    return is_in_cells


def _is_of_gallery(code: Code) -> bool:
    head = "\n".join(code.lines[:MOST_OF_TITLE])
    return _GALLERY.match(head) is not None and any(line.startswith("#" * 20) for line in code.lines)
