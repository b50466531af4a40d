"""What came of reading source files: in a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TextIO

from stethoscope.core.finding import Severity
from stethoscope.core.review import Review
from stethoscope.core.text import Line, Piece, Role, amount, clean, read, wrapped
from stethoscope.render.document import ROLE_OF, layout, message_of, one_line
from stethoscope.render.json import finding_json, tool_version

SCHEMA = 1
FEW = 5
"""Reasons that are printed; more are counted, and all are in the JSON."""


def print_review(review: Review, stream: TextIO) -> None:
    """Print all findings by file and line, then what could not be read, and how much was looked at."""
    from stethoscope.render.terminal import page_width, write_lines  # the other formats have no use for a terminal

    width = page_width(stream)
    lines: list[Line] = []
    for finding in review.findings:
        lines += [*layout(message_of(finding), width), ()]
    for row in _account(review):
        lines += wrapped(row, width)
    lines += wrapped(summary_of(review), width)
    write_lines(lines, stream)


def _account(review: Review) -> Iterator[Line]:
    """What was not read or not understood, a line each."""
    for name in review.missing:
        yield _entry("missing", f"there is no file or folder {name!r}")
    yield from _some("not analysed", [f"{file.file} {file.why_not}" for file in review.not_analysed])
    for file in review.files:
        for broken in file.broken:
            yield _entry("failed", f"{broken.rule} in {file.file}: {broken.why} (our fault, please report it)")
    allowed = [f"{one_line(finding)}: {reason}" for file in review.files for finding, reason in file.silences]
    yield from _some("silenced", allowed)
    yield from _some("note", [notice for file in review.files for notice in file.notices])
    yield from _some("not understood", [why for file in review.files for why in file.unclear])


def _some(label: str, sentences: list[str]) -> Iterator[Line]:
    for sentence in sentences[:FEW]:
        yield _entry(label, sentence)
    if len(sentences) > FEW:
        yield _entry(label, f"{len(sentences) - FEW:,} more, named in the JSON")


def _entry(label: str, text: str) -> Line:
    return (Piece(f"{label}: ", Role.LABEL), *read(clean(text)))


def summary_of(review: Review) -> Line:
    """`1 error, 2 warnings in 14 files; 12 loops checked, 3 not understood; 2 more findings with --all`."""
    found: Line = ()
    for severity in sorted(Severity, key=lambda severity: -severity.gravity):
        count = review.count(severity)
        if count:
            found = (
                *found,
                *((Piece(", "),) if found else ()),
                Piece(amount(count, severity.value), ROLE_OF[severity]),
            )
    read_files = [file for file in review.files if not file.why_not]
    loops = sum(file.loops for file in read_files)
    unclear = sum(len(file.unclear) for file in read_files)
    relevant = sum(file.is_relevant for file in read_files)
    parts = [f" in {amount(len(read_files), 'file')}"]
    if relevant < len(read_files):
        parts[0] += f", {relevant:,} of them with training code"
    if review.not_analysed:
        parts.append(f"{len(review.not_analysed):,} not analysed")
    parts.append(f"{amount(loops, 'training loop')} checked" + (f", {unclear} not understood" if unclear else ""))
    silenced = sum(len(file.silenced) for file in review.files)
    if silenced:
        parts.append(f"{silenced:,} silenced")
    if review.known:
        parts.append(f"{review.known:,} known")
    if review.repaired:
        parts.append(f"{review.repaired:,} of the baseline found no more")
    if review.excluded:
        parts.append(f"{amount(review.excluded, 'file')} excluded")
    if review.hidden:
        parts.append(f"{amount(review.hidden, 'finding')} below this level (--all, --notes)")
    return (*(found or (Piece("nothing wrong found", Role.HEALTHY),)), Piece("; ".join(parts)))


def review_json(review: Review) -> dict[str, Any]:
    """The review as plain JSON values."""
    return {
        "schema": SCHEMA,
        "tool": {"name": "stethoscope", "version": tool_version()},
        "summary": {
            "errors": review.count(Severity.ERROR),
            "warnings": review.count(Severity.WARNING),
            "notes": review.count(Severity.NOTE),
            "silenced": sum(len(file.silenced) for file in review.files),
            "hidden": review.hidden,
            "known": review.known,
            "repaired": review.repaired,
            "excluded": review.excluded,
            "files": len(review.files),
            "relevant": sum(file.is_relevant for file in review.files),
            "ignored": review.ignored,
            "loops": sum(file.loops for file in review.files),
            "not_understood": [why for file in review.files for why in file.unclear],
            "not_analysed": [{"file": file.file, "why": file.why_not} for file in review.not_analysed],
            "missing": list(review.missing),
            "notices": [notice for file in review.files for notice in file.notices],
            "broken": [
                {"rule": broken.rule, "file": file.file, "why": broken.why}
                for file in review.files
                for broken in file.broken
            ],
            "seconds": round(review.took, 3),
        },
        "findings": [finding_json(finding) for finding in review.findings],
        "silenced": [
            {"finding": finding_json(finding), "reason": reason}
            for file in review.files
            for finding, reason in file.silences
        ],
    }
