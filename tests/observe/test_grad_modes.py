"""Where gradients are switched off the ear for forward passes wakes, and only where one may follow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stethoscope.observe.training.grad_modes import EVERY, PATIENCE
from stethoscope.observe.training.session import Session
from stethoscope.observe.training.taps import Taps

Action = Callable[[nn.Module], object]


class _Training:
    """A small training that goes on in ordinary steps; each may end with an action."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.woken = 0
        self.take(200)

    def take(self, steps: int, action: Action | None = None) -> None:
        """So many steps; counts those quiet ones of them which the action ended."""
        for _ in range(steps):
            x = torch.randn(8, 4)
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x), x[:, :3].argmax(1)).backward()
            was_quiet = self.session.state.quiet
            if action is not None:
                action(self.model)
            self.woken += was_quiet and not self.session.state.quiet
            self.optimizer.step()

    def passes_heard(self) -> int:
        """Validation passes so far; each is one forward pass here."""
        return len(self.session.history().validation)


def _averages(model: nn.Module) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.clone()


@torch.no_grad()
def _validates(model: nn.Module) -> torch.Tensor:
    out: torch.Tensor = model(torch.randn(8, 4))
    return out


def _validates_by_setter(model: nn.Module) -> None:
    with torch.set_grad_enabled(False):
        model(torch.randn(8, 4))


def _validates_in_inference_mode(model: nn.Module) -> None:
    with torch.inference_mode():
        model(torch.randn(8, 4))


def _validates_a_decorated_model(model: nn.Module) -> None:
    torch.no_grad()(model)(torch.randn(8, 4))


def _validates_from_a_stack(model: nn.Module) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        model(torch.randn(8, 4))


@pytest.mark.parametrize(
    "action",
    [
        lambda model: nn.utils.clip_grad_norm_(model.parameters(), 1.0),
        lambda model: nn.utils.clip_grad_value_(model.parameters(), 1.0),
    ],
    ids=["norm", "values"],
)
def test_clipping_which_torch_does_without_gradients_ends_no_quiet(listening: Any, action: Action) -> None:
    with listening() as session:
        training = _Training(session)
        training.take(300, action)

    assert training.woken == 0


def test_a_place_that_never_makes_a_forward_pass_is_heard_now_and_then_only(listening: Any) -> None:
    with listening() as session:
        training = _Training(session)
        training.take(600, _averages)

    assert 0 < training.woken <= PATIENCE + 600 / EVERY


@pytest.mark.parametrize(
    "validates",
    [
        _validates,
        _validates_by_setter,
        _validates_in_inference_mode,
        _validates_from_a_stack,
        _validates_a_decorated_model,
    ],
)
def test_each_way_to_validate_without_gradients_is_heard_among_ordinary_steps(
    listening: Any, validates: Action
) -> None:
    with listening() as session:
        training = _Training(session)
        for _ in range(5):
            training.take(50)
            training.take(1, validates)

        assert training.passes_heard() == 5


def test_a_place_in_vain_does_not_cost_another_line_of_the_same_function_its_hearing(listening: Any) -> None:
    def averages_and_perhaps_validates(model: nn.Module) -> None:
        with torch.no_grad():
            next(model.parameters()).clone()
        if session.state.steps % 50 == 0:
            with torch.no_grad():
                model(torch.randn(8, 4))

    with listening() as session:
        training = _Training(session)
        training.take(500, averages_and_perhaps_validates)

        assert training.passes_heard() == 10


def test_a_place_that_validates_at_last_is_heard_every_time_from_then_on(listening: Any) -> None:
    seen = []

    def validates_late(model: nn.Module) -> None:
        with torch.no_grad():
            if session.state.steps >= 500:
                seen.append(model(torch.randn(8, 4)))

    with listening() as session:
        training = _Training(session)
        training.take(300, validates_late)
        assert not seen
        training.take(100, validates_late)

        assert training.passes_heard() >= len(seen) - EVERY


def test_a_place_in_vain_is_known_still_when_the_taps_were_off_for_a_while() -> None:
    session = Session()
    taps = Taps(session)
    taps.put_on()
    training = _Training(session)
    training.take(300, _averages)
    before = training.woken

    taps.take_off(finish=False)
    taps.put_on()
    training.take(200, _averages)
    taps.take_off()

    assert training.woken - before <= 200 / EVERY + 1
