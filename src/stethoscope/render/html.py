"""The report: one file that needs nothing else, reads without script, and asks nothing of any network."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime
from importlib import resources
from pathlib import PurePath
from typing import Any

from stethoscope.core.finding import Diagnosis, Severity
from stethoscope.core.text import Line, Piece, Role, amount, number, read
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import History
from stethoscope.render.account import judged, percent, summary
from stethoscope.render.before import experiments_section, parts_section, simplified_section
from stethoscope.render.before_pictures import range_picture, start_picture
from stethoscope.render.cards import card, inline
from stethoscope.render.curves import curve_panels
from stethoscope.render.health_map import health_map
from stethoscope.render.json import strict, tool_version
from stethoscope.render.markup import Html, joined, tag
from stethoscope.render.particulars import checks_section, loop_section, record_section, sampling_section
from stethoscope.render.suspects import download, suspects_table

STYLES = ("page.css", "pictures.css")
SCRIPTS = ("numbers.js", "colours.js", "labels.js", "map.js", "curves.js", "start.js")
"""In this order: each uses what stands in those before it."""


def to_html(diagnosis: Diagnosis, record: RunRecord, history: History) -> str:
    """The report as one HTML document, under 300 KB for a typical run (20 layers, 2,000 steps, 200 looks)."""
    style, script = asset(*STYLES), asset(*SCRIPTS)
    picture = {"map": health_map(history, diagnosis), "curves": curve_panels(history)}
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{headline(diagnosis)}: {PurePath(record.script).name or 'a training run'}"),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(style)),
    )
    body = tag(
        "body",
        tag("a", "Skip to the findings", href="#findings", class_="skip"),
        _verdict(diagnosis, record, history),
        tag("main", *_sections(diagnosis, record, history, picture)),
        tag("footer", _colophon(record)),
        tag("script", Html(json_block(picture)), type="application/json", id="pictures"),
        tag("script", Html(script)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def policy(style: str, script: str) -> str:
    """A content security policy that lets this page's own style and script run, and nothing be loaded."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def json_block(values: Any) -> str:
    """JSON that cannot end the element it stands in (`Any`: any JSON value)."""
    text = json.dumps(strict(values), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def headline(diagnosis: Diagnosis) -> str:
    """`1 error, 2 notes`, `Nothing wrong found`, or `Nothing could be checked`."""
    counts = [(diagnosis.count(severity), severity) for severity in sorted(Severity, key=lambda s: -s.gravity)]
    words = [amount(count, severity.value) for count, severity in counts if count]
    if words:
        return ", ".join(words)
    return "Nothing wrong found" if diagnosis.checked else "Nothing could be checked"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def asset(*names: str) -> str:
    """Files of the folder `page`, one after the other."""
    folder = resources.files("stethoscope.render").joinpath("page")
    return "\n".join(folder.joinpath(name).read_text("utf-8") for name in names)


def _verdict(diagnosis: Diagnosis, record: RunRecord, history: History) -> Html:
    """What is wrong first, in its own words, or that nothing was found."""
    worst = diagnosis.worst()
    where = [
        PurePath(record.script).name,
        record.id,
        record.state if record.state != "finished" else "",
        history.ended_by,
    ]
    eyebrow = joined([tag("span", word) for word in where if word])
    title = joined([headline(diagnosis)])
    if diagnosis.findings:
        title = tag("a", inline(sentence(read(diagnosis.findings[0].title))), href="#finding-1")
    return tag(
        "header",
        tag("p", tag("strong", "stethoscope"), eyebrow, class_="eyebrow"),
        tag("p", inline(summary(diagnosis, "below")), class_="second") if diagnosis.findings else "",
        tag("h1", title),
        "" if diagnosis.findings else tag("p", f"in {judged(diagnosis, 'below')}", class_="second after"),
        tag("dl", *_figures(diagnosis, record, history), class_="figures"),
        class_=f"verdict {worst.value if worst else 'clean'}",
    )


def sentence(line: Line) -> Line:
    """The line with a capital letter, unless it begins with a name."""
    first = line[0]
    if first.role is Role.NAME:
        return line
    return (Piece(first.text[:1].upper() + first.text[1:], first.role), *line[1:])


def _duration(record: RunRecord) -> str:
    """How long the run took; empty while it goes on."""
    if not (record.started and record.ended):
        return ""
    seconds = (datetime.fromisoformat(record.ended) - datetime.fromisoformat(record.started)).total_seconds()
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s" if minutes else f"{number(seconds)} s"


def _figures(diagnosis: Diagnosis, record: RunRecord, history: History) -> list[Html]:
    """The few numbers that say how the run went."""
    not_possible = len(diagnosis.not_checked)
    checks = f"{len(diagnosis.checked)}" + (f" of {len(diagnosis.checked) + not_possible}" if not_possible else "")
    rows = [(f"{history.unit}s", f"{max(history.steps, record.steps):,}")]
    rows += [("time", _duration(record))] if _duration(record) else []
    for kind, name in (("loss", "training loss"), ("accuracy", "training accuracy")):
        for phase in ("training", "validation"):
            curve = history.curve(kind, phase)
            if curve is not None and curve.values.size:
                rows.append((f"final {name.replace('training', phase)}", number(float(curve.values[-1]))))
    rows.append(("checks possible", checks))
    if history.sampling.looks > history.sampling.burst_looks:
        rows.append(("cost of listening", percent(history.sampling.estimated_cost)))
    return [tag("div", tag("dt", name), tag("dd", value)) for name, value in rows]


def _sections(diagnosis: Diagnosis, record: RunRecord, history: History, picture: dict[str, Any]) -> list[Html]:
    cards = [
        joined([card(finding, number), suspects_table(finding, {})])
        for number, finding in enumerate(diagnosis.findings, start=1)
    ]
    clean = "No check that could be made found anything wrong. What could not be checked is listed below."
    findings = joined(cards) if cards else tag("p", clean if diagnosis.checked else CHECKED_NOTHING, class_="lead")
    pictures = tag("noscript", tag("p", "The pictures are drawn by script, which is off. The text is complete."))
    return [
        section("findings", "Findings", *download(diagnosis), findings),
        *_before(history),
        section("map", "Health map", _map(picture["map"]), pictures),
        section("curves", "Curves", _curves(picture["curves"])),
        section("loop", "The loop, as observed", loop_section(history, diagnosis)),
        section("checks", "What was checked", checks_section(diagnosis)),
        section("listening", "How it was heard", sampling_section(history, diagnosis)),
        section("run", "The run", record_section(record)),
    ]


def _before(history: History) -> list[Html]:
    """What was tried before training, where that was."""
    if not history.preflight.is_check or not history.preflight.experiments:
        return []
    sections = [section("before", "Before training", experiments_section(history.preflight), _pictures(history))]
    if (simplified := history.preflight.simplified) is not None and simplified.aspects:
        sections.append(section("built-up", "Built up from its smallest version", simplified_section(simplified)))
    if history.preflight.structure is not None:
        sections.append(section("parts", "The model's parts", parts_section(history.preflight.structure)))
    return sections


def _pictures(history: History) -> Html:
    """Of the range test, and of the signal at the start, as far as they were made."""
    test = history.preflight.range_test
    drawn = [
        picture for picture in (range_picture(test) if test is not None else "", start_picture(history)) if picture
    ]
    return tag("div", *drawn, class_="panels before") if drawn else Html("")


CHECKED_NOTHING = "Too little of the training was heard to judge anything. The reasons are listed below."


def section(name: str, title: str, *content: str) -> Html:
    """A part of the page with its heading."""
    return tag("section", tag("h2", title, id=f"{name}-title"), *content, id=name, aria_labelledby=f"{name}-title")


def _map(values: dict[str, Any]) -> Html:
    if not values:
        return tag("p", "Layers were not measured in this run, so there is no map.", class_="empty")
    lead = (
        "Layers from the input (top) to the output (bottom), training steps from left to right. The colour "
        "scale is fixed: the same colour is the same number in every layer and every report."
    )
    return joined([tag("p", lead, class_="lead"), tag("div", id="health-map", class_="picture")])


def _curves(panels: list[dict[str, Any]]) -> Html:
    if not panels:
        return tag("p", "No loss and no metric was heard in this run.", class_="empty")
    return tag("div", id="curve-panels", class_="panels")


def _colophon(record: RunRecord) -> Html:
    version = tool_version()
    recorded = record.tool.get("version", "")
    words = f"Made by stethoscope {version}".strip()
    heard = f"; recorded by {recorded}" if recorded and recorded != version else ""
    return tag("p", f"{words}{heard}. This file is complete: it loads nothing and sends nothing.")
