"""A schema as the Python source of one for pandera, for pandas frames."""

from __future__ import annotations

from datetime import UTC, datetime

from stethoscope.facts.schema import ColumnSchema, Schema

WIDTH = 110
DATES = "parsers=pa.Parser(lambda values: pd.to_datetime(values, format='mixed'))"
"""Dates that are text may come in several forms, as they did in training; pandas would take the first row's for all."""


def to_pandera(schema: Schema) -> str:
    """The source of a module with `schema`, a pandera schema that asks for the same."""
    columns = "".join(f"        {column.name!r}: {_column(column)},\n" for column in schema.columns)
    return (
        f"# Written by stethoscope from a training set of {schema.rows:,} rows.\n"
        + ("import pandas as pd\n" if "pd." in columns else "")
        + "import pandera.pandas as pa\n\n"
        + f"schema = pa.DataFrameSchema(\n    {{\n{columns}    }},\n    strict=False,\n)\n"
    )


def _column(column: ColumnSchema) -> str:
    checks = [_range(column)] if column.least is not None or column.greatest is not None else []
    if column.whole:
        checks.append("pa.Check(lambda values: values % 1 == 0, error='whole numbers')")
    if column.kind == "truth":
        checks.append("pa.Check.isin([False, True])")
    if column.categories is not None:
        checks.append(f"pa.Check.isin({list(column.categories)!r})")
    if column.nullable and column.most_missing is not None:
        missing = f"(values.isna() | {_nothing(column)})" if column.missing_as else "values.isna()"
        test = f"lambda values: {missing}.mean() <= {column.most_missing:g}"
        checks.append(f"pa.Check({test}, ignore_na=False, error='missing')")
    dtype = {"number": "float", "date": "'datetime64[ns]'"}.get(column.kind)
    parts = [
        dtype or "None",
        *([DATES] if column.kind == "date" else []),
        *([f"checks=[{', '.join(checks)}]"] if checks else []),
        *(["nullable=True"] if column.nullable else []),
        *(["unique=True"] if column.unique else []),
        *([] if column.required else ["required=False"]),
        *(["coerce=True"] if dtype else []),
    ]
    line = f"pa.Column({', '.join(parts)})"
    if len(line) <= WIDTH:
        return line
    return "pa.Column(\n" + "".join(f"            {part},\n" for part in parts) + "        )"


def _range(column: ColumnSchema) -> str:
    """The check of its range, which numbers that stand for nothing are no part of."""
    least = "" if column.least is None else _bound(column, column.least)
    greatest = "" if column.greatest is None else _bound(column, column.greatest)
    if column.missing_as:
        parts = [f"(values >= {least})"] * bool(least) + [f"(values <= {greatest})"] * bool(greatest)
        return f"pa.Check(lambda values: {_nothing(column)} | ({' & '.join(parts)}), error='range')"
    if least and greatest:
        return f"pa.Check.in_range({least}, {greatest})"
    return f"pa.Check.ge({least})" if least else f"pa.Check.le({greatest})"


def _nothing(column: ColumnSchema) -> str:
    if column.kind == "date":
        return f"values.isin([{', '.join(_bound(column, day) for day in column.missing_as)}])"
    return f"values.isin({list(column.missing_as)!r})"


def _bound(column: ColumnSchema, value: float) -> str:
    if column.kind == "date":
        return f"pd.Timestamp({datetime.fromtimestamp(value, UTC).replace(tzinfo=None).isoformat(' ')!r})"
    return repr(value)
