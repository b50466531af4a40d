"""What was heard, counted: tables for the terminal and for `docs/zoo.md`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from collection import Pair, Program, half_of
from listening import Heard, Tally


@dataclass(frozen=True)
class Count:
    """Hits of trials, with the interval that they allow."""

    hits: int
    of: int

    def __str__(self) -> str:
        if not self.of:
            return "none run"
        low, high = wilson_interval(self.hits, self.of)
        return f"{self.hits} of {self.of} ({self.hits / self.of:.1%}, 95 % interval {low:.1%} to {high:.1%})"

    def __add__(self, other: Count) -> Count:
        return Count(self.hits + other.hits, self.of + other.of)


@dataclass(frozen=True)
class Judged:
    """A pair and what was said of its two programs."""

    pair: Pair
    faulty: Tally
    twin: Tally

    @property
    def detected(self) -> Count:
        """Something graver than a note was said of the faulty program."""
        return self._faulty(lambda heard: bool(heard.alarms))

    @property
    def right_first(self) -> Count:
        """The first finding is, or folds, an accepted cause."""
        return self._faulty(lambda heard: heard.names(self.pair.faults, 1))

    @property
    def leads(self) -> Count:
        """The first finding is an accepted cause itself, not one that folds it."""
        return self._faulty(lambda heard: heard.leads(self.pair.faults))

    @property
    def right_in_three(self) -> Count:
        """One of the first three findings is, or folds, an accepted cause."""
        return self._faulty(lambda heard: heard.names(self.pair.faults, 3))

    @property
    def proven(self) -> Count:
        """The right cause was proven by an experiment on a copy, of the runs in which one of its rules has any."""
        proven = self.faulty.count(lambda heard: heard.proves(self.pair.faults))
        return Count(proven, self.faulty.count(lambda heard: heard.may_prove(self.pair.faults)))

    @property
    def live(self) -> Count:
        """The right cause was said while the program trained."""
        return self._faulty(lambda heard: any(rule in heard.announced for rule in self.pair.faults))

    @property
    def twin_alarms(self) -> Count:
        """Something graver than a note was said of the repaired program, or it failed."""
        return Count(self.twin.count(lambda heard: bool(heard.alarms or heard.failure)), len(self.twin.heard))

    @property
    def remarks(self) -> str:
        """What was said instead, and what was said of the twin."""
        said = [heard.failure or heard.first or "nothing" for heard in self.faulty.heard if not self._right(heard)]
        said += [f"twin: {each}" for heard in self.twin.heard for each in heard.alarms or (heard.failure,) if each]
        return ", ".join(unique(said))

    def _right(self, heard: Heard) -> bool:
        return heard.names(self.pair.faults, 1)

    def _faulty(self, is_so: Callable[[Heard], bool]) -> Count:
        return Count(self.faulty.count(is_so), len(self.faulty.heard))


MEASURES: tuple[tuple[str, Callable[[Judged], Count]], ...] = (
    ("detected", lambda judged: judged.detected),
    ("right cause first", lambda judged: judged.right_first),
    ("right cause leads, not folded", lambda judged: judged.leads),
    ("right cause in first three", lambda judged: judged.right_in_three),
    ("fix proven on a copy, of the causes that have a treatment", lambda judged: judged.proven),
    ("right cause said while training", lambda judged: judged.live),
    ("false alarms on twins", lambda judged: judged.twin_alarms),
)


def total(judged: Sequence[Judged], measure: Callable[[Judged], Count]) -> Count:
    """The measure over all of them."""
    return sum(map(measure, judged), Count(0, 0))


def of_half(judged: Sequence[Judged], half: str) -> list[Judged]:
    """Those of one half; all of them for `all`."""
    return [each for each in judged if half in ("all", half_of(each.pair.name))]


def pair_rows(judged: Sequence[Judged]) -> list[tuple[str, ...]]:
    """A row for each pair."""
    return [
        (
            each.pair.name,
            each.pair.faults[0],
            *(str(measure(each).hits) for _, measure in MEASURES),
            each.remarks,
        )
        for each in judged
    ]


def rule_rows(judged: Sequence[Judged]) -> list[tuple[str, ...]]:
    """A row for each rule that is the first name of some pair's fault."""
    rows = []
    for rule in sorted({each.pair.faults[0] for each in judged}):
        own = [each for each in judged if each.pair.faults[0] == rule]
        counts = [total(own, measure) for _, measure in MEASURES]
        low, high = wilson_interval(counts[1].hits, counts[1].of)
        rows.append((
            rule, str(len(own)), *(f"{count.hits}/{count.of}" for count in counts), f"{low:.0%} to {high:.0%}",
        ))  # fmt: skip
    return rows


PAIR_HEAD = (
    "pair",
    "fault",
    "detected",
    "first",
    "leads",
    "in three",
    "proven",
    "live",
    "twin alarms",
    "instead, or failed",
)
RULE_HEAD = (
    "rule",
    "pairs",
    "detected",
    "first",
    "leads",
    "in three",
    "proven",
    "live",
    "twin alarms",
    "first, 95 % interval",
)


def healthy_alarms(tallies: Sequence[Tally]) -> Count:
    """Runs of healthy programs with a false alarm, or that failed."""
    runs = [heard for tally in tallies for heard in tally.heard]
    return Count(sum(bool(heard.alarms or heard.failure) for heard in runs), len(runs))


def healthy_rows(programs: Sequence[Program], tallies: Sequence[Tally]) -> list[tuple[str, ...]]:
    """A row for each healthy program of which something was said."""
    rows = []
    for program, tally in zip(programs, tallies, strict=True):
        alarms = [rule for heard in tally.heard for rule in heard.alarms or (heard.failure,)]
        notes = [f"({each.rule})" for heard in tally.heard for each in heard.said if each.severity == "note"]
        if said := unique([*alarms, *notes]):
            rows.append((program.name, ", ".join(said)))
    return rows


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns for a terminal."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a page."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def unique(texts: Iterable[str]) -> list[str]:
    """Each text once, in order, with the number of times it came when it was more than one."""
    kept = [text for text in texts if text]
    return [text + (f" x{kept.count(text)}" if kept.count(text) > 1 else "") for text in dict.fromkeys(kept)]


def wilson_interval(hits: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Interval for a share, 0..1, at 95 % for the given `z`. Source: Wilson 1927, JASA 22, p. 209."""
    if not trials:
        return 0.0, 1.0
    share = hits / trials
    middle = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
