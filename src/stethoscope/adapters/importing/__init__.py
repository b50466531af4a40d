"""Runs that other tools have logged, read into the store: judged by the rules that need only curves.

Each tool is a file here with `read(place)`, which gives the runs that it finds there.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from stethoscope.adapters.importing.logged import Logged, history_of, is_curve_of_training
from stethoscope.core.errors import BadFile, UsageError
from stethoscope.core.finding import Diagnosis
from stethoscope.core.settings import Settings
from stethoscope.facts.results import results_of
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import History

TOOLS = {"tfevents": "TensorBoard", "wandb": "Weights & Biases", "mlflow": "MLflow"}
"""File here to the tool's own name."""


@dataclass(frozen=True)
class Imported:
    """A run that was read, judged and kept."""

    diagnosis: Diagnosis
    record: RunRecord
    history: History
    path: Path | None
    """Its folder in the store; None when that could not be made."""


def read(tool: str, place: Path) -> list[Logged]:
    """The runs that a tool has logged there. Raises BadFile, or UsageError where its package is missing."""
    module = importlib.import_module(f"stethoscope.adapters.importing.{tool}")
    try:
        runs: list[Logged] = module.read(place)
    except ImportError as missing:
        package = (missing.name or tool).partition(".")[0]
        raise UsageError(f"to read runs of {tool}, {package} is needed: pip install {package}") from missing
    trained = [run for run in runs if is_curve_of_training(run)]
    if not trained:
        tags = sorted({name for run in runs for name in run.series})
        some = ", ".join(tags[:6])
        raise BadFile(f"{place} holds no curve of a loss or an accuracy" + (f"; it has {some}" if some else ""))
    return trained


def keep(logged: Logged, tool: str, store: Path, settings: Settings) -> Imported:
    """Judge a run and keep it in the store, like one that was recorded."""
    from stethoscope.diagnosing.run import diagnose
    from stethoscope.diagnosing.select import read_limits, select
    from stethoscope.diagnosing.suppress import allowed_in_settings
    from stethoscope.render.html import to_html
    from stethoscope.render.json import json_text, to_json
    from stethoscope.store.writer import RunWriter

    history = history_of(logged, TOOLS[tool])
    record = RunRecord(
        started=_iso(logged.started), ended=_iso(logged.ended), state="finished", script=logged.name,
        command=("stethoscope", "import", tool, logged.source), directory=str(Path.cwd()),
        arguments=logged.settings, results=results_of(history), steps=history.steps, tool={"name": TOOLS[tool]},
    )  # fmt: skip
    writer = RunWriter.create(store, record)
    record = replace(record, id=writer.id)
    for curve in history.curves:
        writer.points(curve.name, curve.steps, curve.values)
    writer.facts(history)
    diagnosis = diagnose(
        history,
        rules=select(settings.only, settings.without),
        overrides=read_limits(settings.limits),
        suppressions=allowed_in_settings(settings.allow),
    )
    writer.text("findings.json", json_text(to_json(diagnosis, record, history)))
    writer.text("report.html", to_html(diagnosis, record, history))
    writer.close()
    if writer.trouble:
        diagnosis = replace(diagnosis, notices=(*diagnosis.notices, writer.trouble))
    return Imported(diagnosis, record, history, writer.path)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds") if seconds > 0 else ""
