"""A diagnosis in a terminal: what could be checked, then the findings, the gravest last, above the prompt."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from stethoscope.core.finding import Diagnosis, Finding, Proof
from stethoscope.core.text import Line, Piece, Role, clean, plain, read, width_of, wrapped
from stethoscope.facts.model import Experiment
from stethoscope.facts.training import History
from stethoscope.render.account import cost, listening, reasons, summary
from stethoscope.render.document import LABELS, MARGIN, WIDTH, layout, message_of, one_line, proof_words
from stethoscope.render.rich_parts import Console, Text

__all__ = ["one_line", "print_diagnosis", "print_finding", "print_proof"]

STYLES = {
    Role.ERROR: "bold red",
    Role.WARNING: "bold yellow",
    Role.NOTE: "bold cyan",
    Role.TITLE: "bold",
    Role.LABEL: "cyan",
    Role.RULE: "dim",
    Role.NAME: "bold",
    Role.CODE: "magenta",
    Role.VALUE: "bold",
    Role.HEALTHY: "green",
    Role.QUIET: "dim",
}
NARROWEST = 40
FEW_CHECKED = 8
FEW_NAMES = 4
FEW_REASONS = 6
"""More rules or reasons than these are counted above the findings; the report has all of them."""
MANY_ALIKE = 4
"""Experiments that could not be made for the same reason from which on they share a line."""
EXPERIMENT_LABELS = 24
TOP_LABELS = 14
"""Characters that a label above the findings takes."""


def print_diagnosis(
    diagnosis: Diagnosis,
    history: History,
    *,
    stream: TextIO,
    report: Path | None = None,
    run: Path | None = None,
    took: float | None = None,
) -> None:
    """Print all findings and what could not be judged; `took` is the time of the diagnosis in seconds.

    Colours only on a terminal, and not where NO_COLOR is set (no-color.org).
    """
    width = page_width(stream)
    lines: list[Line] = [
        (),
        ruled(width, "check" if history.preflight.is_check else ""),
        *_top(diagnosis, history, width),
        (),
    ]
    if tried := list(_tried(history, width)):
        lines += [*tried, ()]
    for finding in reversed(diagnosis.findings):
        lines += [*layout(message_of(finding), width), ()]
    where = "in the report" if history.preflight.is_check else "above"
    lines += wrapped(summary(diagnosis, where), width)
    lines += [*_paths(report, run, took)]
    write_lines(lines, stream)


def print_finding(finding: Finding, stream: TextIO) -> None:
    """Print one finding, as soon as it is known."""
    write_lines([(), *layout(message_of(finding), page_width(stream)), ()], stream)


def print_proof(proof: Proof, rule: str, run: str, stream: TextIO) -> None:
    """Print what an experiment showed of a rule's fault in a run."""
    width = page_width(stream)
    title = (Piece(f"{proof.verdict}: ", Role.TITLE), Piece(rule, Role.RULE), *read(f" in {run}"))
    lines: list[Line] = [(), ruled(width), *wrapped(title, width), ()]
    for index, row in enumerate(wrapped(proof_words(proof), width - MARGIN - LABELS)):
        lines.append((Piece(" " * MARGIN), Piece(("" if index else "tried").ljust(LABELS), Role.LABEL), *row))
    write_lines([*lines, ()], stream)


def _top(diagnosis: Diagnosis, history: History, width: int) -> Iterator[Line]:
    """What was heard, what it cost, what was checked and what was not."""
    is_check = history.preflight.is_check
    yield from entry("heard", _first_steps(history.steps) if is_check else listening(history), width)
    if cost(history.sampling) and not is_check:
        yield from entry("cost", cost(history.sampling), width)
    if history.ended_by and not (is_check and history.ended_by == "check"):
        yield from entry("ended by", f"{history.ended_by}: this is what was known by then", width)
    if diagnosis.checked:
        yield from entry("checked", _few(sorted(diagnosis.checked), FEW_CHECKED, "rules"), width)
    label = "not possible"
    # What keeps most rules from judging comes first.
    unsure = sorted(reasons(diagnosis.not_checked).items(), key=lambda entry: (-len(entry[1]), entry[0]))
    for why, rules in unsure[: 0 if is_check else FEW_REASONS]:
        yield from entry(label, f"{_few(sorted(rules), FEW_NAMES, 'rules')}: {why}", width)
        label = ""
    left = sum(len(rules) for _, rules in unsure[FEW_REASONS:])
    if left and not is_check:
        yield from entry("", f"{left} more, each with its reason, in the report", width)
    for cannot in diagnosis.broken:
        yield from entry("failed", f"{cannot.rule}: {cannot.why} (our fault, please report it)", width)
    for finding in diagnosis.silenced:
        yield from entry("silenced", one_line(finding), width)
    for finding in diagnosis.withdrawn:
        yield from entry("withdrawn", f"read in the code, and not so in this run: {one_line(finding)}", width)
    for sentence in (*history.sampling.blind, *diagnosis.notices):
        yield from entry("heard less", sentence, width)


