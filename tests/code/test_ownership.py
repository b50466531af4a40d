"""Models that are exchanged behind an optimizer, and those that only seem to be."""

from __future__ import annotations

import pytest

from code_programs import code_of
from stethoscope.facts.ownership import exchanges_of

LOOP = """
def train(loader):
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    {exchange}
    for x, y in loader:
        optimizer.zero_grad()
        F.mse_loss({called}(x), y).backward()
        {behind}
        optimizer.step()
"""


@pytest.mark.parametrize(
    ("exchange", "called", "behind", "found"),
    [
        ("model = nn.Linear(3, 2)", "model", "pass", ["model"]),
        ("copied = copy.deepcopy(model)", "copied", "pass", ["copied"]),
        ("model.head = nn.Linear(3, 2)", "model", "pass", ["model.head"]),
        ("copied = copy.deepcopy(model)", "model", "pass", []),
        ("copied = copy.deepcopy(model)", "copied", "model.weight.grad = copied.weight.grad", []),
        ("copied = copy.deepcopy(model)", "copied(model(x)) + model", "pass", []),
        ("model = model.to('cuda')", "model", "pass", []),
        ("model = torch.compile(model)", "model", "pass", []),
        ("model.head = nn.Identity()", "model", "pass", []),
        ("optimizer.add_param_group({'params': model.parameters()})", "model", "pass", []),
    ],
)
def test_what_takes_the_place_of_a_model(exchange: str, called: str, behind: str, found: list[str]) -> None:
    text = "import copy\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n" + LOOP.format(
        exchange=exchange, called=called, behind=behind
    )

    assert [one.binding.name for one in exchanges_of(code_of(text))] == found
