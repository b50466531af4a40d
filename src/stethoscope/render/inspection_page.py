"""The page of a data set: findings first, then each column with a small picture. One file that needs nothing else."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np

from stethoscope.core.finding import Diagnosis
from stethoscope.core.text import amount, number, read, sendable
from stethoscope.facts.data import Column, Data, DataSet
from stethoscope.render.account import judged, reasons, summary
from stethoscope.render.cards import card, inline
from stethoscope.render.column_pictures import box_picture, column_picture, scatter_picture
from stethoscope.render.html import asset, headline, policy, section, sentence
from stethoscope.render.json import tool_version
from stethoscope.render.markup import Html, joined, tag
from stethoscope.render.picture_section import picture_parts, thumbnails_of
from stethoscope.render.suspects import download, suspects_table

STYLES = ("page.css", "pictures.css", "inspection.css")
MOST_COLUMNS = 120
"""Columns with a picture: the page stays under its size. Those with findings come first."""
MOST_TIES = 4
LEAST_STRENGTH = 0.05
MOST_CLASSES = 8
MOST_DOTS = 300
MOST_REASONS = 12


def to_html(diagnosis: Diagnosis, data: Data) -> str:
    """The page as one HTML document, under 500 KB for 30 columns."""
    style = asset(*STYLES)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(style, "")),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{headline(diagnosis)}: {PurePath(data.train.name).name}"),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(style)),
    )
    version = f"Made by stethoscope {tool_version()}".strip()
    body = tag(
        "body",
        tag("a", "Skip to the findings", href="#findings", class_="skip"),
        _verdict(diagnosis, data),
        tag("main", *_sections(diagnosis, data)),
        tag("footer", tag("p", f"{version}. This file is complete: it loads nothing and sends nothing.")),
    )
    return sendable(f"<!doctype html>\n{tag('html', head, body, lang='en')}\n")


def _verdict(diagnosis: Diagnosis, data: Data) -> Html:
    worst = diagnosis.worst()
    title = joined([headline(diagnosis)])
    if diagnosis.findings:
        title = tag("a", inline(sentence(read(diagnosis.findings[0].title))), href="#finding-1")
    names = [tag("span", PurePath(one.name).name) for one in data.sets]
    return tag(
        "header",
        tag("p", tag("strong", "stethoscope data"), *names, class_="eyebrow"),
        tag("p", inline(summary(diagnosis, "below")), class_="second") if diagnosis.findings else "",
        tag("h1", title),
        "" if diagnosis.findings else tag("p", f"in {judged(diagnosis, 'below')}", class_="second after"),
        tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in _figures(data)), class_="figures"),
        class_=f"verdict {worst.value if worst else 'clean'}",
    )


def _figures(data: Data) -> list[tuple[str, str]]:
    rows = []
    for one in data.sets:
        name = PurePath(one.name).name if len(data.sets) > 1 else ""
        if one.images is not None:
            of = f" of {one.images.total:,}" if one.images.left else ""
            rows.append((f"pictures {name}".strip(), f"{len(one.images.files):,}{of}"))
        else:
            rows.append((f"rows {name}".strip(), f"{one.profile.rows:,}"))
    if data.train.profile.columns and not (data.train.images is not None and len(data.train.profile.columns) == 1):
        rows.append(("columns", f"{len(data.train.profile.columns):,}"))
        cells = sum(column.rows for column in data.train.profile.columns)
        missing = sum(column.missing for column in data.train.profile.columns)
        rows.append(("missing values", f"{missing / cells:.2%}" if cells else "0"))
    if data.target:
        rows.append(("target", data.target))
    return rows


def _sections(diagnosis: Diagnosis, data: Data) -> list[Html]:
    drawn = thumbnails_of(data)
    cards = [
        joined([card(finding, place), suspects_table(finding, drawn)])
        for place, finding in enumerate(diagnosis.findings, start=1)
    ]
    nothing = tag("p", "No check that could be made found anything wrong.", class_="lead")
    parts = [section("findings", "Findings", *download(diagnosis), *(cards or [nothing]))]
    if telling := _telling(data):
        lead = "Columns that tell most about the target by themselves, on rows that were held out."
        parts.append(section("telling", f"What tells {data.target}", tag("p", lead, class_="lead"), telling))
    if pictures := picture_parts(diagnosis, data):
        parts.append(section("pictures", "Pictures", *pictures))
    if data.train.profile.columns:
        parts.append(section("columns", "Columns", _columns_lead(data), _columns(diagnosis, data)))
    parts.append(section("checks", "What was checked", _checks(diagnosis)))
    return parts


def _telling(data: Data) -> Html:
    """Box plots or scatter plots of the columns that tell most, from the sample."""
    rows = data.train.sample
    truth = rows.values.get(data.target)
    if truth is None:
        return Html("")
    drawn: list[Html] = []
    for tie in data.train.ties:
        values = rows.values.get(tie.column)
        if values is None or values.dtype == object or tie.strength < LEAST_STRENGTH or len(drawn) == MOST_TIES:
            continue
        numbers = np.asarray(values, np.float64)
        picture = Html("")
        if data.task == "regression" and truth.dtype != object:
            answers = np.asarray(truth, np.float64)
            keep = np.flatnonzero(np.isfinite(numbers) & np.isfinite(answers))
            keep = keep[:: max(1, keep.size // MOST_DOTS)]
            if keep.size > 2:
                picture = scatter_picture(tie.column, data.target, numbers[keep], answers[keep])
        else:
            labels = np.array(["" if one is None or one != one else _label(one) for one in truth])
            different, counts = np.unique(labels[np.isfinite(numbers)], return_counts=True)
            frequent = different[np.argsort(-counts, kind="stable")][:MOST_CLASSES]
            groups = [(str(one), numbers[(labels == one) & np.isfinite(numbers)]) for one in sorted(frequent.tolist())]
            picture = box_picture(tie.column, [pair for pair in groups if pair[1].size])
        if picture:
            words = joined([tag("b", tie.column), f" puts {tie.strength:.0%} of guessing's errors right"])
            drawn.append(tag("figure", picture, tag("figcaption", words)))
    return tag("div", *drawn, class_="columns") if drawn else Html("")


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _columns_lead(data: Data) -> Html:
    if data.test is None:
        words = "Each column as it is distributed; the middle 99 % where single values lie far out."
        return tag("p", words, class_="lead")
    first, second = (PurePath(one.name).name for one in data.sets)
    return tag(
        "p", tag("span", first, class_="key-first"), " is filled, ", tag("span", second, class_="key-second"),
        " is the line. Where nothing has changed, the line stays within the pale band but for 3 bars in 1,000.",
        class_="lead",
    )  # fmt: skip


def _columns(diagnosis: Diagnosis, data: Data) -> Html:
    """A figure for each column, those with findings first."""
    found: dict[str, list[int]] = {}
    for place, finding in enumerate(diagnosis.findings, start=1):
        for name in finding.place.columns or ():
            found.setdefault(name, []).append(place)
    columns = sorted(data.train.profile.columns, key=lambda column: column.name not in found)
    figures = [_column(column, data.test, found.get(column.name, [])) for column in columns[:MOST_COLUMNS]]
    more = len(columns) - MOST_COLUMNS
    rest = (
        tag("p", f"{more:,} more columns are not drawn; the JSON has all of them.", class_="quiet") if more > 0 else ""
    )
    return joined([tag("div", *figures, class_="columns"), rest])


def _column(column: Column, test: DataSet | None, places: list[int]) -> Html:
    second = test.profile.column(column.name) if test is not None else None
    links = [tag("a", f"finding {place}", href=f"#finding-{place}") for place in places[:4]]
    facts = [column.kind]
    if column.numbers is not None and column.numbers.count and column.kind == "number":
        facts.append(
            f"mean {number(float(f'{column.numbers.mean:.3g}'))}, spread {number(float(f'{column.numbers.std:.3g}'))}"
        )
    if column.words is not None and column.words.count:
        facts.append(f"{column.words.distinct:,} different")
    if column.missing:
        facts.append(f"{column.missing / column.rows:.1%} missing")
    if second is not None and second.missing and second.rows:
        facts.append(f"{second.missing / second.rows:.1%} in the second set")
    title = joined([tag("b", column.name), " ", joined(links, ", ")])
    return tag(
        "figure", tag("figcaption", title), column_picture(column, second), tag("small", "; ".join(facts)),
        class_="odd" if places else "even",
    )  # fmt: skip


def _short(value: float) -> str:
    return number(float(f"{value:.3g}"))


def _checks(diagnosis: Diagnosis) -> Html:
    found = {finding.rule for finding in diagnosis.findings}
    chips = [tag("li", name, class_="chip found" if name in found else "chip") for name in diagnosis.checked]
    rows = [
        tag("div", tag("dt", why), tag("dd", ", ".join(sorted(rules))))
        for why, rules in sorted(reasons(diagnosis.not_checked).items(), key=lambda one: (-len(one[1]), one[0]))
    ][:MOST_REASONS]
    parts = [tag("ul", *chips, class_="chips")]
    if rows:
        parts += [tag("h3", "Not possible"), tag("dl", *rows, class_="reasons")]
    if diagnosis.silenced:
        parts.append(tag("p", f"{amount(len(diagnosis.silenced), 'finding')} silenced.", class_="quiet"))
    return joined(parts)