def _first_steps(steps: int) -> str:
    if steps < 2:
        return "the first step" if steps else "no step"
    return f"the first {steps} steps"


def _tried(history: History, width: int) -> Iterator[Line]:
    """The experiments before training, a line each: as it should be, not so, or not possible."""
    if not history.preflight.is_check:
        return
    experiments = history.preflight.experiments
    for one in _told_once(experiments):
        mark, role = ("-", Role.QUIET) if one.why_not else ("✓", Role.HEALTHY) if one.good else ("✗", Role.ERROR)
        label: Line = (
            Piece(" " * MARGIN),
            Piece(f"{mark} ", role),
            Piece(one.title.ljust(EXPERIMENT_LABELS), Role.LABEL),
        )
        for row in wrapped(read(one.said or f"not possible: {one.why_not}"), width - width_of(label)):
            yield (*label, *row)
            label = (Piece(" " * width_of(label)),)


def _told_once(experiments: Sequence[Experiment]) -> Iterator[Experiment]:
    """The experiments, with those that one reason kept from being made as one of them."""
    counts = Counter(one.why_not for one in experiments if one.why_not)
    told: set[str] = set()
    for one in experiments:
        if counts[one.why_not] < MANY_ALIKE:
            yield one
        elif one.why_not not in told:
            told.add(one.why_not)
            is_all = counts[one.why_not] == len(experiments)
            yield replace(one, title="make experiments" if is_all else f"{counts[one.why_not]} experiments")


def _few(names: Sequence[str], most: int, what: str) -> str:
    """All names while they are few, else how many there are."""
    return ", ".join(names) if len(names) <= most else f"{len(names)} {what}, named in the report"


def entry(label: str, text: str, width: int) -> Iterator[Line]:
    """A line above the findings: a label and what it says."""
    for row in wrapped(read(text), width - MARGIN - TOP_LABELS):
        yield (Piece(" " * MARGIN), Piece(label.ljust(TOP_LABELS), Role.LABEL), *row)
        label = ""


def ruled(width: int, verb: str = "") -> Line:
    """The line that begins what we print: `── stethoscope data ───`."""
    name = f"stethoscope {verb}".strip()
    dashes = "─" * (width - len(f"── {name} "))
    return (Piece("── ", Role.QUIET), Piece(name, Role.TITLE), Piece(f" {dashes}", Role.QUIET))


def _paths(report: Path | None, run: Path | None, took: float | None) -> Iterator[Line]:
    rows = [("report", report), ("run", run)]
    for label, path in rows:
        if path is not None:
            yield (Piece(label.ljust(LABELS), Role.LABEL), Piece(clean(str(path))))
    if took is not None:
        yield (Piece("took".ljust(LABELS), Role.LABEL), Piece(f"{took:.1f} s to diagnose", Role.QUIET))


def page_width(stream: TextIO) -> int:
    if not stream.isatty():
        return WIDTH
    return max(NARROWEST, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def write_lines(lines: list[Line], stream: TextIO) -> None:
    """Print lines, with styles on a terminal; characters that the stream has no code for become `?`."""
    if stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        console = Console(file=stream, highlight=False, markup=False, emoji=False)
        for line in lines:
            console.print(_styled(line), soft_wrap=True)
    else:
        text = "\n".join(plain(line).rstrip() for line in lines) + "\n"
        encoding = getattr(stream, "encoding", None) or "utf-8"
        stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def _styled(line: Line) -> Text:
    text = Text()
    for piece in line:
        text.append(piece.plain, STYLES.get(piece.role, ""))
    return text
