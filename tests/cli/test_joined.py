"""`stethoscope run` reads the files that ran: one mistake is one finding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import warm
from stethoscope.api import diagnose

SCRIPT = """\
import torch
from torch import nn

from net import Net

torch.manual_seed(0)
x, y = torch.randn(128, 8), torch.randint(0, 3, (128,))
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(60):
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
net.eval
"""
NET = """\
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(8, 16)
        self.out = nn.Linear(8, 3)
    def forward(self, x):
        return self.out(x).softmax(dim=1)
"""
NEVER_IMPORTED = "from torch import nn\n\nmodel = nn.Linear(3, 2)\nmodel.eval\n"


def run(folder: Path, *options: str, verb: str = "run") -> dict[str, Any]:
    (folder / "train.py").write_text(SCRIPT)
    (folder / "net.py").write_text(NET)
    (folder / "other.py").write_text(NEVER_IMPORTED)
    done = warm.stethoscope(verb, "--json", "found.json", *options, "train.py", cwd=folder)
    assert done.stderr
    loaded: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return loaded


def rules_of(document: dict[str, Any]) -> list[str]:
    return [finding["rule"] for finding in document["findings"]]


@pytest.mark.parametrize("verb", ["run", "check"])
def test_one_finding_has_both_kinds_of_evidence_and_code_alone_comes_last(tmp_path: Path, verb: str) -> None:
    document = run(tmp_path, verb=verb)

    assert rules_of(document)[-2:] == ["call-forgotten", "overwritten-layer"]
    assert document["findings"][-1]["place"]["file"] == "net.py"
    (both,) = [finding for finding in document["findings"] if finding["rule"] == "softmax-before-cross-entropy"]
    assert {bool(one["source"] == "followed through the code") for one in both["evidence"]} == {True, False}
    assert both["sureness"] == "certain"
    assert {(link["place"]["file"], link["place"]["line"]) for link in both["chain"]} >= {
        ("train.py", 12),
        ("net.py", 9),
    }


def test_it_can_be_left_out(tmp_path: Path) -> None:
    assert "call-forgotten" not in rules_of(run(tmp_path, "--no-lint"))


def test_a_recorded_run_says_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = run(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").unlink()

    again = diagnose("last")

    assert {finding.rule for finding in again.findings} == set(rules_of(document))


def test_what_the_run_refutes_is_withdrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cleared = SCRIPT.replace("    optimizer.zero_grad()\n", "").replace("net.eval\n", "    clear()\n")
    monkeypatch.setitem(
        globals(), "SCRIPT", cleared.replace("for _", 'clear = getattr(optimizer, "zero_" + "grad")\nfor _')
    )

    document = run(tmp_path)

    assert "missing-zero-grad" not in rules_of(document)
    assert [finding["rule"] for finding in document["summary"]["withdrawn"]] == ["missing-zero-grad"]
