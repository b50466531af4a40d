"""What came of reading source files as SARIF 2.1.0, which code hosts and editors show beside the lines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stethoscope.core.errors import UsageError
from stethoscope.core.finding import Edit, Finding, Fix, Link, Place, Severity
from stethoscope.core.fingerprint import fingerprints
from stethoscope.core.review import FileReview, Review
from stethoscope.core.rule import HEADINGS, Rule
from stethoscope.core.text import clean
from stethoscope.render.json import tool_version
from stethoscope.render.rule_page import summary
from stethoscope.rules import rule_named

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT = "%SRCROOT%"
"""What paths are relative to: by custom the top of the checkout, where the command is started."""
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def to_sarif(review: Review) -> dict[str, Any]:
    """The review as a SARIF log with one run."""
    findings = review.findings
    silenced = [(one, why) for file in review.files for one, why in file.silences if review.level.shows(one)]
    rules = sorted({one.rule for one in (*findings, *(one for one, _ in silenced))})
    every = [*findings, *(one for one, _ in silenced)]
    results = [
        _result(one, rules.index(one.rule), mark)
        for one, mark in zip(every, fingerprints(every, relative_name), strict=True)
    ]
    for result, (_, why) in zip(results[len(findings) :], silenced, strict=True):
        result["suppressions"] = [{"kind": "inSource", "justification": clean(why)}]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver(rules)},
                "columnKind": "unicodeCodePoints",
                "invocations": [_invocation(review)],
                "results": results,
            }
        ],
    }


def relative_name(file: str) -> str:
    """A file's path from the working directory, `/` between its parts; as it is where it lies elsewhere."""
    if not file:
        return ""
    try:
        inside = os.path.relpath(file)
    except ValueError:  # another drive
        inside = os.pardir
    return (file if inside.startswith(os.pardir) else inside).replace(os.sep, "/")


def words_of(finding: Finding) -> str:
    """Title and cause, and of a notebook the cell, as one plain text: what a service shows beside the line."""
    place = finding.place
    where = f"cell {place.cell}, line {place.line}: " if place.cell else ""
    title = where + " ".join(clean(finding.title).split())
    parts = [f"{title}.", f"{_one(finding.cause)}"]
    if finding.fixes:
        parts.append(_one(finding.fixes[0].text.split("\n    ")[0]).rstrip(":") + _pasted(finding))
    return " ".join(parts)


def _pasted(finding: Finding) -> str:
    """The first fix's code behind its sentence."""
    rows = [row.strip() for row in finding.fixes[0].text.splitlines() if row.startswith("    ")]
    return f": `{clean('; '.join(rows)).replace(':; ', ': ')}`" if rows else ""


def _one(text: str) -> str:
    return " ".join(clean(text).split())


def _driver(rules: Sequence[str]) -> dict[str, Any]:
    driver: dict[str, Any] = {"name": "stethoscope", "rules": [_descriptor(name) for name in rules]}
    if version := tool_version():
        driver["semanticVersion"] = version
    return driver


def _descriptor(name: str) -> dict[str, Any]:
    try:
        rule = rule_named(name)
    except UsageError:  # kept by another version of this tool
        return {"id": name}
    page = rule.page()
    return {
        "id": name,
        "shortDescription": {"text": " ".join(summary(rule).split())},
        "fullDescription": {"text": " ".join(page[""].split())},
        "help": {"text": _help(rule, "{}"), "markdown": _help(rule, "## {}")},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {"tags": [rule.subject, rule.kind.value]},
    }


def _help(rule: type[Rule], heading: str) -> str:
    """The rule's page. The words are the same in both forms: they hold little that is Markdown."""
    page = rule.page()
    parts = [page[""], *(f"{heading.format(title)}\n\n{page[title]}" for title in HEADINGS if page.get(title))]
    return "\n\n".join(parts)


