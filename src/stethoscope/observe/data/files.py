"""Files of rows: which there are, what is in them, and why one cannot be read, in one sentence."""

from __future__ import annotations

import contextlib
import csv
import difflib
import glob
import gzip
import os
import re
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.observe.data.tables import Table

FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".data": "csv", ".parquet": "parquet", ".pq": "parquet",
    ".jsonl": "json", ".ndjson": "json", ".json": "json",
}  # fmt: skip
KNOWN = "CSV, TSV, Parquet and JSON lines (also gzipped: .csv.gz)"
HEAD = 1 << 16
"""Bytes of a file of text that are looked at before it is read; more where they hold few lines."""
FEWEST_LINES = 20
LARGEST_HEAD = 1 << 24
FIRST_ROWS = 100_000
"""Rows of a file of text from which kinds of columns are told; where a later row is of another kind, from all rows."""
IN_MEMORY = 100 << 20
"""Size of a file of text up to which DuckDB holds its rows in memory; larger ones go to a file of its own first, since
reading text is slower than all that follows."""
KINDS = "['BIGINT', 'DOUBLE', 'TIME', 'DATE', 'TIMESTAMP', 'TIMESTAMPTZ', 'VARCHAR']"
"""Kinds that columns of text are read as. Truths are not among them: DuckDB takes yes and no for them, too, which
people know by these names."""
UNREAD = ("inf", "-inf", "+inf", "infinity", "-infinity", "nan")
"""Numbers that DuckDB does not expect in a first row."""
MEMORY = 160
"""Megabytes that DuckDB may hold: more is spilled to a folder that is deleted afterwards."""
OF_A_COLUMN = 0.4
"""Megabytes that it needs for a column, however few rows there are."""


@dataclass(frozen=True)
class Source:
    """The files of one data set."""

    paths: tuple[str, ...]
    format: str
    name: str
    """As it can be printed."""


def open_files(path: str, name: str = "") -> Table:
    """The rows of a file, of the files that a pattern names, or of a folder of Parquet.

    Raises: BadFile, UsageError.
    """
    source = find(path)
    delimiter = ""
    header = True
    if source.format == "csv":
        delimiter, header = look_at(source)
    elif source.format == "json":
        head(source.paths[0], source.name)
    try:
        import duckdb
    except ImportError:
        from stethoscope.observe.data.readers import read_frame

        return read_frame(source, delimiter, header)
    return _in_duckdb(duckdb, source, delimiter, header)


def find(path: str) -> Source:
    """The files that a path or pattern means."""
    shown = path.encode("utf-8", "backslashreplace").decode()
    if os.path.isdir(path):
        try:
            found = sorted(_files_in(path))
        except OSError as error:
            closed = str(error.filename or path).encode("utf-8", "backslashreplace").decode()
            raise BadFile(f"the folder {closed} cannot be read: {error.strerror}") from error
        tables = [one for one in found if format_of(one) == "parquet"] or [one for one in found if format_of(one)]
        if not tables:
            raise UsageError(f"the folder {shown} holds no {KNOWN} files")
    elif os.path.lexists(path):
        tables = [path]
    elif glob.has_magic(path):
        tables = sorted(glob.glob(path, recursive=True))
        if not tables:
            raise UsageError(f"no file matches {shown}")
    else:
        raise UsageError(f"there is no file {shown}{_near(path)}")
    return _of_one_format(tables, shown)


def _files_in(folder: str) -> Iterator[str]:
    """The files in it and below, but for hidden ones. Raises OSError where a folder cannot be looked into."""

    def stop(error: OSError) -> None:
        raise error

    for where, _, names in os.walk(folder, onerror=stop):
        paths = (os.path.join(where, name) for name in names if not name.startswith((".", "_")))
        yield from (path for path in paths if os.path.isfile(path))


