"""A schema as the Python source of one for pandera, for pandas frames."""

from __future__ import annotations

from datetime import UTC, datetime

from stethoscope.facts.schema import ColumnSchema, Schema

WIDTH = 110


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
    checks = []
    if column.least is not None and column.greatest is not None:
        checks.append(f"pa.Check.in_range({_bound(column, column.least)}, {_bound(column, column.greatest)})")
    elif column.least is not None:
        checks.append(f"pa.Check.ge({_bound(column, column.least)})")
    elif column.greatest is not None:
        checks.append(f"pa.Check.le({_bound(column, column.greatest)})")
    if column.whole:
        checks.append("pa.Check(lambda values: values % 1 == 0, error='whole numbers')")
    if column.kind == "truth":
        checks.append("pa.Check.isin([False, True])")
    if column.categories is not None:
        checks.append(f"pa.Check.isin({list(column.categories)!r})")
    if column.nullable and column.most_missing is not None:
        test = f"lambda values: values.isna().mean() <= {column.most_missing:g}"
        checks.append(f"pa.Check({test}, ignore_na=False, error='missing')")
    dtype = {"number": "float", "date": "'datetime64[ns]'"}.get(column.kind)
    parts = [
        dtype or "None",
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


def _bound(column: ColumnSchema, value: float) -> str:
    if column.kind == "date":
        return f"pd.Timestamp({datetime.fromtimestamp(value, UTC).replace(tzinfo=None).isoformat(' ')!r})"
    return repr(value)
