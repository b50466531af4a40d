"""Bytes to text: encodings, notebooks, and the reasons why a file cannot be read."""

from __future__ import annotations

import codecs
import io
import re
import stat
import tokenize
from dataclasses import dataclass
from pathlib import Path

from stethoscope.observe.code.notebooks import BadNotebook, bring_names, cells_of, joined

MOST_BYTES = 5_000_000
"""A larger file is data or was generated."""
NOTEBOOK = ".ipynb"
_PYTHON_2 = re.compile(r"^\s*(?:print\s+[^\s(=]|exec\s+['\"]|except\s+[\w.]+\s*,\s*\w+\s*:|raise\s+\w+\s*,)", re.M)


@dataclass(frozen=True)
class Source:
    """The text of a file, as it can be parsed."""

    file: str
    """As it was given, `/` between its parts."""
    text: str
    cells: tuple[tuple[int, int], ...] = ()
    """See `stethoscope.facts.code.Code.cells`."""
    left_out: tuple[str, ...] = ()
    """Cells that are not in the text, and why, a clause each."""
    brings_names: bool = False
    """Whether a notebook has lines of IPython's own that may bind names: they are not in the text."""


class Unreadable(Exception):
    """A file that is not analysed; its text says why, as a clause."""


def read_source(path: Path, file: str) -> Source:
    """A file from the disk.

    Raises: Unreadable, with the reason.
    """
    return source_of(read_bytes(path), file)


def read_bytes(path: Path) -> bytes:
    """What a file holds.

    Raises: Unreadable, with the reason.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("is no regular file")
        if status.st_size > MOST_BYTES:
            raise Unreadable(f"is larger than {MOST_BYTES // 1_000_000} MB")
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot be read: {(error.strerror or str(error)).lower()}") from error


def source_of(data: bytes, file: str) -> Source:
    """What a file's bytes say.

    Raises: Unreadable, with the reason.
    """
    if len(data) > MOST_BYTES:
        raise Unreadable(f"is larger than {MOST_BYTES // 1_000_000} MB")
    if file.endswith(NOTEBOOK):
        try:
            cells = cells_of(data)
            return Source(file, *joined(cells), bring_names(cells))
        except BadNotebook as error:
            raise Unreadable(str(error)) from error
    return Source(file, text_of(data))


def text_of(data: bytes) -> str:
    """Python source as text with `\\n` at line ends, in the encoding that it declares.

    Raises: Unreadable, with the reason.
    """
    # As Python reads source: \r\n and a lone \r end lines, too.
    return decoded(data).removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def decoded(data: bytes) -> str:
    """Python source as text, each character as it stands there.

    Raises: Unreadable, with the reason.
    """
    if b"\0" in data:
        encoding = next((name for bom, name in _WIDE if data.startswith(bom)), "")
        if not encoding:
            raise Unreadable("holds null bytes, so it is no text")
    else:
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        except (SyntaxError, LookupError) as error:
            unknown = "unknown encoding" in str(error) or isinstance(error, LookupError)
            raise Unreadable("declares an encoding that is not known" if unknown else "is not valid utf-8") from error
    try:
        return data.decode("utf-8" if encoding == "utf-8-sig" else encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise Unreadable(f"is not valid {encoding}") from error


def bytes_of(text: str) -> bytes:
    """Python source as its file holds it: in the encoding that it declares, as far as that can be."""
    plain = text.encode("utf-8", "surrogatepass")
    try:
        return text.encode(tokenize.detect_encoding(io.BytesIO(plain).readline)[0])
    except (SyntaxError, LookupError, UnicodeEncodeError):
        return plain


_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


def why_no_python(error: Exception, source: Source) -> str:
    """Why a text cannot be parsed, as a clause."""
    if isinstance(error, SyntaxError):
        if _PYTHON_2.search(source.text):
            return "is Python 2"
        line = error.lineno or 0
        where = ""
        if line and source.cells:
            number, first = next((cell for cell in reversed(source.cells) if cell[1] <= line), source.cells[0])
            where = f" at cell {number}, line {line - first + 1}"
        elif line:
            where = f" at line {line}"
        return f"does not parse{where}: {error.msg.partition('; ')[0]}"
    if isinstance(error, RecursionError | MemoryError):
        return "is nested too deeply"
    return f"does not parse: {error}"
