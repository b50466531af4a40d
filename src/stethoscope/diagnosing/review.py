"""Runs the rules that read code over one file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from stethoscope.core.errors import describe
from stethoscope.core.finding import CannotTell, Finding, Place, Sureness
from stethoscope.core.review import FileReview
from stethoscope.core.rule import Rule
from stethoscope.diagnosing.allow import silence
from stethoscope.diagnosing.suppress import Suppressions
from stethoscope.facts.code import At, Code
from stethoscope.facts.importable import cannot_be_imported
from stethoscope.facts.left_behind import left_behind
from stethoscope.facts.loops import loops_of
from stethoscope.facts.never_run import never_run
from stethoscope.rules import all_rules
from stethoscope.rules.lines import place_in

_TRIED_ON_PURPOSE = re.compile(
    r"(?:^|/)(?:tests?|testing|benchmarks?|test_[^/]*|[^/]*_tests?\.py|tests\.py|conftest\.py"
    r"|(?:[^/]*[-_.])?(?:bench|benchmark(?:s|ing)?|profil(?:e|er|ing))(?:[-_.][^/]*)?\.py)(?:/|$)"
)
"""Files that do odd things because they test them: there a finding is possible at most, and what is only possible
elsewhere is not said."""


def review(
    code: Code,
    *,
    rules: Sequence[type[Rule]] | None = None,
    overrides: Mapping[str, Mapping[str, float]] | None = None,
    suppressions: Suppressions | None = None,
) -> FileReview:
    """What the rules say about a file. Never raises because of a rule: a failing one is reported.

    Args:
        code: the file's facts.
        rules: the rules to run; all when None.
        overrides: rule name to limit name to value.
        suppressions: what the user allowed in the settings; comments of the file hold beside it.
    """
    limits = overrides or {}
    said: list[Finding] = []
    broken: list[CannotTell] = []
    for rule in all_rules() if rules is None else rules:
        if "in_code" not in rule.eyes():
            continue
        try:
            found = [one for one in rule(limits.get(rule.name)).in_code(code) if isinstance(one, Finding)]
            said += [replace(one, sureness=Sureness.POSSIBLE) for one in found] if rule.on_trial else found
        except Exception as error:  # a rule of ours must not take the others with it
            broken.append(CannotTell(rule.name, describe(error)))
    if _TRIED_ON_PURPOSE.search(code.file):
        said = [replace(one, sureness=Sureness.POSSIBLE) for one in said if one.sureness is not Sureness.POSSIBLE]
    if any(one.sureness is not Sureness.POSSIBLE for one in said) and cannot_be_imported(code):
        said = [replace(one, sureness=Sureness.POSSIBLE) for one in said]
    never = [place_in(code, call.at) for call in never_run(code)] if said else []
    said = [replace(one, sureness=Sureness.POSSIBLE) if one.place in never else one for one in said]
    left = [number for at in left_behind(code) for number in range(at.line, at.end_line + 1)] if said else []
    behind = {_line(place_in(code, At(number, 0, number, 0))) for number in left}
    said = [replace(one, sureness=Sureness.POSSIBLE) if _line(one.place) in behind else one for one in said]
    allowed = silence(dict.fromkeys(said), code, suppressions or Suppressions())
    loops, unclear = _loops(code)
    return FileReview(
        code.file,
        findings=tuple(sorted(allowed.stay, key=_place)),
        silenced=tuple(one for one, _ in allowed.gone),
        reasons=tuple(why for _, why in allowed.gone),
        notices=(*allowed.notices, *(f"{code.file}: {why}" for why in code.confusing)),
        broken=tuple(broken),
        loops=loops,
        unclear=unclear,
    )


def _loops(code: Code) -> tuple[int, tuple[str, ...]]:
    try:
        loops = loops_of(code)
    except Exception:  # the rules that read loops have said so
        return 0, ()
    return len(loops), tuple(f"{code.file}:{loop.at.line}: {loop.unclear}" for loop in loops if loop.unclear)


def _line(place: Place) -> tuple[int, int]:
    return place.cell or 0, place.line or 0


def _place(finding: Finding) -> tuple[str, int, int, int, str]:
    place = finding.place
    return place.file or "", place.cell or 0, place.line or 0, place.column or 0, finding.rule
