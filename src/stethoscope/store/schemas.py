"""The schema of a data set as a file: JSON that a person can read and change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.facts.schema import VERSION, ColumnSchema, Schema

FORMAT = "stethoscope schema"
KINDS = ("number", "truth", "date", "words", "any")
_ALWAYS = ("name", "kind", "required", "nullable")
_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,), "kind": (str,), "required": (bool,), "nullable": (bool,), "most_missing": (int, float),
    "missing_as": (list,),
    "least": (int, float), "greatest": (int, float), "whole": (bool,), "categories": (list,), "unique": (bool,),
}  # fmt: skip


def save_schema(schema: Schema, file: Path) -> None:
    """Write a schema. Raises UsageError where the file cannot be written."""
    try:
        file.write_text(json.dumps(to_document(schema), indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error


def load_schema(file: Path) -> Schema:
    """Read a schema. Raises BadFile for a file that is none, saying what is wrong with it."""
    try:
        document = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise BadFile(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise BadFile(f"{file} is not JSON: {error}") from error
    return from_document(document, str(file))


def to_document(schema: Schema) -> dict[str, Any]:
    """The schema as plain JSON values; what a column leaves free is left out."""
    return {
        "format": FORMAT,
        "version": schema.version,
        "rows": schema.rows,
        "target": schema.target or None,
        "columns": [_column(column) for column in schema.columns],
    }


def from_document(document: Any, name: str = "the schema") -> Schema:
    """The schema in plain JSON values (`Any`: they come from outside). Raises BadFile."""
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise BadFile(f"{name} is no schema: `stethoscope data TRAIN --schema FILE` writes one")
    if document.get("version") != VERSION:
        raise BadFile(f"{name} is a schema of version {document.get('version')}; this program reads version {VERSION}")
    columns = document.get("columns")
    if not isinstance(columns, list):
        raise BadFile(f"{name} has no list of columns")
    rows = document.get("rows")
    read = tuple(_read(column, f"{name}, column {place}") for place, column in enumerate(columns, start=1))
    return Schema(read, rows if isinstance(rows, int) else 0, str(document.get("target") or ""))


def _column(column: ColumnSchema) -> dict[str, Any]:
    known = {one.name: getattr(column, one.name) for one in fields(column)}
    kept = {
        key: value for key, value in known.items() if key in _ALWAYS or (value not in (None, ()) and value is not False)
    }
    return {key: list(value) if isinstance(value, tuple) else value for key, value in kept.items()}


def _read(column: Any, where: str) -> ColumnSchema:
    if not isinstance(column, Mapping) or not isinstance(column.get("name"), str):
        raise BadFile(f"{where} has no name")
    for key, value in column.items():
        if key not in _TYPES:
            raise BadFile(f"{where} ({column['name']!r}) has an unknown key {key!r}: {', '.join(_TYPES)} are known")
        if not isinstance(value, _TYPES[key]) or (isinstance(value, bool) and bool not in _TYPES[key]):
            raise BadFile(f"{where} ({column['name']!r}): {key} is {value!r}")
    kind = column.get("kind", "any")
    if kind not in KINDS:
        raise BadFile(f"{where} ({column['name']!r}): the kind is {kind!r}, and not one of {', '.join(KINDS)}")
    values = {"kind": kind, **column}
    if "categories" in column:
        values["categories"] = tuple(map(str, column["categories"]))
    if "missing_as" in column:
        values["missing_as"] = _numbers(column["missing_as"], f"{where} ({column['name']!r}): missing_as")
    return ColumnSchema(**values)


def _numbers(values: list[Any], where: str) -> tuple[float, ...]:
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in values):
        raise BadFile(f"{where} is {values!r}, and not a list of numbers")
    return tuple(map(float, values))
