"""MLflow: a run in the experiment of `MLFLOW_EXPERIMENT_NAME` at `MLFLOW_TRACKING_URI`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stethoscope.adapters.trackers import Steps, Values
from stethoscope.core.finding import Finding
from stethoscope.facts.run import RunRecord

MOST_AT_ONCE = 1000
"""Points that MLflow takes in one call."""
LONGEST_SETTING = 500
"""Characters of a parameter that every store takes."""


class MLflow:
    """One run (`Any`: the package is optional)."""

    def __init__(self, package: Any, client: Any, run: str) -> None:
        self._package, self._client, self._run = package, client, run
        self._findings: list[str] = []
        self._histograms: list[dict[str, object]] = []

    def settings(self, values: Mapping[str, str]) -> None:
        """As parameters."""
        for name, value in values.items():
            self._client.log_param(self._run, _name(name), value[:LONGEST_SETTING])

    def curve(self, name: str, steps: Steps, values: Values) -> None:
        """As metrics."""
        now = int(time.time() * 1000)
        points = [
            self._package.entities.Metric(_name(name), value, now, step)
            for step, value in zip(steps.tolist(), values.tolist(), strict=True)
        ]
        for start in range(0, len(points), MOST_AT_ONCE):
            self._client.log_batch(self._run, metrics=points[start : start + MOST_AT_ONCE])

    def histogram(self, name: str, step: int, edges: Values, counts: Steps) -> None:
        """It has none: they go into one file."""
        self._histograms.append({"name": name, "step": step, "edges": edges.tolist(), "counts": counts.tolist()})

    def finding(self, finding: Finding, markdown: str) -> None:
        """As a tag by its rule, and a text for all of them."""
        self._client.set_tag(self._run, f"stethoscope.{finding.rule}", f"{finding.severity.value}: {finding.title}")
        self._findings.append(markdown)

    def page(self, file: Path) -> None:
        """As an artifact."""
        self._client.log_artifact(self._run, str(file))

    def close(self) -> str:
        """The findings and histograms as files, and the end of the run."""
        if self._findings:
            self._client.log_text(self._run, "\n\n---\n\n".join(self._findings) + "\n", "findings.md")
        if self._histograms:
            self._client.log_text(self._run, json.dumps(self._histograms), "histograms.json")
        self._client.set_terminated(self._run)
        return f"run {self._run}"


def _name(name: str) -> str:
    """Without characters that its stores refuse."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)


def open_for(record: RunRecord) -> MLflow:
    """A run named as ours. Raises ImportError."""
    import mlflow

    client = mlflow.MlflowClient()
    wanted = os.environ.get("MLFLOW_EXPERIMENT_NAME", "")
    experiment = client.get_experiment_by_name(wanted) if wanted else None
    if experiment is not None:
        number = experiment.experiment_id
    else:
        number = client.create_experiment(wanted) if wanted else "0"
    run = client.create_run(number, run_name=record.id, tags={"mlflow.source.name": record.script})
    return MLflow(mlflow, client, run.info.run_id)
