"""Edits that rules propose: each empty where the text does not allow it, and then there is only a sentence."""

from __future__ import annotations

import re

from stethoscope.core.finding import Edit
from stethoscope.facts.code import At, Call, Code, Value
from stethoscope.rules.lines import edit_of, insertion

Edits = tuple[Edit, ...]


def wrapped(code: Code, at: At, before: str, behind: str) -> Edits:
    """An expression with something in front of it and behind it."""
    first = insertion(code, at.line, at.column, before)
    return (first, insertion(code, at.end_line, at.end_column, behind)) if at[:2] != at[2:] else ()


def with_argument(code: Code, call: Call, text: str) -> Edits:
    """A call with one more argument behind those that it has."""
    given = [*call.arguments, *(value for _, value in call.keywords)]
    if given:
        line, column = max(value.at[2:] for value in given)
        return (insertion(code, line, column, f", {text}"),)
    return (insertion(code, call.at.end_line, call.at.end_column - 1, text),)


def renamed(code: Code, call: Call, old: str, new: str) -> Edits:
    """A call of another function of the same module: `F.nll_loss(...)`; not of a name that was imported alone."""
    match = re.match(rf"[A-Za-z_][\w.]*\.({old})\(", code.text(call.at), re.A)
    if match is None:
        return ()
    start = call.at.column + match.start(1)
    return (edit_of(code, At(call.at.line, start, call.at.line, start + len(old)), new),)


def exchanged(code: Code, one: Value, other: Value) -> Edits:
    """Two expressions of one line each, with their places changed."""
    if one.at.line != one.at.end_line or other.at.line != other.at.end_line:
        return ()
    return edit_of(code, one.at, code.text(other.at)), edit_of(code, other.at, code.text(one.at))


def moved_behind(code: Code, at: At, target: At, *, to_end: bool = False) -> Edits:
    """A statement that has its line for itself, behind another that ends its line.

    Args:
        code: the file of both.
        at: of the statement.
        target: the statement behind which it belongs.
        to_end: whether it stays as far in as it is, since the target is the last of its own block.
    """
    line = _line(code, at.line)
    if at.line != at.end_line or at.line < 2 or not _is_alone(line, at) or _ends_open(_line(code, at.line - 1)):
        return ()
    last = _line(code, target.end_line)
    first = _line(code, target.line)
    if not to_end and (_indent(first) != first[: target.column] or not _is_end(last, target.end_column)):
        return ()
    indent = _indent(line) if to_end else _indent(first)
    before = _bytes(_line(code, at.line - 1))
    gone = edit_of(code, At(at.line - 1, before, at.line, _bytes(line)), "")
    return gone, insertion(code, target.end_line, _bytes(last), f"\n{indent}{line.strip()}")


def imported_as(code: Code, module: str) -> str:
    """The name that a module has in this file, such as `pd`; empty where it has none."""
    return next((name for name, what in code.names.items() if what == module), "")


def _line(code: Code, number: int) -> str:
    return code.lines[number - 1] if 0 < number <= len(code.lines) else ""


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _bytes(line: str) -> int:
    return len(line.encode("utf-8", "surrogatepass"))


def _is_alone(line: str, at: At) -> bool:
    """Whether nothing but a comment shares the line with a statement."""
    return len(_indent(line)) == at.column and _is_end(line, at.end_column)


def _is_end(line: str, column: int) -> bool:
    rest = line.encode("utf-8", "surrogatepass")[column:].decode("utf-8", "replace").strip()
    return not rest or rest.startswith("#")


def _ends_open(line: str) -> bool:
    """Whether a line goes on in the next one."""
    return line.rstrip().endswith("\\")
