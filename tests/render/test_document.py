"""The message of a finding: its form, its width, its one-line form."""

from dataclasses import replace

import pytest

from stethoscope.core.finding import Evidence, Finding, Fix, Link, Place
from stethoscope.core.text import plain
from stethoscope.render.document import message_of, one_line, place_words, text_of

from . import sample
from .sample_findings import loss_not_finite, missing_zero_grad, slow_rate, vanishing_gradients


def findings() -> list[Finding]:
    return [
        missing_zero_grad(sample.healthy()),
        vanishing_gradients(sample.vanishing()),
        loss_not_finite(sample.turns_nan()),
        slow_rate(sample.healthy()),
    ]


@pytest.mark.parametrize("finding", findings(), ids=lambda finding: finding.rule)
def test_no_line_is_wider_than_80(finding: Finding) -> None:
    assert max(len(line) for line in text_of(finding).splitlines()) <= 80


@pytest.mark.parametrize("finding", findings(), ids=lambda finding: finding.rule)
def test_a_title_is_at_most_72_characters_without_a_full_stop(finding: Finding) -> None:
    assert len(finding.title) <= 72
    assert not finding.title.endswith(".")
    assert finding.title[0] in "`0123456789" or finding.title[0].islower()


@pytest.mark.parametrize("width", [40, 60])
def test_prose_fits_a_narrow_terminal(width: int) -> None:
    finding = replace(missing_zero_grad(sample.healthy()), fixes=(Fix("Clear the gradients."),))
    lines = [line for line in text_of(finding, width).splitlines() if "stethoscope explain" not in line]
    assert max(len(line) for line in lines) <= width


def test_the_labels_come_in_the_order_of_the_form() -> None:
    sections = message_of(missing_zero_grad(sample.healthy())).sections
    assert [section.label for section in sections] == [
        "seen",
        "why",
        "tried",
        "fix",
        "unless",
        "also",
        "more",
    ]


def test_the_rule_stands_at_the_right_edge_of_the_place_line() -> None:
    line = text_of(missing_zero_grad(sample.healthy())).splitlines()[2]
    assert line.startswith("   train.py:32, steps 0-399 ")
    assert line.endswith(" missing-zero-grad")
    assert len(line) == 80


def test_the_users_line_is_shown_with_its_number() -> None:
    assert "   32 | loss.backward()" in text_of(missing_zero_grad(sample.healthy())).splitlines()


def test_a_replaced_line_is_shown_with_its_place() -> None:
    assert "train.py:24   optimizer = SGD(model.parameters(), lr=1.0)" in text_of(slow_rate(sample.healthy()))


def test_a_fix_that_holds_its_edit_shows_it_once() -> None:
    fix = Fix("Raise it:\n    lr = 1.0", edit="lr = 1.0")
    assert text_of(replace(slow_rate(sample.healthy()), fixes=(fix,))).count("lr = 1.0") == 1


def test_code_keeps_its_indentation_and_is_never_wrapped() -> None:
    line = "    for images, labels in loader:  # " + "x" * 80
    fix = Fix("Do this:\n" + line + "\n        optimizer.zero_grad()")
    text = text_of(replace(slow_rate(sample.healthy()), fixes=(fix,)))
    assert line.strip() in text
    assert "\n" + " " * 17 + "optimizer.zero_grad()" in text


def test_what_follows_is_counted_and_named() -> None:
    text = text_of(missing_zero_grad(sample.healthy()))
    assert "1 finding seen beside it follows from this:" in text
    assert "[loss-not-decreasing]" in text


def test_every_reading_has_its_healthy_neighbour() -> None:
    finding = vanishing_gradients(sample.vanishing())
    assert text_of(finding).count("(healthy: ") == len(finding.evidence)


def test_one_line_stands_alone() -> None:
    title = "gradients of SGD are never cleared: each step adds to the last"
    assert one_line(missing_zero_grad(sample.healthy())) == f"train.py:32: error: {title} [missing-zero-grad]"


def test_one_line_has_no_place_where_no_line_is_known() -> None:
    assert one_line(vanishing_gradients(sample.vanishing())).startswith("error: gradients shrink")


def test_one_line_stays_one_line_whatever_the_names_hold() -> None:
    finding = replace(slow_rate(sample.healthy()), title="weights of `a\nb\x1b[2J` stand still")
    assert len(one_line(finding).splitlines()) == 1
    assert "\x1b" not in one_line(finding)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place(), "the whole run"),
        (Place(file="a.py"), "a.py"),
        (Place(steps=(4812, 4812)), "step 4,812"),
        (Place(module="net.3", steps=(0, 1500)), "`net.3`, steps 0-1,500"),
        (Place(parameter="net.3.weight", module="net.3"), "`net.3.weight`"),
        (Place(rows=(7, 19, 28, 30)), "rows 7, 19, 28 and 1 more"),
        (Place(columns=("age",)), "column age"),
        (Place(window=("14:00", "15:00")), "14:00 to 15:00"),
    ],
)
def test_a_place_reads_in_words(place: Place, words: str) -> None:
    assert plain(place_words(place)) == words


def test_long_readings_become_sentences() -> None:
    evidence = (Evidence("the share of all the units of this layer that stayed silent", "128 of 128", "0"),)
    text = text_of(replace(slow_rate(sample.healthy()), evidence=evidence))
    assert "stayed silent: 128 of" in text


@pytest.mark.parametrize("folders", [1, 9, 30])
def test_a_line_of_another_file_is_shown_however_long_its_path_is(folders: int) -> None:
    file = "folder/" * folders + "model.py"
    link = Link(Place(file=file, line=7, text="return self.softmax(out)"), "`softmax` is applied")
    text = text_of(replace(slow_rate(sample.healthy()), chain=(link,)))
    assert "7 | return self.softmax(out)" in text
    assert "model.py:" in text
    assert max(map(len, text.splitlines())) <= 80
