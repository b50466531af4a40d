"""A rule as a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from stethoscope.core.rule import HEADINGS, Rule
from stethoscope.render.rule_page import GENERATED, contents, markdown, plain, repair, write_pages
from stethoscope.rules import all_rules, rule_named

DOCS = Path(__file__).parents[2] / "docs" / "rules"
ZERO_GRAD = rule_named("missing-zero-grad")
each_rule = pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.name)


@each_rule
def test_the_page_in_the_documentation_is_the_one_that_the_rule_makes(rule: type[Rule]) -> None:
    assert (DOCS / f"{rule.name}.md").read_text("utf-8") == markdown(rule), "run `make docs`"


def test_the_documentation_holds_a_page_for_each_rule_and_no_other() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} == {rule.name for rule in all_rules()} | {"README"}
    assert (DOCS / "README.md").read_text("utf-8") == contents(all_rules()), "run `make docs`"


@each_rule
def test_a_page_has_all_headings_in_order(rule: type[Rule]) -> None:
    lines = markdown(rule).splitlines()
    places = [lines.index(f"## {heading}") for heading in HEADINGS]
    assert places == sorted(places)


@each_rule
def test_a_terminal_page_is_80_wide_beside_its_program(rule: type[Rule]) -> None:
    words = plain(rule).partition("Seen and repaired")[0].partition("Seen in code")[0]
    assert max(len(line) for line in words.splitlines()) <= 80


def test_a_page_says_that_it_is_generated() -> None:
    assert markdown(ZERO_GRAD).startswith(GENERATED)


def test_a_page_lists_limits_with_unit_and_reason() -> None:
    limit = ZERO_GRAD.limits()["share"]
    assert f"| `share` | 0.5 | {limit.unit} | {limit.why} |" in markdown(ZERO_GRAD)


def test_the_repair_is_shown_as_a_difference() -> None:
    changes = [line for line in repair(ZERO_GRAD).splitlines() if line.startswith(("+", "-"))]
    assert changes == ["+         optimizer.zero_grad()"]


def test_a_repair_shows_no_marks_of_ours() -> None:
    run = [rule for rule in all_rules() if hasattr(rule, "bug")]
    assert not [rule.name for rule in run if "# fix" in repair(rule) or "# add" in repair(rule)]


def test_pages_of_rules_that_are_gone_are_removed_and_pages_by_hand_stay(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text(GENERATED + "\n")
    (tmp_path / "by-hand.md").write_text("# Mine\n")
    write_pages(tmp_path, [ZERO_GRAD])
    assert {path.name for path in tmp_path.iterdir()} == {"by-hand.md", "missing-zero-grad.md", "README.md"}
