"""How many faults `stethoscope lint` names that were put into correct code: a table by kind of fault.

    python bench/lint_recall.py FOLDER ...           each folder a project: its files, with what they import from it
    python bench/lint_recall.py --kind eval --misses FOLDER ...      one kind, and each miss with its place

Correct training code is taken from the folders, one fault is made by an edit of the text where a syntax tree says that
it is one, and the rules that would be right are asked. A fault counts where these rules were silent before the edit. It
is found when one of them names a line of the function (of the block, of the class) that was edited, itself or on the
way that it shows: "shown" at the default level, "found" with `--all`. A function that was copied from file to file
counts once, and a file gives at most a few faults of a kind; beside the share of all faults stands the mean over
projects, in which a project with many files has no more weight than one with few.

The folders are brought by hand and are not part of this repository; `lint_recall_sources.md` names them.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import math
import re
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import injections
import injections_models
import injections_parts
from injecting import MODAL, Kind, Mutant, Script, changed

from stethoscope.core.finding import Finding
from stethoscope.core.review import Level
from stethoscope.diagnosing.review import review
from stethoscope.facts.code import Code
from stethoscope.observe.code.finding import find
from stethoscope.observe.code.notebooks import FLAGS
from stethoscope.observe.code.project import Project
from stethoscope.observe.code.reading import Source, Unreadable, read_source
from stethoscope.rules import all_rules

KINDS: tuple[Kind, ...] = (*injections.KINDS, *injections_models.KINDS, *injections_parts.KINDS)
MOST_OF_A_FILE = 3
"""Faults of one kind that a file gives."""
LARGEST = 300_000
TRIED_ON_PURPOSE = re.compile(r"(?:^|/)(?:tests?|testing|benchmarks?|test_[^/]*|[^/]*_test\.py|conftest\.py)(?:/|$)")


@dataclass
class Tally:
    """What came of one kind."""

    kind: Kind
    found: list[bool] = field(default_factory=list)
    shown: list[bool] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    by_project: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    misses: list[tuple[str, str]] = field(default_factory=list)
    """Place, and reason."""
    spoken_before: int = 0


def main() -> None:
    """Injects, asks, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--kind", action="append", help="only kinds whose name holds this")
    parser.add_argument("--misses", action="store_true", help="print each miss")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--keep", type=Path, help="write the text of each missed fault there")
    options = parser.parse_args()
    kinds = [one for one in KINDS if not options.kind or any(part in one.name for part in options.kind)]
    names = {rule.name for rule in all_rules() if "in_code" in rule.eyes()}
    asked = [one for one in kinds if names & set(one.rules)]
    tallies = {one.name: Tally(one) for one in asked}
    began = time.perf_counter()
    seen: set[tuple[str, str]] = set()
    for folder in options.folders:
        for path in find([str(folder)]).files:
            _inject(folder, path, asked, tallies, seen, options.keep)
    report = [_row(tally) for tally in tallies.values()]
    print(_table(report))
    for one in kinds:
        if one not in asked:
            print(f"skipped: {one.name} (there is no rule {' or '.join(one.rules)} that reads code)")
    print(f"\n{len(options.folders)} folders, {time.perf_counter() - began:.0f} s")
    for tally in tallies.values():
        reasons = Counter(reason for _, reason in tally.misses).most_common(4)
        if reasons:
            print(f"{tally.kind.name}: " + "; ".join(f"{count} {reason}" for reason, count in reasons))
        for place, reason in tally.misses if options.misses else ():
            print(f"    {place}  {reason}")
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def _inject(
    folder: Path, path: Path, kinds: Sequence[Kind], tallies: dict[str, Tally], seen: set[tuple[str, str]],
    keep: Path | None,
) -> None:  # fmt: skip
    """All faults of one file."""
    if path.stat().st_size > LARGEST * (20 if path.suffix == ".ipynb" else 1) or TRIED_ON_PURPOSE.search(str(path)):
        return
    try:
        source = read_source(path, path.as_posix())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = compile(source.text, "", "exec", flags=FLAGS, dont_inherit=True)
    except (Unreadable, SyntaxError, ValueError, RecursionError):
        return
    if not isinstance(tree, ast.Module) or len(source.text) > LARGEST:
        return
    project = Project(keeps=False)
    try:
        original = project.linked(source, path)
    except Unreadable:
        return
    beside = _beside(project, original, path)
    script = Script(source.text, tree, "\n".join(MODAL.findall(beside)), beside)
    before: dict[str, bool] = {}
    """Whether a rule speaks of the file as it is."""
    for kind in kinds:
        mutants = _taken(kind, script, seen)
        if not mutants:
            continue
        if kind.name not in before:
            before[kind.name] = bool(_said(original, kind))
        tally = tallies[kind.name]
        if before[kind.name]:
            tally.spoken_before += len(mutants)
            continue
        for mutant in mutants:
            _ask(folder, path, source, mutant, tally, project, keep)


def _taken(kind: Kind, script: Script, seen: set[tuple[str, str]]) -> list[Mutant]:
    taken: list[Mutant] = []
    with contextlib.suppress(RecursionError):
        for mutant in kind.find(script):
            key = kind.name, mutant.identity
            if key not in seen and len(taken) < MOST_OF_A_FILE:
                seen.add(key)
                taken.append(mutant)
    return taken


