"""What a rule says: a finding, its evidence, its place and its fixes.

All are frozen and hold plain values, so that a finding can be printed, stored, compared and sent
without torch. Severity says how bad it is, sureness how well we know: the two are never mixed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from stethoscope.core.display import Shown


class Severity(Enum):
    """How bad it is."""

    ERROR = "error"
    """Results are wrong or lost."""
    WARNING = "warning"
    """Results are probably worse than they should be."""
    NOTE = "note"
    """Worth knowing."""

    @property
    def gravity(self) -> int:
        """3 for an error, 2 for a warning, 1 for a note."""
        return {"error": 3, "warning": 2, "note": 1}[self.value]


class Sureness(Enum):
    """How well we know."""

    CERTAIN = "certain"
    """Shown by arithmetic, by the code itself, or by an experiment."""
    LIKELY = "likely"
    POSSIBLE = "possible"
    SUSPECTED = "suspected"
    """Said only when an experiment confirms it: what would be a false alarm too often."""

    @property
    def strength(self) -> int:
        """3 for certain, 2 for likely, 1 for possible, 0 for suspected."""
        return {"certain": 3, "likely": 2, "possible": 1, "suspected": 0}[self.value]


class Kind(Enum):
    """What a rule names."""

    CAUSE = "cause"
    """A mistake that someone can go and correct."""
    SYMPTOM = "symptom"
    """What a cause looks like from outside."""


@dataclass(frozen=True)
class Place:
    """Where it is: any of a source line, a module, a parameter, a span of steps, rows, columns, a time window."""

    file: str | None = None
    line: int | None = None
    """1-based; of a notebook, within its cell."""
    text: str | None = None
    """The source line itself, stripped."""
    column: int | None = None
    """First character of the guilty piece in its line, 1-based, where source code was read."""
    end_line: int | None = None
    end_column: int | None = None
    """Behind its last character."""
    cell: int | None = None
    """Of a notebook: counted from 1 among all of its cells."""
    module: str | None = None
    """Dotted path in the model, as `named_modules()` has it."""
    parameter: str | None = None
    steps: tuple[int, int] | None = None
    """First and last training step, both included, counted from 0."""
    unit: str = "step"
    """What `steps` counts: `epoch` in a log that has a point for each epoch."""
    rows: tuple[int, ...] | None = None
    columns: tuple[str, ...] | None = None
    window: tuple[str, str] | None = None
    """Start and end as ISO times."""

    @property
    def source(self) -> str:
        """`file:line`, `notebook.ipynb:cell 4:line`, or an empty string."""
        if self.file is None:
            return ""
        file = f"{self.file}:cell {self.cell}" if self.cell else self.file
        return f"{file}:{self.line}" if self.line else file


@dataclass(frozen=True)
class Link:
    """A line on the way from where something is made to where it does harm."""

    place: Place
    words: str
    """What happens there, in a few words."""


@dataclass(frozen=True)
class Plot:
    """A small picture for a piece of evidence: a series beside the band where it would be healthy."""

    steps: tuple[float, ...]
    values: tuple[float, ...]
    label: str
    """What the values are, with the unit."""
    healthy: tuple[float | None, float | None] = (None, None)
    """Lower and upper edge of the healthy band; None where it is open."""
    log: bool = False
    axis: str = "step"
    """What `steps` count; empty where the label says it."""


@dataclass(frozen=True)
class Evidence:
    """A measured value beside a healthy one."""

    what: str
    """What was measured, in a few words."""
    seen: str | float
    healthy: str | float
    source: str = ""
    """Where the healthy value comes from, or how the seen one was measured (`sampled`, for one)."""
    plot: Plot | None = None


@dataclass(frozen=True)
class SuspectRow:
    """A row of a data set that a finding is about."""

    data: str
    """Name of the set."""
    row: int
    """Counted from 0, as it is stored; the header is no row."""
    values: tuple[tuple[str, str], ...] = ()
    """Some of its columns with their values as text, the telling ones first; of a picture, its file."""
    why: str = ""
    """What is wrong with this one, as a clause."""
    score: float = 0.0
    """0..1, the most suspicious near 0."""


@dataclass(frozen=True)
class Edit:
    """A stretch of a source file, and the text that stands there instead."""

    place: Place
    """With file, line, column, end line and end column; nothing is replaced where it ends as it begins."""
    text: str


@dataclass(frozen=True)
class Fix:
    """One thing to do."""

    text: str
    """Ready to paste, or one sentence. Lines that start with four spaces are code."""
    edit: str | None = None
    """The whole replaced line, when it is known."""
    safe: bool = False
    """Whether it leaves correct results unchanged."""
    edits: tuple[Edit, ...] = ()
    """What a program has to change in the source; all or none. Those of a safe fix stay within one expression."""


@dataclass(frozen=True)
class Proof:
    """What an experiment on a copy showed."""

    treatment: str
    before: float | None
    after: float | None
    verdict: str
    """`cured`, `helped`, `no effect` or `not possible`."""
    start: float | None = None
    """Where learning begins, for the copies as they were."""
    steps: int = 0
    """That each copy was trained for."""
    agreeing: int = 0
    """Replays that ended better with the treatment."""
    replays: int = 0
    measure: str = "loss"
    """What `before` and `after` are."""
    why: str = ""
    """Why it was not possible, as a clause."""


@dataclass(frozen=True)
class Finding(Shown):
    """One thing that is wrong, with its evidence. Made by a rule, finished by the engine."""

    rule: str
    kind: Kind
    severity: Severity
    sureness: Sureness
    title: str
    """States what is wrong: at most 72 characters, lower case, no full stop, real names and numbers."""
    cause: str
    """Why, in one to three sentences."""
    evidence: tuple[Evidence, ...]
    fixes: tuple[Fix, ...]
    place: Place = field(default_factory=Place)
    unless: str = ""
    """When this is fine."""
    chain: tuple[Link, ...] = ()
    """Of a finding in source code: the lines that belong to it, from the guilty one to where its effect begins."""
    suspects: tuple[SuspectRow, ...] = ()
    """Of a finding about data: rows to look at, the most suspicious first; to be exported for correction."""
    explains: tuple[str, ...] = ()
    """Rules of the findings that follow from this one."""
    follows: tuple[Finding, ...] = ()
    """The folded findings themselves."""
    ruled_out: tuple[str, ...] = ()
    """Of a symptom that nothing explains: rules of causes that were looked for and are not there."""
    not_ruled_out: tuple[str, ...] = ()
    """And rules of causes that could not be judged."""
    proof: Proof | None = None
    rank: int = 0
    """1 is the first to look at; 0 before ranking."""

    def folded(self, finding: Finding) -> Finding:
        """This finding with another one, which follows from it, under it."""
        return replace(self, explains=(*self.explains, finding.rule), follows=(*self.follows, finding))


@dataclass(frozen=True)
class CannotTell:
    """A rule's word that it could not judge, and why."""

    rule: str
    why: str
    """One clause, such as `no validation data passed through the model`."""


