"""TensorBoard: an event file in the folder `tensorboard` of the run, or below `STETHOSCOPE_TENSORBOARD`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from stethoscope.adapters.tfevents import EventWriter
from stethoscope.adapters.trackers import Steps, Values
from stethoscope.core.finding import Finding
from stethoscope.facts.run import RunRecord

FOLDER = "tensorboard"


class TensorBoard:
    """Writes event files by itself: the package is needed to look at them only."""

    def __init__(self, folder: Path, started: float) -> None:
        self._writer = EventWriter(folder, started=started)
        self._findings = 0

    def settings(self, values: Mapping[str, str]) -> None:
        """As a table among the texts."""
        rows = [f"| {name} | {value} |".replace("\n", " ") for name, value in values.items()]
        self._writer.text("stethoscope/settings", 0, "\n".join(["| setting | value |", "|---|---|", *rows]))

    def curve(self, name: str, steps: Steps, values: Values) -> None:
        """As scalars, `training loss` as `training/loss`."""
        tag = name if "/" in name else name.replace(" ", "/", 1).replace(" ", "_")
        for step, value in zip(steps.tolist(), values.tolist(), strict=True):
            self._writer.scalar(tag, step, value)

    def histogram(self, name: str, step: int, edges: Values, counts: Steps) -> None:
        """As a histogram; its first bucket is the empty one below the lowest edge."""
        self._writer.histogram(name, step, edges.tolist(), [0, *counts.tolist()])

    def finding(self, finding: Finding, markdown: str) -> None:
        """As a text, numbered by rank."""
        self._findings += 1
        self._writer.text(f"findings/{self._findings:02d} {finding.rule}", 0, markdown)

    def page(self, file: Path) -> None:
        """TensorBoard shows no pages: only where it lies."""
        self._writer.text("stethoscope/report", 0, f"The report: `{file.absolute()}`")

    def close(self) -> str:
        """Close the file."""
        self._writer.close()
        return f"tensorboard --logdir {self._writer.path.parent.parent}"


def open_for(record: RunRecord) -> TensorBoard:
    """An event file below the folder for TensorBoard."""
    base = Path(os.environ.get("STETHOSCOPE_TENSORBOARD", "") or Path(record.directory or ".") / FOLDER)
    started = datetime.fromisoformat(record.started).timestamp() if record.started else 0.0
    return TensorBoard(base / (record.id or "run"), started)