def _ask(
    folder: Path, path: Path, source: Source, mutant: Mutant, tally: Tally, project: Project, keep: Path | None
) -> None:
    text = changed(source.text, mutant.changes)
    cells = tuple((number, first + _added(source.text, mutant, first)) for number, first in source.cells)
    faulty = replace(source, text=text, cells=cells)
    place = f"{path}:{mutant.line}"
    try:
        code = project.linked(faulty, path)
    except Unreadable as why:
        print(f"{tally.kind.name}: the edit at {place} made a text that {why}", file=sys.stderr)
        return
    said = [one for one in _said(code, tally.kind) if _names(one, code, mutant)]
    found = bool(said)
    tally.found.append(found)
    tally.shown.append(any(Level().shows(one) for one in said))
    tally.files.add(str(path))
    tally.by_project[folder.name].append(found)
    if not found:
        tally.misses.append((place, _reason(code, mutant, tally.kind)))
        if keep is not None:
            name = f"{tally.kind.name}-{len(tally.misses)}.py".replace(" ", "_").replace("/", "_")
            keep.mkdir(parents=True, exist_ok=True)
            (keep / name).write_text(f"# {place} region {mutant.region}\n{text}")


def _said(code: Code, kind: Kind) -> list[Finding]:
    rules = [rule for rule in all_rules() if rule.name in kind.rules and "in_code" in rule.eyes()]
    found = review(code, rules=rules)
    if found.broken:
        print(f"{code.file}: {found.broken[0]}", file=sys.stderr)
    return list(found.findings)


def _names(finding: Finding, code: Code, mutant: Mutant) -> bool:
    """Whether a finding, or the way that it shows, has a line of what was edited."""
    regions = (mutant.region, *mutant.others)
    places = [finding.place, *(link.place for link in finding.chain)]
    for place in places:
        if place.file != code.file or place.line is None:
            continue
        start = next((line for number, line in code.cells if number == place.cell), 1) if code.cells else 1
        if any(first - 1 <= place.line + start - 1 <= end + 3 for first, end in regions):
            return True
    return False


def _reason(code: Code, mutant: Mutant, kind: Kind) -> str:
    """Why nothing was said, as far as the facts tell."""
    from stethoscope.facts.evaluations import evaluations_of
    from stethoscope.facts.loops import loops_of

    first, end = mutant.region
    if any(_named_elsewhere(one, code, mutant) for one in _said(code, kind)):
        return "said of another place"
    loops = [
        one
        for one in loops_of(code)
        if first <= one.at.line <= end or first <= code.functions[one.function].at.line <= end
    ]
    unclear = next((one.unclear for one in loops if one.unclear), "")
    if unclear:
        return "not understood: " + re.sub(r"`[^`]*`", "something", unclear)
    if kind.name in ("no_grad removed", "eval() removed"):
        seen = [one for one in evaluations_of(code) if first - 1 <= one.forward.at.line <= end + 3]
        return "the evaluation is not recognised" if not seen else "recognised, held back"
    where = "in a notebook" if code.cells else "at module level" if not code.function_at(0) and not loops else ""
    return f"{len(loops)} loops seen there" + (f", {where}" if where else "") if kind in injections.KINDS else "silent"


def _named_elsewhere(finding: Finding, code: Code, mutant: Mutant) -> bool:
    return not _names(finding, code, mutant)


def _added(text: str, mutant: Mutant, first: int) -> int:
    """Lines that the edits add before a line."""
    start = 0
    for _ in range(first - 1):
        start = text.index("\n", start) + 1
    return sum(
        one.text.count("\n") - text.count("\n", one.start, one.end) for one in mutant.changes if one.start < start
    )


def _beside(project: Project, code: Code, path: Path) -> str:
    """The text of the files of its project that a file imports."""
    texts = []
    for other in project.used_files(code, path):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            texts.append(Path(other).read_text())
    return "\n".join(texts)


def _row(tally: Tally) -> dict[str, object]:
    count, found = len(tally.found), sum(tally.found)
    low, high = wilson(found, count)
    means = [sum(one) / len(one) for one in tally.by_project.values()]
    return {
        "fault": tally.kind.name, "rules": list(tally.kind.rules), "faults": count, "files": len(tally.files),
        "projects": len(tally.by_project), "found": found, "shown": sum(tally.shown),
        "recall": found / count if count else None, "interval": [low, high],
        "mean_over_projects": sum(means) / len(means) if means else None, "bar": tally.kind.bar,
        "spoken_before": tally.spoken_before,
        "reasons": dict(Counter(reason for _, reason in tally.misses).most_common()),
    }  # fmt: skip


def wilson(found: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share."""
    if not count:
        return 0.0, 1.0
    share = found / count
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - half) / (1 + z * z / count), (middle + half) / (1 + z * z / count)


def _table(rows: Iterable[dict[str, object]]) -> str:
    return "\n".join(_lines(rows))


def _lines(rows: Iterable[dict[str, object]]) -> Iterator[str]:
    yield "| fault | faults | files | projects | found | recall | 95 % | mean over projects | shown by default | bar |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        count = row["faults"]
        assert isinstance(count, int)
        if not count:
            yield f"| {row['fault']} | 0 | | | | | | | | {row['bar']} |"
            continue
        low, high = row["interval"]  # type: ignore[misc, attr-defined]
        yield (
            f"| {row['fault']} | {count} | {row['files']} | {row['projects']} | {row['found']} | {row['recall']:.2f} | "
            f"{low:.2f} to {high:.2f} | {row['mean_over_projects']:.2f} | {row['shown'] / count:.2f} | {row['bar']} |"  # type: ignore[operator]
        )


if __name__ == "__main__":
    main()
