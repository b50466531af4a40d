"""What was tried before training, as it is shown."""

from __future__ import annotations

import io
from dataclasses import replace

from stethoscope.core.finding import Diagnosis
from stethoscope.facts.model import Experiment, Part, Structure
from stethoscope.render.before import parts_section
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


def table(*parts: Part) -> str:
    return parts_section(Structure((Part("", "Net", 0, 1), *parts)))


def test_a_row_has_shapes_types_device_and_memory() -> None:
    part = Part("a", "Linear", 1, 3, ((8, 4),), ((8, 2),), "float16", "cuda:0", ("b.c",), 10, 0, 10, 20, 32)
    page = table(part, replace(part, name="frozen", trainable=0), replace(part, name="d", also=(), tied=10))

    assert all(f">{word}<" in page for word in ("a, b.c", "Linear, 3 calls", "(8, 4)", "(8, 2)", "float16", "cuda:0"))
    assert ">10<" in page
    assert ">52 B<" in page
    assert ">frozen</td>" in page
    assert ">10 (tied)<" in page
    assert "20 parameters, 10 of them trainable, in 60 B" in page


def test_what_was_not_followed_is_not_said_to_be_never_called() -> None:
    assert "never called" in table(Part("a", "Linear", parameters=10))
    assert "never called" not in parts_section(Structure((Part("a", "Linear", parameters=10),)))


def test_a_long_table_is_folded_into_the_modules_that_hold_the_others() -> None:
    deep = [
        Part(f"blocks.{i}.part{j}", "Linear", 1000 * i + j + 1, parameters=2, trainable=2, parameter_bytes=8)
        for i in range(100)
        for j in range(4)
    ]
    blocks = [Part(f"blocks.{i}", "Block", 1000 * i, is_leaf=False) for i in range(100)]
    page = table(*blocks, *deep)

    assert page.count("<tr>") == 1 + 100
    assert "part3" not in page
    assert page.count(">8</td>") == 100
    assert "400 modules further inside" in page
    assert "800 parameters" in page


def test_a_flat_table_that_is_too_long_ends() -> None:
    page = table(*(Part(f"layer{i}", "Linear", i + 1) for i in range(350)))
    assert page.count("<tr>") == 1 + 300
    assert "50 more modules are left out" in page


def test_a_reason_that_many_share_is_told_once() -> None:
    made = (Experiment("made", "made", "shown"),)
    large = tuple(Experiment(f"large {i}", f"large {i}", why_not="it is too large") for i in range(4))
    others = tuple(Experiment(f"other {i}", f"other {i}", why_not="no") for i in range(2))
    tried = replace(sample.checked().preflight, experiments=(*made, *large, *others))
    stream = io.StringIO()
    print_diagnosis(CLEAN, replace(sample.checked(), preflight=tried), stream=stream)

    assert stream.getvalue().count("too large") == 1
    assert "   - 4 experiments           not possible: it is too large" in stream.getvalue()
    assert stream.getvalue().count("not possible: no") == 2
