"""A `forward` that puts hooks on tensors fails under `no_grad`: then that is no advice to give by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from code_programs import IMPORTS, SHOWN
from stethoscope.core.settings import Settings
from stethoscope.linting import lint

NETS = """from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 3)

    def forward(self, x):
        scores = self.out(x)
        FORWARD
        return scores

    def look(self, scores):
        LOOK
"""
TRAIN = """from nets import Net

def train(model, loader, held_out):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(9):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        total = 0
        for x, y in held_out:
            total += F.cross_entropy(model(x), y).item()
        print(total)


rows = torch.load("rows.pt", weights_only=True)
train(Net(), DataLoader(rows[9:], shuffle=True), DataLoader(rows[:9]))
"""


def _is_shown(folder: Path, nets: str) -> bool:
    (folder / "loop.py").write_text(IMPORTS + TRAIN)
    (folder / "nets.py").write_text(nets)
    found = lint(Path("loop.py"), possible=True, processes=1, settings=Settings()).findings
    (sure,) = (one.sureness.strength for one in found if one.rule == "validation-builds-graph")
    return sure >= SHOWN


@pytest.mark.parametrize(
    ("forward", "look", "is_shown"),
    [
        ("print(3)", "print(3)", True),
        ("scores.register_hook(print)", "print(3)", False),
        ("self.out.register_forward_hook(print)", "print(3)", True),
        ("print(3)", "scores.register_hook(print)", True),
    ],
)
def test_hooks_on_tensors(
    forward: str, look: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_shown: bool
) -> None:
    monkeypatch.chdir(tmp_path)  # whose own name says that it tests
    assert _is_shown(tmp_path, NETS.replace("FORWARD", forward).replace("LOOK", look)) is is_shown


def test_hooks_of_a_network_that_nobody_takes_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = NETS.replace("FORWARD", "print(3)").replace("LOOK", "print(3)")
    other = NETS.replace("Net(", "Other(").replace("FORWARD", "scores.register_hook(print)").replace("LOOK", "print(3)")
    assert _is_shown(tmp_path, net + other)
