"""A finding as a card of the page: the same document as in the terminal, with pictures and fold-outs."""

from __future__ import annotations

from stethoscope.core.finding import Finding, Plot, Severity
from stethoscope.core.text import Line, Message, Paragraph, Piece, Reading, Role, Section, amount, number
from stethoscope.render.document import message_of
from stethoscope.render.markup import Html, joined, tag
from stethoscope.render.plot import plot_svg

LABELS = {
    "seen": "Seen",
    "why": "Why",
    "tried": "Tried",
    "not": "Ruled out",
    "fix": "Fix",
    "unless": "Unless",
    "more": "More",
}


def inline(line: Line) -> Html:
    """A line with names and code in the type face for them."""
    return joined(_piece(piece) for piece in line)


def _piece(piece: Piece) -> Html:
    if piece.role in (Role.NAME, Role.CODE):
        return tag("code", piece.text)
    if piece.role in (Role.PLAIN, Role.TITLE, Role.PLACE):
        return joined([piece.text])
    return tag("span", piece.text, class_=piece.role.value)


def card(finding: Finding, number: int) -> Html:
    """One finding; `number` is its place in the list, and the address `#finding-<number>`."""
    message = message_of(finding)
    follows = [tag("li", card_of_consequence(consequence)) for consequence in finding.follows]
    count = amount(len(finding.follows), "more finding")
    folded = tag(
        "details", tag("summary", f"{count} {'follows' if len(follows) == 1 else 'follow'} from this"),
        tag("ol", *follows, class_="follows"), class_="fold",
    )  # fmt: skip
    return tag(
        "article",
        tag("header", _badge(finding.severity, number), _heading(message), class_="card-head"),
        _body(message),
        folded if follows else "",
        class_=f"card {finding.severity.value}", id=f"finding-{number}", tabindex=-1,
    )  # fmt: skip


def card_of_consequence(finding: Finding) -> Html:
    """A finding that follows from another one, in short."""
    message = message_of(finding)
    seen = [section for section in message.sections if section.label in ("seen", "why")]
    return joined([tag("h4", inline(message.title)), _where(message), *(_section(section) for section in seen)])


def _badge(severity: Severity, number: int) -> Html:
    return tag("span", str(number), class_=f"badge {severity.value}", aria_hidden="true")


def _heading(message: Message) -> Html:
    word = tag("span", message.severity.value, class_=f"severity {message.severity.value}")
    return tag("div", tag("h3", word, " ", inline(message.title)), _where(message))


def _where(message: Message) -> Html:
    rule = tag("span", message.rule, class_="rule")
    return tag("p", tag("span", inline(message.place)), rule, class_="where")


def _body(message: Message) -> Html:
    excerpt = tag("pre", *(tag("span", inline(line), class_="source") for line in message.excerpt), class_="excerpt")
    sections = [_section(section) for section in message.sections if section.label in LABELS]
    return joined([excerpt if message.excerpt else "", *sections])


def _section(section: Section) -> Html:
    readings = [part for part in section.body if isinstance(part, Reading)]
    if readings:
        content = joined([_readings(readings), *_plots(readings)])
    else:
        content = _paragraphs([part for part in section.body if isinstance(part, Paragraph)])
    label = tag("h4", LABELS[section.label], class_="label")
    return tag("section", label, tag("div", content), class_=f"part {section.label}")


def _readings(readings: list[Reading]) -> Html:
    head = tag("tr", *(tag("th", word, scope="col") for word in ("measured", "seen", "healthy")))
    rows = [
        tag(
            "tr",
            tag("th", inline(reading.what), scope="row"),
            tag("td", inline(reading.seen), class_="seen-value"),
            tag("td", inline(reading.healthy), *_source(reading), class_="healthy-value"),
        )
        for reading in readings
    ]
    return tag("table", tag("thead", head), tag("tbody", *rows), class_="readings")


def _source(reading: Reading) -> list[Html]:
    return [tag("small", inline(reading.source))] if reading.source else []


def _plots(readings: list[Reading]) -> list[Html]:
    figures = [
        tag("figure", plot_svg(reading.plot), _caption(reading.plot))
        for reading in readings
        if reading.plot is not None and reading.plot.steps
    ]
    return [tag("div", *figures, class_="plots")] if figures else []


def _caption(plot: Plot) -> Html:
    """What is drawn, and where it would be healthy."""
    low, high = (None if edge is None else number(edge) for edge in plot.healthy)
    if low is None and high is None:
        return tag("figcaption", plot.label)
    words = f"{low} to {high}" if low and high else f"above {low}" if low else f"below {high}"
    return tag("figcaption", f"{plot.label} ", tag("span", class_="band"), f" healthy: {words}")


def _paragraphs(paragraphs: list[Paragraph]) -> Html:
    """Prose as paragraphs, code lines that follow each other as one block."""
    parts: list[Html] = []
    code: list[str] = []
    for paragraph in paragraphs:
        if paragraph.is_code:
            code.append("".join(piece.text for piece in paragraph.line))
            continue
        if code:
            parts.append(_block(code))
            code = []
        parts.append(tag("p", inline(paragraph.line)))
    return joined([*parts, _block(code)] if code else parts)


def _block(code: list[str]) -> Html:
    return tag("pre", "\n".join(code), class_="code", tabindex=0)
