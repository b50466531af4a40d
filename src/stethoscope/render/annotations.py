"""What came of reading source files, for services that show it beside the lines: GitHub's commands, GitLab's report."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stethoscope.core.finding import Diagnosis, Finding, Place, Severity
from stethoscope.core.fingerprint import fingerprints
from stethoscope.core.review import Review
from stethoscope.core.text import clean, sendable
from stethoscope.render.sarif import relative_name, words_of

COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
GRAVITY = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.NOTE: "info"}
"""GitLab has five: info, minor, major, critical, blocker."""


def to_github(review: Review) -> str:
    """A workflow command for each finding, and for each file that was not read: a line that GitHub shows in place."""
    return "".join(f"{line}\n" for line in _commands(review))


def diagnosis_github(diagnosis: Diagnosis, directory: Path) -> str:
    """The same of a run or a check; a finding without a line is shown at the head of the job.

    Args:
        diagnosis: what was found.
        directory: where it ran, since GitHub names files from `GITHUB_WORKSPACE`.
    """
    lines = []
    for finding in diagnosis.findings:
        file = _from_workspace(finding.place.file, directory) if finding.place.file else ""
        marks = {**(_marks(finding.place, file) if file else {}), "title": _title(finding)}
        lines.append(_command(COMMANDS[finding.severity], marks, words_of(finding)))
    return "".join(f"{line}\n" for line in lines)


def to_gitlab(review: Review) -> str:
    """A code quality report: the JSON that GitLab's `artifacts:reports:codequality` reads."""
    marks = fingerprints(review.findings, relative_name)
    entries = [_entry(finding, mark) for finding, mark in zip(review.findings, marks, strict=True)]
    return sendable(json.dumps(entries, indent=2, ensure_ascii=False)) + "\n"


def _commands(review: Review) -> Iterator[str]:
    for name in review.missing:
        yield _command("error", {"title": "stethoscope"}, f"there is no file or folder {name!r}")
    for finding in review.findings:
        marks = _marks(finding.place, _shown(finding.place.file or ""))
        yield _command(COMMANDS[finding.severity], {**marks, "title": _title(finding)}, words_of(finding))
    for file in review.not_analysed:
        yield _command("notice", {"file": _shown(file.file), "title": "stethoscope: not analysed"}, file.why_not)


def _marks(place: Place, file: str) -> dict[str, object]:
    """Where GitHub shows it."""
    marks: dict[str, object] = {"file": file}
    if place.cell:
        return {**marks, "line": 1}  # of the notebook's JSON; the message names the cell
    marks["line"] = place.line or 1
    if place.end_line:
        marks["endLine"] = place.end_line
    if place.column and place.end_line in (None, place.line):  # GitHub takes columns within one line only
        marks["col"] = place.column
        if place.end_column:
            marks["endColumn"] = place.end_column
    return marks


def _title(finding: Finding) -> str:
    return f"stethoscope: {finding.rule}"


def _shown(file: str) -> str:
    """A reviewed file, from the workspace where it lies in it."""
    return _from_workspace(file, Path.cwd()) or relative_name(file)


def _from_workspace(file: str, directory: Path) -> str:
    """A file's path from the workspace of the job, or from where it ran; "" where it lies elsewhere."""
    whole = os.path.join(directory, file)
    root = os.environ.get("GITHUB_WORKSPACE") or str(directory)
    try:
        inside = os.path.relpath(os.path.realpath(whole), os.path.realpath(root))
    except ValueError:  # another drive
        return ""
    return "" if inside.startswith(os.pardir) else inside.replace(os.sep, "/")


def _command(name: str, marks: Mapping[str, object], words: str) -> str:
    given = ",".join(f"{key}={_property(str(value))}" for key, value in marks.items())
    return sendable(f"::{name} {given}::{_data(clean(words))}")


def _data(text: str) -> str:
    """Text as a workflow command takes it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _entry(finding: Finding, mark: str) -> dict[str, Any]:
    place = finding.place
    lines = {"begin": 1} if place.cell else {"begin": place.line or 1, "end": place.end_line or place.line or 1}
    return {
        "type": "issue",
        "description": words_of(finding),
        "check_name": finding.rule,
        "categories": ["Bug Risk"],
        "fingerprint": mark,
        "severity": GRAVITY[finding.severity],
        "location": {"path": relative_name(place.file or ""), "lines": lines},
    }
