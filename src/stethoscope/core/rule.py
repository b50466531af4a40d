"""The base of every rule: one file, one class, one thing that can be wrong.

A rule's file name is its name, its folder is its subject, its docstring is its page. Nothing is said
twice: see `stethoscope/rules/loop/missing_zero_grad.py` for a whole one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, overload

from stethoscope.core.finding import (
    CannotTell,
    Evidence,
    Finding,
    Fix,
    Kind,
    Link,
    Place,
    Severity,
    Sureness,
    SuspectRow,
)
from stethoscope.core.treatment import Treatment
from stethoscope.facts.code import Code
from stethoscope.facts.data import Data

if TYPE_CHECKING:
    from stethoscope.facts.training import History

HEADINGS = ("What it sees", "Why it hurts", "How to fix it", "When it is not a fault", "Sources")
"""The headings of a rule's page, in this order."""


EYES = ("in_training", "before_training", "in_code", "in_data")
"""What a rule can look at: a run so far, experiments before it, source code, and data sets."""


class Limit:
    """A threshold with its unit and its reason; overridable as `rule-name.limit_name` in the configuration.

    Read on a rule instance it is the number in force; read on the class it is the limit itself.
    """

    def __init__(self, value: float, *, unit: str, why: str) -> None:
        self.value = value
        self.unit = unit
        self.why = why
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, rule: None, owner: type) -> Limit: ...
    @overload
    def __get__(self, rule: Rule, owner: type) -> float: ...
    def __get__(self, rule: Rule | None, owner: type) -> Limit | float:
        if rule is None:
            return self
        return rule.overrides.get(self.name, self.value)


@dataclass(frozen=True)
class Bug:
    """A small real program with one wrong place and its repair.

    A wrong line ends in `# fix: <the right line>`; `# fix:` with nothing behind it removes the line, and a
    line that is only `# add: <line>` is switched on. `SEED` in the text is replaced by a number.
    """

    text: str

    def faulty(self, seed: int = 0) -> str:
        """The program as someone wrote it by mistake."""
        return inspect.cleandoc(self.text).replace("SEED", str(seed)) + "\n"

    def fixed(self, seed: int = 0) -> str:
        """The program with its wrong lines put right."""
        lines = []
        for line in self.faulty(seed).splitlines():
            indent = line[: len(line) - len(line.lstrip())]
            if line.lstrip().startswith("# add: "):
                lines.append(indent + line.lstrip().removeprefix("# add: "))
            elif "# fix:" in line:
                right = line.split("# fix:", 1)[1].strip()
                if right:
                    lines.append(indent + right)
            else:
                lines.append(line)
        return "\n".join(lines) + "\n"


