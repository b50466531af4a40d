"""Parts of a model that the script exchanges after it was heard: it is taken in again as it is then."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stethoscope.facts.adapters import has_adapters
from stethoscope.facts.training import History
from stethoscope.observe.training import models


class _Adapted(nn.Module):
    """A frozen layer with two matrices of low rank beside it (Hu et al. 2021)."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(2, base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.base(x) + x @ self.down.T @ self.up.T
        return out


def _train(model: nn.Module, parameters: list[nn.Parameter], steps: int) -> None:
    """Two trainings have their optimizers made on this one line."""
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    for _ in range(steps):
        x = torch.randn(16, 8)
        optimizer.zero_grad()
        F.cross_entropy(model(x), x[:, :3].argmax(1)).backward()
        optimizer.step()


def _heard(listening: Any, steps: int = 40) -> History:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    with listening() as session:
        _train(model, list(model.parameters()), steps)
        model[0], model[2] = _Adapted(model[0]), nn.Linear(16, 3)
        _train(model, [p for p in model.parameters() if p.requires_grad], steps)
        history: History = session.history()
    return history


def test_new_parts_have_their_places_names_and_what_stays_its_new_one(listening: Any) -> None:
    history = _heard(listening)

    held = {p.name: p for p in history.parameters if p.layer >= 0}
    assert sorted(held) == ["0.base.bias", "0.base.weight", "0.down", "0.up", "2.bias", "2.weight"]
    assert all(p.optimizer == 0 and p.received_gradient for name, p in held.items() if "base" not in name)
    assert has_adapters(history)


def test_new_parts_have_their_place_in_the_order_of_execution(listening: Any) -> None:
    history = _heard(listening)

    order = {layer.name: layer.order for layer in history.layers}
    assert 0 <= order["0.base"] < order["0"] < order["1"] < order["2"]


def test_what_was_taken_out_is_of_no_model_and_of_no_optimizer(listening: Any) -> None:
    history = _heard(listening)

    gone = [p for p in history.parameters if p.name.endswith("(replaced)")]
    assert [(p.name, p.layer, p.optimizer) for p in gone] == [
        ("2.weight (replaced)", -1, -1),
        ("2.bias (replaced)", -1, -1),
    ]
    assert history.models[0].num_parameters == sum(
        p.shape[0] * (p.shape[1] if len(p.shape) > 1 else 1) for p in history.parameters if p.layer >= 0
    )


def test_what_was_frozen_since_is_not_counted_as_held_by_an_optimizer(listening: Any) -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    with listening() as session:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for frozen in (False, True):
            model[0].requires_grad_(not frozen)
            for _ in range(20):
                x = torch.randn(16, 8)
                optimizer.zero_grad()
                F.cross_entropy(model(x), x[:, :3].argmax(1)).backward()
                optimizer.step()
        history: History = session.history()

    assert history.models[0].optimized_share == (16 * 3 + 3) / (16 * 3 + 3 + 8 * 16 + 16)


def test_a_model_of_too_many_parameters_is_not_taken_in_again_and_again(
    listening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    again: list[object] = []
    monkeypatch.setattr(models, "MOST_PARAMETERS", 3)
    monkeypatch.setattr(models.ModelBook, "_forget_parts", lambda *args: again.append(args))
    with listening() as session:
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        _train(model, list(model.parameters()), 20)
        history: History = session.history()

    assert [p.name for p in history.parameters] == ["0.weight", "0.bias", "2.weight"]
    assert not again
