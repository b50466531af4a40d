"""Aim: a run in the repository of `AIM_REPO`, or of the script's folder."""

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


class Aim:
    """One run (`Any`: the package is optional)."""

    def __init__(self, package: Any, run: Any, repository: str) -> None:
        self._package, self._run, self._repository = package, run, repository
        self._findings = 0

    def settings(self, values: Mapping[str, str]) -> None:
        """As parameters."""
        self._run["settings"] = dict(values)

    def curve(self, name: str, steps: Steps, values: Values) -> None:
        """As a metric."""
        for step, value in zip(steps.tolist(), values.tolist(), strict=True):
            self._run.track(value, name=name, step=step)

    def histogram(self, name: str, step: int, edges: Values, counts: Steps) -> None:
        """As a distribution of its own bins, from the middles of ours."""
        shape = self._package.Distribution(np.repeat(middles(edges), counts))
        self._run.track(shape, name=name, step=step)

    def finding(self, finding: Finding, markdown: str) -> None:
        """As a text, in order of rank, and a tag by its rule."""
        self._run.track(self._package.Text(markdown), name="findings", step=self._findings)
        self._run.add_tag(f"{finding.severity.value}: {finding.rule}")
        self._findings += 1

    def page(self, file: Path) -> None:
        """It shows no pages: only where it lies."""
        self._run["report"] = str(file.absolute())

    def close(self) -> str:
        """The end of the run."""
        self._run.close()
        return f"aim up --repo {self._repository}"


def open_for(record: RunRecord) -> Aim:
    """A run named as ours. Raises ImportError."""
    import aim

    repository = os.environ.get("AIM_REPO", "") or record.directory or "."
    run = aim.Run(
        repo=repository, experiment="stethoscope", system_tracking_interval=None, log_system_params=False,
        capture_terminal_logs=False,
    )  # fmt: skip
    run.name = record.id
    return Aim(aim, run, repository)
