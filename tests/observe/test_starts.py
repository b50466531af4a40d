"""What is heard of a network's start and of its modes: equal units, dropout, batch normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stethoscope.facts.norms import BatchNorm
from stethoscope.facts.training import History, Parameter
from stethoscope.observe.training.norms import gap
from stethoscope.observe.training.symmetry import unit_spread


def _heard(listening: Any, model: nn.Module, steps: int = 30, rows: int = 16, scale: float = 1.0) -> History:
    with listening(every=1) as session:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(steps):
            x = scale * torch.randn(rows, 4) + 3
            optimizer.zero_grad()
            F.cross_entropy(model(x), (x[:, :3] - 3).argmax(1)).backward()
            optimizer.step()
        history: History = session.history()
    return history


def _parameter(history: History, name: str) -> Parameter:
    return next(p for p in history.parameters if p.name == name)


def _norm(history: History) -> BatchNorm:
    return history.norms[0]


def test_units_that_start_equal_are_seen_to_stay_so(listening: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    for layer in model[::2]:
        nn.init.constant_(layer.weight, 0.1)
        nn.init.zeros_(layer.bias)

    history = _heard(listening, model)

    assert _parameter(history, "0.weight").unit_spread_start == 0
    assert _parameter(history, "0.weight").unit_spread < 1e-4
    assert _parameter(history, "4.weight").unit_spread_start == 0
    assert _parameter(history, "4.weight").unit_spread > 0.1, "units of the last layer receive different gradients"


def test_random_units_differ_and_are_looked_at_once(listening: Any) -> None:
    history = _heard(listening, nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))

    first = _parameter(history, "0.weight")
    assert first.unit_spread_start == first.unit_spread > 0.5
    assert np.isnan(_parameter(history, "0.bias").unit_spread_start)


@pytest.mark.parametrize(
    ("weight", "spread"),
    [
        (torch.zeros(5, 3), 0.0),
        (torch.full((20, 3, 3, 3), 0.3), 0.0),
        (torch.tensor([[1.0], [-1.0]]), 1.0),
        (torch.full((4, 2), 0.5, dtype=torch.bfloat16), 0.0),
    ],
)
def test_the_spread_of_units_is_a_share_of_their_size(weight: torch.Tensor, spread: float) -> None:
    assert unit_spread(weight) == pytest.approx(spread, abs=1e-6)


def test_the_spread_of_what_cannot_be_read_is_unknown() -> None:
    assert np.isnan(unit_spread(torch.empty(3, 3, device="meta")))
    assert np.isnan(unit_spread(torch.tensor([[1.0], [float("nan")]])))


def test_dropout_is_noted_with_its_probability(listening: Any) -> None:
    history = _heard(listening, nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.7), nn.Linear(8, 3)))

    assert [layer.dropout for layer in history.layers] == [0.0, 0.7, 0.0]
    assert history.models[0].has_dropout


def test_running_statistics_catch_up_at_the_usual_momentum_only(listening: Any) -> None:
    usual = _norm(_heard(listening, nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)), 50, 64))
    slow = _norm(_heard(listening, nn.Sequential(nn.BatchNorm1d(4, momentum=0.001), nn.Linear(4, 3)), 50, 64))

    assert usual.momentum == 0.1
    assert set(usual.rows.tolist()) == {64}
    assert usual.gaps[-1] < 0.25
    assert slow.gaps[-1] > 2, "inputs have a mean of 3"
    assert usual.drift > 1 > slow.drift


def test_values_behind_a_channel_are_samples_times_positions(listening: Any) -> None:
    model = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 3))

    assert set(_norm(_heard(listening, model, rows=5)).rows.tolist()) == {20}


def test_batch_normalization_in_eval_mode_is_no_concern(listening: Any) -> None:
    assert not _heard(listening, nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)).eval()).norms


def test_a_frozen_layer_is_followed_from_when_it_was_frozen(listening: Any) -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))
    model[0].requires_grad_(False)
    norm = _norm(_heard(listening, model))

    assert norm.frozen_looks == norm.steps.size > 3
    assert _norm(_heard(listening, nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)))).frozen_looks == 0


def test_a_gap_is_what_normalized_values_are_off_by() -> None:
    zero, one = np.zeros(2), np.ones(2)

    assert gap(zero, one, zero, one, 0.0) == 0
    assert gap(zero, one, np.full(2, 3.0), one, 0.0) == pytest.approx(3)
    assert gap(zero, one, zero, np.full(2, 0.25), 0.0) == pytest.approx(0.5)
    assert gap(zero, np.full(2, 1e-12), zero, one, 0.0) == 10, "one dead channel does not outweigh all others"
