"""Lines that have no effect, and where none is needed: healthy twins that rules took for faults, each with the change
that makes it one.
"""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.data.nan_compared_by_equals import NanComparedByEquals
from stethoscope.rules.loop.call_forgotten import CallForgotten
from stethoscope.rules.loop.metric_not_reset import MetricNotReset
from stethoscope.rules.parameters.attribute_without_effect import AttributeWithoutEffect
from stethoscope.rules.parameters.layer_made_in_forward import LayerMadeInForward
from stethoscope.rules.parameters.shared_submodule_unintended import SharedSubmoduleUnintended
from stethoscope.rules.parameters.super_init_missing import SuperInitMissing
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

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
AGENTS = """
class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.optimizer = torch.optim.Adam(self.parameters())

    def forward(self, x):
        return self.layer(x)

class Team(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.actors = [Actor() for _ in range(size)]

    def forward(self, views):
        return [actor(view) for actor, view in zip(self.actors, views)]
"""
PLACES = """
class Net(nn.Module):
    def __init__(self, length):
        super().__init__()
        self.places = nn.Parameter(torch.zeros(length), requires_grad=False).cuda()

    def forward(self, x):
        return x + self.places
"""
METRIC = """
import torchmetrics

def main(model, loader, epochs):
    accuracy = torchmetrics.Accuracy(task="binary")
    for epoch in range(epochs):
        for x, y in loader:
            accuracy.update(model(x), y)
        print("accuracy", accuracy.compute())
        # end
"""
CLEAN = """
import numpy as np
import pandas as pd

def clean(df, x):
    if x is None or x != x or x == np.nan:
        return ""
    return x
"""
KNOWN = """
import numpy as np
import pandas as pd

def known(df):
    df = df.dropna()
    return df[df["age"] != np.nan]
"""
TEXT = """
import numpy as np

def lower(row):
    if isinstance(row.name, str) and row.name != np.nan:
        return row.name.lower()
"""
HEAD = """
class Head(nn.Module):
    def __init__(self, n):
        self.last = nn.Linear(n, n)

class Net(Head):
    def __init__(self, n):
        nn.Module.__init__(self)
        Head.__init__(self, n)
"""
MODE = """
net = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
net.train
for x, y in DataLoader("data"):
    F.cross_entropy(net(x), y).backward()
"""
NOISE = """
class Noise(nn.Module):
    def forward(self, x, words):
        noise = nn.Embedding(9, 8)(words)
        return x + noise.detach()
"""
NORM = """
class Norm(nn.Module):
    def forward(self, x):
        n, c = x.shape
        return nn.LayerNorm(c)(x)
"""
PARTS = """
class Net(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(1, 1)] * 4)
        for i, size in enumerate(sizes):
            self.layers[i] = nn.Linear(size, size)
"""

TWINS: dict[str, tuple[type[Rule], str, str, str]] = {
    "a head that another constructor sets up": (SuperInitMissing, HEAD, "        nn.Module.__init__(self)\n", ""),
    "the mode in which a model is made": (CallForgotten, MODE, "net.train\n", "net.eval()\nnet.train\n"),
    "called in the next line": (
        CallForgotten,
        MODE.replace("net.train", "net.eval\nnet.eval()"),
        "net.eval()\n",
        "",
    ),
    "noise that is drawn": (LayerMadeInForward, NOISE, ".detach()", ""),
    "a norm of the size of its input": (LayerMadeInForward, NORM, "x.shape", "8, 8"),
    "places that are filled": (SharedSubmoduleUnintended, PARTS, "self.layers[i] = ", "_ = "),
    "iterations of one layer": (
        SharedSubmoduleUnintended,
        PARTS.replace("self.layers[i] = ", "_ = ").replace("4", "iterations").replace("sizes)", "iterations)"),
        "iterations",
        "sizes",
    ),
    "asked by the value itself": (NanComparedByEquals, CLEAN, "x != x", "x == 0"),
    "rows without missing values": (NanComparedByEquals, KNOWN, "df.dropna()", "df.sort_index()"),
    "a column that is filled": (
        NanComparedByEquals,
        KNOWN.replace("df.dropna()", 'df.sort_index().fillna("")'),
        '.fillna("")',
        ".copy()",
    ),
    "a column without missing values": (
        NanComparedByEquals,
        KNOWN.replace("dropna()", 'dropna(subset=["age"])'),
        'subset=["age"]',
        'subset=["name"]',
    ),
    "a text": (NanComparedByEquals, TEXT, "isinstance(row.name, str)", "len(row) > 2"),
    "what NaN does, on show": (
        NanComparedByEquals,
        "import numpy as np\n\nx = np.array([1, np.nan])\nprint(x == np.nan)\n",
        "x == np.nan",
        "(x == np.nan).sum()",
    ),
    "agents, each with an optimizer of its own": (
        UnregisteredModules,
        AGENTS,
        "        self.optimizer = torch.optim.Adam(self.parameters())\n",
        "",
    ),
    "a table that is a constant": (UnregisteredModules, PLACES, ", requires_grad=False", ""),
    "a metric that is made anew at the end": (
        MetricNotReset,
        METRIC.replace("# end", 'accuracy = torchmetrics.Accuracy(task="binary")'),
        "        accuracy = torch",
        "        other = torch",
    ),
    "a loop of one round": (MetricNotReset, METRIC.replace("range(epochs)", "range(1)"), "range(1)", "range(2)"),
    "a mean that is said to be the one so far": (
        MetricNotReset,
        METRIC.replace('"accuracy"', '"accuracy so far"'),
        "so far",
        "now",
    ),
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
def test_a_healthy_twin_is_not_shown_and_the_faulty_one_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, text, before, after = TWINS[name]
    monkeypatch.setattr(rule, "on_trial", False)  # a rule on trial has to know what is healthy before it leaves it
    text = textwrap.dedent(text)
    assert before in text
    assert how_sure(rule, text) < SHOWN <= how_sure(rule, text.replace(before, after))
