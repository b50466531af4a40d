"""Places where what any rule says is possible at most: nothing trains there as it stands, or the fault is meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from stethoscope.core.finding import Finding, Sureness
from stethoscope.facts.code import At, Code
from stethoscope.facts.dead_ends import dead_ends
from stethoscope.facts.first_rounds import beyond, only_rounds
from stethoscope.facts.importable import cannot_be_imported
from stethoscope.facts.left_behind import left_behind
from stethoscope.facts.never_run import never_run, untaken
from stethoscope.facts.only_asked import is_only_asked
from stethoscope.facts.planted import planted_in
from stethoscope.rules.lines import place_in

_TRIED_ON_PURPOSE = re.compile(
    r"(?:^|/)(?:tests?|testing|benchmarks?|test_[^/]*|[^/]*_tests?\.py|tests\.py|conftest\.py"
    r"|(?:[^/]*[-_.])?(?:bench|benchmark(?:s|ing)?|profil(?:e|er|ing))(?:[-_.][^/]*)?\.py)(?:/|$)"
)
"""Files that do odd things because they test them: there a finding is possible at most, and what is only possible
elsewhere is not said."""


_OF_MAKING = ("super-init-missing",)
"""Rules whose findings say themselves that a class cannot be made."""

_OF_TRAINING = ("dropout-without-effect", "dropout-before-batch-norm", "dropout-too-strong", "parameter-uninitialized",
                "init-never-applied", "symmetric-initialization", "padding-row-overwritten",
                "saturating-activation-stack")  # fmt: skip
"""Rules of how a model trains, or with which weights it begins: no harm to one that is loaded to be asked."""

_OF_LAYERS = ("overwritten-layer", "dropout-without-effect", "dropout-before-batch-norm", "dropout-too-strong",
              "unregistered-modules", "layer-made-in-forward")  # fmt: skip
"""Rules of the layers of a network: no harm to one that cannot be asked as it stands."""

_OF_ROUNDS = ("missing-zero-grad", "graph-kept-alive", "graph-retained", "checkpoint-aliased", "metric-not-reset",
              "distributed-sampler-epoch")  # fmt: skip
"""Rules of what one round of a training does to the next one: no harm where there is none."""


_OF_WHAT_FOLLOWS = ("training-in-eval-mode",)
"""Rules of what a function leaves to who called it: no harm where it always ends with an error."""


def doubted(said: Sequence[Finding], code: Code) -> list[Finding]:
    """The findings of a file, those possible at most that stand at such a place."""
    if _TRIED_ON_PURPOSE.search(code.file):
        return [_possible(one) for one in said if one.sureness is not Sureness.POSSIBLE]
    if all(one.sureness is Sureness.POSSIBLE for one in said):
        return list(said)
    if cannot_be_imported(code):
        return [_possible(one) for one in said]
    untrained = any(one.rule in _OF_TRAINING for one in said) and is_only_asked(code)
    never = [place_in(code, call.at) for call in never_run(code)]
    sure = [one for one in said if one.place.file == code.file and one.sureness is not Sureness.POSSIBLE]
    others = list(untaken(code, {_line_of(code, one) for one in sure}))
    left, planted, ends = [*left_behind(code), *beyond(code)], planted_in(code), dead_ends(code)

    def is_doubtful(one: Finding) -> bool:
        if one.place in never:
            return True
        line = _line_of(code, one)
        if one.place.file != code.file or one.sureness is Sureness.POSSIBLE:
            return False
        is_left = _is_in(left, line) or _is_in(ends.left, line) or _is_in(others, line)
        if planted(line) or is_left or _is_in(ends.unrun, line) or (untrained and one.rule in _OF_TRAINING):
            return True
        if one.rule in _OF_ROUNDS and _is_in(only_rounds(code), line):
            return True
        if one.rule in _OF_WHAT_FOLLOWS and any(_leads_out_of(one, code, at) for at in ends.failing):
            return True
        if one.rule in _OF_LAYERS and _is_in(ends.broken, line):
            return True
        return one.rule not in _OF_MAKING and _is_in(ends.behind, line)

    return [_possible(one) if is_doubtful(one) else one for one in said]


def _possible(one: Finding) -> Finding:
    return replace(one, sureness=Sureness.POSSIBLE)


def _is_in(stretches: Sequence[At], line: int) -> bool:
    return any(at.line <= line <= at.end_line for at in stretches)


def _leads_out_of(one: Finding, code: Code, function: At) -> bool:
    """Whether a finding stands in a function, and something that it comes to does not."""
    follows = [_first_of(code, link.place.cell) + link.place.line for link in one.chain if link.place.line]
    return _is_in([function], _line_of(code, one)) and any(not _is_in([function], line) for line in follows)


def _line_of(code: Code, finding: Finding) -> int:
    """The line of the file, also where the place counts those of a notebook's cell."""
    return (finding.place.line or 1) + _first_of(code, finding.place.cell)


def _first_of(code: Code, cell: int | None) -> int:
    """How many lines of the file stand before a notebook's cell."""
    return next((first for number, first in code.cells if number == cell), 1) - 1
