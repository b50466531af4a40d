"""Networks, numbers and sums that are not what their first line says: healthy twins that rules took for faults, each
with the change that makes it one.
"""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.activations.double_activation import DoubleActivation
from stethoscope.rules.loop.graph_kept_alive import GraphKeptAlive
from stethoscope.rules.loop.metric_not_reset import MetricNotReset
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph
from stethoscope.rules.loss.loss_arguments_swapped import LossArgumentsSwapped
from stethoscope.rules.loss.sigmoid_before_bce_with_logits import SigmoidBeforeBceWithLogits
from stethoscope.rules.loss.softmax_before_cross_entropy import SoftmaxBeforeCrossEntropy
from stethoscope.rules.loss.wrong_softmax_dim import WrongSoftmaxDim


@pytest.fixture(autouse=True)
def _speaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules on trial say at most that something is possible: what they would say is asked here."""
    for rule in (DoubleActivation, WrongSoftmaxDim):
        monkeypatch.setattr(rule, "on_trial", False)


FITS = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(20, 5)
        self.act = nn.Softmax(dim=1)

    def scores(self, x):
        return self.fc(x)

    def forward(self, x):
        return self.act(self.fc(x))

def strip(module):
    for name, child in module.named_children():
        if isinstance(child, nn.Softmax):
            setattr(module, name, nn.Identity())

def tell(module):
    for name, child in module.named_children():
        print(name, child)

def fit(loader):
    net = Net()
    CHANGED
    optimizer = torch.optim.Adam(net.parameters())
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
"""
CHAIN = FITS.replace("net = Net()", "net = nn.Sequential(nn.Linear(20, 5), nn.Softmax(dim=1))")
GROWN = """
class Net(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid())
        for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:])):
            ADDED

    def forward(self, x):
        return self.layers(x)

def loss_of(x, y):
    return F.cross_entropy(Net([8, 16, 3])(x), y)
"""
IN_PLACE = """
def loss_of(net, x, y):
    p = F.softmax(net(x), dim=1)
    CHANGED
    return F.cross_entropy(p, y)
"""
CELL = """
class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.gain = nn.Parameter(torch.ones(8))

    def forward(self, x):
        h = torch.sigmoid(self.fc(x))
        CHANGED
        return torch.sigmoid(h)
"""
BOTH = """
scores, y = torch.randn(8, 10), torch.load("answers")
softmax, criterion = nn.Softmax(dim=1), nn.CrossEntropyLoss()
shares = softmax(scores)
print("of scores:", criterion(scores, y).item())
print("of shares:", criterion(shares, y).item())
"""
BOTH_BINARY = """
scores, y = torch.randn(8), torch.ones(8)
print("of scores:", F.binary_cross_entropy_with_logits(scores, y).item())
print("of shares:", F.binary_cross_entropy_with_logits(torch.sigmoid(scores), y).item())
"""

TWINS: dict[str, tuple[type[Rule], str, str, str]] = {
    "a layer that is replaced": (SoftmaxBeforeCrossEntropy, FITS, "CHANGED", "net.act = nn.Identity()"),
    "another method in the place of forward": (
        SoftmaxBeforeCrossEntropy, FITS, "CHANGED", "net.forward = net.scores"
    ),
    "layers that a function replaces by their names": (SoftmaxBeforeCrossEntropy, FITS, "CHANGED", "strip(net)"),
    "a layer of this network, and not of another": (
        SoftmaxBeforeCrossEntropy, FITS, "CHANGED", "net.act = nn.Identity()"
    ),
    "a layer that is set by its name": (
        SoftmaxBeforeCrossEntropy, FITS, "CHANGED", "setattr(net, 'act', nn.Identity())"
    ),
    "a part of a chain that is replaced": (SoftmaxBeforeCrossEntropy, CHAIN, "CHANGED", "net[-1] = nn.Identity()"),
    "a part of a chain that is taken away": (SoftmaxBeforeCrossEntropy, CHAIN, "CHANGED", "del net[-1]"),
    "a chain that goes on": (SoftmaxBeforeCrossEntropy, CHAIN, "CHANGED", "net.append(nn.Linear(5, 5))"),
    "a chain that is built on": (
        SoftmaxBeforeCrossEntropy, GROWN, "ADDED", "self.layers.add_module(str(i), nn.Linear(a, b))"
    ),
    "logarithms that are taken in place": (
        SoftmaxBeforeCrossEntropy, IN_PLACE, "CHANGED", "p.clamp_(min=1e-7).log_()"
    ),
    "logarithms that are put in its place": (SoftmaxBeforeCrossEntropy, IN_PLACE, "CHANGED", "torch.log(p, out=p)"),
    "numbers that are moved and stretched in place": (
        DoubleActivation, CELL, "CHANGED", "h.sub_(0.5).mul_(self.gain)"
    ),
}  # fmt: skip
FAULTY = {
    "a layer that is replaced": "net.loss = nn.CrossEntropyLoss()",
    "another method in the place of forward": "net.name = net.scores",
    "layers that a function replaces by their names": "tell(net)",
    "a layer of this network, and not of another": "import subnet; subnet.act = subnet.net.act = nn.Identity()",
    "a layer that is set by its name": "import subnet; setattr(subnet, 'act', nn.Identity())",
    "a part of a chain that is replaced": "print(net[-1])",
    "a part of a chain that is taken away": "net.to('cuda')",
    "a chain that goes on": "net.losses = []",
    "a chain that is built on": "print(i, a, b)",
    "logarithms that are taken in place": "p.clamp_(min=1e-7)",
    "logarithms that are put in its place": "print(torch.log(p))",
    "numbers that are moved and stretched in place": "print(h.sub(0.5))",
}


