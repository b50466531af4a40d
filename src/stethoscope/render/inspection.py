"""What came of inspecting data sets: in a terminal, as JSON, and its suspicious rows as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from importlib import resources
from typing import Any, TextIO

from stethoscope.core.finding import CannotTell, Diagnosis, Severity, SuspectRow
from stethoscope.core.text import Line, Piece, Role, amount, clean, sendable, wrapped
from stethoscope.facts.data import Column, Data, DataSet
from stethoscope.facts.images import ImageSet
from stethoscope.render.account import reasons, summary
from stethoscope.render.document import MARGIN, WIDTH, layout, message_of
from stethoscope.render.json import finding_json, strict, tool_version
from stethoscope.render.terminal import entry, page_width, ruled, write_lines

SCHEMA = 1
FEW_ROWS = 5
"""Suspicious rows of a finding that are printed; all of them are in the CSV."""
FEW_REASONS = 3
WANTED = (
    (("only one data set", "two sets"), "--test"),
    (("no target",), "--target"),
    (("prediction",), "--predictions"),
    (("sensitive",), "--sensitive"),
)
"""Words of reasons for which a check was not possible, and the option that makes it so."""
ELSEWHERE = ("no picture", "no column of texts", "two sets with a column of texts", "no target", "no vectors")
"""Words of reasons that come of what the data are, where all is given."""
RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters that make a spreadsheet take a cell for a formula; in some languages those of full width as well."""


def print_inspection(
    diagnosis: Diagnosis, data: Data, *, stream: TextIO, took: float | None = None, verbose: bool = False
) -> None:
    """Print what was read, what could not be judged, and all findings, the gravest last.

    Args:
        diagnosis: the findings.
        data: what they were found in.
        stream: where to.
        took: seconds.
        verbose: with each check that was not possible, and why.
    """
    width = page_width(stream)
    lines: list[Line] = [(), ruled(width, "data"), *_top(diagnosis, data, width, verbose), ()]
    for finding in reversed(diagnosis.findings):
        lines += [*layout(message_of(finding), width), *_rows(finding.suspects, width), ()]
    lines += wrapped(summary(diagnosis, "above"), width)
    if took is not None:
        lines.append((Piece(f"took {took:.1f} s", Role.QUIET),))
    write_lines(lines, stream)


def inspection_json(diagnosis: Diagnosis, data: Data, took: float = 0.0) -> dict[str, Any]:
    """What came of it as plain JSON values; numbers that JSON lacks are "NaN", "Infinity", "-Infinity"."""
    return {
        "schema": SCHEMA,
        "tool": {"name": "stethoscope", "version": tool_version()},
        "data": {
            "target": data.target or None,
            "task": data.task or None,
            "sets": [_set_json(one) for one in data.sets],
        },
        "summary": {
            "errors": diagnosis.count(Severity.ERROR),
            "warnings": diagnosis.count(Severity.WARNING),
            "notes": diagnosis.count(Severity.NOTE),
            "silenced": len(diagnosis.silenced),
            "checked": list(diagnosis.checked),
            "not_checked": [_cannot(one) for one in diagnosis.not_checked],
            "broken": [_cannot(one) for one in diagnosis.broken],
            "notices": list(diagnosis.notices),
            "seconds": round(took, 3),
        },
        "findings": [
            {**finding_json(finding), "suspects": [_suspect_json(one) for one in finding.suspects]}
            for finding in diagnosis.findings
        ],
    }


