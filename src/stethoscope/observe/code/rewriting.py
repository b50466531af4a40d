"""Changes stretches of a source file, and leaves every other byte as it is."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Callable, Iterable, Sequence

from stethoscope.core.finding import Edit

_END = re.compile(r"\r\n|\r|\n")
Span = tuple[int, int]


def rewritten(data: bytes, changes: Iterable[Sequence[Edit]]) -> tuple[bytes, int]:
    """The file with as many of the changes as can be made, and how many these are.

    A change is left out as a whole where it overlaps one that came before it, or where the file would no longer parse.
    New lines end as the file's first one does.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, LookupError, UnicodeDecodeError):
        return data, 0
    if not _parses(text):
        return data, 0
    first = _END.search(text)
    new, count = changed_text(text, changes, first.group() if first else "\n", _parses)
    return new.encode(encoding), count


def changed_text(
    text: str, changes: Iterable[Sequence[Edit]], line_end: str, is_whole: Callable[[str], bool]
) -> tuple[str, int]:
    """The text with as many of the changes as can be made, and how many these are.

    Args:
        text: of a file or a cell.
        changes: all edits of each, or none, are made.
        line_end: of new lines.
        is_whole: whether a text still parses.
    """
    starts = [0, *(match.end() for match in _END.finditer(text))]
    made: list[tuple[Span, str]] = []
    count = 0
    for change in changes:
        wanted = [(span, edit.text.replace("\n", line_end)) for edit in change if (span := _span(edit, starts, text))]
        if len(wanted) < len(change) or any(_touch(span, other) for span, _ in wanted for other, _ in made):
            continue
        if is_whole(_applied(text, [*made, *wanted])):
            made += wanted
            count += 1
    return _applied(text, made), count


def _span(edit: Edit, starts: Sequence[int], text: str) -> Span | None:
    """First character, and the one behind the last; None of a place that the text does not have."""
    place = edit.place
    if not (place.line and place.column and place.end_line and place.end_column) or place.cell:
        return None
    if place.end_line > len(starts):
        return None
    first, last = starts[place.line - 1] + place.column - 1, starts[place.end_line - 1] + place.end_column - 1
    return (first, last) if first <= last <= len(text) else None


def _touch(one: Span, other: Span) -> bool:
    return one == other or (one[0] < other[1] and other[0] < one[1])


def _applied(text: str, edits: Iterable[tuple[Span, str]]) -> str:
    for (first, last), new in sorted(edits, reverse=True):
        text = text[:first] + new + text[last:]
    return text


def _parses(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
