"""What stays the same of a finding in source code when lines move: for baselines, and for services that follow one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence

from stethoscope.core.finding import Finding

LENGTH = 32
"""Characters of a fingerprint."""


def line_hash(finding: Finding) -> str:
    """Of the guilty line's text, whatever the spaces around it."""
    return _short((finding.place.text or "").strip())


def fingerprints(findings: Sequence[Finding], named: Callable[[str], str]) -> list[str]:
    """One for each finding: of its rule, its file, its line's text, and how many such there were before it.

    Args:
        findings: in order of file and line.
        named: a file's path as it is to count, which must not depend on the folder one stands in.
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    prints = []
    for finding in findings:
        key = (finding.rule, named(finding.place.file or ""), line_hash(finding))
        prints.append(_short("\0".join((*key, str(seen[key])))))
        seen[key] += 1
    return prints


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:LENGTH]