def _of_one_format(tables: list[str], shown: str) -> Source:
    """Readable files, all of one kind. Raises UsageError, BadFile."""
    formats = {format_of(one) for one in tables}
    if "" in formats:
        odd = next(one for one in tables if not format_of(one))
        ending = os.path.splitext(odd)[1] or "no ending"
        raise UsageError(f"cannot tell what {_shown(odd)} holds from its name ({ending}); known are {KNOWN}")
    if len(formats) > 1:
        raise UsageError(f"{shown} means files of several formats: {', '.join(sorted(formats))}")
    for one in tables:
        _check_readable(one)
    return Source(tuple(tables), formats.pop(), shown)


def format_of(path: str) -> str:
    """`csv`, `parquet` or `json`, from the name; empty when it is none of them."""
    stem, ending = os.path.splitext(path.lower())
    if ending in (".gz", ".zst"):
        ending = os.path.splitext(stem)[1]
    return FORMATS.get(ending, "")


def _shown(path: str) -> str:
    return os.path.basename(path).encode("utf-8", "backslashreplace").decode()


def _near(path: str) -> str:
    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return ""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(_shown(one) for one in near)}?" if near else ""


def _check_readable(path: str) -> None:
    try:
        with open(path, "rb") as file:
            first = file.read(4)
            if format_of(path) == "parquet":
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 4))
                last = file.read(4)
    except OSError as error:
        raise BadFile(f"{_shown(path)} cannot be read: {error.strerror}") from error
    if not first:
        raise BadFile(f"{_shown(path)} is empty: 0 bytes")
    if format_of(path) == "parquet" and (first != b"PAR1" or last != b"PAR1"):
        what = "it was cut off, or is still being written" if first == b"PAR1" else "it does not start with PAR1"
        raise BadFile(f"{_shown(path)} is no complete Parquet file: {what}")


