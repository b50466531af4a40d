"""MLflow's sqlite store, read without MLflow."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from stethoscope.adapters.importing.logged import Logged
from stethoscope.core.errors import BadFile


def read(place: Path) -> list[Logged]:
    """The runs of a database, oldest first. Raises BadFile."""
    file = place / "mlflow.db" if place.is_dir() else place
    if not file.is_file():
        raise BadFile(f"{file} is not there; give the sqlite file that MLflow writes to")
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return _runs(connection, file)
    except sqlite3.DatabaseError as error:
        raise BadFile(f"{file} is not a store of MLflow ({error})") from error


def _runs(connection: sqlite3.Connection, file: Path) -> list[Logged]:
    runs: dict[str, Logged] = {}
    query = "SELECT run_uuid, name, start_time, end_time FROM runs WHERE lifecycle_stage = 'active' ORDER BY start_time"
    for key, name, started, ended in connection.execute(query):
        source = f"{file.absolute()} ({key})"
        runs[key] = Logged(name or key, source, started=(started or 0) / 1000, ended=(ended or 0) / 1000)
    for key, name, value in connection.execute("SELECT run_uuid, key, value FROM params"):
        if key in runs:
            runs[key].settings[name] = value
    points = "SELECT run_uuid, key, step, value, is_nan FROM metrics ORDER BY run_uuid, key, step, timestamp"
    for key, name, step, value, is_nan in connection.execute(points):
        if key in runs:
            runs[key].series.setdefault(name, []).append((step, float("nan") if is_nan else value))
    return list(runs.values())
