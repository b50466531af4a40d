"""What was tried before training, as it is shown."""

from __future__ import annotations

import io

from stethoscope.core.finding import Diagnosis
from stethoscope.render.html import to_html
from stethoscope.render.terminal import print_diagnosis

from . import sample

CLEAN = Diagnosis((), ("dying-relu",), ())


def printed(**kind: object) -> str:
    stream = io.StringIO()
    print_diagnosis(CLEAN, sample.checked(), stream=stream)
    return stream.getvalue()


def test_each_experiment_has_a_line_with_its_state() -> None:
    lines = printed().splitlines()

    assert any(line.startswith("   ✓ read the structure") and "12,345 parameters" in line for line in lines)
    assert any(line.startswith("   ✗ memorise 1 sample") and "still 2.2" in line for line in lines)
    assert any(line.startswith("   - check the gradient") and "not possible" in line for line in lines)


def test_a_check_says_so_and_has_no_cost_of_listening() -> None:
    text = printed()
    assert text.splitlines()[1].startswith("── stethoscope check ──")
    assert "the first 16 steps" in text
    assert "cost" not in text


def test_a_stream_without_the_marks_still_prints() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_diagnosis(CLEAN, sample.checked(), stream=stream)
    stream.flush()
    assert b"read the structure" in raw.getvalue()


def test_the_page_has_both_tables_and_escapes_names() -> None:
    page = to_html(CLEAN, sample.record(), sample.checked())

    assert ">Before training</h2>" in page
    assert "still 2.2 after 300 steps" in page
    assert "&lt;first&gt;" in page
    assert "<first>" not in page
    assert "Linear (never called)" in page


def test_a_run_has_neither() -> None:
    assert "Before training" not in to_html(CLEAN, sample.record(), sample.healthy())
