"""The plugin: a marked test's model is checked when that is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import warm

TESTS = """
import pytest, torch
from torch import nn

X, Y = torch.randn(64, 6), torch.arange(64) % 3

@pytest.mark.stethoscope(profile="quick")
def test_sound():
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3)), nn.CrossEntropyLoss(), (X, Y)

@pytest.mark.stethoscope
def test_softmax_twice():
    layers = nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3), nn.Softmax(dim=1)
    return nn.Sequential(*layers), nn.CrossEntropyLoss(), [(X, Y)] * 4

def test_fixture(stethoscope):
    stethoscope.assert_learns(nn.Linear(6, 3), nn.CrossEntropyLoss(), (X, Y))
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "test_net.py").write_text(TESTS, "utf-8")
    return tmp_path


def _pytest(folder: Path, *options: str) -> str:
    return warm.run(["-m", "pytest", "-rsf", *options, "test_net.py"], cwd=folder).stdout.decode()


def test_without_the_option_models_are_not_checked(suite: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-rsf", "test_net.py"]
    text = subprocess.run(command, cwd=suite, capture_output=True, text=True, check=False).stdout
    assert "1 passed, 2 skipped" in text
    assert "run with --stethoscope" in text


def test_with_it_a_faulty_model_fails_its_test_with_the_findings(suite: Path) -> None:
    text = _pytest(suite, "--stethoscope")
    assert "1 failed, 2 passed" in text
    assert "error: softmax runs twice" in text
    assert "Give the loss the scores" in text
