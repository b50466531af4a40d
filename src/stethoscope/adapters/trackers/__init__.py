"""Experiment trackers: what a recorded run tells them. Each is a file here, and an optional import.

A tracker is given a run after it has ended: its settings, headline curves, findings and page. Nothing is sent while
training goes on, so that a slow network costs the training nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.errors import StethoscopeError, UsageError
from stethoscope.core.finding import Diagnosis, Finding
from stethoscope.facts.octaves import histograms_of
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import LAYER_STATISTICS, PARAMETER_STATISTICS, History
from stethoscope.store.comparing import settings_of

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio", "comet", "aim", "opentelemetry")
PACKAGES = {
    "comet_ml": "comet-ml",
    "opentelemetry": "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http",
}
"""What to install where that is not named like what is imported."""
NEEDED = {
    "wandb": "wandb",
    "mlflow": "mlflow",
    "trackio": "trackio",
    "comet": "comet_ml",
    "aim": "aim",
    "opentelemetry": "opentelemetry.sdk",
}
"""What each imports; `tensorboard` is written without its package."""
MOST_POINTS = 2000
"""Of a curve: trackers draw no more, and some take milliseconds a point."""
FLAGGED_LAYERS = ("rms", "zero_share", "saturated_share", "gradient_rms")
FLAGGED_PARAMETERS = ("weight_rms", "gradient_rms", "update_ratio")
"""Statistics of the layers and parameters of findings that are sent as curves."""

Steps = NDArray[np.int64]
Values = NDArray[np.float64]


class Tracker(Protocol):
    """Where results are kept. Raises (all methods): whatever the tracker's package raises."""

    def settings(self, values: Mapping[str, str]) -> None:
        """What was set for the run."""
        ...

    def curve(self, name: str, steps: Steps, values: Values) -> None:
        """A series over steps, finite values only."""
        ...

    def histogram(self, name: str, step: int, edges: Values, counts: Steps) -> None:
        """How many sampled values lay between the edges, which are powers of two of either sign and zero's neighbours.

        Nothing where the tracker has no histograms.
        """
        ...

    def finding(self, finding: Finding, markdown: str) -> None:
        """A finding, most important first."""
        ...

    def page(self, file: Path) -> None:
        """The report."""
        ...

    def close(self) -> str:
        """Nothing more comes; where it lies, in a few words."""
        ...


def publish(names: Sequence[str], diagnosis: Diagnosis, record: RunRecord, history: History, run: Path | None) -> None:
    """Tell trackers of a run. One that fails is said in a sentence on standard error, and the others are still told."""
    for name in names:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # some trackers talk, and standard output is the script's
                where = _tell(open_tracker(name, record), diagnosis, record, history, run)
            print(f"stethoscope: {name} has the run ({where})", file=sys.stderr)
        except StethoscopeError as error:
            print(f"stethoscope: {error}", file=sys.stderr)
        except Exception as error:  # a tracker's own failure, of whatever kind
            print(
                f"stethoscope: {name} could not be told of the run ({type(error).__name__}: {error})", file=sys.stderr
            )


def check_trackers(names: Sequence[str]) -> None:
    """Raises: UsageError for a name that is no tracker."""
    for name in names:
        if name not in TRACKERS:
            raise UsageError(f"there is no tracker {name!r}; there are {', '.join(TRACKERS)}")


def not_installed(names: Sequence[str]) -> list[str]:
    """A sentence for each tracker whose package is missing, so that it is known before an hour of training."""
    return [_needs(name, NEEDED[name].partition(".")[0]) for name in names if name in NEEDED and not _is_there(name)]


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(NEEDED[name]) is not None
    except (ImportError, ValueError):  # of the package above it
        return False


def _needs(name: str, package: str) -> str:
    return f"to tell {name} of a run, {package} is needed: pip install {PACKAGES.get(package, package)}"


def open_tracker(name: str, record: RunRecord) -> Tracker:
    """A tracker for one run. Raises UsageError where its package is missing, or there is no such tracker."""
    check_trackers([name])
    module = importlib.import_module(f"stethoscope.adapters.trackers.{name}")
    try:
        tracker: Tracker = module.open_for(record)
    except ImportError as missing:
        package = (missing.name or name).partition(".")[0]
        raise UsageError(_needs(name, package)) from missing
    return tracker


def _tell(
    tracker: Tracker, diagnosis: Diagnosis, record: RunRecord, history: History, run: Path | None
) -> str:  # fmt: skip
    tracker.settings({f"{subject}.{name}".strip("."): value for subject, name, value in settings_of(record)})
    for name, steps, values in curves_of(diagnosis, history):
        tracker.curve(name, steps, values)
    for name, step, edges, counts in histograms_of(history, *_flagged(diagnosis)):
        tracker.histogram(name, step, edges, counts)
    for finding in diagnosis.findings:
        tracker.finding(finding, in_markdown(finding))
    report = run / "report.html" if run is not None else None
    if report is not None and report.exists():
        tracker.page(report)
    return tracker.close()


def curves_of(diagnosis: Diagnosis, history: History) -> list[tuple[str, Steps, Values]]:
    """The headline curves, and what was measured of the layers and parameters that findings are about."""
    found = [(curve.name, curve.steps, curve.values) for curve in history.curves]
    telemetry = history.telemetry
    layers = {layer.name: place for place, layer in enumerate(history.layers)}
    parameters = {parameter.name: place for place, parameter in enumerate(history.parameters)}
    modules, held = _flagged(diagnosis)
    for name in (one for one in modules if one in layers):
        for statistic in FLAGGED_LAYERS:
            values = telemetry.layers[:, layers[name], LAYER_STATISTICS.index(statistic)]
            found.append((f"layers/{name}/{statistic}", telemetry.steps, values.astype(np.float64)))
    for name in (one for one in held if one in parameters):
        for statistic in FLAGGED_PARAMETERS:
            values = telemetry.parameters[:, parameters[name], PARAMETER_STATISTICS.index(statistic)]
            found.append((f"parameters/{name}/{statistic}", telemetry.steps, values.astype(np.float64)))
    return [thinned for one in found if (thinned := _thinned(*one))[1].size]


def _flagged(diagnosis: Diagnosis) -> tuple[list[str], list[str]]:
    """Modules and parameters that findings are about."""
    places = [one.place for one in diagnosis.findings]
    modules = dict.fromkeys(place.module for place in places if place.module)
    return list(modules), list(dict.fromkeys(place.parameter for place in places if place.parameter))


def _thinned(name: str, steps: Steps, values: Values) -> tuple[str, Steps, Values]:
    """The curve without what is not finite, at most MOST_POINTS of it: of each stretch the least and the largest."""
    keep = np.flatnonzero(np.isfinite(values))
    if keep.size > MOST_POINTS:
        parts = np.array_split(keep, MOST_POINTS // 2)
        keep = np.unique(
            [place for part in parts for place in (part[values[part].argmin()], part[values[part].argmax()])]
        )
    return name, steps[keep], values[keep]


def in_markdown(finding: Finding) -> str:
    """The finding as a text with headings that every tracker shows."""
    lines = [f"**{finding.severity.value}: {finding.title}** ({finding.rule})", ""]
    if finding.place.source:
        lines += [f"`{finding.place.source}`", ""]
    lines += [finding.cause, "", "| measured | seen | healthy |", "|---|---|---|"]
    lines += [f"| {one.what} | {one.seen} | {one.healthy} |".replace("\n", " ") for one in finding.evidence]
    for fix in finding.fixes:
        lines += ["", fix.text]
    return "\n".join(lines)
