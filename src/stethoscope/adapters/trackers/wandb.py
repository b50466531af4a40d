"""Weights & Biases: a run of its own in the project of `WANDB_PROJECT`; offline where `WANDB_MODE` says so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stethoscope.adapters.trackers import Steps, Values
from stethoscope.core.finding import Finding
from stethoscope.facts.run import RunRecord


class WandB:
    """One run (`Any`: the package has no types that we could rely on)."""

    def __init__(self, package: Any, run: Any) -> None:
        self._package, self._run = package, run
        self._findings: list[list[str]] = []
        self._histograms: set[str] = set()

    def settings(self, values: Mapping[str, str]) -> None:
        """Its configuration."""
        self._run.config.update(dict(values), allow_val_change=True)

    def curve(self, name: str, steps: Steps, values: Values) -> None:
        """Each curve over a step of its own, since curves come one after the other."""
        axis = f"{name} step"
        self._run.define_metric(axis, hidden=True)
        self._run.define_metric(name, step_metric=axis)
        for step, value in zip(steps.tolist(), values.tolist(), strict=True):
            self._run.log({axis: step, name: value})

    def histogram(self, name: str, step: int, edges: Values, counts: Steps) -> None:
        """As a histogram, over a step of its own."""
        axis = f"{name} step"
        if name not in self._histograms:
            self._histograms.add(name)
            self._run.define_metric(axis, hidden=True)
            self._run.define_metric(name, step_metric=axis)
        bars = self._package.Histogram(np_histogram=(counts.tolist(), edges.tolist()))
        self._run.log({axis: step, name: bars})

    def finding(self, finding: Finding, markdown: str) -> None:
        """A row of the table of findings; the first one in the summary."""
        self._findings.append([finding.severity.value, finding.rule, finding.title, finding.place.source, markdown])
        if len(self._findings) == 1:
            self._run.summary["finding"] = f"{finding.severity.value}: {finding.title}"
        self._run.summary[f"findings/{finding.rule}"] = finding.severity.value

    def page(self, file: Path) -> None:
        """The report, shown in a panel."""
        self._run.log({"report": self._package.Html(file.read_text("utf-8"), inject=False)})

    def close(self) -> str:
        """The table, and the end of the run."""
        columns = ["severity", "rule", "title", "place", "text"]
        self._run.log({"findings": self._package.Table(columns=columns, data=self._findings)})
        where = self._run.dir
        self._run.finish()
        return str(Path(where).parent)


def open_for(record: RunRecord) -> WandB:
    """A run named as ours. Raises ImportError."""
    import wandb

    run = wandb.init(
        project=None, name=record.id, job_type="stethoscope", dir=record.directory or None, reinit="create_new",
        settings=wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True, save_code=False),
    )  # fmt: skip
    return WandB(wandb, run)
