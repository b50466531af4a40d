"""A ring, written and read again, gives a fresh model what the recorded one had; nothing else fits into it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from stethoscope.core.treatment import ScaleLearningRate
from stethoscope.observe.model.lab import Bench, lab_of
from stethoscope.observe.model.ring import DoesNotFit, Seeker, restore, ring_of
from stethoscope.observe.model.values import CannotKeep, Packer, unpacked

CPU = torch.device("cpu")


class Net(nn.Module):
    """Has buffers, a part in eval mode, and shares a weight."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Linear(8, width)
        self.norm = nn.BatchNorm1d(width)
        self.still = nn.BatchNorm1d(width).eval()
        self.last = nn.Linear(width, 8)
        self.again = nn.Linear(8, width)
        self.again.weight = self.first.weight

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """Twice through the shared weight."""
        hidden = self.still(self.norm(torch.relu(self.first(x))))
        return self.last(torch.relu(self.again(self.last(hidden)))) * scale


def adam(model: nn.Module) -> torch.optim.Optimizer:
    """Two groups, one parameter that is no part of the model."""
    own = list(model.parameters())
    groups = [{"params": own[:2], "lr": 0.5}, {"params": [*own[2:], nn.Parameter(torch.randn(3))]}]
    return torch.optim.Adam(groups, lr=0.25)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    x = torch.randn(16, 8)
    optimizer.zero_grad()
    F.cross_entropy(model(x, 1.5), x.argmax(dim=1), label_smoothing=0.1).backward()
    optimizer.step()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        step(model, optimizer)


@pytest.fixture
def recorded(listening: Any) -> Any:
    """A session that captured steps of a model that had been trained before."""
    torch.manual_seed(0)
    model = Net()
    optimizer = adam(model)
    train(model, optimizer, 3)
    with listening(capture=True) as session:
        session.steps.optimizer_made(optimizer, None)
        train(model, optimizer, 8)
    return session


def written(session: Any, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The ring, from disk."""
    ring = ring_of(session.state, chance=2.0, rates=[], script=__file__, began=0.0, began_at=math.inf)
    ring.write(folder / "ring")
    with safe_open(folder / "ring", framework="numpy") as opened:
        outline = json.loads(opened.metadata()["ring"])
    return outline, load_file(folder / "ring")


def sought(listening: Any, model: nn.Module, optimizer: torch.optim.Optimizer) -> Seeker:
    """What a script that is started again comes to."""
    with listening(capture=True) as session:
        seeker = session.state.capture = Seeker()
        session.steps.optimizer_made(optimizer, None)
        with pytest.raises(SystemExit):
            train(model, optimizer, 9)
    return seeker


def test_an_experiment_on_a_fresh_model_gives_the_same_numbers(recorded: Any, listening: Any, tmp_path: Path) -> None:
    outline, tensors = written(recorded, tmp_path)
    was = lab_of(recorded.state, chance=2.0, rates=[], seconds=60.0)((ScaleLearningRate(0.1),), False)

    torch.manual_seed(7)
    fresh = Net()
    seeker = sought(listening, fresh, adam(fresh))
    recipe, chance = restore(outline, tensors, seeker)
    bench = Bench(seeker, recipe, chance, 60.0)

    assert not was.why_not
    assert bench((ScaleLearningRate(0.1),), False) == was


def test_the_script_is_left_before_its_model_changes(listening: Any) -> None:
    model = Net()
    weights = [p.clone() for p in model.parameters()]
    sought(listening, model, adam(model))
    assert all(torch.equal(p, was) for p, was in zip(model.parameters(), weights, strict=True))


class Other(Net):
    """Another name, and a parameter more."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Parameter(torch.zeros(1))


def test_what_does_not_fit_is_named(recorded: Any, listening: Any, tmp_path: Path) -> None:
    outline, tensors = written(recorded, tmp_path)

    def why_not(model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
        seeker = sought(listening, model, optimizer)
        with pytest.raises(DoesNotFit) as caught:
            restore(outline, tensors, seeker)
        return str(caught.value)

    model = Net(width=4)
    assert "`first.weight` has the shape (4, 8) and was recorded as (16, 8)" in why_not(model, adam(model))
    model = Other()
    assert why_not(model, adam(model)) == "it trains a `Other` where it trained a `Net`"
    outline["model"]["kind"] = "Other"
    assert "has `more`" in why_not(model, adam(model))
    outline["model"]["kind"] = "Net"
    model = Net()
    assert why_not(model, torch.optim.SGD(model.parameters())) == "its optimizer is SGD and was Adam"
    model = Net()
    assert "other parameters" in why_not(model, torch.optim.Adam(model.parameters()))


def test_a_file_changed_after_the_start_has_no_checksum(recorded: Any) -> None:
    ring = ring_of(recorded.state, chance=2.0, rates=[], script=__file__, began=0.0, began_at=0.0)
    assert ring.outline["code"] == {__file__: ""}


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 2.5, math.inf, "text", (1, [2, "a"], ()), {"mask": (None,), 2: 1.5}, torch.float16,
        torch.device("cpu"), slice(1, None, 2), {"tensor": 1}, {}, [],
    ],
)  # fmt: skip
def test_values_come_back(value: Any) -> None:
    packed = json.loads(json.dumps(Packer(CPU).pack(value), allow_nan=False))
    assert unpacked(packed, {}, CPU) == value


def test_what_is_more_than_a_value_is_refused() -> None:
    with pytest.raises(CannotKeep, match="`object`"):
        Packer(CPU).pack([object()])
    with pytest.raises(ValueError, match="no kind"):
        unpacked({"dtype": "save"}, {}, CPU)


def test_tensors_that_share_memory_are_written_apart(recorded: Any, tmp_path: Path) -> None:
    ring = ring_of(recorded.state, chance=2.0, rates=[], script=__file__, began=0.0, began_at=math.inf)
    base = torch.arange(12.0)
    ring.tensors.update({"a": base[:6], "b": base[3:9], "c": base.view(3, 4).T})
    ring.write(tmp_path / "ring")
    found = load_file(tmp_path / "ring")
    assert torch.equal(found["b"], base[3:9])
    assert torch.equal(found["c"], base.view(3, 4).T)
