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
    Path("loop.py").write_text(IMPORTS + TRAIN)
    Path("nets.py").write_text(NETS.replace("FORWARD", forward).replace("LOOK", look))
    found = lint(Path("loop.py"), possible=True, processes=1, settings=Settings()).findings
    (sure,) = (one.sureness.strength for one in found if one.rule == "validation-builds-graph")
    assert (sure >= SHOWN) is is_shown
