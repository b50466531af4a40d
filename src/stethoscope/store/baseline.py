"""Findings that a project knows of already, so that only new ones are told: adopting `lint` in old code.

A finding is known by its rule, its file (from the folder of the baseline), and the text of its line; so it stays known
when lines move, and is told again when its line changes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.core.finding import Finding
from stethoscope.core.fingerprint import line_hash
from stethoscope.core.review import Review
from stethoscope.core.text import sendable

SCHEMA = 1
Key = tuple[str, str, str]
"""Rule, file, hash of the line."""


def write_baseline(findings: Iterable[Finding], path: Path) -> int:
    """Write these as the known ones; how many they are. Raises: UsageError when the file cannot be written."""
    counts = Counter(_key(finding, path) for finding in findings)
    entries = [
        {"file": file, "rule": rule, "line": line, "count": count}
        for (rule, file, line), count in sorted(counts.items(), key=lambda one: (one[0][1], one[0][0], one[0][2]))
    ]
    text = sendable(json.dumps({"schema": SCHEMA, "findings": entries}, indent=1, ensure_ascii=False)) + "\n"
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    return counts.total()


def read_baseline(path: Path) -> Counter[Key]:
    """What is known, and how often.

    Raises:
        UsageError: there is no such file.
        BadFile: it is no baseline.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no baseline {path}; `stethoscope lint --write-baseline {path}` writes it"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot read the baseline {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path} is no baseline: it is not JSON ({error})") from error
    if isinstance(document, dict) and isinstance(document.get("schema"), int) and document["schema"] > SCHEMA:
        raise BadFile(f"{path} is a baseline of a newer version of stethoscope")
    try:
        return Counter({_entry(one): int(one["count"]) for one in document["findings"]})
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{path} is no baseline: write it with `stethoscope lint --write-baseline {path}`") from error


def without_known(review: Review, known: Counter[Key], path: Path) -> Review:
    """The review without known findings, which are counted; of equal lines, as many as are known."""
    left = Counter(known)
    files = []
    counted = 0
    for file in review.files:
        stay = []
        for finding in file.findings:
            key = _key(finding, path)
            if left[key] > 0:
                left[key] -= 1
                counted += review.level.shows(finding)
            else:
                stay.append(finding)
        files.append(replace(file, findings=tuple(stay)) if len(stay) < len(file.findings) else file)
    read = {_named(file.file, path) for file in review.files if not file.why_not}
    repaired = sum(count for (_, file, _), count in left.items() if count > 0 and file in read)
    return replace(review, files=tuple(files), known=counted, repaired=repaired)


def _entry(one: Any) -> Key:
    key = one["rule"], one["file"], one["line"]
    if not all(isinstance(part, str) for part in key):
        raise TypeError
    return key


def _key(finding: Finding, path: Path) -> Key:
    return finding.rule, _named(finding.place.file or "", path), line_hash(finding)


def _named(file: str, path: Path) -> str:
    """A file's path from the folder of the baseline, so that both can be moved together."""
    try:
        return os.path.relpath(file, path.absolute().parent).replace(os.sep, "/") if file else ""
    except ValueError:  # another drive
        return file
