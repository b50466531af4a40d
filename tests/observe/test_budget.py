"""The controller, on simulated clocks."""

from __future__ import annotations

import pytest

from stethoscope.observe.training.budget import (
    ANOMALY_LOOKS,
    DENSE_START,
    LAST_OPENING_STEP,
    SHARE_FOR_LOOKS,
    WATCHED_STEPS,
    Budget,
)
from stethoscope.observe.training.verdicts import Verdicts


def _simulate(budget: Budget, steps: int, step_s: float, look_s: float) -> list[int]:
    budget.guard_seconds = 0.0  # the clocks here are made up
    looks = []
    for step in range(steps):
        if budget.wants(step):
            looks.append(step)
            budget.looked_step(step, step_s + look_s, look_s / 1.7)
        else:
            budget.ordinary_steps([step_s])
    return looks


@pytest.mark.parametrize(("step_s", "look_s"), [(0.0006, 0.0005), (0.017, 0.008), (0.25, 0.006)])
def test_looks_after_the_opening_cost_what_the_budget_allows(step_s: float, look_s: float) -> None:
    steps = 20_000
    looks = _simulate(Budget(0.01), steps, step_s, look_s)

    late = [look for look in looks if look > LAST_OPENING_STEP]
    share = len(late) * look_s / ((steps - LAST_OPENING_STEP) * step_s)
    assert share == pytest.approx(SHARE_FOR_LOOKS * 0.01, rel=0.4)


def test_the_first_steps_are_all_looked_at() -> None:
    assert _simulate(Budget(0.01), DENSE_START, 0.001, 0.001) == list(range(DENSE_START))


def test_its_own_estimate_is_the_true_cost() -> None:
    budget = Budget(0.02)
    looks = _simulate(budget, 20_000, 0.001, 0.002)
    opening = sum(1 for look in looks if look <= LAST_OPENING_STEP)

    true = (len(looks) - opening) * 0.002 / (20_000 * 0.001)
    assert budget.estimated_cost == pytest.approx(true, rel=0.3)


def test_first_verdicts_are_told_apart_from_what_the_budget_bounds() -> None:
    budget = Budget(0.02)
    _simulate(budget, 5000, 0.001, 0.002)
    before, opening = budget.estimated_cost, budget.opening_seconds
    budget.spent(1.0, opening=True)

    assert budget.estimated_cost == before
    assert budget.opening_seconds == opening + 1.0
    budget.spent(1.0)
    assert budget.estimated_cost > before


def test_every_third_step_is_every_third_step() -> None:
    assert _simulate(Budget(every=3), 10, 1.0, 1.0) == [0, 3, 6, 9]


def test_an_anomaly_is_looked_at_closely_and_then_left() -> None:
    budget = Budget(0.01)
    _simulate(budget, 5000, 0.001, 0.002)
    budget.anomaly()

    wanted = [step for step in range(5000, 5000 + ANOMALY_LOOKS) if _look(budget, step)]

    assert len(wanted) == ANOMALY_LOOKS
    assert not budget.wants(5000 + ANOMALY_LOOKS)


def _look(budget: Budget, step: int) -> bool:
    wants = budget.wants(step)
    if wants:
        budget.looked_step(step, 0.003, 0.001)
    return wants


def test_verdicts_come_each_time_the_steps_have_doubled_and_then_as_the_time_allows() -> None:
    given: list[int] = []
    verdicts = Verdicts(lambda: given.append(0))
    for step in range(1, LAST_OPENING_STEP + 1):
        if step >= verdicts.due_at:
            verdicts.give(step)
            given[-1] = step

    assert given == [60, 120, 240, 480, 960]
    verdicts._price = 1e9
    assert verdicts.give(1920) == 0.0
    assert len(given) == 5


def test_where_every_step_is_looked_at_the_dearer_looks_of_the_opening_are_told_apart() -> None:
    budget = Budget(every=1)
    for step in range(500):
        budget.looked_step(step, 1.0 + (0.3 if step < WATCHED_STEPS else 0.03), 0.2 if step < WATCHED_STEPS else 0.02)

    assert budget.estimated_cost == pytest.approx(0.03, rel=0.35)
    assert budget.burst_looks == WATCHED_STEPS
