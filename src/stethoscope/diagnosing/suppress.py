"""Silences the findings that the user allowed, for a reason."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from stethoscope.core.finding import Finding
from stethoscope.rules import nearest, subjects

COMMENT = re.compile(r"#\s*stethoscope:\s*allow\s+(?P<rules>.*?)\s*(?:--\s*(?P<reason>.*))?$")
"""`# stethoscope: allow rule-name, other-rule -- reason`."""


@dataclass(frozen=True)
class Suppressions:
    """What the user allowed."""

    reasons: Mapping[str, str] = field(default_factory=dict)
    """Rule name to reason."""
    notices: tuple[str, ...] = ()
    """Why an entry was not honoured, a sentence each."""

    def __or__(self, other: Suppressions) -> Suppressions:
        return Suppressions({**self.reasons, **other.reasons}, (*self.notices, *other.notices))


def allowed_in_settings(table: Mapping[str, object], where: str = "pyproject.toml") -> Suppressions:
    """What `[tool.stethoscope.allow]` says: `rule-name = "reason"`."""
    return _read((name, reason if isinstance(reason, str) else "", where) for name, reason in table.items())


def allowed_in_script(text: str, file: str) -> Suppressions:
    """What the comments of a script say: `# stethoscope: allow rule-name -- reason`.

    Several names are separated by commas. A comment counts for the whole run, wherever it stands.
    """
    return _read(
        (name, match["reason"] or "", f"{file}:{line}")
        for line, comment in _comments(text)
        if (match := COMMENT.match(comment))
        for name in re.split(r"[,\s]+", match["rules"])
        if name
    )


def suppress(
    findings: Iterable[Finding], suppressions: Suppressions
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """The findings that stay, and the silenced ones."""
    every = tuple(findings)
    stay = tuple(finding for finding in every if finding.rule not in suppressions.reasons)
    return stay, tuple(finding for finding in every if finding.rule in suppressions.reasons)


def checked(name: str, reason: str, where: str) -> str:
    """Why an entry is not honoured, as a sentence; empty where it is."""
    known = subjects()
    if name not in known:
        return f"{where} allows `{name}`, which is no rule{nearest(name, known)}"
    if not reason.strip():
        return (
            f"{where} allows {name} without a reason, so its findings stay; "
            f"`# stethoscope: allow {name} -- reason` silences them"
        )
    return ""


def _read(entries: Iterable[tuple[str, str, str]]) -> Suppressions:
    reasons: dict[str, str] = {}
    notices = []
    for name, reason, where in entries:
        wrong = checked(name, reason, where)
        if wrong:
            notices.append(wrong)
        else:
            reasons[name] = reason.strip()
    return Suppressions(reasons, tuple(notices))


def _comments(text: str) -> Iterator[tuple[int, str]]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    except (tokenize.TokenError, SyntaxError):
        return  # a script that is no Python says so itself when it runs
