"""What an editor shows of a finding: the words beside a line, its page, and what can be done. Knows no protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stethoscope.core.errors import UsageError
from stethoscope.core.finding import Edit, Finding, Fix, Place, Sureness
from stethoscope.diagnosing.allow import allowances
from stethoscope.render.rule_page import GENERATED, markdown
from stethoscope.rules import rule_named

LONGEST_CODE = 60
"""Characters of code in the title of an action: editors show these in a narrow list."""
_LINK = re.compile(r"\[(`[\w-]+`)\]\([\w-]+\.md\)")


@dataclass(frozen=True)
class Action:
    """Something that can be done about a finding."""

    title: str
    edits: tuple[Edit, ...]
    is_safe: bool = False


def message_of(finding: Finding) -> str:
    """What stands beside the line: what is wrong, why, and unless what."""
    parts = [finding.title, finding.cause.replace("`", "")]
    if finding.unless:
        parts.append(f"Unless {finding.unless}")
    return "\n".join(parts)


def page_of(finding: Finding) -> str:
    """The finding and its rule's page, as Markdown."""
    head = f"**{finding.severity.value}: {finding.title}** ({finding.sureness.value})"
    evidence = [f"- {one.what}: {one.seen} (healthy: {one.healthy})" for one in finding.evidence]
    fixes = [_as_markdown(fix) for fix in finding.fixes]
    parts = [head, finding.cause, "\n".join(evidence), *fixes, "---", _page(finding.rule)]
    return "\n\n".join(part for part in parts if part)


def _page(name: str) -> str:
    try:
        page = markdown(rule_named(name))
    except UsageError:
        return ""
    # Links between the pages lead nowhere from an editor.
    return _LINK.sub(r"\1", page.removeprefix(GENERATED)).strip()


def _as_markdown(fix: Fix) -> str:
    """A fix whose lines of code, four spaces in, are a block."""
    rows = fix.text.split("\n")
    code = "\n".join(row[4:] for row in rows if row.startswith("    "))
    words = " ".join(row.strip() for row in rows if not row.startswith("    "))
    return f"{words}\n\n```python\n{code}\n```" if code else words


def _on_one_line(fix: Fix) -> str:
    words, *rows = fix.text.split("\n    ")
    code = "; ".join(row.strip() for row in rows)
    return f"{words.strip()} {code}" if code and len(code) <= LONGEST_CODE else words.strip().rstrip(":.")


def actions_for(finding: Finding, lines: Sequence[str]) -> Iterator[Action]:
    """The repairs that an editor can make, and a comment that allows the finding.

    Args:
        finding: in this text.
        lines: of the file, or of the notebook's cell, in which it stands.
    """
    home = finding.place.file, finding.place.cell
    for fix in finding.fixes:
        if fix.edits and all((edit.place.file, edit.place.cell) == home for edit in fix.edits):
            unsafe = "" if fix.safe else " (unsafe: look at what it changes)"
            yield Action(f"{_on_one_line(fix)}{unsafe}", fix.edits, fix.safe)
    comment = allowing(finding, lines)
    if comment is not None:
        yield Action(f"Allow {finding.rule} here: write the reason behind `--`", (comment,))


def allowing(finding: Finding, lines: Sequence[str]) -> Edit | None:
    """A comment that allows the finding once someone has written a reason; None where none can stand."""
    place = finding.place
    line = place.line or 0
    last = max(place.end_line or line, line)
    if not 0 < line <= last <= len(lines):
        return None
    words = f"# stethoscope: allow {finding.rule} -- "
    indent = lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
    behind = [(number, len(lines[number - 1].rstrip()) + 1, f"  {words}") for number in dict.fromkeys((last, line))]
    for number, column, text in [*behind, (line, 1, f"{indent}{words}\n")]:
        if _holds(lines, number, column, text, finding.rule, line):
            here = Place(place.file, number, column=column, end_line=number, end_column=column, cell=place.cell)
            return Edit(here, text)
    return None


def _holds(lines: Sequence[str], number: int, column: int, text: str, rule: str, line: int) -> bool:
    """Whether a comment would be read as one there, and hold for this line and not for the whole file."""
    before = lines[number - 1]
    ahead = lines[number - 2] if text.endswith("\n") and number > 1 else "" if text.endswith("\n") else before
    if ahead.rstrip().endswith("\\"):
        return False  # nothing may stand behind it
    changed = [*lines]
    moved = line
    if text.endswith("\n"):  # a line of its own moves the finding down
        changed.insert(number - 1, text.rstrip("\n") + "because")
        moved += 1
    else:
        changed[number - 1] = f"{before[: column - 1]}{text}because"
    return any(
        name == rule and reason == "because" and first <= moved <= end <= len(changed)
        for name, reason, _, first, end in allowances(changed)
    )


def is_shown_mildly(finding: Finding) -> bool:
    """Whether it is only possible: a mark in the text, and no warning."""
    return finding.sureness.strength <= Sureness.POSSIBLE.strength


def notebook_of(cells: Sequence[tuple[bool, str]]) -> bytes:
    """Cells as an editor has them open, each with whether it is Python, as a notebook's file holds them."""
    listed = [{"cell_type": "code" if is_code else "markdown", "source": text} for is_code, text in cells]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": listed}).encode()
