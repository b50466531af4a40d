"""What a finding in source code needs: its place, the lines that lead there, and pieces of the text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from stethoscope.core.finding import Edit, Link, Place
from stethoscope.facts.code import At, Code, Value
from stethoscope.facts.events import Event
from stethoscope.facts.things import Step

LONGEST_TITLE = 72
LONGEST = 40
"""Characters of a quoted piece of code."""


def place_in(code: Code, at: At) -> Place:
    """The place of a stretch of source, of a notebook with its cell."""
    line, end_line, cell = at.line, at.end_line, None
    if code.cells:
        index = bisect_right([first for _, first in code.cells], at.line) - 1
        if index >= 0:
            cell, first = code.cells[index]
            line, end_line = at.line - first + 1, at.end_line - first + 1
    return Place(
        file=code.file,
        line=line,
        text=_line(code, at.line).strip() or None,
        column=_characters(code, at.line, at.column) + 1,
        end_line=end_line,
        end_column=_characters(code, at.end_line, at.end_column) + 1,
        cell=cell,
    )


def edit_of(code: Code, at: At, text: str) -> Edit:
    """A stretch of source that is to be replaced."""
    return Edit(place_in(code, at), text)


def insertion(code: Code, line: int, column: int, text: str) -> Edit:
    """Text that is to stand in front of a place; the column in bytes, as syntax trees have it."""
    return edit_of(code, At(line, column, line, column), text)


def where(code: Code, at: At) -> str:
    """`train.py:12`."""
    return place_in(code, at).source


def line_of(code: Code, at: At) -> str:
    """`line 12`, of a notebook `cell 4, line 12`: where the file goes without saying."""
    place = place_in(code, at)
    return f"cell {place.cell}, line {place.line}" if place.cell else f"line {place.line}"


def chain(code: Code, steps: Iterable[Step]) -> tuple[Link, ...]:
    """The lines that a value came through; two steps of one line are one."""
    files = {code.file: code} | {other.file: other for other in code.linked.already_read()}
    links: list[Link] = []
    for step in steps:
        home = files.get(step.file)
        place = place_in(home, step.at) if home is not None else Place(file=step.file, line=step.at.line)
        if links and links[-1].place.source == place.source:
            continue
        links.append(Link(place, step.words))
    return tuple(links)


def way_to(file: Code, event: Event, words: str) -> tuple[Link, ...]:
    """The calls through which a loop of this file reaches an event, and the event."""
    called = [Link(place_in(home, call.at), "is called") for home, call in event.via]
    return (*called, Link(place_in(event.code, event.at), words))


def where_event(file: Code, event: Event) -> str:
    """`line 12` of an event in this file, `steps.py:12` of one in another."""
    return line_of(file, event.at) if event.code is file else where(event.code, event.at)


def fitting(*titles: str) -> str:
    """The first title that is short enough; the last one is."""
    return next((title for title in titles if len(title) <= LONGEST_TITLE), titles[-1])


def quoted(code: Code, value: Value | None, otherwise: str = "the value", longest: int = LONGEST) -> str:
    """An expression as it is written, in backticks, where it is short enough for a sentence."""
    text = "" if value is None else code.text(value.at)
    is_cut = value is not None and value.at.end_line != value.at.line
    if not text or is_cut or len(text) > longest or "`" in text:
        return otherwise
    return f"`{text}`"


def comment_at(code: Code, line: int) -> str:
    """What comments say on a line and right above it."""
    said = [_line(code, line).partition("#")[2]]
    above = line - 1
    while _line(code, above).lstrip().startswith("#"):
        said.append(_line(code, above).lstrip(" \t#"))
        above -= 1
    return " ".join(reversed(said))


def _line(code: Code, line: int) -> str:
    return code.lines[line - 1] if 0 < line <= len(code.lines) else ""


def _characters(code: Code, line: int, column: int) -> int:
    """Characters that so many bytes of a line are."""
    text = _line(code, line)
    return column if text.isascii() else len(text.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "replace"))