@pytest.mark.parametrize("name", TWINS)
def test_what_is_changed_after_it_was_made_is_not_what_it_was(name: str) -> None:
    rule, text, place, healthy = TWINS[name]
    text = textwrap.dedent(text)
    assert how_sure(rule, text.replace(place, healthy)) < SHOWN <= how_sure(rule, text.replace(place, FAULTY[name]))


@pytest.mark.parametrize(
    ("rule", "text", "compared", "other"),
    [
        (SoftmaxBeforeCrossEntropy, BOTH, "criterion(scores, y)", "scores.max()"),
        (SigmoidBeforeBceWithLogits, BOTH_BINARY, "F.binary_cross_entropy_with_logits(scores, y)", "scores.max()"),
    ],
)
def test_shares_that_are_compared_with_their_scores_are_possible_at_most(
    rule: type[Rule], text: str, compared: str, other: str
) -> None:
    assert 0 <= how_sure(rule, text) < SHOWN <= how_sure(rule, text.replace(compared, other))


SUMMED = """
from collections import defaultdict
from itertools import islice
import torch
import torch.nn.functional as F
from project import Mean

class Averager:
    def __init__(self):
        self.sum = 0.0

    def __iadd__(self, value):
        self.sum += float(value)
        return self

class Number:
    pass

def train(net, data, optimizer):
    filled = []
    for x, y in data:
        filled.append(y)
    total = START
    for x, y in DATA:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward(retain_graph=KEEPS)
        optimizer.step()
        TOTAL += loss
    AFTER
    return total

def outer(net, data, optimizer, other):
    value = train(net, data, optimizer)
    LATER
    other.step()
"""
KEEPS = {"START": "0.0", "DATA": "data", "KEEPS": "False", "TOTAL": "total", "AFTER": "pass", "LATER": "print(value)"}
FOUR = "[([0.0, 0.0], 0), ([0.0, 1.0], 1), ([1.0, 0.0], 1), ([1.0, 1.0], 0)]"
SUMS = {
    "an object of a class that is seen": {"START": "Averager()"},
    "an object of a class from elsewhere": {"START": "Mean()"},
    "a dict of objects": {"START": "defaultdict(Mean)", "TOTAL": "total['loss']"},
    "a dict of objects that is written out": {"START": "{'loss': Mean()}", "TOTAL": "total['loss']"},
    "a few samples that are written out": {"DATA": FOUR},
    "a few batches": {"DATA": "islice(data, 5)"},
    "a mean of the sum goes backward": {"KEEPS": "True", "AFTER": "mean = total / len(data); mean.backward()"},
    "a part of what goes backward": {"KEEPS": "True", "AFTER": "(net.penalty() + total).backward()"},
    "the caller goes backward": {"KEEPS": "True", "LATER": "value.backward()"},
}
FAULTY_SUMS: dict[str, dict[str, str]] = {
    "a dict of objects": {"START": "defaultdict(float)", "TOTAL": "total['loss']"},
    "a dict of objects that is written out": {"START": "{'loss': 0.0}", "TOTAL": "total['loss']"},
    "a few samples that are written out": {"DATA": "zip(data.tensors, filled)"},
    "a few batches": {"DATA": "islice(data, 5000)"},
    "a mean of the sum goes backward": {"KEEPS": "True", "AFTER": "mean = total / len(data); print(mean)"},
    "the caller goes backward": {"KEEPS": "True", "LATER": "net.penalty().backward()"},
}


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_that_is_an_object_short_or_goes_backward_itself_is_not_shown(name: str) -> None:
    assert how_sure(GraphKeptAlive, _summed(SUMS[name])) < SHOWN
    assert how_sure(GraphKeptAlive, _summed(FAULTY_SUMS.get(name, {}))) >= SHOWN


