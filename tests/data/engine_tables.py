"""One table in every engine that is installed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest


def made(rows: int = 6000, seed: int = 0, shift: float = 0.0) -> pl.DataFrame:
    """A table with a column of each kind, and with what engines treat differently: null, NaN, infinite, huge."""
    rng = np.random.default_rng(seed)
    gaps = rng.normal(5 + shift, 2, rows)
    small = rng.poisson(3, rows)
    start, day = dt.datetime(2020, 1, 1), dt.date(2020, 1, 1)
    frame = pl.DataFrame({
        "user_id": rng.permutation(rows) + 10**9 * (seed + 1),
        "gaps": pl.Series(gaps).set(pl.Series(np.arange(rows) % 50 == 0), None),
        "skewed": rng.lognormal(0, 2, rows),
        "small": pl.Series(small).set(pl.Series(small > 6), None),
        "halves": rng.integers(0, 9, rows) / 2,
        "truth": rng.random(rows) < 0.3,
        "infinite": np.where(rng.random(rows) < 0.003, np.inf, rng.normal(0, 1, rows)),
        "when": [start + dt.timedelta(minutes=int(one)) for one in rng.integers(0, 10**6, rows)],
        "day": [day + dt.timedelta(days=int(one)) for one in rng.integers(0, 1000, rows)],
        "word": rng.choice(["a", "b", "N/A", ""], rows),
        "typed": [f"{one:.3f}" for one in rng.normal(0, 1, rows)],
        "rare": [None if place % 3 else "x" for place in range(rows)],
    })  # fmt: skip
    return pl.concat([frame, frame[:7]])


def _duckdb(frame: pl.DataFrame, folder: Path) -> Any:
    duckdb = pytest.importorskip("duckdb")
    return duckdb.sql(f"FROM '{_parquet(frame, folder)}'")


def _dask(frame: pl.DataFrame, folder: Path) -> Any:
    return pytest.importorskip("dask.dataframe").read_parquet(_parquet(frame, folder))


def _ibis(frame: pl.DataFrame, folder: Path) -> Any:
    return pytest.importorskip("ibis").duckdb.connect().read_parquet(_parquet(frame, folder))


def _spark(frame: pl.DataFrame, folder: Path) -> Any:
    sql = pytest.importorskip("pyspark.sql")
    builder = sql.SparkSession.builder.master("local[1]").appName("tables")
    for name, value in {
        "spark.ui.enabled": "false", "spark.sql.session.timeZone": "UTC", "spark.sql.shuffle.partitions": "1",
        "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1",
    }.items():  # fmt: skip
        builder = builder.config(name, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:
        pytest.skip(f"Spark does not start: {error}")
    return session.read.parquet(_parquet(frame, folder))


def _parquet(frame: pl.DataFrame, folder: Path) -> str:
    path = folder / f"{abs(hash(frame.row(1)))}.parquet"
    if not path.exists():
        frame.write_parquet(path)
    return str(path)


def _pandas(frame: pl.DataFrame, folder: Path) -> Any:
    pytest.importorskip("pandas")
    return frame.to_pandas()


ENGINES: dict[str, Callable[[pl.DataFrame, Path], Any]] = {
    "polars": lambda frame, folder: frame,
    "pandas": _pandas,
    "pyarrow": lambda frame, folder: frame.to_arrow(),
    "polars lazy": lambda frame, folder: frame.lazy(),
    "duckdb": _duckdb,
    "parquet": _parquet,
    "dask": _dask,
    "ibis": _ibis,
    "pyspark": _spark,
}
