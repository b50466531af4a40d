"""Tables in a terminal: plain text where it is none, never wider than 80 columns there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

from stethoscope.core.text import clean, number
from stethoscope.render.rich_parts import Console, Table, Text

WIDTH = 80


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    right: bool = False
    """Numbers stand right."""
    whole: bool = False
    """Never folded: what one copies from it, such as a name, stays in one piece."""


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    """Print rows of text under their titles; long cells are folded onto more lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(Text(column.title), justify=justify, no_wrap=column.whole, overflow="fold")
    for row in rows:
        table.add_row(*(Text("\n".join(clean(line) for line in cell.splitlines())) for cell in row))
    console = _console(stream)
    with console.capture() as captured:
        console.print(table)
    _put(captured.get(), stream)


def print_line(text: str, stream: TextIO) -> None:
    """Print a sentence, folded like the tables."""
    console = _console(stream)
    with console.capture() as captured:
        console.print(Text(clean(text)))
    _put(captured.get(), stream)


def shown(value: float | None) -> str:
    """A number as a cell; a dash where there is none."""
    return "-" if value is None or value != value else number(value)


def _console(stream: TextIO) -> Console:
    width = None if stream.isatty() else WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def _put(text: str, stream: TextIO) -> None:
    """Write without the blanks at line ends; characters that the stream has no code for become `?`."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    for line in text.splitlines():
        stream.write(line.rstrip().encode(encoding, "replace").decode(encoding) + "\n")