def head(path: str, name: str) -> str:
    """The first lines of a file of text.

    Raises: BadFile when it is no text in UTF-8.
    """
    opened: Any = gzip.open if path.lower().endswith(".gz") else open
    if path.lower().endswith(".zst"):
        return ""
    try:
        with opened(path, "rb") as file:
            raw: bytes = file.read(HEAD)
            while raw.count(b"\n") < FEWEST_LINES and len(raw) < LARGEST_HEAD and (more := file.read(HEAD)):
                raw += more
    except (OSError, EOFError) as error:
        raise BadFile(f"{_shown(path)} cannot be read: {error}") from error
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw:
        wide = raw.startswith((b"\xff\xfe", b"\xfe\xff")) or raw[1::2].count(0) > len(raw) // 4
        what = "it is in UTF-16" if wide else "it holds zero bytes, as no text does"
        fix = f": iconv -f UTF-16 -t UTF-8 {_shown(path)}" if wide else ""
        raise BadFile(f"{_shown(path)} is no text in UTF-8: {what}{fix}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(raw) - 4:
            line = raw[: error.start].count(b"\n") + 1
            raise BadFile(
                f"{_shown(path)} is no text in UTF-8: byte 0x{raw[error.start]:02x} in line {line}; "
                f"if it is Latin-1: iconv -f LATIN1 -t UTF-8 {_shown(path)}"
            ) from error
        text = raw[: error.start].decode("utf-8-sig")
    if not text.strip():
        raise BadFile(f"{_shown(path)} holds nothing but blank space")
    return text


def look_at(source: Source) -> tuple[str, bool]:
    """What parts the columns of a file of text, and whether its first line names them.

    Raises: BadFile for a file without rows, with lines of several lengths, or whose columns nothing known parts.
    """
    text = head(source.paths[0], source.name)
    if not text:
        return "", True
    lines = [line for line in text.splitlines() if line.strip()]
    if text.count("\n") and not text.endswith("\n") and len(text.encode()) >= HEAD - 4:
        lines = lines[:-1]
    delimiter = delimiter_of(lines, source.paths[0])
    rows = list(csv.reader(lines[:200], delimiter=delimiter))
    if len(rows) == 1:
        raise BadFile(f"{source.name} has a header and no rows")
    if len(rows[0]) == 1:
        other = _other_delimiter(lines)
        if other:
            raise BadFile(
                f"{source.name} reads as one column, {rows[0][0][:40]!r}: its columns seem to be parted by {other!r}"
            )
    widths = Counter(len(row) for row in rows)
    odd = next((place for place, row in enumerate(rows, start=1) if len(row) != len(rows[0])), 0)
    if odd and '"' not in text:
        raise BadFile(
            f"{source.name} is ragged: its header has {len(rows[0])} columns, line {odd} has {len(rows[odd - 1])}"
            + (f" ({widths[len(rows[0])] - 1} of the first {len(rows) - 1} rows fit)" if len(rows) > 2 else "")
        )
    return delimiter, not all(_is_number(cell) for cell in rows[0])


def delimiter_of(lines: Sequence[str], path: str) -> str:
    """The character that parts columns: the one that occurs equally often in most of the first lines."""
    ending = os.path.splitext(path.lower().removesuffix(".gz"))[1]
    first = "\t" if ending == ".tsv" else ","
    best, score = first, 0.0
    for one in (first, *(other for other in ",;\t|" if other != first)):
        widths = Counter(len(row) for row in csv.reader(lines[:50], delimiter=one))
        width, count = max(widths.items(), key=lambda pair: (pair[1] if pair[0] > 1 else 0, pair[0]))
        share = count / max(1, sum(widths.values()))
        if width > 1 and share > score + 0.1 and one in lines[0]:
            best, score = one, share
    return best


def _other_delimiter(lines: Sequence[str]) -> str:
    for one in "^~:#!":
        if lines[0].count(one) and len({line.count(one) for line in lines[:20]}) == 1:
            return one
    return ""


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _in_duckdb(duckdb: Any, source: Source, delimiter: str, header: bool) -> Table:
    from stethoscope.observe.data.duck import DuckTable, first_sentence

    folder = tempfile.mkdtemp(prefix="stethoscope-")
    connection = duckdb.connect(config={"memory_limit": f"{MEMORY}MB", "temp_directory": folder, "threads": _threads()})
    with contextlib.suppress(duckdb.Error):  # an older version has no such cache
        connection.execute("SET enable_external_file_cache = false; SET enable_progress_bar = false")
    paths = "[" + ", ".join(_literal(_plain_name(path, folder, place)) for place, path in enumerate(source.paths)) + "]"
    try:
        if source.format == "parquet":
            relation = connection.sql(f"SELECT * FROM read_parquet({paths}, union_by_name=true)")
            _make_room(connection, len(relation.columns))
        else:
            where = "rows_of_text"
            if sum(os.path.getsize(path) for path in source.paths) > IN_MEMORY:
                connection.execute(f"ATTACH {_literal(os.path.join(folder, 'rows.duckdb'))} AS on_disk")
                where = "on_disk.rows_of_text"
            ways = _ways(source, paths, delimiter, header)
            if delimiter:
                _make_room(connection, head(source.paths[0], source.name).partition("\n")[0].count(delimiter) + 1)
            try:
                connection.execute(f"CREATE TABLE {where} AS SELECT * FROM {ways[0]}")
            except duckdb.Error:  # a later row is of another kind than the first ones
                connection.execute(f"CREATE OR REPLACE TABLE {where} AS SELECT * FROM {ways[-1]}")
            relation = connection.sql(f"SELECT * {_with_truths(connection, where)} FROM {where}")
        table = DuckTable(relation, source.name)
        rows = table.rows()
    except (duckdb.Error, UnicodeError) as error:
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise BadFile(f"{source.name} cannot be read: {reason_of(str(error), first_sentence)}") from error
    weakref.finalize(table, _clean, connection, folder)
    if not rows:
        raise BadFile(f"{source.name} has no rows")
    return table


def _make_room(connection: Any, columns: int) -> None:
    """Let it hold more where there are hundreds of columns."""
    if columns * OF_A_COLUMN > MEMORY:
        connection.execute(f"SET memory_limit = '{columns * OF_A_COLUMN:.0f}MB'")


def _ways(source: Source, paths: str, delimiter: str, header: bool) -> list[str]:
    """Calls that read files of text: with the kinds of columns as the first rows have them, and as all rows do."""
    if source.format == "json":
        return [f"read_json({paths}, union_by_name=true)"]
    parted = f", delim={_literal(delimiter)}" if delimiter else ""
    return [
        f"read_csv({paths}, header={str(header).lower()}, sample_size={rows}, skip=0, null_padding=false, "
        f"quote='\"', escape='\"', comment=''{parted}, union_by_name=true, auto_type_candidates={KINDS})"
        for rows in (FIRST_ROWS, -1)
    ]


def _with_truths(connection: Any, table: str) -> str:
    """What SELECT has to say so that columns of `true` and `false` are truths, and others, numbers."""
    from stethoscope.observe.data.duck import quoted

    names = [name for name, kind, *_ in connection.execute(f"DESCRIBE {table}").fetchall() if kind == "VARCHAR"]
    truths = _where_all(connection, table, names, "lower({0}) IN ('true', 'false')")
    # DuckDB takes a column for text when its first row is `inf` or `nan`.
    first = connection.execute(f"SELECT {', '.join(map(quoted, names)) or 1} FROM {table} LIMIT 1").fetchall()
    odd = [name for name, one in zip(names, first[0] if first else (), strict=False) if str(one).lower() in UNREAD]
    numbers = _where_all(connection, table, odd, "TRY_CAST({0} AS DOUBLE) IS NOT NULL")
    casts = ", ".join(
        f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}"
        for kind, some in (("BOOLEAN", truths), ("DOUBLE", numbers))
        for name in some
    )
    return f"REPLACE ({casts})" if casts else ""


