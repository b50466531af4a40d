"""Silences findings in source code that a comment allows: on its line, for its statement, or for the whole file.

# stethoscope: allow missing-zero-grad -- summed on purpose      above all code: holds for the file

optimizer.step()  # stethoscope: allow missing-zero-grad -- summed on purpose

# stethoscope: allow missing-zero-grad -- summed on purpose      a line of its own: holds for the statement below,
optimizer.step()                                                 or for the one above where a block ends
"""

from __future__ import annotations

import io
import re
import tokenize
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stethoscope.core.finding import Finding, Place
from stethoscope.diagnosing.suppress import COMMENT, Suppressions, checked
from stethoscope.facts.code import Code

_SPACE = (tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)
_EVERYWHERE = (1, 1 << 60)


@dataclass(frozen=True)
class Allowance:
    """One rule that a comment allows."""

    rule: str
    reason: str
    line: int
    """Of the comment."""
    first: int
    last: int
    """The lines for which it holds, both included."""

    @property
    def is_for_the_file(self) -> bool:
        """Whether it stands above all code."""
        return (self.first, self.last) == _EVERYWHERE


@dataclass(frozen=True)
class Silenced:
    """What is left of findings where some are allowed."""

    stay: tuple[Finding, ...]
    gone: tuple[tuple[Finding, str], ...]
    """With the reasons."""
    notices: tuple[str, ...]
    """Comments that were not honoured, or that silence nothing while their rule speaks elsewhere."""


@dataclass
class _Statement:
    """A logical line: of a `for` or `def`, its head."""

    first: int
    last: int
    column: int
    is_text: bool = True
    """Whether it is nothing but a literal text, as a docstring is."""


def silence(findings: Iterable[Finding], code: Code, settings: Suppressions) -> Silenced:
    """Leave out what the settings or comments allow; a finding in an imported file obeys the comments there."""
    files = {code.file: code} | {other.file: other for other in code.linked.already_read()}
    read: dict[str, list[Allowance]] = {}
    notices = list(settings.notices)
    _read(code, read, notices)
    stay: list[Finding] = []
    gone: list[tuple[Finding, str]] = []
    used: set[Allowance] = set()
    for finding in findings:
        home = files.get(finding.place.file or "", code)
        if home.file not in read:
            _read(home, read, [])  # its notices are told with the file itself
        line, end = _lines(home, finding.place)
        fitting = [a for a in read[home.file] if a.rule == finding.rule and a.first <= end and line <= a.last]
        used |= set(fitting)
        if fitting:
            gone.append((finding, fitting[0].reason))
        elif finding.rule in settings.reasons:
            gone.append((finding, settings.reasons[finding.rule]))
        else:
            stay.append(finding)
    notices += _misplaced(code, [a for a in read[code.file] if a not in used], stay)
    return Silenced(tuple(stay), tuple(gone), tuple(notices))


def allowances(lines: Iterable[str]) -> Iterator[tuple[str, str, int, int, int]]:
    """Of each comment and rule: name, reason, line of the comment, first and last line for which it holds."""
    comments, statements = _parts("\n".join(lines) + "\n")
    top = next((one.first for one in statements if not one.is_text), 1 << 60)
    starts = [one.first for one in statements]
    for line, column, comment in comments:
        match = COMMENT.match(comment)
        if not match:
            continue
        index = bisect_right(starts, line) - 1
        if index >= 0 and statements[index].last >= line:  # it stands in or behind a statement
            span = statements[index].first, statements[index].last
        elif line < top:
            span = _EVERYWHERE
        else:
            span = _beside(statements, index, column)
        for name in re.split(r"[,\s]+", match["rules"]):
            if name:
                yield name, match["reason"] or "", line, *span


def _beside(statements: list[_Statement], index: int, column: int) -> tuple[int, int]:
    """The lines of the statement below a comment, or of that above where the one below is of an outer block."""
    below = statements[index + 1] if index + 1 < len(statements) else None
    chosen = below if below is not None and below.column >= column else statements[index]
    return chosen.first, chosen.last


def _parts(text: str) -> tuple[list[tuple[int, int, str]], list[_Statement]]:
    """The comments, as line, column and text, and the statements, as far as the text can be split."""
    comments = []
    statements: list[_Statement] = []
    here: _Statement | None = None
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                comments.append((token.start[0], token.start[1], token.string))
            elif token.type in _SPACE or token.type == tokenize.ENDMARKER:
                continue
            elif token.type == tokenize.NEWLINE:
                here = None
            elif here is None:
                here = _Statement(*(token.start[0], token.end[0], token.start[1]), token.type == tokenize.STRING)
                statements.append(here)
            else:
                here.last = token.end[0]
                here.is_text = here.is_text and token.type == tokenize.STRING
    except (tokenize.TokenError, SyntaxError):
        pass  # an editor's half line: what stands before it counts
    return comments, statements


def _read(code: Code, read: dict[str, list[Allowance]], notices: list[str]) -> None:
    """Put the allowances of a file into `read`, and what is wrong with its comments into `notices`."""
    read[code.file] = []
    if "stethoscope:" not in "\n".join(code.lines):
        return
    for name, reason, line, first, last in allowances(code.lines):
        wrong = checked(name, reason, _where(code, line))
        if wrong:
            notices.append(wrong)
        else:
            read[code.file].append(Allowance(name, reason.strip(), line, first, last))


def _misplaced(code: Code, unused: Iterable[Allowance], stay: Iterable[Finding]) -> Iterator[str]:
    """Someone meant a finding and named another line."""
    told = [finding for finding in stay if finding.place.file == code.file]
    for one in unused:
        missed = next((finding for finding in told if finding.rule == one.rule), None)
        if missed is not None:
            here = f"line {one.first}" if one.first == one.last else f"lines {one.first} to {one.last}"
            if code.cells:
                here = _where(code, one.first).removeprefix(f"{code.file}:")
            yield (
                f"{_where(code, one.line)} allows {one.rule} for {here} only, and the finding at "
                f"{missed.place.source} stays: put the comment on that line, or above all code for the whole file"
            )


def _lines(code: Code, place: Place) -> tuple[int, int]:
    """First and last line of a place, counted in the text that was parsed."""
    line = place.line or 0
    end = max(place.end_line or line, line)
    if not place.cell:
        return line, end
    first = next((first for number, first in code.cells if number == place.cell), 1)
    return first + line - 1, first + end - 1


def _where(code: Code, line: int) -> str:
    """`train.py:12`, of a notebook `nb.ipynb:cell 4:2`."""
    index = bisect_right([first for _, first in code.cells], line) - 1
    if index < 0:
        return f"{code.file}:{line}"
    number, first = code.cells[index]
    return f"{code.file}:cell {number}:{line - first + 1}"
