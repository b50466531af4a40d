"""Changes cells of a notebook, and leaves every other byte of its JSON as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from json.decoder import JSONDecodeError, JSONDecoder

from stethoscope.core.finding import Edit
from stethoscope.observe.code.notebooks import BadNotebook, cells_of, python_lines
from stethoscope.observe.code.rewriting import changed_text

_SPACE = re.compile(r"[ \t\n\r]*")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_DECODER = JSONDecoder()


@dataclass(frozen=True)
class _Source:
    """Where a cell's text stands in the JSON."""

    first: int
    last: int
    """Behind its last character."""
    parts: tuple[str, ...]
    """Its strings, as they are written: a line each, or one for all."""
    is_list: bool
    between: str
    """What separates two strings of a list."""


def rewritten_notebook(data: bytes, changes: Iterable[Sequence[Edit]]) -> tuple[bytes, int]:
    """The notebook with as many of the changes as can be made, and how many these are.

    A change is left out as a whole where it is not within one cell, where it overlaps one that came before it, or where
    the cell would no longer parse.
    """
    by_cell: dict[int, list[list[Edit]]] = {}
    for change in changes:
        cells = {edit.place.cell for edit in change}
        number = cells.pop() if len(cells) == 1 else None
        if number is not None:
            plain = [replace(edit, place=replace(edit.place, cell=None)) for edit in change]
            by_cell.setdefault(number, []).append(plain)
    try:
        text = data.decode("utf-8")
        texts = {cell.number: cell.text for cell in cells_of(data)}
        sources = _sources(text)
    except (UnicodeDecodeError, BadNotebook, JSONDecodeError, LookupError, RecursionError):
        return data, 0
    count = 0
    changed = []
    for number in sorted(by_cell, reverse=True):  # from behind, so that places before stay
        source, old = sources.get(number), texts.get(number)
        if source is None or old is None or "".join(json.loads(part) for part in source.parts) != old:
            continue
        new, made = changed_text(old, by_cell[number], "\n", lambda one: python_lines(one) is not None)
        if made:
            text = text[: source.first] + _written(new, source) + text[source.last :]
            count += made
            changed.append(number)
    after = text.encode()
    return (after, count) if _is_the_same_but(data, after, changed) else (data, 0)


def _written(text: str, source: _Source) -> str:
    """A cell's text in the form that it had; its lines that did not change byte for byte."""
    ascii_only = all(part.isascii() for part in source.parts)
    known = {json.loads(part): part for part in source.parts}

    def one(line: str) -> str:
        return known.get(line) or json.dumps(line, ensure_ascii=ascii_only)

    return source.between.join(one(line) for line in _LINE.findall(text)) if source.is_list else one(text)


def _sources(text: str) -> Mapping[int, _Source]:
    """Where the texts of the cells stand, by their number counted from 1.

    Raises: JSONDecodeError or LookupError where it is not built as a notebook is.
    """
    found = {}
    cells = _members(text, _skip(text, 0))["cells"]
    for number, cell in enumerate(_elements(text, cells[0]), start=1):
        members = _members(text, cell[0])
        if "source" in members:
            found[number] = _source(text, *members["source"])
    return found


def _source(text: str, first: int, last: int) -> _Source:
    if text[first] == '"':
        return _Source(first, last, (text[first:last],), False, "")
    spans = list(_elements(text, first))
    if not spans:
        return _Source(first, last, (), True, "")
    parts = tuple(text[start:end] for start, end in spans)
    between = text[spans[0][1] : spans[1][0]] if len(spans) > 1 else "," + text[first + 1 : spans[0][0]]
    return _Source(spans[0][0], spans[-1][1], parts, True, between)


def _members(text: str, start: int) -> dict[str, tuple[int, int]]:
    """Of an object: key to where its value begins and ends."""
    found = {}
    at = _skip(text, start + 1)
    if text[start] != "{":
        raise LookupError("no object")
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        first = _skip(text, _skip(text, at) + 1)
        _, at = _DECODER.raw_decode(text, first)
        found[key] = first, at
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _elements(text: str, start: int) -> Iterable[tuple[int, int]]:
    """Of an array: where its values begin and end."""
    if text[start] != "[":
        raise LookupError("no array")
    at = _skip(text, start + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        yield at, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _is_the_same_but(before: bytes, after: bytes, changed: Iterable[int]) -> bool:
    """Whether two notebooks differ in the texts of these cells only."""
    documents = [json.loads(one) for one in (before, after)]
    for document in documents:
        for number in changed:
            document["cells"][number - 1].pop("source", None)
    return bool(documents[0] == documents[1])