class Examples:
    """Named facts beside a rule, made when they are asked for: thousands of numbers that a run has no use for."""

    def __init__(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self._make = make

    def __get__(self, rule: Rule | None, owner: type) -> Mapping[str, Any]:
        return self._make()


class Rule:
    """One thing that can be wrong. Subclass it in a file of its own under `stethoscope/rules/<subject>/`."""

    name: ClassVar[str] = ""
    """Set from the file's name."""
    subject: ClassVar[str] = ""
    """Set from the folder's name."""
    kind: ClassVar[Kind] = Kind.CAUSE
    severity: ClassVar[Severity] = Severity.ERROR
    explains: ClassVar[tuple[str, ...]] = ()
    """Names of the rules whose findings follow from this one."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Parts of the history that it needs (`stethoscope.facts.training.PARTS`); the collector gathers no more."""
    to_the_end: ClassVar[bool] = False
    """Whether it judges a run by where it ends: not asked of one that a check has ended after its first steps."""
    from_curves: ClassVar[bool] = False
    """Whether the curves that another tool has logged let it judge: nothing else is known of an imported run."""
    on_trial: ClassVar[bool] = False
    """Whether too few of its findings in other people's code were read yet: what it reads in code is only possible."""
    in_batches: ClassVar[bool] = False
    """Whether its eye for data looks at what training was fed as well."""
    treatments: ClassVar[tuple[Treatment, ...]] = ()
    """What is tried on a copy of the run to prove a finding, one after the other until something cures."""
    bad: ClassVar[Examples] = Examples(dict)
    """Named facts on which it must speak."""
    good: ClassVar[Examples] = Examples(dict)
    """Named facts on which it must be silent."""
    bad_code: ClassVar[Mapping[str, str]] = {}
    """Named source texts on which `in_code` must speak, with `# bad` at the end of the guilty lines.

    A text without imports has the usual ones: `torch`, `nn`, `F`, `DataLoader`. A line `# file: models.py` begins
    another file of the project; the last one is judged.
    """
    good_code: ClassVar[Mapping[str, str]] = {}
    """Named source texts on which it must be silent."""
    bug: ClassVar[Bug]
    """A program that is run, faulty and repaired; a rule that only reads code needs none."""

    def __init_subclass__(cls) -> None:
        *_, subject, stem = cls.__module__.split(".")
        cls.name = stem.replace("_", "-")
        cls.subject = subject

    def __init__(self, overrides: Mapping[str, float] | None = None) -> None:
        self.overrides: Mapping[str, float] = overrides or {}

    @classmethod
    def limits(cls) -> dict[str, Limit]:
        """The rule's limits by name, in the order in which they stand in the file."""
        return {name: value for name, value in vars(cls).items() if isinstance(value, Limit)}

    @classmethod
    def page(cls) -> dict[str, str]:
        """The docstring as heading to text; the summary is under the empty heading."""
        parts: dict[str, list[str]] = {"": []}
        here = parts[""]
        for line in inspect.cleandoc(cls.__doc__ or "").splitlines():
            if line.startswith("## "):
                here = parts.setdefault(line[3:].strip(), [])
            else:
                here.append(line)
        return {heading: "\n".join(lines).strip() for heading, lines in parts.items()}

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the history of a run so far. Pure: same history, same findings."""
        raise NotImplementedError

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge what experiments on copies of the untrained model have shown, in `seen.preflight`. Pure as well."""
        raise NotImplementedError

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Judge a file that was read and not run. Pure; a finding that is only `possible` is shown when asked for."""
        raise NotImplementedError

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge one data set, or two beside each other. Pure: same facts, same findings."""
        raise NotImplementedError

    @classmethod
    @functools.cache
    def eyes(cls) -> tuple[str, ...]:
        """Names of the eyes that it has."""
        return tuple(eye for eye in EYES if getattr(cls, eye) is not getattr(Rule, eye))

    def judge(self, seen: History | Code | Data) -> Iterator[Finding | CannotTell]:
        """What it says with each of its eyes that are for this; with that for experiments only where some were made."""
        if isinstance(seen, Code):
            if "in_code" in self.eyes():
                yield from self.in_code(seen)
            return
        if isinstance(seen, Data):
            if "in_data" in self.eyes():
                yield from self.in_data(seen)
            return
        if self.to_the_end and seen.preflight.is_check:
            yield self.cannot_tell("a check ends the script after its first steps")
        elif "in_training" in self.eyes():
            yield from self.in_training(seen)
        if "before_training" in self.eyes() and seen.preflight.made:
            yield from self.before_training(seen)
        if self.in_batches and seen.fed is not None:
            for said in self.in_data(seen.fed):
                yield replace(said, place=replace(said.place, file=None)) if isinstance(said, Finding) else said

    def finding(
        self,
        title: str,
        *,
        cause: str,
        evidence: Sequence[Evidence],
        fixes: Sequence[Fix | str],
        place: Place | None = None,
        sureness: Sureness = Sureness.LIKELY,
        severity: Severity | None = None,
        unless: str = "",
        chain: Sequence[Link] = (),
        suspects: Sequence[SuspectRow] = (),
    ) -> Finding:
        """A finding of this rule; severity is the rule's own unless given."""
        return Finding(
            rule=self.name,
            kind=self.kind,
            severity=severity or self.severity,
            sureness=sureness,
            title=title,
            cause=cause,
            evidence=tuple(evidence),
            fixes=tuple(Fix(fix) if isinstance(fix, str) else fix for fix in fixes),
            place=place or Place(),
            unless=unless,
            chain=tuple(chain),
            suspects=tuple(suspects),
        )

    def cannot_tell(self, why: str) -> CannotTell:
        """This rule's word that it cannot judge."""
        return CannotTell(self.name, why)
