"""The quieter half of the page: the loop as observed, what was checked, how it was heard, what it was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from stethoscope.core.finding import Diagnosis
from stethoscope.core.text import amount, number
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import History, LoopEvent
from stethoscope.render.account import cost, listening, reasons
from stethoscope.render.document import one_line
from stethoscope.render.json import strict
from stethoscope.render.markup import Html, joined, tag

MOST_TEXT = 12_000
"""Characters of a diff or of a model's structure that the page carries."""

WORDS = {
    "forward": "forward",
    "loss": "loss",
    "backward": "backward",
    "clip": "clip gradients",
    "step": "optimizer step",
    "zero_grad": "clear gradients",
    "scheduler": "scheduler step",
    "validate": "validation",
}


def loop_section(history: History, diagnosis: Diagnosis) -> Html:
    """The calls of a typical step with the user's lines; lines that a finding names carry its number."""
    loop = history.loop
    if not loop.cycle:
        return tag("p", "The order of calls was not observed in this run.", class_="empty")
    marks = {
        (finding.place.file, finding.place.line): index
        for index, finding in reversed(list(enumerate(diagnosis.findings, start=1)))
        if finding.place.line
    }
    rows = [_event(event, marks, diagnosis) for event in loop.cycle]
    watched = amount(loop.cycles_watched, "step") if loop.cycles_watched else "the steps"
    lead = f"The calls of a typical step, in order, as seen in {watched} that were watched."
    return joined([tag("p", lead, class_="lead"), tag("ol", *rows, class_="loop")])


def _event(event: LoopEvent, marks: Mapping[tuple[str | None, int], int], diagnosis: Diagnosis) -> Html:
    site = event.site
    mark = marks.get((site.file, site.line)) if site else None
    badge: str = ""
    if mark is not None:
        severity = diagnosis.findings[mark - 1].severity.value
        label = f"finding {mark}"
        badge = tag("a", str(mark), href=f"#finding-{mark}", class_=f"badge {severity}", aria_label=label)
    name = tag("span", WORDS.get(event.what, event.what), class_="call")
    times = tag("span", f"{event.times} times", class_="times") if event.times > 1 else ""
    detail = tag("span", event.detail, class_="detail") if event.detail else ""
    where = tag("span", str(site), class_="site") if site else ""
    code = tag("code", site.text) if site and site.text else ""
    return tag("li", tag("div", name, detail, times, badge), tag("div", code, where, class_="line"))


def checks_section(diagnosis: Diagnosis) -> Html:
    """What was judged, what could not be, and why."""
    found = {finding.rule for finding in diagnosis.findings}
    found |= {rule for finding in diagnosis.findings for rule in finding.explains}
    chips = [tag("li", rule, class_="chip found" if rule in found else "chip") for rule in sorted(diagnosis.checked)]
    parts = [tag("p", f"{amount(len(diagnosis.checked), 'check')} judged this run:", class_="lead")] if chips else []
    parts += [tag("ul", *chips, class_="chips")] if chips else []
    rows: list[tuple[str, Html | str]] = [
        (", ".join(sorted(rules)), f"not possible: {why}") for why, rules in reasons(diagnosis.not_checked).items()
    ]
    rows += [(cannot.rule, f"failed: {cannot.why}. Our fault, please report it.") for cannot in diagnosis.broken]
    rows += [(finding.rule, f"silenced: {one_line(finding)}") for finding in diagnosis.silenced]
    rows += [
        (finding.rule, f"read in the code, and not so in this run: {one_line(finding)}")
        for finding in diagnosis.withdrawn
    ]
    return joined([*parts, definitions(rows)] if rows else parts)


def sampling_section(history: History, diagnosis: Diagnosis) -> Html:
    """How the run was heard, what it cost, and what could not be heard."""
    sampling = history.sampling
    rows: list[tuple[str, Html | str]] = [("heard", listening(history))]
    if sampling.looks:
        rows.append(("cost", cost(sampling)))
    if sampling.burst_looks:
        burst = f"{amount(sampling.burst_looks, 'look')} at the start and round anomalies, on top of the budget"
        rows.append(("bursts", burst))
    for rank in history.ranks:
        rows.append(
            (
                f"rank {rank.rank}",
                f"{amount(rank.steps, 'step')}, {rank.state}, loss {number(rank.last_loss)}",
            )
        )
    rows += [("not heard", sentence) for sentence in (*sampling.blind, *diagnosis.notices)]
    return definitions(rows)


def record_section(record: RunRecord) -> Html:
    """What the run was: enough to know it again and to repeat it."""
    git = record.git
    state = f"{git.get('branch', '')} {str(git.get('commit', ''))[:12]}".strip()
    changed = " with uncommitted changes" if git.get("dirty") else ""
    main = ("torch", "numpy")
    rows: list[tuple[str, Html | str]] = [
        ("run", record.id),
        ("command", tag("code", " ".join(record.command)) if record.command else ""),
        ("directory", record.directory),
        ("started", record.started.replace("T", " ")),
        ("ended", record.ended.replace("T", " ")),
        ("state", record.state + (f", exit code {record.exit_code}" if record.exit_code is not None else "")),
        ("code", f"{state}{changed}" if state else ""),
        ("software", ", ".join(_versions(record, main))),
        ("hardware", _pairs(record.hardware)),
        ("seeds", _pairs(record.seeds)),
        ("arguments", _pairs(record.arguments)),
        *((f"optimizer {index}" if index else "optimizer", _pairs(o)) for index, o in enumerate(record.optimizers)),
        *(("loader", _pairs(loader)) for loader in record.loaders),
        *(("model", _pairs({k: v for k, v in model.items() if k != "structure"})) for model in record.models),
        ("environment", _pairs(record.environment)),
        ("data", record.data_fingerprint),
        ("results", _pairs(record.results)),
    ]
    folds = [_fold("Model structure", "\n\n".join(str(m.get("structure", "")) for m in record.models))]
    folds += [_fold("Uncommitted changes", str(git.get("diff", "")))]
    folds += [_fold("All packages", "\n".join(_versions(record, sorted(record.packages))))]
    return joined([definitions((name, value) for name, value in rows if value), *folds])


def definitions(rows: Iterable[tuple[str, Html | str]]) -> Html:
    """Terms with what belongs to them."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows))


def _versions(record: RunRecord, names: Iterable[str]) -> list[str]:
    first = [f"python {record.python}"] if record.python else []
    return [*first, *(f"{name} {record.packages[name]}" for name in names if name in record.packages)]


def _pairs(values: Mapping[str, Any]) -> Html:
    """Settings as `name value`, in the order given; `Any` because they are any JSON values."""
    parts = [
        tag("span", tag("span", str(name), class_="key"), " ", _word(value), class_="pair")
        for name, value in values.items()
    ]
    return joined(parts, " ")


def _word(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return value
    return json.dumps(strict(value), ensure_ascii=False)


def _fold(title: str, text: str) -> Html | str:
    if not text.strip():
        return ""
    cut = f"\n… {len(text) - MOST_TEXT:,} more characters are in the run's folder" if len(text) > MOST_TEXT else ""
    return tag("details", tag("summary", title), tag("pre", text[:MOST_TEXT] + cut, tabindex=0), class_="fold")
