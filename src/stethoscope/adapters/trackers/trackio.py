"""trackio: a run in the local project of `TRACKIO_PROJECT` (or `stethoscope`); `trackio show` shows it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stethoscope.adapters.trackers import Steps, Values
from stethoscope.core.finding import Finding, Severity
from stethoscope.facts.run import RunRecord

LEVELS = {Severity.ERROR: "ERROR", Severity.WARNING: "WARN", Severity.NOTE: "INFO"}


class Trackio:
    """One run (`Any`: the package is optional)."""

    def __init__(self, package: Any, name: str, project: str) -> None:
        self._package, self._name, self._project = package, name, project
        self._run: Any = None

    def settings(self, values: Mapping[str, str]) -> None:
        """Its configuration, which it wants when a run begins."""
        self._run = self._package.init(
            project=self._project, name=self._name, config=dict(values), embed=False, auto_log_gpu=False,
            auto_log_cpu=False,
        )  # fmt: skip

    def curve(self, name: str, steps: Steps, values: Values) -> None:
        """As metrics."""
        for step, value in zip(steps.tolist(), values.tolist(), strict=True):
            self._run.log({name: value}, step=step)

    def histogram(self, name: str, step: int, edges: Values, counts: Steps) -> None:
        """As a histogram."""
        bars = self._package.Histogram(np_histogram=(counts.tolist(), edges.tolist()))
        self._run.log({name: bars}, step=step)

    def finding(self, finding: Finding, markdown: str) -> None:
        """As an alert."""
        level = getattr(self._package.AlertLevel, LEVELS[finding.severity])
        self._run.alert(title=finding.title, text=markdown, level=level)

    def page(self, file: Path) -> None:
        """It shows no pages: only where it lies."""
        self._run.log({"report": self._package.Markdown(f"The report: `{file.absolute()}`")})

    def close(self) -> str:
        """The end of the run."""
        self._run.finish()
        return f"trackio show --project {self._project}"


def open_for(record: RunRecord) -> Trackio:
    """A run named as ours. Raises ImportError."""
    import trackio

    return Trackio(trackio, record.id, os.environ.get("TRACKIO_PROJECT", "") or "stethoscope")
