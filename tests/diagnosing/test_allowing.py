"""Comments that allow a finding: for which lines they hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_up import finding

from stethoscope.core.finding import Finding, Place
from stethoscope.diagnosing.allow import allowances, silence
from stethoscope.diagnosing.suppress import Suppressions
from stethoscope.facts.code import Code
from stethoscope.facts.linked import Linked

NAME = "missing-zero-grad"
ALLOW = f"# stethoscope: allow {NAME} -- summed"


def spans(text: str) -> list[tuple[int, int]]:
    return [(first, last) for _, _, _, first, last in allowances(text.splitlines())]


def told(line: int, end: int | None = None, **place: object) -> Finding:
    return replace(finding(NAME), place=Place(file="train.py", line=line, end_line=end, **place))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"x = 1\ny = 2  {ALLOW}\nz = 3\n", (2, 2)),
        (f"x = 1\ny = f(\n    2,\n)  {ALLOW}\n", (2, 4)),
        (f"x = 1\ny = f(\n    2,  {ALLOW}\n)\n", (2, 4)),
        (f"x = 1\n{ALLOW}\ny = f(\n    2,\n)\nz = 3\n", (3, 5)),
        (f"x = 1\n{ALLOW}\n\n# why\ny = 2\n", (5, 5)),
        (f"for x in y:\n    f()\n    {ALLOW}\nz = 3\n", (2, 2)),
        (f"x = 1\n{ALLOW}\n", (1, 1)),
        (f"x = 1\n{ALLOW}\nfor x in y:\n    f()\n", (3, 3)),
        (f"x = 1\ny = (  {ALLOW}\n", (2, 2)),
    ],
)
def test_it_holds_for_its_line_and_statement(text: str, lines: tuple[int, int]) -> None:
    assert spans(text) == [lines]


@pytest.mark.parametrize("above", ["", "#!/usr/bin/env python\n# coding: utf-8\n", '"""A page.\n\nMore.\n"""\n\n'])
def test_above_all_code_it_holds_for_the_file(above: str) -> None:
    (span,) = spans(f"{above}{ALLOW}\nimport torch\nx = 1\n")
    assert span[0] == 1
    assert span[1] > 1_000_000


def test_behind_the_first_statement_it_holds_for_that_one() -> None:
    assert spans(f"import torch  {ALLOW}\nx = 1\n") == [(1, 1)]


def code(text: str, **more: object) -> Code:
    return Code("train.py", lines=tuple(text.splitlines()), **more)  # type: ignore[arg-type]


def test_only_the_finding_on_its_line_is_silent_with_its_reason() -> None:
    left = silence([told(2), told(3)], code(f"x = 1\ny = 2  {ALLOW}\nz = 3\n"), Suppressions())

    assert [(one.place.line, why) for one, why in left.gone] == [(2, "summed")]
    assert [one.place.line for one in left.stay] == [3]
    assert not left.notices


def test_a_finding_of_several_lines_is_allowed_on_any_of_them() -> None:
    left = silence([told(2, 4)], code(f"x = 1\ny = [\n  1,  {ALLOW}\n]\n"), Suppressions())
    assert not left.stay


def test_a_comment_on_the_wrong_line_says_where_it_belongs() -> None:
    left = silence([told(3)], code(f"x = 1\ny = 2  {ALLOW}\nz = 3\n"), Suppressions())

    assert left.stay
    (words,) = left.notices
    assert words.startswith(f"train.py:2 allows {NAME} for line 2 only, and the finding at train.py:3 stays: ")


def test_a_comment_for_a_rule_that_is_not_told_says_nothing() -> None:
    assert not silence([], code(f"x = 1  {ALLOW}\n"), Suppressions()).notices  # `run` may tell it


def test_a_finding_in_an_imported_file_obeys_the_comments_there() -> None:
    steps = Code("steps.py", lines=("import torch", f"o.step()  {ALLOW}"))
    here = code("import steps\nx = 1\n", linked=Linked.of({"steps": steps}))
    there = replace(told(2), place=Place(file="steps.py", line=2))

    assert not silence([there], here, Suppressions()).stay
    assert silence([told(2)], here, Suppressions()).stay


def test_in_a_notebook_lines_are_those_of_the_cell() -> None:
    book = code(f"x = 1\ny = 2\nz = 3  {ALLOW}\nz = 4\n", cells=((2, 1), (5, 3)))

    assert not silence([told(1, cell=5)], book, Suppressions()).stay
    left = silence([told(1, cell=2)], book, Suppressions())
    assert left.stay
    assert left.notices[0].startswith(f"train.py:cell 5:1 allows {NAME} for cell 5:1 only, and the finding at")


def test_settings_hold_for_all_lines() -> None:
    left = silence([told(1)], code("x = 1\n"), Suppressions({NAME: "known"}))
    assert [why for _, why in left.gone] == ["known"]
