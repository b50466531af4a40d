"""OpenTelemetry: each finding as a log event, sent where `OTEL_EXPORTER_OTLP_ENDPOINT` says.

`OTEL_LOGS_EXPORTER=console` prints the events to standard error instead.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stethoscope.adapters.trackers import Steps, Values
from stethoscope.core.finding import Finding, Severity
from stethoscope.facts.run import RunRecord

LEVELS = {Severity.ERROR: "ERROR", Severity.WARNING: "WARN", Severity.NOTE: "INFO"}
NANOSECONDS = 1_000_000_000


class Events:
    """Gathers the events of a run and sends them at once (`Any`: the package is optional)."""

    def __init__(self, exporter: Any, record: RunRecord) -> None:
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
        from opentelemetry.sdk.resources import Resource

        self._exporter, self._record = exporter, record
        self._settings: dict[str, object] = {}
        self._last: dict[str, object] = {}
        self._kept = InMemoryLogRecordExporter()
        name = os.environ.get("OTEL_SERVICE_NAME") or Path(record.script).stem or "training"
        provider = LoggerProvider(resource=Resource.create({"service.name": name, "stethoscope.run": record.id}))
        provider.add_log_record_processor(SimpleLogRecordProcessor(self._kept))
        self._logger = provider.get_logger("stethoscope", record.tool.get("version", ""))

    def settings(self, values: Mapping[str, str]) -> None:
        """They go with the event of the run's end."""
        self._settings = {f"setting.{name}": value for name, value in values.items()}

    def curve(self, name: str, steps: Steps, values: Values) -> None:
        """Logs hold no curves: only where each ended."""
        self._last[f"final.{name}"] = float(values[-1])

    def histogram(self, name: str, step: int, edges: Values, counts: Steps) -> None:
        """Logs hold no histograms."""

    def finding(self, finding: Finding, markdown: str) -> None:
        """An event."""
        place = finding.place
        known = {
            "code.file.path": place.file, "code.line.number": place.line, "stethoscope.module": place.module,
            "stethoscope.parameter": place.parameter,
        }  # fmt: skip
        said = {
            "stethoscope.rule": finding.rule, "stethoscope.sureness": finding.sureness.value,
            "stethoscope.rank": finding.rank, "stethoscope.text": markdown,
            **{name: value for name, value in known.items() if value is not None},
        }  # fmt: skip
        self._emit("stethoscope.finding", finding.title, LEVELS[finding.severity], said)

    def page(self, file: Path) -> None:
        """Where it lies."""
        self._last["stethoscope.report"] = str(file.absolute())

    def close(self) -> str:
        """Send them. Raises OSError when they were not taken."""
        from opentelemetry.sdk._logs.export import LogRecordExportResult

        ended = {"stethoscope.steps": self._record.steps, **self._settings, **self._last}
        self._emit("stethoscope.run", f"run {self._record.id} was judged", "INFO", ended)
        events = self._kept.get_finished_logs()
        result = self._exporter.export(events)
        self._exporter.shutdown()
        if result is not LogRecordExportResult.SUCCESS:
            raise OSError("the collector did not take the events; see OTEL_EXPORTER_OTLP_ENDPOINT")
        return f"{len(events)} log events"

    def _emit(self, name: str, body: str, level: str, attributes: Mapping[str, object]) -> None:
        from opentelemetry._logs import LogRecord, SeverityNumber

        self._logger.emit(
            LogRecord(
                timestamp=int(time.time() * NANOSECONDS),
                severity_number=SeverityNumber[level],
                severity_text=level,
                body=body,
                attributes=dict(attributes),
                event_name=name,
            )
        )


def open_for(record: RunRecord) -> Events:
    """Events of a run, for the exporter that the environment names. Raises ImportError."""
    if os.environ.get("OTEL_LOGS_EXPORTER") == "console":
        from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter

        return Events(ConsoleLogRecordExporter(out=sys.stderr), record)
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    return Events(OTLPLogExporter(), record)
