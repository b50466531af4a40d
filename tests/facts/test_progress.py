"""The gate in front of the rules: which runs learn well, which are stuck, and of which nothing may be said."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import ArrayLike

from stethoscope.facts.progress import Progress, progress_of, progress_on
from stethoscope.facts.training import Curve, History, Loop, LossCall

LN_10 = math.log(10)


def curve(values: ArrayLike) -> Curve:
    numbers = np.asarray(values, np.float64)
    return Curve("training loss", "loss", "training", np.arange(numbers.size), numbers)


def noisy(level: ArrayLike, spread: float, steps: int = 200) -> np.ndarray:
    return level + spread * np.random.default_rng(0).standard_normal(steps)


def test_a_run_of_a_few_steps_says_nothing() -> None:
    progress = progress_on(curve(np.linspace(2.3, 0.1, 19)), LN_10)
    assert not progress.known
    assert not progress.learns_well
    assert not progress.is_stuck


def test_a_loss_that_falls_to_half_of_guessing_learns_well() -> None:
    progress = progress_on(curve(np.linspace(2.3, 1.0, 100)), LN_10)
    assert progress.learns_well
    assert not progress.is_stuck


def test_the_gain_is_the_share_of_the_way_from_guessing_to_zero() -> None:
    values = [4.0] * 100 + [0.5] * 100
    assert progress_on(curve(values), 2.0).gain == pytest.approx(0.75)
    assert progress_on(curve(values)).gain == pytest.approx(0.875)


def test_half_of_the_way_counts_however_noisy_the_loss_is() -> None:
    progress = progress_on(curve([2.5, 1.5] * 50 + [1.4, 0.4] * 50))
    assert progress.reference - progress.end < 3 * progress.noise
    assert progress.learns_well


def test_a_loss_that_stays_at_guessing_is_stuck() -> None:
    progress = progress_on(curve(noisy(2.3, 0.05)), LN_10)
    assert progress.is_stuck
    assert not progress.learns_well


def test_a_language_model_that_left_guessing_by_far_more_than_its_noise_learns_well() -> None:
    progress = progress_on(curve(noisy(np.linspace(4.2, 2.1, 200), 0.1)), 3.1)
    assert progress.gain < 0.5
    assert progress.learns_well


def test_a_network_that_was_trained_before_is_good_though_its_loss_does_not_move() -> None:
    progress = progress_on(curve(noisy(0.05, 0.005)), LN_10)
    assert progress.learns_well
    assert not progress.is_stuck


def test_a_loss_that_rose_has_a_negative_gain_and_is_stuck() -> None:
    progress = progress_on(curve([2.3] * 20 + [40.0] * 80), LN_10)
    assert progress.gain < -10
    assert progress.is_stuck


def test_coming_back_from_a_leap_at_the_second_step_is_no_learning() -> None:
    progress = progress_on(curve([2.3, 6000.0, 900.0, 80.0, 30.0, *[2.35] * 100]))
    assert progress.start == 2.3
    assert progress.is_stuck
    assert not progress.learns_well


def test_an_odd_first_batch_does_not_decide_where_a_run_began() -> None:
    assert progress_on(curve([1.0, *[2.3] * 99])).start == pytest.approx(2.3)


def test_a_run_that_ended_in_nan_is_stuck_however_short_it_was() -> None:
    progress = progress_on(curve([2.3, 9.0, math.inf, math.nan, math.nan]))
    assert progress.ended_nonfinite
    assert progress.is_stuck
    assert progress.nonfinite_step == 2


def test_a_single_nan_that_the_run_survived_does_not_spoil_it() -> None:
    values = np.linspace(2.3, 0.2, 100)
    values[[40, 98]] = math.nan
    progress = progress_on(curve(values), LN_10)
    assert progress.nonfinite_step == 40
    assert progress.learns_well
    assert not progress.is_stuck


def test_a_loss_below_zero_has_no_gain_and_learns_when_it_falls() -> None:
    falling = progress_on(curve(np.linspace(1.0, -5.0, 100)))
    assert math.isnan(falling.gain)
    assert falling.learns_well
    level = progress_on(curve(noisy(-5.0, 0.1)))
    assert level.is_stuck
    assert not level.learns_well


def history(values: ArrayLike, loss: LossCall | None) -> History:
    return History(curves=(curve(values),), losses=(loss,) if loss else ())


def test_chance_is_known_where_the_curve_shows_the_loss_alone() -> None:
    loss = LossCall("cross_entropy", training_calls=9, chance=LN_10, first_value=2.31)
    assert progress_of(history([2.31] * 50, loss)).chance == LN_10


@pytest.mark.parametrize("first", [0.5775, 23.1, 2.31 + 0.3])
def test_chance_is_unknown_where_the_loss_was_divided_weighted_or_added_to(first: float) -> None:
    loss = LossCall("cross_entropy", training_calls=9, chance=LN_10, first_value=2.31)
    assert math.isnan(progress_of(history([first] * 50, loss)).chance)


def test_chance_is_a_share_of_it_where_a_step_goes_backward_from_as_many_shares() -> None:
    loss = LossCall("cross_entropy", training_calls=9, chance=LN_10, first_value=2.31)
    accumulated = replace(history([2.31 / 4] * 50, loss), steps=50, loop=Loop(backward_calls=200))

    assert progress_of(accumulated).chance == LN_10 / 4
    assert progress_of(replace(accumulated, loop=Loop(backward_calls=202))).chance == LN_10 / 4
    assert math.isnan(progress_of(replace(accumulated, loop=Loop(backward_calls=100))).chance)


def test_chance_is_unknown_for_a_sum_over_the_batch() -> None:
    loss = LossCall("cross_entropy", training_calls=9, chance=LN_10, reduction="sum")
    assert math.isnan(progress_of(history([147.0] * 50, loss)).chance)


def test_nothing_is_known_without_a_loss() -> None:
    assert progress_of(History()) == Progress(known=False)
