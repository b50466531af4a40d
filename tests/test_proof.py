"""Findings are proven by experiment when a program has ended, and say so; nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

import stethoscope
from programs_run import findings_of
from stethoscope.rules import rule_named

TWO_FAULTS = """
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
data = load_digits()
images = torch.tensor(data.data, dtype=torch.float32)
images = (images - images.mean()) / images.std()
labels = torch.tensor(data.target)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10), nn.Softmax(dim=1))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-7)
for epoch in range(4):
    for rows in torch.randperm(len(images)).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
        optimizer.step()
"""
RATE = rule_named("learning-rate-too-high")


def first(document: dict[str, Any]) -> dict[str, Any]:
    """The finding that leads."""
    found: dict[str, Any] = document["findings"][0]
    return found


def test_a_cause_is_proven_by_its_cure(tmp_path: Path) -> None:
    found = first(findings_of(RATE.bug.faulty(), tmp_path))

    proof = found["proof"]
    assert (found["rule"], found["sureness"], proof["verdict"]) == (RATE.name, "certain", "cured")
    assert proof["after"] < 0.5 < proof["before"]
    assert proof["agreeing"] == proof["replays"] >= 5
    (report,) = (tmp_path / "runs").glob("*/report.html")
    assert "better in 5 of 5 replays" in report.read_text()


def test_without_proof_nothing_is_tried(tmp_path: Path) -> None:
    found = first(findings_of(RATE.bug.faulty(), tmp_path, proof=False))
    assert (found["rule"], found["sureness"], found["proof"]) == (RATE.name, "likely", None)


def test_a_fault_that_is_certain_stays_one_beside_another(tmp_path: Path) -> None:
    found = first(findings_of(TWO_FAULTS, tmp_path))
    assert (found["rule"], found["severity"]) == ("softmax-before-cross-entropy", "error")


def test_watching_proves_when_it_ends(capsys: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3.0)
    with stethoscope.watch(model, optimizer) as run:
        for _ in range(60):
            x = torch.randn(32, 8)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
            optimizer.step()
    weights = [p.clone() for p in model.parameters()]
    run.report()

    assert all(torch.equal(p, was) for p, was in zip(model.parameters(), weights, strict=True))
    proofs = {f.rule: f.proof.verdict for f in run.findings if f.proof is not None}
    assert proofs == {RATE.name: "cured"}
