"""The terminal: stored text, order, colour only where it is wanted, streams that cannot write everything."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from stethoscope.core.finding import CannotTell, Diagnosis
from stethoscope.facts.training import History
from stethoscope.render.terminal import print_diagnosis, print_finding

from . import sample
from .sample_findings import diagnosis_of, loss_not_finite, missing_zero_grad, slow_rate

EXPECTED = Path(__file__).parent / "expected"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(diagnosis: Diagnosis, history: History, stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    print_diagnosis(
        diagnosis,
        history,
        stream=stream,
        report=Path("runs/otter/report.html"),
        run=Path("runs/otter"),
        took=0.31,
    )
    return stream.getvalue()


CASES = {
    "faulty": lambda: (
        diagnosis_of(missing_zero_grad(sample.trained()), slow_rate(sample.trained())),
        sample.trained(),
    ),
    "not_a_number": lambda: (diagnosis_of(loss_not_finite(sample.turns_nan())), sample.turns_nan()),
    "clean": lambda: (diagnosis_of(), sample.healthy()),
    "nothing_heard": lambda: (
        Diagnosis((), (), (CannotTell("overfitting", "no optimizer made a step"),)),
        History(ended_by="SystemExit"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_printed_text_equals_the_stored_text(case: str) -> None:
    assert printed(*CASES[case]()) == (EXPECTED / f"{case}.txt").read_text("utf-8")


def test_the_gravest_finding_comes_last() -> None:
    text = printed(*CASES["faulty"]())
    assert text.index("note: weights") < text.index("error: gradients")


def test_plain_text_has_no_escape_sequences() -> None:
    assert "\x1b" not in printed(*CASES["faulty"]())


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[1;31merror:" in printed(*CASES["faulty"](), stream=Terminal())


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in printed(*CASES["faulty"](), stream=Terminal())


def test_a_name_with_rich_markup_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    print_finding(replace(slow_rate(sample.trained()), title="layer [bold]x[/bold] :smile: moves"), stream)
    assert "[bold]x[/bold] :smile:" in stream.getvalue()


def test_a_name_cannot_send_escape_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    print_finding(replace(slow_rate(sample.trained()), title="layer \x1b]0;owned\x07 moves"), stream)
    assert "\x1b]0;" not in stream.getvalue()


def test_a_stream_without_unicode_is_written_all_the_same() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_diagnosis(*CASES["clean"](), stream=stream)
    assert b"nothing wrong found in 15 checks" in raw.getvalue()


def test_several_reasons_are_listed_above_the_summary() -> None:
    cannot = (CannotTell("overfitting", "no validation"), CannotTell("unshuffled-data", "one class only"))
    text = printed(replace(diagnosis_of(), not_checked=cannot), sample.trained())
    assert "(2 more not possible, reasons above)" in text
    assert "overfitting: no validation\n" in text
    assert "unshuffled-data: one class only\n" in text


def test_many_rules_with_one_reason_are_counted() -> None:
    cannot = (*(CannotTell(f"rule-{n}", "no validation") for n in range(5)), CannotTell("other", "too short"))
    text = printed(replace(diagnosis_of(), not_checked=cannot), sample.trained())
    assert text.index("5 rules, named in the report: no validation\n") < text.index("other: too short\n")


def test_silenced_and_broken_checks_are_counted() -> None:
    diagnosis = replace(
        diagnosis_of(),
        not_checked=(),
        silenced=(slow_rate(sample.trained()),),
        broken=(CannotTell("dying-relu", "ZeroDivisionError"),),
    )
    assert "(1 check failed; 1 silenced)" in printed(diagnosis, sample.trained())
