"""What an editor shows of a finding, without an editor."""

from __future__ import annotations

import pytest

from stethoscope.adapters.in_editor import actions_for, allowing, page_of
from stethoscope.core.finding import Finding, Fix, Kind, Place, Severity, Sureness


def finding(line: int, end_line: int, *fixes: Fix) -> Finding:
    place = Place(file="a.py", line=line, column=1, end_line=end_line, end_column=2)
    return Finding("missing-zero-grad", Kind.CAUSE, Severity.ERROR, Sureness.CERTAIN, "t", "c", (), fixes, place)


COMMENT = "# stethoscope: allow missing-zero-grad -- "


@pytest.mark.parametrize(
    ("text", "line", "end_line", "wanted"),
    [
        pytest.param("x = 1\nf()\n", 2, 2, (2, 4, f"  {COMMENT}"), id="behind the line"),
        pytest.param("x = 1\nf(\n  1,\n)\n", 2, 4, (4, 2, f"  {COMMENT}"), id="behind a call of several lines"),
        pytest.param("x = 1\nif x:\n    f()  # why\n", 3, 3, (3, 1, f"    {COMMENT}\n"), id="above a commented line"),
        pytest.param("x = 1\nf(1, \\\n  2)\n", 2, 2, (2, 1, f"{COMMENT}\n"), id="above a continued line"),
        pytest.param("x = 1\nf('''\n''', 1)\n", 2, 2, (2, 1, f"{COMMENT}\n"), id="above an open text"),
        pytest.param("x = 1\nf(1, \\\n  2, \\\n  3)\n", 3, 3, None, id="between continued lines"),
        pytest.param("f()  # first\n", 1, 1, None, id="above all code it would hold for the file"),
        pytest.param("f()\n", 9, 9, None, id="no such line"),
    ],
)
def test_the_comment_stands_where_it_holds_for_the_finding_only(
    text: str, line: int, end_line: int, wanted: tuple[int, int, str] | None
) -> None:
    edit = allowing(finding(line, end_line), text.splitlines())

    assert (edit and (edit.place.line, edit.place.column, edit.text)) == wanted


def test_a_repair_in_another_file_is_no_quick_fix() -> None:
    edit = allowing(finding(1, 1), ["x", "y"])
    assert edit is not None
    elsewhere = Fix("Do it.", edits=(edit, type(edit)(Place("b.py", 1, column=1, end_line=1, end_column=1), "")))
    here = Fix("Clear them:\n    optimizer.zero_grad()", safe=True, edits=(edit,))

    actions = list(actions_for(finding(1, 1, elsewhere, here, Fix("Only words.")), ["x", "y"]))

    assert [action.title for action in actions] == [
        "Clear them: optimizer.zero_grad()",
        "Allow missing-zero-grad here: write the reason behind `--`",
    ]


def test_a_finding_of_a_rule_that_is_gone_has_a_page_all_the_same() -> None:
    gone = Finding("no-such-rule", Kind.CAUSE, Severity.NOTE, Sureness.LIKELY, "t", "c", (), (Fix("a\n    b"),))

    assert page_of(gone) == "**note: t** (likely)\n\nc\n\na\n\n```python\nb\n```\n\n---"
