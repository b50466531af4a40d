"""Which files are read at all, and which rules count where: `[tool.stethoscope.lint]`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from stethoscope.core.errors import UsageError
from stethoscope.core.globs import expression
from stethoscope.core.review import FileReview
from stethoscope.core.settings import LintSettings, PathSettings
from stethoscope.diagnosing.select import select


class Scopes:
    """The settings for paths, ready to be asked."""

    def __init__(self, settings: LintSettings) -> None:
        """Raises: UsageError for a name that is neither a rule nor a subject."""
        self._folder = settings.folder or os.getcwd()
        self._exclude = [_pattern(text) for text in settings.exclude]
        self._rules = [(_pattern(text), _names(text, scope)) for text, scope in settings.per_path.items()]

    def excludes(self, path: Path) -> bool:
        """Whether a file is left out; also one that is named on the command line, as hooks do."""
        return bool(self._exclude) and _any_fits(self._exclude, self._name(path))

    def narrowed(self, review: FileReview) -> FileReview:
        """A review without the findings of rules that do not count where these stand."""
        if not self._rules or not review.findings:
            return review
        stay = tuple(one for one in review.findings if self._counts(one.rule, one.place.file or review.file))
        return replace(review, findings=stay) if len(stay) < len(review.findings) else review

    def _counts(self, rule: str, file: str) -> bool:
        name = self._name(file)
        return all(rule in rules for pattern, rules in self._rules if _any_fits((pattern,), name))

    def _name(self, path: str | Path) -> str:
        try:
            return os.path.relpath(path, self._folder).replace(os.sep, "/")
        except ValueError:  # another drive
            return Path(path).as_posix()


def _names(text: str, scope: PathSettings) -> frozenset[str]:
    try:
        return frozenset(rule.name for rule in select(scope.only, scope.without))
    except UsageError as error:
        raise UsageError(f'[tool.stethoscope.lint.per-path."{text}"]: {error}') from error


def _pattern(text: str) -> re.Pattern[str]:
    """Without a slash in it, a pattern fits at any depth; a folder's stands for all that is in it."""
    text = text.removeprefix("./").rstrip("/")
    anywhere = "" if "/" in text else "(?:.*/)?"
    return re.compile(f"{anywhere}{expression(text.lstrip('/'))}(?:/.*)?")


def _any_fits(patterns: Iterable[re.Pattern[str]], name: str) -> bool:
    return any(pattern.fullmatch(name) for pattern in patterns)
