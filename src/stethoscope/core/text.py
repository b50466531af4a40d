"""A message as a small styled document: pieces with a role, not with a colour.

Terminal, plain text, one line and HTML are made from the same document; none of them parses another.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from enum import Enum

from stethoscope.core.finding import Plot, Severity


class Role(Enum):
    """What a piece of text is."""

    PLAIN = "plain"
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
    TITLE = "title"
    LABEL = "label"
    PLACE = "place"
    RULE = "rule"
    NAME = "name"
    """A real name from the user's program; in backticks where there is no type face for it."""
    CODE = "code"
    VALUE = "value"
    """What was measured."""
    HEALTHY = "healthy"
    """What it would be in health."""
    QUIET = "quiet"


@dataclass(frozen=True)
class Piece:
    """A stretch of text with one role."""

    text: str
    role: Role = Role.PLAIN

    @property
    def plain(self) -> str:
        """The text as it reads without type faces."""
        return f"`{self.text}`" if self.role is Role.NAME else self.text


Line = tuple[Piece, ...]


@dataclass(frozen=True)
class Paragraph:
    """Prose that may be wrapped, or one line of code that may not."""

    line: Line
    indent: int = 0
    is_code: bool = False


@dataclass(frozen=True)
class Reading:
    """One measured value beside a healthy one."""

    what: Line
    seen: Line
    healthy: Line
    source: Line = ()
    plot: Plot | None = None


@dataclass(frozen=True)
class Section:
    """A label (`seen`, `why`, `fix`, ...) and what stands beside it."""

    label: str
    body: tuple[Paragraph | Reading, ...]


@dataclass(frozen=True)
class Message:
    """A finding in the words and the order in which every reader gets it."""

    severity: Severity
    title: Line
    place: Line
    rule: str
    excerpt: tuple[Line, ...]
    """The user's own lines, with their numbers."""
    sections: tuple[Section, ...]


def plain(line: Line) -> str:
    """The line without styles."""
    return "".join(piece.plain for piece in line)


def width_of(line: Line) -> int:
    """How many characters the line takes."""
    return len(plain(line))


def clean(text: str) -> str:
    """The text with control characters made visible, so that a name cannot steer a terminal."""
    steering = ("Cc", "Cf", "Cs")
    return "".join(
        f"\\x{ord(char):02x}" if char != "\n" and unicodedata.category(char) in steering else char
        for char in text.expandtabs(4)
    )


def sendable(text: str, encoding: str = "utf-8") -> str:
    """The text as an encoding can take it: a file's name may hold bytes that are no text, and they become `\\udcff`.

    In JSON that is the escape for the same character.
    """
    return text.encode(encoding, "backslashreplace").decode(encoding)


def read(text: str, role: Role = Role.PLAIN) -> Line:
    """Text with names in backticks, as pieces. Line ends become spaces."""
    parts = re.split(r"`([^`]+)`", " ".join(clean(text).split()) if "\n" in text else clean(text))
    roles = (role, Role.NAME)
    return tuple(Piece(part, roles[index % 2]) for index, part in enumerate(parts) if part)


def number(value: float) -> str:
    """A number as a person writes it: 3 digits that count, `1,024`, `3.1e-9`, `NaN`."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}"
    if 1e-3 <= abs(value) < 1e5:
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def amount(count: int, one: str, many: str = "") -> str:
    """`1 error`, `2 errors`, `1,024 values`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def only(count: int, one: str) -> str:
    """`is only 1 row`, `are only 12 rows`."""
    return f"{'is' if count == 1 else 'are'} only {amount(count, one)}"


def byte_size(count: float) -> str:
    """Bytes as a person says them, to two digits: `34 kB`, `1.2 GB`."""
    for unit, large in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.995 * large:
            return f"{number(float(f'{count / large:.2g}'))} {unit}"
    return f"{number(round(count))} B"


def wrapped(line: Line, width: int) -> list[Line]:
    """The line broken between words so that no part is wider than `width`, unless one name is."""
    rows: list[Line] = []
    row: Line = ()
    for word in _words(line):
        if row and width_of(row) + 1 + width_of(word) > width:
            rows.append(row)
            row = word
        else:
            row = _spaced(row, word) if row else word
    return [*rows, row] if row or not rows else rows


def _spaced(row: Line, word: Line) -> Line:
    """The row with a word behind it; what has the same role stays one piece."""
    last, first = row[-1], word[0]
    if last.role is first.role and first.role is not Role.NAME:
        return (*row[:-1], Piece(f"{last.text} {first.text}", first.role), *word[1:])
    return (*row, Piece(" "), *word)


def _words(line: Line) -> list[Line]:
    """The line cut at its spaces; a name is never cut, and what touches stays together."""
    words: list[Line] = []
    touching = False
    for piece in line:
        parts = [piece.text] if piece.role is Role.NAME else re.split(r"\s+", piece.text)
        for index, part in enumerate(parts):
            if index:
                touching = False
            if not part:
                continue
            if touching:
                words[-1] = (*words[-1], Piece(part, piece.role))
            else:
                words.append((Piece(part, piece.role),))
            touching = True
    return words
