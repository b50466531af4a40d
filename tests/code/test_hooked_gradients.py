"""A `forward` that puts hooks on tensors fails under `no_grad`: then that is no advice to give by default."""

from __future__ import annotations

import pytest

from code_programs import IMPORTS, SHOWN, how_sure
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph

PROGRAM = """
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


def train(loader, held_out):
    model = Net()
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
train(DataLoader(rows[9:], shuffle=True), DataLoader(rows[:9]))
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
def test_hooks_on_tensors(forward: str, look: str, *, is_shown: bool) -> None:
    text = IMPORTS + PROGRAM.replace("FORWARD", forward).replace("LOOK", look)
    sure = how_sure(ValidationBuildsGraph, text)
    assert sure >= SHOWN if is_shown else 0 <= sure < SHOWN
