"""A script in which little or nothing can be heard ends as ever, and is told what could not be seen."""

from __future__ import annotations

import json

import pytest
from pairs import Pair

NET = "import torch\ntorch.manual_seed(0)\nnet = torch.nn.Linear(3, 1)\nx = torch.ones(8, 3)\n"

SCRIPTS = {
    "imports no torch": "print('hello')",
    "is empty": "",
    "imports torch and trains nothing": "import torch\nprint(torch.ones(2).sum().item())",
    "only predicts": NET + "with torch.no_grad():\n    print([net(x).sum().item() for _ in range(30)])",
    "never calls backward": NET + "for _ in range(30):\n    print(net(x).square().mean().item())",
    "has no optimizer": NET + "for _ in range(30):\n    net(x).sum().backward()\nprint(net.weight.grad)",
}


@pytest.mark.parametrize("what", SCRIPTS)
def test_a_script_that(what: str, pair: Pair) -> None:
    _, listened = pair.both(pair.write(SCRIPTS[what]), options=("--json", "findings.json"))
    assert listened.exit_code == 0
    said = listened.stderr.strip()
    assert said, "nothing was said of what could be seen"
    assert "Traceback" not in said
    report = json.loads((listened.directory / "findings.json").read_text())
    assert report["summary"]["errors"] == 0
    assert report["summary"]["not_checked"] or report["summary"]["notices"]


def test_a_store_that_cannot_be_written_costs_one_sentence_and_no_training(pair: Pair) -> None:
    pair.write("", "occupied")
    program = pair.write(NET + "print(net(x).sum().item())\n")
    listened = pair.listened(program, options=("--store", "../occupied/runs"))
    assert listened.stdout == pair.plainly(program).stdout
    assert listened.exit_code == 0
    assert listened.stderr.count("occupied") == 1
    assert "Traceback" not in listened.stderr