def test_without_graphs_from_the_first_line_on_none_is_kept() -> None:
    text = "import torch\ntorch.set_grad_enabled(False)\n" + _summed({})
    assert how_sure(GraphKeptAlive, text) == -1
    assert how_sure(GraphKeptAlive, text.replace("False", "True", 1)) >= SHOWN


def _summed(said: dict[str, str]) -> str:
    text = SUMMED
    for place, word in (KEEPS | said).items():
        text = text.replace(place, word)
    return text


MEASURED = """
from itertools import islice
import torch
import torch.nn as nn
import torch.nn.functional as F
from project import HELPER

def main(loader, test_loader):
    net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
    optimizer = torch.optim.Adam(net.parameters())
    for epoch in range(10):
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        net.eval()
        HELPER(net, False)
        right = 0
        for x, y in DATA:
            right += (net(x).argmax(1) == y).sum().item()
        print(right)
"""


@pytest.mark.parametrize(
    ("helper", "data", "is_shown"),
    [
        ("show", "test_loader", True),
        ("toggle_grad", "test_loader", False),
        ("disable_gradients", "test_loader", False),
        ("reset_grad", "test_loader", True),
        ("show", "islice(test_loader, 2)", False),
        ("show", "islice(test_loader, 200)", True),
    ],
)
def test_a_helper_may_switch_gradients_and_a_few_batches_cost_little(helper: str, data: str, is_shown: bool) -> None:
    text = MEASURED.replace("HELPER", helper).replace("DATA", data)
    assert (how_sure(ValidationBuildsGraph, text) >= SHOWN) is is_shown


CHOSEN = """
import torch
import torch.nn.functional as F
from torch.func import grad, vmap
from torch.utils.data import DataLoader

def loss_of(net, x, y):
    return F.nll_loss(F.log_softmax(net(x), dim=0), y)

def fit(net, rows, data, optimizer):
    loader = DataLoader(rows, shuffle=True)
    for x, y in loader:
        optimizer.zero_grad()
        logs = F.log_softmax(net(x), dim=0)
        loss = F.nll_loss(logs, y)
        loss.backward()
        optimizer.step()
    vmap(grad(OTHER))(net, rows, rows)
"""
BOTH_WAYS = """
from torch.utils.data import DataLoader
import torch
import torch.nn.functional as F

def fit(net, data, optimizer):
    for picture, text in DataLoader(data, batch_size=64):
        scores = net(picture, text)
        own = torch.arange(len(scores))
        loss = F.nll_loss(F.log_softmax(scores, dim=0), own) + F.nll_loss(F.log_softmax(scores, dim=FIRST), own)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
IN_LOOP = CHOSEN.replace("    return F.nll_loss(F.log_softmax(net(x), dim=0), y)", "    return net(x)")


@pytest.mark.parametrize(
    ("text", "faulty", "healthy"),
    [
        (BOTH_WAYS, "dim=FIRST", "dim=1"),
        (IN_LOOP, "DataLoader(rows, ", "DataLoader(rows, batch_size=None, "),
        (IN_LOOP, "F.nll_loss(logs, y)", "F.nll_loss(logs[None], y[None])"),
        (IN_LOOP, "for x, y in loader:", "for x, y in data:"),
        (IN_LOOP, "for x, y in loader:", "for i in range(len(data)):\n        x, y = data[i]"),
        (CHOSEN.replace("in loader", "in data"), "OTHER", "loss_of"),
        (
            CHOSEN.replace("in loader", "in data"),
            "    vmap(grad(OTHER))(net, rows, rows)",
            "    return [loss_of(net, x, y) for x, y in rows]",
        ),
        (IN_LOOP, "for x, y in loader:", "for batch in loader:\n      for x, y in batch:"),
    ],
)
def test_a_softmax_along_the_first_axis_of_one_sample_or_of_both_axes_is_not_shown(
    text: str, faulty: str, healthy: str
) -> None:
    text = textwrap.dedent(text)
    assert faulty in text
    assert how_sure(WrongSoftmaxDim, text.replace(faulty, healthy)) < SHOWN
    assert how_sure(WrongSoftmaxDim, text.replace("dim=FIRST", "dim=0")) >= SHOWN


ESTIMATED = """
import torch
import torchmetrics
from rounds import read, train_one

def estimate(net, loader):
    mean = torchmetrics.Accuracy(task="binary")
    for turn in range(100):
        BEFORE
        for x, y in loader:
            mean.update(net(x), y)
        print(f"after {turn + 1} passes: {mean.compute():.4f}")
