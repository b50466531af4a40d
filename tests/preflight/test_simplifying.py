"""A model that does not learn is built up again, and what brings learning to an end is named."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import stethoscope
from stethoscope.facts.model import Simplified
from stethoscope.observe.preflight.given import given
from stethoscope.observe.preflight.simplifying import simplify
from stethoscope.observe.preflight.subject import CannotMake

CLASSES = 5


def batches(rows: int = 32, count: int = 4) -> list[tuple[Tensor, Tensor]]:
    """Points around the corners of a simplex."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (count, rows), generator=draw)
    noise = torch.randn((count, rows, 16), generator=draw)
    points = 2.0 * nn.functional.one_hot(labels, 16) + 0.3 * noise
    return list(zip(points, labels, strict=True))


class Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x / 1e4)


class Scaled(nn.LayerNorm):  # type: ignore[misc]
    """Keeps no difference between samples that another layer could see."""

    def __init__(self) -> None:
        super().__init__(32)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 1e5 + 1


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.inner(x))


def net(*between: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), *between, nn.Linear(32, CLASSES))


def adam(model: nn.Module, **options: Any) -> Any:
    return torch.optim.Adam(model.parameters(), **{"lr": 1e-3, **options})


def simplified(model: nn.Module, optimizer: Any = None, loss: Any = None, until: float = math.inf) -> Simplified:
    return simplify(given(model, loss or nn.CrossEntropyLoss(), batches(), optimizer).subject(), until)


def breaking(shown: Simplified) -> list[str]:
    return [aspect.name for aspect in shown.aspects if aspect.breaks]


def drawn(std: float) -> nn.Module:
    model = net(Block())
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model


def decayed() -> tuple[nn.Module, Any, Any]:
    model = net()
    return model, adam(model, weight_decay=5.0), None


def ascending() -> tuple[nn.Module, Any, Any]:
    model = net()
    return model, adam(model, maximize=True), None


FAULTS: dict[str, Any] = {
    "weight decay": decayed,
    "the activations": lambda: (net(Gate()), None, None),
    "the repeated blocks": lambda: (net(*(Block() for _ in range(30))), None, None),
    "the normalization layers": lambda: (net(Scaled()), None, None),
    "the options of the loss": lambda: (net(), None, nn.CrossEntropyLoss(label_smoothing=1.0)),
    "the optimizer and its rate": ascending,
    "the initial weights": lambda: (drawn(0.0), None, None),
    "dropout": lambda: (net(nn.Dropout(0.99), Block(), nn.Dropout(0.99)), None, None),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_aspect_that_breaks_training_is_named(name: str) -> None:
    shown = simplified(*FAULTS[name]())

    assert shown.smallest_works
    assert not shown.works
    assert breaking(shown) == [name]


def test_two_aspects_are_named_both() -> None:
    model = net(Gate())
    shown = simplified(model, adam(model, weight_decay=5.0))

    assert breaking(shown) == ["the activations", "weight decay"]


HEALTHY: dict[str, Any] = {
    "plain": lambda m: None,
    "adam with decay": lambda m: adam(m, weight_decay=1e-2),
    "slow descent": lambda m: torch.optim.SGD(m.parameters(), lr=1e-3),
    "descent with momentum": lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_learns_or_falls_slowly_has_nothing_named(name: str) -> None:
    model = net(nn.BatchNorm1d(32), nn.Dropout(0.5), Block(), Block())
    assert breaking(simplified(model, HEALTHY[name](model))) == []


def test_targets_that_have_nothing_to_do_with_the_input_name_nothing() -> None:
    model = net()
    data = [(torch.zeros_like(x), y) for x, y in batches()]
    shown = simplify(given(model, nn.CrossEntropyLoss(), data, None).subject(), math.inf)

    assert not shown.smallest_works
    assert not shown.aspects


def test_without_time_it_says_so() -> None:
    with pytest.raises(CannotMake, match="time"):
        simplified(net(), until=time.perf_counter())


def test_it_is_made_when_it_is_asked_for_and_becomes_a_finding() -> None:
    model, optimizer, _ = decayed()
    asked = stethoscope.check(model, nn.CrossEntropyLoss(), batches(), optimizer, profile="quick", simplify=True)
    unasked = stethoscope.check(model, nn.CrossEntropyLoss(), batches(), optimizer, profile="quick")

    assert "aspect-breaks-training" in [finding.rule for finding in asked.findings]
    assert "build it up" in [one.title for one in asked.experiments]
    assert "build it up" not in [one.title for one in unasked.experiments]
    assert "weight decay" in asked.html()


def test_the_model_and_the_random_states_stay_as_they_are() -> None:
    model = net(Gate())
    before = [parameter.detach().clone() for parameter in model.parameters()]
    stethoscope.check(model, nn.CrossEntropyLoss(), batches(), None, profile="quick", simplify=True)

    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert isinstance(model[2], Gate)
