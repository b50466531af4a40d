"""What a class that derives, a file that is imported, or whoever takes a sum may do: healthy twins, and faulty ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.diagnosing.review import review
from stethoscope.observe.code.project import Project
from stethoscope.rules.loop.graph_kept_alive import GraphKeptAlive
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph
from stethoscope.rules.loss.softmax_before_cross_entropy import SoftmaxBeforeCrossEntropy

SAID_TO_BE = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(20, 5)

    def forward(self, x):
        return F.softmax(self.fc(x), dim=1)

class Scores(Net):
    def NAME(self, x):
        return self.fc(x)

def loss_of(net: Net, x, y):
    return F.cross_entropy(net(x), y)
"""
SET_LATER = """
class Base:
    def __init__(self):
        self.net = nn.Sequential(nn.Linear(20, 5), nn.Softmax(dim=1))
        self.setup()

    def setup(self):
        pass

    def step(self, x, y):
        return F.cross_entropy(self.net(x), y)

class Own(Base):
    def setup(self):
        self.NAME = nn.Linear(20, 5)
"""


def test_what_is_said_to_be_of_a_class_may_be_of_one_that_derives_from_it() -> None:
    assert how_sure(SoftmaxBeforeCrossEntropy, SAID_TO_BE.replace("NAME", "forward")) < SHOWN
    alone = SAID_TO_BE.replace("class Scores(Net)", "class Scores(nn.Module)")
    assert how_sure(SoftmaxBeforeCrossEntropy, alone.replace("NAME", "forward")) >= SHOWN


def test_a_network_that_another_class_gives_itself_is_not_the_one_of_its_base() -> None:
    assert how_sure(SoftmaxBeforeCrossEntropy, SET_LATER.replace("NAME", "net")) < SHOWN
    assert how_sure(SoftmaxBeforeCrossEntropy, SET_LATER.replace("NAME", "other")) >= SHOWN


SUMMED = """
def fit(net, tasks, optimizer, meta):
    for task in tasks:
        total = 0
        for x, y in task:
            loss = F.mse_loss(net(x), y)
            optimizer.zero_grad()
            loss.backward(create_graph=True)
            optimizer.step()
            total += loss
        meta.update(total)
"""


def test_a_sum_of_losses_whose_gradients_have_graphs_is_possible_at_most() -> None:
    assert how_sure(GraphKeptAlive, SUMMED) < SHOWN <= how_sure(GraphKeptAlive, SUMMED.replace("True", "False"))


WRITTEN_OUT = """
import torch

class Loss:
    def __init__(self, net):
        self.net = net

    def __call__(self, x, y):
        self.delta = self.net.forward(x) - y
        return (self.delta ** 2).mean()

    def backward(self):
        self.net.backward(self.delta)

def fit(net, data, optimizer):
    criterion = Loss(net)
    for x, y in data:
        criterion(x, y)
        criterion.backward()
        optimizer.step()
"""


def test_derivatives_that_are_written_out_may_replace_those_of_the_step_before() -> None:
    assert how_sure(MissingZeroGrad, WRITTEN_OUT) < SHOWN
    faulty = WRITTEN_OUT.replace("self.net.backward(self.delta)", "(self.delta ** 2).mean().backward()")
    assert how_sure(MissingZeroGrad, faulty) >= SHOWN


INFERS = """import torch
from torch import nn
from common import DEVICE


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(20, 5)

    def forward(self, x):
        return self.fc(x)


def count(net, test_loader):
    net.eval()
    right = 0
    for x, y in test_loader:
        right += (net(x.to(DEVICE)).argmax(1) == y).sum().item()
    return right


print(count(Net().to(DEVICE), torch.load("data")))
"""


@pytest.mark.parametrize(
    ("line", "is_shown"),
    [
        ("torch.set_grad_enabled(False)", False),
        ("torch.set_grad_enabled(True)", True),
        ("def quiet():\n    torch.set_grad_enabled(False)", True),
    ],
)
def test_gradients_may_be_off_since_another_file_was_imported(tmp_path: Path, line: str, is_shown: bool) -> None:
    (tmp_path / "common.py").write_text(f"import torch\n\n{line}\nDEVICE = 'cpu'\n")
    (tmp_path / "infer.py").write_text(INFERS)
    code = Project().read(tmp_path / "infer.py", "infer.py")
    found = review(code, rules=[ValidationBuildsGraph]).findings
    assert any(one.sureness.strength >= SHOWN for one in found) is is_shown
