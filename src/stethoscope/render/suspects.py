"""Suspicious rows on a page: a table below their finding, and all of them for download."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from stethoscope.core.finding import Diagnosis, Finding, SuspectRow
from stethoscope.core.text import amount
from stethoscope.render.inspection import suspects_csv
from stethoscope.render.markup import Html, tag
from stethoscope.render.picture_section import shown

MOST_ROWS = 20
"""Suspicious rows of a finding that are shown; all of them are in the CSV."""
MOST_CELLS = 6
LONGEST_CELL = 80


def download(diagnosis: Diagnosis) -> list[Html]:
    """A link to all suspicious rows as CSV, inside of the page; none without such rows."""
    rows = sum(len(finding.suspects) for finding in diagnosis.findings)
    if not rows:
        return []
    address = "data:text/csv;charset=utf-8;base64," + base64.b64encode(suspects_csv(diagnosis).encode()).decode()
    words = f"Download the {amount(rows, 'suspicious row')} as CSV"
    return [tag("p", tag("a", words, href=address, download="suspects.csv"), class_="lead")]


def suspects_table(finding: Finding, drawn: Mapping[tuple[str, int], str]) -> Html:
    """The first rows of a finding as a table."""
    if not finding.suspects:
        return Html("")
    rows = finding.suspects[:MOST_ROWS]
    names = list(dict.fromkeys(name for row in rows for name, _ in row.values))[:MOST_CELLS]
    has_words = any(row.why for row in rows)
    has_pictures = any((row.data, row.row) in drawn for row in rows)
    heads = ("row", *(["picture"] if has_pictures else []), *(["why"] if has_words else []), *names)
    head = tag("tr", *(tag("th", word, scope="col") for word in heads))
    body = [_suspect(row, names, has_words, drawn if has_pictures else None) for row in rows]
    more = len(finding.suspects) - len(rows)
    count = amount(len(finding.suspects), "row")
    table = tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="wide", tabindex=0)
    rest = tag("p", f"{more:,} more are in the CSV.", class_="quiet") if more else ""
    return tag(
        "details", tag("summary", f"{count} to look at"), table, rest, class_="fold suspects", open=len(rows) <= 5
    )


def _suspect(row: SuspectRow, names: list[str], has_words: bool, drawn: Mapping[tuple[str, int], str] | None) -> Html:
    values = dict(row.values)
    cells = [] if drawn is None else [tag("td", shown(drawn.get((row.data, row.row), "")))]
    cells += [tag("td", row.why)] if has_words else []
    for name in names:
        text = values.get(name, "")
        cells.append(tag("td", text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"))
    return tag("tr", tag("th", f"{row.row:,}" if row.row >= 0 else "", scope="row"), *cells)