def _result(finding: Finding, index: int, mark: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": LEVELS[finding.severity],
        "message": {"text": words_of(finding)},
        "locations": [_location(finding.place)] if finding.place.file else [],
        "partialFingerprints": {"stethoscopeFinding/v1": mark},
        "properties": {"sureness": finding.sureness.value},
    }
    if finding.chain:
        result["relatedLocations"] = [_link(number, link) for number, link in enumerate(finding.chain, start=1)]
    fixes = [_fix(fix) for fix in finding.fixes if fix.edits and not any(edit.place.cell for edit in fix.edits)]
    if fixes:
        result["fixes"] = fixes
    return result


def _fix(fix: Fix) -> dict[str, Any]:
    """What a viewer can put into the file; whether it may change what a correct program does is said with it."""
    words = _one(fix.text.split("\n    ")[0]).rstrip(":.") + ("" if fix.safe else " (unsafe: look at what it changes)")
    files = dict.fromkeys(edit.place.file or "" for edit in fix.edits)
    changes = [
        {
            "artifactLocation": _artifact(file),
            "replacements": [_replacement(edit) for edit in fix.edits if (edit.place.file or "") == file],
        }
        for file in files
    ]
    return {"description": {"text": words}, "artifactChanges": changes, "properties": {"safe": fix.safe}}


def _replacement(edit: Edit) -> dict[str, Any]:
    place = edit.place
    region = {
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    }
    return {"deletedRegion": region, "insertedContent": {"text": edit.text}}


def _link(number: int, link: Link) -> dict[str, Any]:
    where = f"cell {link.place.cell}, line {link.place.line}: " if link.place.cell else ""
    return {"id": number, **_location(link.place), "message": {"text": where + _one(link.words)}}


def _location(place: Place) -> dict[str, Any]:
    """A place; of a notebook the cell, since lines of its JSON mean nothing to a reader."""
    physical: dict[str, Any] = {"artifactLocation": _artifact(place.file or "")}
    if place.cell:
        name = f"cell {place.cell}"
        cell = {"name": name, "fullyQualifiedName": f"{relative_name(place.file or '')}:{name}", "kind": "module"}
        return {"physicalLocation": physical, "logicalLocations": [cell], "properties": {"line": place.line or 1}}
    if place.line:
        physical["region"] = _region(place)
    return {"physicalLocation": physical}


def _region(place: Place) -> dict[str, Any]:
    region: dict[str, Any] = {"startLine": place.line}
    if place.column:
        region["startColumn"] = place.column
    if place.end_line:
        region["endLine"] = place.end_line
        if place.end_column:
            region["endColumn"] = place.end_column
    if place.text and place.end_line in (None, place.line):
        region["snippet"] = {"text": clean(place.text)}
    return region


def _artifact(file: str) -> dict[str, str]:
    name = relative_name(file)
    if os.path.isabs(name):
        return {"uri": Path(name).as_uri()}
    return {"uri": quote(os.fsencode(name)), "uriBaseId": ROOT}


def _invocation(review: Review) -> dict[str, Any]:
    """Whether all was done, and what was not."""
    notes = [_notification("error", f"there is no file or folder {name!r}") for name in review.missing]
    for file in review.files:
        notes += _notifications(file)
    done: dict[str, Any] = {"executionSuccessful": not review.is_incomplete}
    if notes:
        done["toolExecutionNotifications"] = notes
    return done


def _notifications(file: FileReview) -> list[dict[str, Any]]:
    notes = []
    if file.why_not:
        notes.append(_notification("warning", f"{file.file} {file.why_not}", file.file))
    for broken in file.broken:
        notes.append(_notification("error", f"{broken.rule} failed: {broken.why} (please report it)", file.file))
    notes += [_notification("note", words, file.file) for words in (*file.notices, *file.unclear)]
    return notes


def _notification(level: str, words: str, file: str = "") -> dict[str, Any]:
    note: dict[str, Any] = {"level": level, "message": {"text": clean(words)}}
    if file:
        note["locations"] = [{"physicalLocation": {"artifactLocation": _artifact(file)}}]
    return note
