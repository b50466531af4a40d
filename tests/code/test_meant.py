"""What would be a fault and is meant: two activations in a row, and faults that a text says are planted."""

from __future__ import annotations

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.rules.activations.double_activation import DoubleActivation
from stethoscope.rules.loss.softmax_before_cross_entropy import SoftmaxBeforeCrossEntropy


@pytest.fixture(autouse=True)
def _speaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules on trial say at most that something is possible: what they would say is asked here."""
    for rule in (DoubleActivation,):
        monkeypatch.setattr(rule, "on_trial", False)


ACTOR = """
class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.mu = nn.Linear(64, 2)

    def forward(self, state, is_drawn):
        mu = torch.tanh(self.mu(state))
        if not is_drawn:
            return torch.tanh(mu)
        return torch.tanh(torch.distributions.Normal(mu, 0.1).rsample())
"""
PAIRED = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.Sigmoid(), nn.Sigmoid(), nn.Linear(8, 2))

    def forward(self, x):
        return self.layers(x)
"""
SQUASHED: dict[str, tuple[str, str, str]] = {
    "the middle of what is drawn": (ACTOR, "Normal(mu, 0.1)", "Normal(state, 0.1)"),
    "a chain that is taken apart": (
        PAIRED.replace("self.layers(x)", "self.layers[3](x * self.layers[:2](x))"),
        "self.layers[3](x * self.layers[:2](x))",
        "self.layers(x)",
    ),
    "a chain that learns nothing": (
        PAIRED.replace("nn.Linear(8, 8), ", ""),
        "(nn.Sigmoid()",
        "(nn.Linear(8, 8), nn.Sigmoid()",
    ),
    "a chain that shows what it does": (
        PAIRED.replace("        self.layers", "        # gradients vanish behind it\n        self.layers"),
        "vanish",
        "come",
    ),
}


@pytest.mark.parametrize("name", SQUASHED)
def test_two_activations_in_a_row_that_are_meant_are_possible_at_most(name: str) -> None:
    text, healthy, faulty = SQUASHED[name]
    assert healthy in text
    assert how_sure(DoubleActivation, text) < SHOWN <= how_sure(DoubleActivation, text.replace(healthy, faulty))


EXERCISE = """
HEAD

import torch
import torch.nn as nn
import torch.nn.functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(x)

def NAME(net: Net, x, y):
    # SAID
    return F.cross_entropy(F.softmax(net(x), dim=1), y)

def loss_right(net: Net, x, y):
    return F.cross_entropy(net(x), y)

def mean(values):
    BODY
    return sum(values) / len(values)
"""
USUAL = {"HEAD": "# a training", "NAME": "loss_of", "SAID": "the loss", "BODY": "pass"}


@pytest.mark.parametrize(
    ("planted", "honest"),
    [
        ({"HEAD": "# This script is intentionally broken."}, {"HEAD": "# Nothing here is broken."}),
        (
            {"HEAD": '"""Find the 3 bugs in this training."""'},
            {"HEAD": '"""Finds bugs of a program in its text."""'},
        ),
        ({"NAME": "loss_buggy"}, {"NAME": "debug_loss"}),
        ({"NAME": "loss_wrong"}, {"NAME": "count_wrong"}),
        ({"SAID": "WRONG: a softmax runs twice"}, {"SAID": "wrong answers cost more"}),
        ({"SAID": "BUG 1: a softmax runs twice"}, {"BODY": "# BUG 1: nothing of the kind"}),
        ({"SAID": "a softmax on purpose"}, {"SAID": "BUG FIXED: takes the mean"}),
    ],
)
def test_a_fault_that_is_said_to_be_planted_is_possible_at_most(
    planted: dict[str, str], honest: dict[str, str]
) -> None:
    assert 0 <= how_sure(SoftmaxBeforeCrossEntropy, _exercise(planted)) < SHOWN
    assert how_sure(SoftmaxBeforeCrossEntropy, _exercise(honest)) >= SHOWN


def _exercise(said: dict[str, str]) -> str:
    text = EXERCISE
    for place, word in (USUAL | said).items():
        text = text.replace(place, word)
    return text