def inspection_schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of `inspection_json`."""
    text = resources.files("stethoscope.render").joinpath("inspection.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def suspects_csv(diagnosis: Diagnosis) -> str:
    """The suspicious rows of all findings, one a line. Cells that a spreadsheet would run are quoted with `'`."""
    names = dict.fromkeys(name for one in diagnosis.findings for row in one.suspects for name, _ in row.values)
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow([_cell(name) for name in ("rule", "set", "row", "score", "why", *names)])
    for finding in diagnosis.findings:
        for row in finding.suspects:
            values = dict(row.values)
            cells = (finding.rule, row.data, str(row.row), f"{row.score:.4g}", row.why)
            writer.writerow([_cell(one) for one in (*cells, *(values.get(name, "") for name in names))])
    return sendable(page.getvalue())


def _cell(text: str) -> str:
    """The text as a cell that no spreadsheet runs as a formula; plain numbers stay what they are."""
    if not text.startswith(RISKY):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _top(diagnosis: Diagnosis, data: Data, width: int, verbose: bool) -> Iterator[Line]:
    for one in data.sets:
        yield from entry("read", _read(one), width)
    if data.train.images is not None and data.train.images.channel_means:
        yield from entry("colours", _colours(data.train.images), width)
    if data.target:
        yield from entry("target", f"`{data.target}`, {data.task or 'without values'}", width)
    yield from _not_possible(diagnosis, data, width, verbose)
    for cannot in diagnosis.broken:
        yield from entry("failed", f"{cannot.rule}: {cannot.why} (our fault, please report it)", width)
    for sentence in diagnosis.notices:
        yield from entry("note", sentence, width)


def _not_possible(diagnosis: Diagnosis, data: Data, width: int, verbose: bool) -> Iterator[Line]:
    """The checks that could not be made: what more of them need, in a line, and then the reasons that are left."""
    unsure = sorted(reasons(diagnosis.not_checked).items(), key=lambda one: (-len(one[1]), one[0]))
    left, label = unsure, "not possible"
    if not verbose:
        wanted, elsewhere, left = _sorted_out(unsure, data)
        parts = [f"{count} without {what}" for what, count in wanted.items()]
        parts += [f"{elsewhere} on data of this kind"] if elsewhere else []
        if parts:
            yield from entry(label, f"{', '.join(parts)}; --verbose lists them", width)
            label = ""
    for why, rules in left if verbose else left[:FEW_REASONS]:
        yield from entry(label, f"{', '.join(sorted(rules))}: {why}", width)
        label = ""
    if not verbose and len(left) > FEW_REASONS:
        yield from entry("", f"{len(left) - FEW_REASONS} more, each with its reason, with --verbose", width)


def _sorted_out(
    unsure: Iterable[tuple[str, list[str]]], data: Data
) -> tuple[dict[str, int], int, list[tuple[str, list[str]]]]:
    """How many checks need what was not given, how many are for data of another kind, and all other reasons."""
    given = (data.test is not None, bool(data.target), bool(data.predictions), bool(data.sensitive))
    counts = [0] * len(WANTED)
    elsewhere, left = 0, []
    for why, rules in unsure:
        place = next(
            (i for i, (words, _) in enumerate(WANTED) if not given[i] and any(word in why for word in words)), None
        )
        if any(word in why for word in ELSEWHERE[:2]):
            elsewhere += len(rules)
        elif place is not None:
            counts[place] += len(rules)
        elif any(word in why for word in ELSEWHERE) and "too few" not in why:
            elsewhere += len(rules)
        else:
            left.append((why, rules))
    return {what: count for (_, what), count in zip(WANTED, counts, strict=True) if count}, elsewhere, left


def _colours(images: ImageSet) -> str:
    mean, std = (", ".join(f"{one:.3f}" for one in some) for some in (images.channel_means, images.channel_stds))
    return f"mean {mean}; standard deviation {std} (of 0..1, for normalization)"


def _read(one: DataSet) -> str:
    parts = []
    if one.images is not None:
        of = (
            f" of {one.images.total:,}, drawn at random: copies among the others are not seen"
            if one.images.left
            else ""
        )
        parts.append(amount(len(one.images.files), "picture") + of)
    is_folder = one.images is not None and len(one.profile.columns) <= 1
    if is_folder and one.profile.columns:
        counted = one.profile.columns[0].words
        parts.append(amount(counted.distinct if counted is not None else 0, "class", "classes"))
    elif not is_folder:
        parts.append(f"{amount(one.profile.rows, 'row')}, {amount(len(one.profile.columns), 'column')}")
    kinds: dict[str, int] = {}
    for column in () if is_folder else one.profile.columns:
        kinds[column.kind] = kinds.get(column.kind, 0) + 1
    of = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda pair: -pair[1]))
    return f"{one.name}: {'; '.join(parts)}" + (f" ({of})" if of else "")


def _rows(rows: tuple[SuspectRow, ...], width: int) -> Iterator[Line]:
    """The first suspicious rows under a finding."""
    label = "rows"
    for row in rows[:FEW_ROWS]:
        values = ", ".join(f"{clean(name)} {_short(clean(value))}" for name, value in row.values[:6])
        where = f"{row.row} of {clean(row.data)}" if row.row >= 0 else clean(row.data)
        text = where + (f": {values}" if values else "")
        text += f" ({clean(row.why)})" if row.why else ""
        yield from _labelled(label, text, width)
        label = ""
    if len(rows) > FEW_ROWS:
        yield from _labelled("", f"{len(rows) - FEW_ROWS:,} more with --suspects FILE", width)


def _labelled(label: str, text: str, width: int) -> Iterator[Line]:
    for row in wrapped((Piece(text),), width - MARGIN - 8):
        yield (Piece(" " * MARGIN), Piece(label.ljust(8), Role.LABEL), *row)
        label = ""


def _short(text: str) -> str:
    return text if len(text) <= WIDTH // 2 else text[: WIDTH // 2 - 1] + "…"


def _cannot(cannot: CannotTell) -> dict[str, str]:
    return {"rule": cannot.rule, "why": cannot.why}


def _set_json(one: DataSet) -> dict[str, Any]:
    return {
        "name": one.name,
        "rows": one.profile.rows,
        "columns": [_column_json(column) for column in one.profile.columns],
        "images": None if one.images is None else len(one.images.files),
        "images_left": None if one.images is None else one.images.left,
        "channels": None
        if one.images is None
        else {
            "means": list(one.images.channel_means),
            "stds": list(one.images.channel_stds),
        },
    }


def _column_json(column: Column) -> dict[str, Any]:
    """The statistics of a column that people ask for; the whole profile is saved with `--profile`."""
    known: dict[str, Any] = {
        "name": column.name, "kind": column.kind, "dtype": column.dtype, "rows": column.rows, "missing": column.missing,
    }  # fmt: skip
    if column.numbers is not None and column.numbers.count:
        numbers = column.numbers
        known |= {
            "least": numbers.least, "greatest": numbers.greatest, "mean": numbers.mean, "std": numbers.std,
            "quartiles": [numbers.quantile(share) for share in (0.25, 0.5, 0.75)], "infinite": numbers.infinite,
        }  # fmt: skip
    if column.words is not None:
        known |= {"distinct": column.words.distinct, "top": [list(pair) for pair in column.words.top[:10]]}
    return {name: strict(value) for name, value in known.items()}


def _suspect_json(row: SuspectRow) -> dict[str, Any]:
    return {
        "set": row.data, "row": row.row, "score": strict(row.score), "why": row.why,
        "values": dict(row.values),
    }  # fmt: skip
