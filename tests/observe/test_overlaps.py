"""Whether two optimizers step parameters by one and the same gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stethoscope.facts.overlap import Overlap
from stethoscope.facts.training import History

STEPS = 8
Kinds = tuple[torch.optim.Optimizer, ...]


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def _loss(model: nn.Module) -> torch.Tensor:
    return F.cross_entropy(model(torch.randn(8, 4)), torch.randint(0, 2, (8,)))


def _after_one_backward(model: nn.Module, *optimizers: torch.optim.Optimizer) -> None:
    for _ in range(STEPS):
        for optimizer in optimizers:
            optimizer.zero_grad()
        _loss(model).backward()
        for optimizer in optimizers:
            optimizer.step()


def _one_holds_all(model: nn.Sequential) -> Kinds:
    return torch.optim.SGD(model.parameters(), lr=0.1), torch.optim.SGD(model[2].parameters(), lr=0.01)


def _apart(model: nn.Sequential) -> Kinds:
    return torch.optim.SGD(model[0].parameters(), lr=0.1), torch.optim.SGD(model[2].parameters(), lr=0.01)


def _history(listening: Any, train: Callable[[nn.Sequential], None]) -> History:
    with listening() as session:
        model = _net()
        train(model)
        seen: History = session.history()
    return seen


def test_steps_on_a_gradient_that_another_optimizer_used_are_counted(listening: Any) -> None:
    (found,) = _history(listening, lambda model: _after_one_backward(model, *_one_holds_all(model))).overlaps
    # At the first step it is not known yet that the first of them steps at all.
    assert found == Overlap(0, 1, "2.weight", 2, 18, STEPS - 1, STEPS - 1)


def test_the_order_of_steps_decides_which_is_the_second(listening: Any) -> None:
    (found,) = _history(listening, lambda model: _after_one_backward(model, *_one_holds_all(model)[::-1])).overlaps
    assert (found.first, found.second) == (1, 0)


def test_optimizers_with_parameters_of_their_own_have_nothing_in_common(listening: Any) -> None:
    assert _history(listening, lambda model: _after_one_backward(model, *_apart(model))).overlaps == ()


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_part_that_two_losses_train_in_turn_is_not_counted(listening: Any, set_to_none: bool) -> None:
    def train(model: nn.Sequential) -> None:
        optimizers = _one_holds_all(model)
        for _ in range(STEPS):
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=set_to_none)
                _loss(model).backward()
                optimizer.step()

    assert _history(listening, train).overlaps == ()


def test_gradients_that_go_on_growing_between_the_steps_are_others(listening: Any) -> None:
    def train(model: nn.Sequential) -> None:
        first, second = _one_holds_all(model)
        for _ in range(STEPS):
            model.zero_grad(set_to_none=False)
            _loss(model).backward()
            first.step()
            _loss(model).backward()
            second.step()

    assert _history(listening, train).overlaps == ()


def test_a_phase_with_an_optimizer_of_its_own_is_not_counted(listening: Any) -> None:
    def train(model: nn.Sequential) -> None:
        for optimizer in _one_holds_all(model):
            _after_one_backward(model, optimizer)

    assert _history(listening, train).overlaps == ()


class Wrapper(torch.optim.Optimizer):
    """Steps by another optimizer, and goes a part of the way back, as look-ahead does."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner = inner
        super().__init__(inner.param_groups, {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.inner.step()


def test_an_optimizer_that_wraps_another_one_is_not_counted(listening: Any) -> None:
    def train(model: nn.Sequential) -> None:
        _after_one_backward(model, Wrapper(torch.optim.SGD(model.parameters(), lr=0.1)))

    assert _history(listening, train).overlaps == ()
