"""Parts that a library's class makes and a loss does without, told from what the user's own class left out."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import sklearn
import torch
from torch import Tensor, nn

from stethoscope.facts.spare import spare_of_libraries


class Body(nn.Module):
    """A network with a pooler that a caller may use."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.Tanh())
        self.pooler = nn.Sequential(nn.Linear(8, 8))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        states = self.layers(x)
        return states, self.pooler(states)


class Net(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.forgotten = nn.Linear(8, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x)[0])


@pytest.fixture
def of_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the class of the body stand in an installed package."""
    module = ModuleType("sklearn.body")
    module.__file__ = sklearn.__file__
    monkeypatch.setitem(__import__("sys").modules, "sklearn.body", module)
    monkeypatch.setattr(Body, "__module__", "sklearn.body")


def _spare(listening: Any, make: Any = Net) -> list[str]:
    model = make(Body())
    with listening() as session:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(6):
            optimizer.zero_grad()
            out = model(torch.randn(12, 6))
            nn.functional.cross_entropy(out if isinstance(out, Tensor) else out[0], torch.randint(3, (12,))).backward()
            optimizer.step()
    seen = session.history()
    return [seen.parameters[index].name for index in sorted(spare_of_libraries(seen))]


@pytest.mark.usefixtures("of_a_package")
def test_a_pooler_that_the_packages_class_makes_is_spare_and_the_users_layer_is_not(listening: Any) -> None:
    assert _spare(listening) == ["body.pooler.0.weight", "body.pooler.0.bias"]


@pytest.mark.usefixtures("of_a_package")
def test_it_is_so_where_the_package_makes_the_whole_model(listening: Any) -> None:
    assert _spare(listening, lambda body: body) == ["pooler.0.weight", "pooler.0.bias"]


@pytest.mark.usefixtures("of_a_package")
def test_a_body_that_is_cut_off_as_a_whole_is_not_spare(listening: Any) -> None:
    class Cut(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.body(x)[0].detach())

    assert _spare(listening, Cut) == []


def test_nothing_that_the_users_classes_make_is_spare(listening: Any) -> None:
    assert _spare(listening) == []