"""
PLAYED = """
import torchmetrics

def play(game, policy, optimizer):
    mean = torchmetrics.MeanMetric()
    for episode in range(100):
        state = game.start()
        for t in range(500):
            state, reward = GAME.step(policy(state))
            mean.update(reward)
        optimizer.step()
        print(episode, mean.compute())
"""


@pytest.mark.parametrize("before", ["net.load_state_dict(read(turn))", "train_one(net, loader)"])
def test_a_metric_over_the_same_network_again_is_an_estimate(before: str) -> None:
    assert 0 <= how_sure(MetricNotReset, ESTIMATED.replace("BEFORE", "pass")) < SHOWN
    assert how_sure(MetricNotReset, ESTIMATED.replace("BEFORE", before)) >= SHOWN


def test_the_mean_of_what_was_won_in_all_episodes_is_possible_at_most() -> None:
    assert 0 <= how_sure(MetricNotReset, PLAYED.replace("GAME", "game")) < SHOWN
    assert how_sure(MetricNotReset, PLAYED.replace("GAME.step(policy(state))", "policy(state)")) >= SHOWN


PROBED = """
import torch
import torch.nn as nn
import torch.nn.functional as F

class Probe(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        with CONTEXT:
            h = self.body(x)
        return self.head(h)

def main(body, loader, test_loader):
    net = Probe(body)
    optimizer = torch.optim.Adam(net.head.parameters())
    for epoch in range(10):
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        net.eval()
        right = 0
        for i, (x, y) in enumerate(test_loader):
            if i == LAST:
                break
            right += (net(x).argmax(1) == y).sum().item()
        print(right)

main(torch.load("body"), torch.load("train"), torch.load("test"))
"""


@pytest.mark.parametrize(
    ("context", "last", "is_shown"),
    [
        ("torch.autocast('cuda')", "5000", True),
        ("torch.no_grad()", "5000", False),
        ("torch.autocast('cuda')", "8", False),
    ],
)
def test_what_is_left_of_a_graph_costs_little(context: str, last: str, is_shown: bool) -> None:
    text = PROBED.replace("CONTEXT", context).replace("LAST", last)
    assert (how_sure(ValidationBuildsGraph, text) >= SHOWN) is is_shown


COUNTED = """
from collections import defaultdict

def fit(net, loader, optimizer):
    sums = defaultdict(float)
    for i, (x, y) in enumerate(loader):
        if i >= LAST:
            break
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        sums["loss"] += loss
        if i % 10 == 9:
            print(sums["loss"])
            DONE
"""


@pytest.mark.parametrize(
    ("last", "done", "is_shown"), [("1000", "pass", True), ("8", "pass", False), ("1000", "sums.clear()", False)]
)
def test_a_sum_over_a_few_steps_is_not_shown(last: str, done: str, is_shown: bool) -> None:
    text = "import torch.nn.functional as F\n" + COUNTED.replace("LAST", last).replace("DONE", done)
    assert (how_sure(GraphKeptAlive, text) >= SHOWN) is is_shown


LOOKED_FOR = """
def invert(net: nn.Module, loader):
    for x, y in loader:
        SWITCHED
        optimizer = torch.optim.Adam(LEARNED, lr=0.1)
        optimizer.zero_grad()
        loss = F.binary_cross_entropy(y, net(x))
        loss.backward()
        optimizer.step()
"""


@pytest.mark.parametrize(
    ("switched", "learned", "is_shown"),
    [
        ("pass", "net.parameters()", True),
        ("x.requires_grad_()", "[x]", True),
        ("y.requires_grad_(False)", "net.parameters()", True),
        ("y.requires_grad_()", "net.parameters()", False),
        ("pass", "[y]", False),
    ],
)
def test_labels_that_are_looked_for_are_given_first(switched: str, learned: str, is_shown: bool) -> None:
    text = LOOKED_FOR.replace("SWITCHED", switched).replace("LEARNED", learned)
    assert (how_sure(LossArgumentsSwapped, text) >= SHOWN) is is_shown


def test_a_metric_that_is_set_back_by_hand_and_a_sample_of_its_own_are_not_shown() -> None:
    by_hand = ESTIMATED.replace("turn", "epoch").replace("BEFORE", "mean.total = torch.tensor(0)")
    assert how_sure(MetricNotReset, by_hand) < SHOWN <= how_sure(MetricNotReset, by_hand.replace("mean.total", "total"))
    one = IN_LOOP.replace("F.nll_loss(logs, y)", "F.nll_loss(logs, y[0])")
    assert how_sure(WrongSoftmaxDim, one) < SHOWN <= how_sure(WrongSoftmaxDim, one.replace("y[0]", "y[:]"))
