"""Notebooks: the code cells as one module in the order of the document, without magics and shell lines."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_OF_PYTHON = (
    "stethoscope time timeit capture prun mprun memit pyinstrument scalene heat matplotlib skip notify wandb debug"
)
"""Cell magics whose body is Python, run with something round it."""
_FOREIGN = re.compile(rf"%%(?!(?:{_OF_PYTHON.replace(' ', '|')})\b)")
"""Any other, such as `%%bash`, `%%html`, `%%writefile model.py`."""
_MAGIC = re.compile(r"\s*(?:%|!|\?)|.*[^=!<>]=\s*(?:!|%[a-zA-Z])|\s*[\w.]+\?\??\s*$")
"""A line of IPython's own: `%matplotlib inline`, `!pip install x`, `files = !ls`, `model?`."""
_BINDS_NOTHING = re.compile(
    r"\s*(?:!|\?|[\w.]+\?\??\s*$|%%time\b|%%?(?:matplotlib|(?:re)?load_ext|autoreload|config|cd|env|set_env|pip|conda"
    r"|pwd|ls|mkdir|rm|cp|mv|cat|debug|tensorboard|bash|sh|html|javascript|js|latex|markdown|svg|writefile|cmd|whos?"
    r"|precision|timeit|wandb|system)\b(?!.*--out))",
    re.I,
)
"""Lines and cells of IPython's own that bind no names of the notebook."""
FLAGS = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
"""Of `compile`, for a notebook: cells may await."""
_LANGUAGES = ("python", "python3", "ipython", "ipython3")


class BadNotebook(Exception):
    """A notebook that cannot be read; its text says why, as a clause."""


@dataclass(frozen=True)
class Cell:
    """A code cell."""

    number: int
    """Counted from 1 among all cells."""
    text: str


def cells_of(data: bytes) -> tuple[Cell, ...]:
    """The code cells of a notebook's JSON.

    Raises: BadNotebook, with the reason.
    """
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadNotebook(f"is no notebook: its JSON is broken ({error})"[:120]) from error
    if not isinstance(document, dict):
        raise BadNotebook("is no notebook: its JSON is no object")
    cells = document.get("cells")
    if cells is None and isinstance(document.get("worksheets"), list):  # the format before version 4
        cells = [cell for sheet in document["worksheets"] if isinstance(sheet, dict) for cell in sheet.get("cells", ())]
    if not isinstance(cells, list):
        raise BadNotebook("is no notebook: it has no cells")
    language = _language(document.get("metadata"))
    if language.lower() not in _LANGUAGES:
        raise BadNotebook(f"its kernel speaks {language}, and no Python")
    return tuple(
        Cell(number, _text(cell.get("source", cell.get("input", ""))))
        for number, cell in enumerate(cells, start=1)
        if isinstance(cell, dict) and cell.get("cell_type") == "code"
    )


def joined(cells: Iterable[Cell]) -> tuple[str, tuple[tuple[int, int], ...], tuple[str, ...]]:
    """The cells as one text, for each its number and its first line there, and what was left out.

    What is no Python is blanked, so that no line moves: a cell of another language, magics, shell lines. A cell that
    does not parse by itself is blanked, too: the others can still be read.
    """
    lines: list[str] = []
    starts = []
    left_out = []
    for cell in cells:
        starts.append((cell.number, len(lines) + 1))
        shown = python_lines(cell.text)
        if shown is None:
            left_out.append(f"cell {cell.number} does not parse")
        lines += [""] * (cell.text.count("\n") + 1) if shown is None else shown
    return "\n".join(lines) + "\n", tuple(starts), tuple(left_out)


def bring_names(cells: Iterable[Cell]) -> bool:
    """Whether a line or a cell of IPython's own may bind a name: `%run setup.py`, `files = !ls`, `%store -r x`."""
    lines = (line for cell in cells for line in cell.text.split("\n"))
    return any(
        _MAGIC.match(one) and not one.lstrip().startswith("#") and not _BINDS_NOTHING.match(one) for one in lines
    )


def python_lines(text: str) -> list[str] | None:
    """The lines of a cell, those that are no Python emptied; None when the rest does not parse."""
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "").lstrip()
    if _FOREIGN.match(first):
        return [""] * len(lines)
    shown = []
    continued = False
    for line in lines:
        if continued or (_MAGIC.match(line) and not line.lstrip().startswith("#")):
            # Where it is the only line of a block, something must stand there.
            indent = line[: len(line) - len(line.lstrip())]
            shown.append(f"{indent}pass" if indent and not continued else "")
            continued = line.endswith("\\")
        else:
            shown.append(line)
    if _parses("\n".join(shown)):
        return shown
    # A `%` may have been the operator of a continued line.
    return lines if _parses("\n".join(lines)) else None


def _parses(text: str) -> bool:
    try:
        compile(text, "cell", "exec", flags=FLAGS, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _language(metadata: Any) -> str:
    """The language that a notebook says it is in; Python when it says nothing."""
    if not isinstance(metadata, dict):
        return "python"
    for key, name in (("language_info", "name"), ("kernelspec", "language")):
        table = metadata.get(key)
        if isinstance(table, dict) and isinstance(table.get(name), str) and table[name]:
            return str(table[name])
    return "python"


def _text(source: Any) -> str:
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    return source.replace("\r\n", "\n").replace("\r", "\n") if isinstance(source, str) else ""
