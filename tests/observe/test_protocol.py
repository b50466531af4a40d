"""What became of the gradients, on loops that are right and loops that are wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loops import make_loop
from torch import nn

from stethoscope.facts.training import Optimizer


def _heard(listening: Any, name: str, steps: int = 12) -> Optimizer:
    with listening() as session:
        kept = make_loop(name, steps)
        history = session.history()
    assert kept is not None
    return history.optimizers[0]


RIGHT = [
    "plain", "zero_grad after the step", "zero_grad with zeros", "model.zero_grad", "grad = None by hand",
    "p.grad.data.zero_()", "accumulation of 3", "clipping", "closure", "two backward passes", "gradient scaler",
    "sharpness-aware", "two optimizers", "frozen layer", "gradient assigned by hand",
]  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_correct_loop_shows_no_mistake(listening: Any, name: str) -> None:
    heard = _heard(listening, name)

    assert (heard.not_cleared, heard.cleared_before_step, heard.without_backward) == (0, 0, 0)
    assert heard.steps >= 3


@pytest.mark.parametrize("name", ["never cleared", "never cleared, accumulation of 2", "never cleared, clipped"])
def test_gradients_that_outlive_their_step_are_seen(listening: Any, name: str) -> None:
    heard = _heard(listening, name)

    assert heard.compared >= 3
    assert heard.not_cleared >= heard.compared - 1


def test_gradients_cleared_before_the_step_are_seen(listening: Any) -> None:
    assert _heard(listening, "cleared before the step").cleared_before_step == 12


def test_a_discriminator_that_has_nothing_left_to_learn_does_not_lose_its_gradients(listening: Any) -> None:
    maker, judge = nn.Linear(2, 2), nn.Linear(2, 1)
    first, second = (torch.optim.SGD(model.parameters(), lr=0.1) for model in (judge, maker))
    with listening() as session:
        for _ in range(12):
            made = maker(torch.randn(8, 2))
            first.zero_grad()
            torch.relu(judge(made.detach()) - 1e6).mean().backward()  # 0, and so is each gradient
            first.step()
            second.zero_grad()
            judge(made).mean().backward()  # leaves gradients in the judge, which are cleared in time
            second.step()
        history = session.history()

    assert [each.cleared_before_step for each in history.optimizers] == [0, 0]


def test_steps_without_a_backward_pass_are_seen(listening: Any) -> None:
    assert _heard(listening, "no backward").without_backward == 12


def test_backward_passes_without_a_step_are_counted(listening: Any) -> None:
    heard = _heard(listening, "no step", steps=20)

    assert heard.steps == 0
    assert heard.backwards_since_step == 20
    assert heard.parameters_moved is False


def test_the_typical_cycle_names_the_calls_in_order(listening: Any) -> None:
    with listening() as session:
        make_loop("plain", 6)
        cycle = session.history().loop.cycle

    assert [event.what for event in cycle] == ["zero_grad", "forward", "loss", "backward", "step"]
    assert all(event.site is not None and event.site.file.endswith("loops.py") for event in cycle)


def test_a_skipped_step_of_a_gradient_scaler_is_no_missing_step(listening: Any) -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    with listening() as session:
        for _ in range(10):
            optimizer.zero_grad()
            scaler.scale(model(torch.full((1, 2), float("inf"))).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        heard = session.history().optimizers

    # The optimizer was made before the taps: it is known from its first step on, and it never came to one.
    assert heard == () or heard[0].skipped_steps > 0


def test_weights_that_are_gone_at_the_end_are_known_not_to_have_moved(listening: Any) -> None:
    with listening() as session:
        make_loop("no step", 20)
        heard = session.history().optimizers[0]

    assert heard.parameters_moved is False


def test_no_more_steps_keep_old_gradients_than_were_compared(listening: Any) -> None:
    """Two networks that train each other: between looks a step may begin that was not compared with the one before."""
    torch.manual_seed(0)
    first, second = nn.Linear(4, 2), nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizers = torch.optim.SGD(first.parameters(), 0.01), torch.optim.SGD(second.parameters(), 0.01)
    with listening() as session:
        for _ in range(120):
            for other, optimizer in ((second, optimizers[0]), (first, optimizers[1])):
                other.requires_grad_(False)
                second(first(torch.randn(16, 4))).square().mean().backward()
                optimizer.step()
                other.requires_grad_(True)
        history = session.history()

    for heard in history.optimizers:
        assert heard.compared >= 40
        assert heard.not_cleared <= heard.compared
