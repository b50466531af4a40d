"""What came of reading source files: findings, and what could not be read."""

from __future__ import annotations

from dataclasses import dataclass

from stethoscope.core.display import Shown
from stethoscope.core.finding import CannotTell, Finding, Severity, Sureness


@dataclass(frozen=True)
class Level:
    """Which findings are shown. By default those that are certain or likely, notes left out."""

    possible: bool = False
    """Also what is only possible."""
    notes: bool = False
    """Also what is only worth knowing."""

    def shows(self, finding: Finding) -> bool:
        """Whether a finding is shown at this level."""
        if finding.severity is Severity.NOTE and not self.notes:
            return False
        return self.possible or finding.sureness.strength >= Sureness.LIKELY.strength


@dataclass(frozen=True)
class FileReview:
    """What came of reading one file."""

    file: str
    """As it was given."""
    why_not: str = ""
    """Why it was not analysed, as a clause; empty where it was."""
    findings: tuple[Finding, ...] = ()
    """By line; those below the level that was asked for, too."""
    silenced: tuple[Finding, ...] = ()
    """Findings that the user allowed."""
    reasons: tuple[str, ...] = ()
    """Why, of each of them."""
    notices: tuple[str, ...] = ()
    """Suppressions that were not honoured, and parts that were not understood, a sentence each."""
    broken: tuple[CannotTell, ...] = ()
    """Rules of ours that failed, and with what."""
    loops: int = 0
    """Training loops that were looked at."""
    unclear: tuple[str, ...] = ()
    """Training loops whose order of calls was not understood: where, and why."""
    is_relevant: bool = True
    """Whether it says anything that a rule knows; else it was not parsed."""

    @property
    def silences(self) -> tuple[tuple[Finding, str], ...]:
        """The silenced findings with their reasons."""
        return tuple(zip(self.silenced, self.reasons, strict=True))


@dataclass(frozen=True)
class Review(Shown):
    """What came of reading all files."""

    files: tuple[FileReview, ...]
    level: Level = Level()
    missing: tuple[str, ...] = ()
    """Names on the command line that stand for no file."""
    unread: tuple[str, ...] = ()
    """Files and folders that were named on the command line themselves, and could not be read."""
    ignored: int = 0
    """Files and folders that were left out since git ignores them."""
    excluded: int = 0
    """Files that were left out since the settings exclude them."""
    known: int = 0
    """Findings of the baseline, which are not among those of the files."""
    repaired: int = 0
    """Entries of the baseline, in the files that were read, that are found no more."""
    took: float = 0.0
    """Seconds."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of the level that was asked for, by file and line."""
        return tuple(one for file in self.files for one in file.findings if self.level.shows(one))

    @property
    def hidden(self) -> int:
        """How many findings are below that level."""
        return sum(len(file.findings) for file in self.files) - len(self.findings)

    @property
    def not_analysed(self) -> tuple[FileReview, ...]:
        """Files that could not be read."""
        return tuple(file for file in self.files if file.why_not)

    @property
    def is_incomplete(self) -> bool:
        """Whether something that was named itself is not there, or could not be read: then nothing found says nothing
        of it. A file that lies in a folder that was named is counted only.
        """
        return bool(self.missing or self.unread)

    def count(self, severity: Severity) -> int:
        """How many of the findings have this severity."""
        return sum(1 for finding in self.findings if finding.severity is severity)

    def worst(self) -> Severity | None:
        """The gravest severity found, or None."""
        return max((f.severity for f in self.findings), key=lambda s: s.gravity, default=None)
