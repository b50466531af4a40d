"""What an experiment's numbers mean."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stethoscope.core.treatment import Trial
from stethoscope.diagnosing.verdict import verdict_of


def trial(before: tuple[float, ...], after: tuple[float, ...], **given: Any) -> Trial:
    """Five replays of a classifier of ten classes."""
    return Trial("rate lowered", 48, before, after, **{"reference": 2.3, "reference_after": 2.3, **given})


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((2.3,) * 5, (0.4,) * 5, "cured"),
        ((math.nan,) * 5, (0.4,) * 5, "cured"),
        ((2.3, math.inf, 9.0, 2.4, math.nan), (0.4, 0.5, 0.4, 0.6, 1.0), "cured"),
        ((2.3,) * 5, (0.4, 0.4, 0.4, 0.4, 2.4), "not possible"),
        ((2.3,) * 5, (1.9,) * 5, "helped"),
        ((1.0,) * 5, (0.9,) * 5, "helped"),
        ((2.3,) * 5, (2.28,) * 5, "no effect"),
        ((2.3,) * 5, (2.6,) * 5, "no effect"),
        ((2.3,) * 5, (math.nan,) * 5, "no effect"),
        ((math.nan,) * 5, (math.nan,) * 5, "no effect"),
        ((0.5,) * 5, (0.5,) * 5, "not possible"),
        ((2.3, 2.3, 2.3, 2.3, 2.0), (2.1, 2.1, 2.1, 2.1, 2.2), "not possible"),
    ],
)
def test_pairs_of_replays_give_a_verdict(before: tuple[float, ...], after: tuple[float, ...], verdict: str) -> None:
    assert verdict_of(trial(before, after)).verdict == verdict


def test_a_proof_says_what_was_seen() -> None:
    proof = verdict_of(trial((2.3, 2.4, 2.2, 2.3, 2.3), (0.4, 0.5, 0.4, 0.3, 0.4)))

    assert (proof.before, proof.after, proof.start) == (2.3, 0.4, 2.3)
    assert (proof.steps, proof.agreeing, proof.replays, proof.why) == (48, 5, 5, "")


def test_what_could_not_be_tried_keeps_its_reason() -> None:
    proof = verdict_of(Trial("rate lowered", why_not="the model is compiled"))

    assert (proof.verdict, proof.why, proof.before) == ("not possible", "the model is compiled", None)


def test_a_loss_that_falls_below_0_has_no_share_left() -> None:
    assert verdict_of(trial((-3.0,) * 5, (-9.0,) * 5)).verdict == "not possible"
    assert verdict_of(trial((2.0,) * 5, (1.0,) * 5, reference=-1.0)).verdict == "not possible"


def test_an_unchanged_copy_that_learns_is_said_to() -> None:
    assert "learns" in verdict_of(trial((0.5,) * 5, (0.5,) * 5)).why


def test_each_arm_is_measured_from_where_it_begins() -> None:
    other_scale = trial((9000.0,) * 5, (0.3,) * 5, reference=9100.0, reference_after=1.0)
    assert verdict_of(other_scale).verdict == "cured"
