"""Lines that have no effect, and where none is needed: healthy twins that rules took for faults, each with the change
that makes it one.
"""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.parameters.attribute_without_effect import AttributeWithoutEffect

DISTILL = """
import torch
import torch.nn as nn
import torch.nn.functional as F

student, teacher = nn.Linear(3, 3), nn.Linear(3, 3)
teacher.requires_grad = False
optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
for x in torch.load("data"):
    loss = F.mse_loss(student(x), teacher(x).detach())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
TUNE = """
import torch
import torch.nn.functional as F
from torchvision.models import resnet18

net = resnet18(weights="DEFAULT")
net.requires_grad = False
net.fc = torch.nn.Linear(512, 2)
optimizer = torch.optim.SGD(net.fc.parameters(), lr=0.1)
for x, y in torch.load("data"):
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    optimizer.step()
"""
GUESS = """
import torch
from torchvision.models import resnet18

net = resnet18(weights="DEFAULT")
net.requires_grad = False
print(net(torch.load("image")).argmax())
"""
GAME = """
import torch
import torch.nn as nn
import torch.nn.functional as F

maker, judge = nn.Linear(3, 3), nn.Linear(3, 1)
first, second = torch.optim.Adam(maker.parameters()), torch.optim.Adam(judge.parameters())
for x in torch.load("data"):
    judge.requires_grad = True
    second.zero_grad()
    (judge(maker(x).detach()) - judge(x)).mean().backward()
    second.step()
    judge.requires_grad = False
    first.zero_grad()
    (-judge(maker(x)).mean()).backward()
    first.step()
"""
RATE = """
def main(model, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    optimizer.lr = rate
    return optimizer
"""

TWINS: dict[str, tuple[type[Rule], str, str, str]] = {
    "a teacher that no optimizer has": (
        AttributeWithoutEffect,
        DISTILL,
        "(student.parameters()",
        "([*student.parameters(), *teacher.parameters()]",
    ),
    "a net of which the new part learns": (AttributeWithoutEffect, TUNE, "net.fc.parameters", "net.parameters"),
    "a net that only answers": (AttributeWithoutEffect, GUESS, "print(net", "net.fc.fit(); print(net"),
    "a judge that is switched in each round": (
        AttributeWithoutEffect,
        GAME,
        "    judge.requires_grad = True\n",
        "",
    ),
    "the rate that it has": (AttributeWithoutEffect, RATE, "optimizer.lr = rate", "optimizer.lr = 0.1 * rate"),
    "a parameter that learns anyway": (
        AttributeWithoutEffect,
        "layer = nn.Linear(3, 2)\nlayer.weight.require_grad = True\n",
        "= True",
        "= False",
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_healthy_twin_is_not_shown_and_the_faulty_one_is(name: str) -> None:
    rule, text, before, after = TWINS[name]
    text = textwrap.dedent(text)
    assert before in text
    assert how_sure(rule, text) < SHOWN <= how_sure(rule, text.replace(before, after))