def _where_all(connection: Any, table: str, names: list[str], test: str) -> list[str]:
    """The columns whose values all pass a test, those that are null aside."""
    from stethoscope.observe.data.duck import quoted

    for rows in (f"(SELECT * FROM {table} LIMIT 1000)", table):  # few are asked of all their rows
        if names:
            asked = ", ".join(
                f"bool_and(CASE WHEN {quoted(name)} IS NULL THEN NULL ELSE {test.format(quoted(name))} END)"
                for name in names
            )
            answers = connection.execute(f"SELECT {asked} FROM {rows}").fetchall()
            names = [name for name, answer in zip(names, answers[0], strict=True) if answer]
    return names


def reason_of(message: str, shorten: Any) -> str:
    """What DuckDB says of a file it cannot read, for a person who never saw DuckDB."""
    line = re.search(r"CSV Error on Line: (\d+)", message)
    where = f"line {line[1]}" if line else "a line"
    ragged = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if ragged:
        return f"{where} has {ragged[2]} columns, the lines before it {ragged[1]}"
    if "when sniffing file" in message:
        return 'no way of parting its columns fits its lines; look for a quote (") that is opened and not closed'
    if re.search(r"nvalid unicode|utf-?8", message, re.IGNORECASE):
        return f"{where} is no text in UTF-8"
    return str(shorten(message))


def _threads() -> int:
    return max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def _plain_name(path: str, folder: str, place: int) -> str:
    """The path, or a link to it where DuckDB would not take its name as it is."""
    try:
        path.encode()
    except UnicodeEncodeError:
        pass
    else:
        if not glob.has_magic(path):
            return path
    ending = "".join(Path(path).suffixes[-2:]).encode("ascii", "ignore").decode()
    link = os.path.join(folder, f"file-{place}{ending}")
    os.symlink(os.path.abspath(path), link)
    return link


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _clean(connection: Any, folder: str) -> None:
    connection.close()
    shutil.rmtree(folder, ignore_errors=True)
