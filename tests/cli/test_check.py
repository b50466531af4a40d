"""`stethoscope check` of scripts and functions of all kinds: a sound result, or one sentence that says why not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import warm
from programs_run import alarms, findings_of

TRAINS = """
import sys
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
X = torch.randn(256, 6)
Y = (X @ torch.randn(6, 3)).argmax(1)


class Net(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.first, self.last = nn.Linear(width, 32), nn.Linear(32, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


def train(model, loss=F.cross_entropy):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(20):
        for rows in torch.randperm(256).split(32):
            optimizer.zero_grad()
            loss(model(X[rows]), Y[rows]).backward()
            optimizer.step()
    print("trained to the end")
"""
LOCAL = """
def main():
    class Local(Net):
        pass

    train(Local())


if __name__ == "__main__":
    main()
"""
SPARSE = """
model = nn.Sequential(nn.EmbeddingBag(3, 3, sparse=True))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(20):
    optimizer.zero_grad()
    F.cross_entropy(model(Y[:, None]), Y).backward()
    optimizer.step()
"""
TWO = """
a, b = Net(), Net(3)
optimizers = torch.optim.Adam(a.parameters()), torch.optim.Adam(b.parameters())
for _ in range(20):
    for one in optimizers:
        one.zero_grad()
    F.cross_entropy(b(a(X)), Y).backward()
    for one in optimizers:
        one.step()
"""
RUNS = {
    "a local model": LOCAL,
    "lazy layers": "train(nn.Sequential(nn.LazyLinear(32), nn.Tanh(), nn.LazyLinear(3)))",
    "sparse gradients": SPARSE,
}
"""Scripts whose model can be tried."""
CANNOT = {
    "two networks": (TWO, "several models take part in a step"),
    "a scripted model": ("train(torch.jit.script(Net()))", "no forward pass of the model was heard"),
    "a compiled model": ("train(torch.compile(Net(), backend='eager'))", "the model is compiled"),
    "no optimizer": (
        "model = Net()\nfor _ in range(3):\n    F.cross_entropy(model(X), Y).backward()",
        "no step of an optimizer was seen",
    ),
}
"""Scripts whose steps cannot be taken again, and words of the reason."""
ENDS = {
    "a wrong import": ("import no_such_module", "ended with ModuleNotFoundError before"),
    "a key in the data": ("{}['pixels']", "ended with KeyError before"),
    "a product in the data": ("X @ torch.randn(4, 4)", "ended with RuntimeError before"),
    "sys.exit": ("sys.exit('usage: give a file')", "no backward pass and no optimizer step ran"),
    "forward passes": ("Net()(X)", "forward passes of Net were seen, but no backward pass"),
    "nothing": ("", "no backward pass and no optimizer step ran"),
}
"""Scripts that never train, and words of what is said."""


def tried(program: str, folder: Path) -> dict[str, Any]:
    """What a check of a script says."""
    return findings_of(TRAINS + program, folder, check=True)


def reasons(document: dict[str, Any]) -> set[str]:
    return {one["why_not"] for one in document["experiments"] if one["why_not"]}


@pytest.mark.parametrize("name", RUNS)
def test_a_script_that_trains_is_checked(name: str, tmp_path: Path) -> None:
    document = tried(RUNS[name], tmp_path)
    assert {one["name"] for one in document["experiments"] if one["said"]} >= {"structure", "start", "effect", "memory"}
    assert not [why for why in reasons(document) if why.startswith("it failed")]
    assert not [notice for notice in document["summary"]["notices"] if "fault" in notice]
    assert alarms(document) == []


@pytest.mark.parametrize("name", CANNOT)
def test_one_reason_is_given_where_nothing_can_be_tried(name: str, tmp_path: Path) -> None:
    program, words = CANNOT[name]
    document = tried(program, tmp_path)
    assert reasons(document) == {words}
    assert not [notice for notice in document["summary"]["notices"] if "fault" in notice]
    assert alarms(document) == []


@pytest.mark.parametrize("name", ENDS)
def test_a_script_that_never_trains_gets_a_sentence(name: str, tmp_path: Path) -> None:
    program, words = ENDS[name]
    document = tried(program, tmp_path)
    (notice,) = document["summary"]["notices"]
    assert words in notice
    assert (document["findings"], document["experiments"]) == ([], [])


def test_a_device_that_is_not_there_is_a_finding_at_the_line_that_asks_for_it(tmp_path: Path) -> None:
    document = tried("Net().to('nowhere')", tmp_path)
    (finding,) = document["findings"]
    assert (finding["rule"], finding["title"]) == ("forward-crash", "the script asks for a device that is not there")
    assert (
        "Net().to('nowhere')" in (tmp_path / "program.py").read_text("utf-8").splitlines()[finding["place"]["line"] - 1]
    )
    assert document["experiments"] == []


def test_a_crash_of_the_model_is_the_first_finding(tmp_path: Path) -> None:
    document = tried("train(Net(7))", tmp_path)
    assert alarms(document) == ["forward-crash"]
    (finding,) = document["findings"]
    assert finding["title"] == "`first` (Linear) fails on what it is given"
    assert "nn.Linear(6, 32)" in finding["fixes"][0]["text"]


def test_labels_out_of_range_lead_and_the_crash_follows(tmp_path: Path) -> None:
    assert alarms(tried("Y = Y + 1\ntrain(Net())", tmp_path)) == ["label-out-of-range"]


def stethoscope(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, in a directory."""
    return warm.stethoscope(*words, cwd=directory)


def test_a_function_gives_what_is_checked(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(TRAINS + "def make():\n    return Net(), F.cross_entropy, (X, Y)\n")
    ended = stethoscope(tmp_path, "check", "--quick", "--json", "out.json", "made:make")
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "out.json").read_text())["findings"] == []


@pytest.mark.parametrize(
    ("program", "words"),
    [("def make():\n    return {}['x']\n", "raises KeyError: 'x' (made.py:2)"), ("1 / 0\n", "ZeroDivisionError")],
    ids=["the function", "the import"],
)
def test_a_function_that_raises_is_told_in_a_sentence(program: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(program)
    ended = stethoscope(tmp_path, "check", "made:make")
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_run_that_ends_in_the_data_has_no_finding_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TRAINS + "model = Net()\n(X @ torch.randn(4, 4))\n")
    ended = stethoscope(tmp_path, "run", "--json", "out.json", "program.py")
    assert ended.returncode == 1
    assert json.loads((tmp_path / "out.json").read_text())["findings"] == []
