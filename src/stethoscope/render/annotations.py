"""What came of reading source files, for services that show it beside the lines: GitHub's commands, GitLab's report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from stethoscope.core.finding import Finding, Severity
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


def to_gitlab(review: Review) -> str:
    """A code quality report: the JSON that GitLab's `artifacts:reports:codequality` reads."""
    marks = fingerprints(review.findings, relative_name)
    entries = [_entry(finding, mark) for finding, mark in zip(review.findings, marks, strict=True)]
    return sendable(json.dumps(entries, indent=2, ensure_ascii=False)) + "\n"


def _commands(review: Review) -> Iterator[str]:
    for name in review.missing:
        yield _command("error", {"title": "stethoscope"}, f"there is no file or folder {name!r}")
    for finding in review.findings:
        place = finding.place
        marks: dict[str, object] = {"file": relative_name(place.file or "")}
        if place.cell:
            marks["line"] = 1  # of the notebook's JSON; the message names the cell
        else:
            marks["line"] = place.line or 1
            if place.end_line:
                marks["endLine"] = place.end_line
            if place.column and place.end_line in (None, place.line):  # GitHub takes columns within one line only
                marks["col"] = place.column
                if place.end_column:
                    marks["endColumn"] = place.end_column
        marks["title"] = f"stethoscope: {finding.rule}"
        yield _command(COMMANDS[finding.severity], marks, words_of(finding))
    for file in review.not_analysed:
        yield _command("notice", {"file": relative_name(file.file), "title": "stethoscope: not analysed"}, file.why_not)


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
