"""Results in a notebook: plain text, Markdown, and HTML that needs no script and leaves the page's own styles alone."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Protocol, TextIO, runtime_checkable

from stethoscope.core.display import Bundle
from stethoscope.core.finding import Diagnosis, Finding
from stethoscope.core.review import Review
from stethoscope.core.text import Line, Message, Paragraph, Reading, Section, plain
from stethoscope.render.account import summary
from stethoscope.render.cards import LABELS, inline
from stethoscope.render.document import message_of, text_of
from stethoscope.render.markup import Html, tag

COLOURS = {"error": "#c62828", "warning": "#b26a00", "note": "#0b7285"}
"""Of a finding's edge and its word: told apart on white and on black."""
BOX = "font:13px/1.5 system-ui,sans-serif;max-width:60em;text-align:left"
CELL = "text-align:left;vertical-align:top;padding:2px 12px 2px 0;background:none;border:0"
CODE = "font:12px/1.5 ui-monospace,monospace;background:rgba(127,127,127,.14);padding:1px 4px;border-radius:3px"
MOST = 50
"""Findings that are shown; more are counted."""


@runtime_checkable
class Printed(Protocol):
    """What can print itself."""

    def show(self, stream: TextIO) -> None:
        """Print it."""
        ...


def bundle(thing: object) -> Bundle:
    """A finding, a diagnosis, a review, or something that has one of them, for a notebook."""
    if isinstance(thing, Finding):
        return {"text/plain": text_of(thing), "text/markdown": _markdown([thing], ""), "text/html": _html([thing], ())}
    diagnosis = thing if isinstance(thing, Diagnosis) else getattr(thing, "diagnosis", None)
    findings: Sequence[Finding] = getattr(thing, "findings", ()) or (diagnosis.findings if diagnosis else ())
    head: Line = (
        summary(diagnosis, "in the report" if getattr(thing, "path", None) else "in not_checked")
        if isinstance(diagnosis, Diagnosis)
        else _read(thing)
    )
    notices = diagnosis.notices if isinstance(diagnosis, Diagnosis) else ()
    path = getattr(thing, "path", None)
    foot = f"The report: {path / 'report.html'}" if path is not None else ""
    return {
        "text/plain": _text(thing, findings, head),
        "text/markdown": _markdown(findings, plain(head), foot),
        "text/html": _html(findings, head, (*notices, foot)),
    }


def _read(thing: object) -> Line:
    """Of a review of source files."""
    if not isinstance(thing, Review):
        return ()
    from stethoscope.render.review import summary_of

    return summary_of(thing)


def _text(thing: object, findings: Sequence[Finding], head: Line) -> str:
    if isinstance(thing, Printed):
        stream = io.StringIO()
        thing.show(stream)
        return stream.getvalue().strip("\n")
    return "\n".join([*(text_of(finding) for finding in findings), plain(head)])


def _markdown(findings: Sequence[Finding], head: str, foot: str = "") -> str:
    parts = [f"**{head}**"] if head else []
    for finding in findings[:MOST]:
        message = message_of(finding)
        place = plain(message.place)
        parts.append(f"**{message.severity.value}: {plain(message.title)}**  \n{place} · *{message.rule}*")
        for section in message.sections:
            if section.label in LABELS:
                parts.append(f"*{section.label}*\n\n{_markdown_of(section)}")
    return "\n\n".join([*parts, *([foot] if foot else []), *_left_out(findings)])


def _markdown_of(section: Section) -> str:
    readings = [part for part in section.body if isinstance(part, Reading)]
    if readings:
        rows = [" | ".join(plain(cell).replace("|", "\\|") for cell in (r.what, r.seen, r.healthy)) for r in readings]
        return "\n".join(["| measured | seen | healthy |", "|---|---|---|", *(f"| {row} |" for row in rows)])
    lines, fenced = [], False
    for part in section.body:
        if isinstance(part, Paragraph):
            if part.is_code != fenced:
                lines.append("```" if fenced else "\n```python")
                fenced = part.is_code
            lines.append(plain(part.line) if not part.is_code else "".join(piece.text for piece in part.line))
    return "\n".join([*lines, *(["```"] if fenced else [])])


def _html(findings: Sequence[Finding], head: Line, foot: Iterable[str] = ()) -> str:
    cards = [_card(message_of(finding), is_first=place == 0) for place, finding in enumerate(findings[:MOST])]
    return tag(
        "div",
        tag("div", tag("strong", "stethoscope"), "  ", inline(head), style="margin:0 0 6px") if head else "",
        *cards,
        *(tag("div", words, style="opacity:.75;margin:4px 0") for words in (*_left_out(findings), *foot) if words),
        class_="stethoscope",
        style=BOX,
    )


def _left_out(findings: Sequence[Finding]) -> list[str]:
    return [f"{len(findings) - MOST:,} more findings"] if len(findings) > MOST else []


def _card(message: Message, *, is_first: bool) -> Html:
    colour = COLOURS[message.severity.value]
    head = tag(
        "summary",
        tag("b", f"{message.severity.value}: ", style=f"color:{colour}"),
        tag("b", inline(message.title)),
        tag("div", inline(message.place), " · ", message.rule, style="opacity:.75;margin-left:1.2em"),
        style="cursor:pointer",
    )
    excerpt = tag("pre", "\n".join(plain(line) for line in message.excerpt), style=f"{CODE};margin:6px 0")
    rows = [_row(section) for section in message.sections if section.label in LABELS]
    body = tag("table", tag("tbody", *rows), style="border-collapse:collapse;border:0;margin:4px 0;font-size:inherit")
    return tag(
        "details", head, excerpt if message.excerpt else "", body, open=is_first,
        style=f"border-left:4px solid {colour};padding:2px 0 2px 10px;margin:6px 0",
    )  # fmt: skip


def _row(section: Section) -> Html:
    label = tag("td", LABELS[section.label], style=f"{CELL};opacity:.75;white-space:nowrap")
    return tag("tr", label, tag("td", *_parts(section), style=CELL), style="background:none")


def _parts(section: Section) -> Iterable[Html]:
    code: list[str] = []
    for part in section.body:
        if isinstance(part, Paragraph) and part.is_code:
            code.append("".join(piece.text for piece in part.line))
            continue
        if code:
            yield _block(code)
            code = []
        if isinstance(part, Reading):
            healthy = [" (healthy: ", inline(part.healthy), ")"] if part.healthy else []
            yield tag("div", inline(part.what), ": ", tag("b", inline(part.seen)), *healthy)
        else:
            yield tag("div", inline(part.line))
    if code:
        yield _block(code)


def _block(code: list[str]) -> Html:
    return tag("pre", "\n".join(code), style=f"{CODE};margin:2px 0;white-space:pre-wrap")
