"""Functions that are called only where that ends with an error are not run; beside calls that run them."""

from __future__ import annotations

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad

PROGRAM = """
# file: use.py
BESIDE

# file: train.py
import torch
import torch.nn.functional as F

def train(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in loader:
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

net, rows = torch.nn.Linear(3, 2), torch.load("rows.pt", weights_only=True)
CALLS
"""


def _sure(calls: str, beside: str = "") -> int:
    return how_sure(MissingZeroGrad, PROGRAM.replace("CALLS", calls).replace("BESIDE", beside))


@pytest.mark.parametrize(
    ("in_vain", "runs"),
    [
        ("if len(rows): train(net)", "if len(rows): train(net, rows)"),
        ("def main():\n    train(net)\nmain()", "def main():\n    train(net, rows)\nmain()"),
        (
            "def main():\n    print(nobody)\n    train(net, rows)\n",
            "def main():\n    print(rows)\n    train(net, rows)\n",
        ),
        ("def main():\n    train(net)\n", "def main():\n    train(net, rows)\n    train(net)\n"),
        ("def main():\n    train(net)\n", "def main():\n    train(net)\nruns = [train]\n"),
    ],
)
def test_a_function_that_is_only_called_in_vain(in_vain: str, runs: str) -> None:
    assert 0 <= _sure(in_vain) < SHOWN <= _sure(runs)


def test_another_file_may_call_it() -> None:
    calls = "def main():\n    train(net)\n"
    assert 0 <= _sure(calls, "import torch") < SHOWN <= _sure(calls, "from train import train")
