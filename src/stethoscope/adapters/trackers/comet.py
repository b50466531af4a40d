"""Comet: an offline archive in the folder `comet` (or `COMET_OFFLINE_DIRECTORY`), for `comet upload`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stethoscope.adapters.trackers import Steps, Values
from stethoscope.core.finding import Finding
from stethoscope.facts.octaves import middles
from stethoscope.facts.run import RunRecord

FOLDER = "comet"


class Comet:
    """One experiment (`Any`: the package is optional)."""

    def __init__(self, experiment: Any, folder: Path) -> None:
        self._experiment, self._folder = experiment, folder

    def settings(self, values: Mapping[str, str]) -> None:
        """As parameters."""
        self._experiment.log_parameters(dict(values))

    def curve(self, name: str, steps: Steps, values: Values) -> None:
        """As metrics."""
        for step, value in zip(steps.tolist(), values.tolist(), strict=True):
            self._experiment.log_metric(name, value, step=step)

    def histogram(self, name: str, step: int, edges: Values, counts: Steps) -> None:
        """As a histogram of its own bins, from the middles of ours."""
        self._experiment.log_histogram_3d(np.repeat(middles(edges), counts), name=name, step=step)

    def finding(self, finding: Finding, markdown: str) -> None:
        """As a tag by its rule, and a text."""
        self._experiment.add_tag(finding.rule)
        self._experiment.log_other(f"finding {finding.rule}", f"{finding.severity.value}: {finding.title}")
        self._experiment.log_text(markdown)

    def page(self, file: Path) -> None:
        """As an asset."""
        self._experiment.log_asset(str(file), file_name=file.name)

    def close(self) -> str:
        """Write the archive."""
        self._experiment.end()
        return f"comet upload {self._folder}/{self._experiment.id}.zip"


def open_for(record: RunRecord) -> Comet:
    """An experiment named as ours. Raises ImportError."""
    import comet_ml

    folder = Path(os.environ.get("COMET_OFFLINE_DIRECTORY", "") or Path(record.directory or ".") / FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    experiment = comet_ml.OfflineExperiment(
        offline_directory=str(folder), project_name=os.environ.get("COMET_PROJECT_NAME") or "stethoscope",
        log_code=False, log_git_metadata=False, log_git_patch=False, log_graph=False, log_env_details=False,
        auto_param_logging=False, auto_metric_logging=False, auto_output_logging=None, parse_args=False,
        display_summary_level=0,
    )  # fmt: skip
    experiment.set_name(record.id)
    return Comet(experiment, folder)
