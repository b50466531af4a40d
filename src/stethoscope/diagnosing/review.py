"""Runs the rules that read code over one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from stethoscope.core.errors import describe
from stethoscope.core.finding import CannotTell, Finding, Sureness
from stethoscope.core.review import FileReview
from stethoscope.core.rule import Rule
from stethoscope.diagnosing.allow import silence
from stethoscope.diagnosing.doubts import doubted
from stethoscope.diagnosing.suppress import Suppressions
from stethoscope.facts.code import Code
from stethoscope.facts.loops import loops_of
from stethoscope.rules import all_rules


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
            if found:
                said += [replace(one, sureness=Sureness.POSSIBLE) for one in found] if rule.on_trial else found
        except Exception as error:  # a rule of ours must not take the others with it
            broken.append(CannotTell(rule.name, describe(error)))
    said = doubted(said, code)
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


def _place(finding: Finding) -> tuple[str, int, int, int, str]:
    place = finding.place
    return place.file or "", place.cell or 0, place.line or 0, place.column or 0, finding.rule
