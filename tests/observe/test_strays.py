"""Parameters that a training graph reaches and that neither the model, as it was met, nor an optimizer knows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _Net(nn.Module):
    def __init__(self, hidden: Any) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.hidden = hidden
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        for layer in self.hidden.values() if isinstance(self.hidden, dict) else self.hidden:
            x = torch.relu(layer(x))
        return self.last(x)


def _layers(count: int = 2) -> list[nn.Module]:
    return [nn.Linear(8, 8) for _ in range(count)]


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 6) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(12, 6)), torch.randint(3, (12,))).backward()
        optimizer.step()


def _strays(listening: Any, hidden: Any, *, all_held: bool = False) -> list[tuple[str, str, int, int, int]]:
    model = _Net(hidden)
    with listening() as session:
        held = [*model.parameters(), *(p for layer in hidden for p in layer.parameters())] if all_held else None
        _train(model, torch.optim.SGD(held or model.parameters(), lr=0.1))
        strays = session.history().strays
    return [(s.name, s.container, s.elements, s.tensors, s.values) for s in strays]


def test_layers_in_a_plain_list_or_dict_are_found(listening: Any) -> None:
    assert _strays(listening, _layers()) == [("hidden", "list", 2, 4, 144)]
    assert _strays(listening, dict(enumerate(_layers()))) == [("hidden", "dict", 2, 4, 144)]


def test_registered_layers_are_no_strays(listening: Any) -> None:
    assert _strays(listening, nn.ModuleList(_layers())) == []


def test_layers_that_the_optimizer_holds_all_the_same_are_no_strays(listening: Any) -> None:
    assert _strays(listening, _layers(), all_held=True) == []


def test_layers_in_eval_mode_are_kept_as_they_are(listening: Any) -> None:
    assert _strays(listening, [layer.eval() for layer in _layers()]) == []


def test_a_layer_replaced_after_the_optimizer_was_made_is_found(listening: Any) -> None:
    model = _Net(nn.ModuleList(_layers()))
    with listening() as session:
        _train(model, torch.optim.SGD(model.parameters(), lr=0.1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model.last = nn.Linear(8, 3)
        _train(model, optimizer)
        strays = session.history().strays

    assert [(s.name, s.container, s.values) for s in strays] == [("last", "", 27)]


def test_a_layer_that_is_frozen_as_torch_drew_it_is_told_from_a_trained_one(listening: Any) -> None:
    torch.manual_seed(0)
    model = _Net(nn.ModuleList(_layers()))
    model.first.weight.data.mul_(1.5)
    for parameter in [*model.first.parameters(), *model.hidden.parameters()]:
        parameter.requires_grad_(False)
    with listening() as session:
        _train(model, torch.optim.SGD(model.last.parameters(), lr=0.1))
        drawn = {p.name: p.as_drawn for p in session.history().parameters if p.name.endswith("weight")}

    assert drawn == {"first.weight": False, "hidden.0.weight": True, "hidden.1.weight": True, "last.weight": False}
