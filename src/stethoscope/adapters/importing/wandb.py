"""Offline runs of Weights & Biases, read with its own package from the file that it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stethoscope.adapters.importing.logged import Logged
from stethoscope.core.errors import BadFile

STEPS = ("trainer/global_step", "train/global_step", "global_step", "_step")
"""Names of the step that a row of values belongs to; the first that it has."""
HIDDEN = "_"
"""Names that begin so are its own: `_runtime`, `_timestamp`."""


def read(place: Path) -> list[Logged]:
    """The runs below a folder, or of one `.wandb` file. Raises BadFile, or ImportError."""
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*.wandb") if path.is_file())
    if not files:
        raise BadFile(f"{place} holds no run of Weights & Biases (a folder offline-run-... with a .wandb file)")
    return [_run(file) for file in files]


def _run(file: Path) -> Logged:
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    run = Logged(file.parent.name, str(file.absolute()))
    store = DataStore()
    try:
        store.open_for_scan(str(file))
        while (data := store.scan_data()) is not None:
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            _read(record, run)
    except Exception as error:  # its reader asserts what it expects: a run that was cut off ends so
        run.damage.append(f"{file.name} is damaged from some point on ({type(error).__name__}); what is before was read")
    finally:
        store.close()
    return run


def _read(record: Any, run: Logged) -> None:
    """A record (`Any`: made by a class that its package generates)."""
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run.name = record.run.display_name or record.run.run_id or run.name
        run.started = float(record.run.start_time.seconds)
        _settings(record.run.config.update, run)
    elif kind == "config":
        _settings(record.config.update, run)
    elif kind == "history":
        row = {"/".join(item.nested_key) or item.key: _value(item.value_json) for item in record.history.item}
        step = next((int(row[name]) for name in STEPS if isinstance(row.get(name), int | float)), None)
        run.ended = max(run.ended, float(row.get("_timestamp") or 0.0))
        for name, value in row.items():
            number = _number(value)
            if step is not None and number is not None and not name.startswith(HIDDEN) and name not in STEPS:
                own = row.get(f"{name} step")  # how stethoscope writes a curve
                run.series.setdefault(name, []).append((int(own) if isinstance(own, int | float) else step, number))


def _settings(updates: Any, run: Logged) -> None:
    for item in updates:
        name = "/".join(item.nested_key) or item.key
        if not name.startswith(HIDDEN):
            run.settings[name] = _value(item.value_json)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else None
