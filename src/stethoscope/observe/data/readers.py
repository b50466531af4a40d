"""Files read whole into memory, by whichever library is there: what is done without DuckDB."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from stethoscope.core.errors import BadFile, MissingPiece
from stethoscope.observe.data.duck import first_sentence
from stethoscope.observe.data.files import Source
from stethoscope.observe.data.frames import FrameTable
from stethoscope.observe.data.tables import Table


def read_frame(source: Source, delimiter: str, header: bool) -> Table:
    """The rows of files as a frame in memory.

    Raises: BadFile; MissingPiece when nothing is installed that reads them.
    """
    for read in (_polars, _pandas, _pyarrow):
        try:
            frame = read(source, delimiter or ",", header)
        except ImportError:
            continue
        except Exception as error:  # each library has errors of its own, and some raise plain ones
            raise BadFile(f"{source.name} cannot be read: {first_sentence(str(error))}") from error
        if not len(frame):
            raise BadFile(f"{source.name} has no rows")
        return FrameTable(frame, source.name)
    raise MissingPiece("reading files needs DuckDB, Polars, pandas or PyArrow: pip install 'stethoscope[data]'")


def _polars(source: Source, delimiter: str, header: bool) -> nw.DataFrame[Any]:
    import polars as pl

    if source.format == "parquet":
        frames = [pl.read_parquet(path) for path in source.paths]
    elif source.format == "json":
        frames = [
            pl.read_json(path) if _is_array(path) else pl.read_ndjson(path, infer_schema_length=None)
            for path in source.paths
        ]
    else:
        frames = [
            pl.read_csv(
                path,
                separator=delimiter,
                has_header=header,
                infer_schema_length=None,
                null_values="",
                try_parse_dates=True,
            )
            for path in source.paths
        ]
    return nw.from_native(pl.concat(frames, how="diagonal_relaxed"), eager_only=True)


def _pandas(source: Source, delimiter: str, header: bool) -> nw.DataFrame[Any]:
    import pandas as pd

    if source.format == "parquet":
        frames = [pd.read_parquet(path) for path in source.paths]
    elif source.format == "json":
        frames = [pd.read_json(path, lines=not _is_array(path)) for path in source.paths]
    else:
        frames = [
            pd.read_csv(
                path,
                sep=delimiter,
                header=0 if header else None,
                keep_default_na=False,
                na_values=[""],
                low_memory=False,
            )
            for path in source.paths
        ]
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    frame.columns = [str(name) for name in frame.columns]
    return nw.from_native(frame, eager_only=True)


def _pyarrow(source: Source, delimiter: str, header: bool) -> nw.DataFrame[Any]:
    import pyarrow as pa
    from pyarrow import csv, json, parquet

    if source.format == "parquet":
        tables = [parquet.read_table(path) for path in source.paths]
    elif source.format == "json":
        tables = [json.read_json(path) for path in source.paths]
    else:
        options = csv.ConvertOptions(null_values=[""], strings_can_be_null=True)
        reading = csv.ReadOptions(autogenerate_column_names=not header)
        parsing = csv.ParseOptions(delimiter=delimiter)
        tables = [csv.read_csv(path, reading, parsing, options) for path in source.paths]
    return nw.from_native(pa.concat_tables(tables, promote_options="default"), eager_only=True)


def _is_array(path: str) -> bool:
    """Whether a JSON file is one list, not a line for each row."""
    if path.lower().endswith((".gz", ".zst")):
        return False
    with open(path, "rb") as file:
        return file.read(64).lstrip()[:1] == b"["
