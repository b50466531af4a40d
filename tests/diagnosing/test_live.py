"""What is said while training goes on: once, and only what the end will not take back."""

from __future__ import annotations

from dataclasses import replace

from stethoscope.core.finding import Diagnosis, Finding, Kind, Place, Severity, Sureness
from stethoscope.diagnosing.live import FEWEST_STEPS, Live, in_a_line


def _finding(rule: str, sureness: Sureness, severity: Severity = Severity.ERROR) -> Finding:
    place = Place(file="train.py", line=18)
    return Finding(rule, Kind.CAUSE, severity, sureness, f"{rule} is there", "", (), (), place)


def _diagnosis(*findings: Finding) -> Diagnosis:
    return Diagnosis(findings, (), ())


CERTAIN = _finding("missing-zero-grad", Sureness.CERTAIN)
LIKELY = _finding("learning-rate-too-low", Sureness.LIKELY)


def test_what_is_certain_is_said_at_once_with_its_step_and_line() -> None:
    (said,) = Live().news(_diagnosis(CERTAIN), 60)

    assert in_a_line(said) == "stethoscope, step 60: missing-zero-grad is there (train.py:18) [missing-zero-grad]"


def test_nothing_is_said_twice() -> None:
    live = Live()

    assert [len(live.news(_diagnosis(CERTAIN), step)) for step in (60, 120, 240)] == [1, 0, 0]
    assert [one.rule for one in live.announced] == ["missing-zero-grad"]


def test_what_is_likely_must_stand_at_two_verdicts() -> None:
    live = Live()

    assert not live.news(_diagnosis(LIKELY), FEWEST_STEPS)
    assert not live.news(_diagnosis(), 2 * FEWEST_STEPS)
    assert not live.news(_diagnosis(LIKELY), 4 * FEWEST_STEPS)
    assert live.news(_diagnosis(LIKELY), 8 * FEWEST_STEPS)


def test_what_is_likely_waits_for_enough_steps() -> None:
    live = Live()

    assert not live.news(_diagnosis(LIKELY), FEWEST_STEPS // 4)
    assert not live.news(_diagnosis(LIKELY), FEWEST_STEPS - 1)


def test_a_note_is_left_to_the_report() -> None:
    assert not Live().news(_diagnosis(_finding("dying-relu", Sureness.CERTAIN, Severity.NOTE)), 500)


def test_a_symptom_that_is_likely_is_left_to_the_report() -> None:
    live = Live()
    symptom = replace(LIKELY, kind=Kind.SYMPTOM)

    assert not live.news(_diagnosis(symptom), 240)
    assert not live.news(_diagnosis(symptom), 480)