@dataclass(frozen=True)
class Announcement:
    """What was said of a finding while training went on."""

    rule: str
    step: int
    """Steps done when it was said."""
    title: str
    source: str = ""
    """`file:line`, or empty."""


@dataclass(frozen=True)
class Diagnosis(Shown):
    """All that the rules said about one set of facts."""

    findings: tuple[Finding, ...]
    """Most important first."""
    checked: tuple[str, ...]
    """Rules that judged."""
    not_checked: tuple[CannotTell, ...]
    """Rules that could not judge, and why."""
    silenced: tuple[Finding, ...] = ()
    """Findings that the user allowed, with a reason."""
    broken: tuple[CannotTell, ...] = ()
    """Rules of ours that failed, and with what."""
    announced: tuple[Announcement, ...] = ()
    """What was said while training went on, in order."""
    notices: tuple[str, ...] = ()
    """What the listening itself has to say, a sentence each: a collector that failed, a disk that is full."""
    withdrawn: tuple[Finding, ...] = ()
    """Findings in the code that the run refutes."""

    def count(self, severity: Severity) -> int:
        """How many findings have this severity."""
        return sum(1 for finding in self.findings if finding.severity is severity)

    def worst(self) -> Severity | None:
        """The gravest severity found, or None."""
        return max((f.severity for f in self.findings), key=lambda s: s.gravity, default=None)
