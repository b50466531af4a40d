"""Evaluations whose graph is certain: gradients are on, the model wants some, and its answers go nowhere."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import code_of, how_sure
from stethoscope.core.finding import Sureness
from stethoscope.core.review import Level
from stethoscope.diagnosing.review import review
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph

TRAINS = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

def train(model, train_loader, optimizer):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

"""
EVALUATES = """
def evaluate(model, loader):
    model.eval()
    total = 0.0
    for x, y in loader:
        total += F.cross_entropy(model(x), y).item()
    return total

"""

GRAPHS = {
    "nobody calls it, in a file that trains": EVALUATES,
    "called by what trains": EVALUATES
    + """
def fit(model, loader, test_loader, optimizer):
    for epoch in range(3):
        train(model, loader, optimizer)
        print(evaluate(model, test_loader))
""",
    "through two callers": EVALUATES
    + """
def evaluate_all(model, loaders):
    return [evaluate(model, loader) for loader in loaders]

def main(model, loaders, optimizer):
    train(model, loaders[0], optimizer)
    print(evaluate_all(model, loaders))
""",
    "numbers that a caller beside a training reads": """
def evaluate(model, loader):
    model.eval()
    total, right = 0, 0
    for x, y in loader:
        scores = model(x)
        total += F.cross_entropy(scores, y)
        right += (scores.argmax(1) == y).sum().item()
    return total, right

def main(model, loader, optimizer):
    train(model, loader, optimizer)
    print(evaluate(model, loader))
""",
    "mixed precision, and a bar": """
import tqdm

def evaluate(model, loader):
    model.eval()
    total = 0.0
    with torch.autocast("cuda"), tqdm.tqdm(loader) as bar:
        for x, y in loader:
            total += F.cross_entropy(model(x), y).item()
    return total
""",
    "a network whose layers are seen, asked in the file's own lines": """
net = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 2)).cuda()
net.eval()
total = 0.0
for x, y in DataLoader(torch.load("rows")):
    total += F.cross_entropy(net(x), y).item()
""",
}
DOUBTS = {
    "quiet two callers above": EVALUATES
    + """
def evaluate_all(model, loaders):
    return [evaluate(model, loader) for loader in loaders]

def main(model, loaders):
    with torch.no_grad():
        print(evaluate_all(model, loaders))
""",
    "a context of a library around the caller": """
from contexts import inference
"""
    + EVALUATES
    + """
def main(model, loader):
    with inference():
        print(evaluate(model, loader))
""",
    "a decorator of a library on the caller": """
from decorators import inference
"""
    + EVALUATES
    + """
@inference
def main(model, loader):
    print(evaluate(model, loader))
""",
    "a context of its own object": """
class Tester:
    def evaluate(self, model, loader):
        model.eval()
        total = 0.0
        with self.evaluating():
            for x, y in loader:
                total += F.cross_entropy(model(x), y).item()
        return total
""",
    "a context that an attribute holds": """
class Tester:
    def evaluate(self, model, loader):
        model.eval()
        total = 0.0
        with self.context:
            for x, y in loader:
                total += F.cross_entropy(model(x), y).item()
        return total
""",
    "contexts on a stack": """
import contextlib

def evaluate(model, loader, contexts):
    model.eval()
    total = 0.0
    with contextlib.ExitStack() as stack:
        for one in contexts:
            stack.enter_context(one)
        for x, y in loader:
            total += F.cross_entropy(model(x), y).item()
    return total
""",
    "a class that is decorated": """
from project import for_all_methods, quiet

@for_all_methods(quiet)
class Tester:
    def evaluate(self, model, loader):
        model.eval()
        total = 0.0
        for x, y in loader:
            total += F.cross_entropy(model(x), y).item()
        return total
""",
    "handed to who may call it quietly": """
from project import quietly
"""
    + EVALUATES
    + """
def main(model, loader):
    quietly(evaluate, model, loader)
""",
    "gradients switched on by a word": """
def evaluate(model, loader):
    model.eval()
    total = 0.0
    with torch.enable_grad():
        for x, y in loader:
            total += F.cross_entropy(model(x), y).item()
    return total
""",
    "losses that are yielded": """
def losses(model, loader):
    model.eval()
    total = 0.0
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        total += loss.item()
        yield loss
""",
    "a loss that is given to a function that was handed over": """
def run(model, loader, update):
    model.eval()
    total = 0.0
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        update(loss)
        total += loss.item()
    return total
""",
    "a loss on which the caller goes backward": """
def total_of(model, loader):
    model.eval()
    total, right = 0, 0
    for x, y in loader:
        scores = model(x)
        right += (scores.argmax(1) == y).sum().item()
        total = total + F.cross_entropy(scores, y)
    return total, right

def main(model, loader, optimizer):
    loss, _ = total_of(model, loader)
    loss.backward()
    optimizer.step()
""",
    "features with their graph": """
def features(model, loader):
    model.eval()
    found = []
    for x, y in loader:
        found.append(model(x).cpu())
    return torch.cat(found)
""",
    "arrays, which torch refuses to make of what has a graph": """
def features(model, loader):
    model.eval()
    found = []
    for x, y in loader:
        found.append(model(x).cpu().numpy())
    return found
""",
    "a network of a library by the name of the one that trains": """
from library import Detector

def detect(loader):
    model = Detector("weights").cuda()
    model.eval()
    found = []
    for x in loader:
        found.append(model(x)[0].argmax(1).tolist())
    return found
""",
    "a network that is converted by a library": """
from torch2trt import torch2trt

def detect(model, loader, x):
    model.eval()
    model = torch2trt(model, [x])
    found = []
    for x in loader:
        found.append(model(x).argmax(1).tolist())
    return found
""",
    "a network without parameters": """
class Reservoir(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.register_buffer("w", torch.randn(n, n))

    def forward(self, x):
        return torch.tanh(x @ self.w)

def states(loader):
    net = Reservoir(4)
    net.eval()
    found = []
    for x in loader:
        found.append(net(x).tolist())
    return found
""",
    "a function that may train as well": """
from library import Scaler

scaler = Scaler()

def run(model, loader, optimizer=None):
    if optimizer is not None:
        model.train()
    else:
        model.eval()
    total = 0.0
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        if optimizer is not None:
            scaler(loss, optimizer, parameters=model.parameters())
        total += loss.item()
    return total
""",
    "answers that are kept in a dict": """
def evaluate(model, loader):
    model.eval()
    right, found = 0, {}
    for i, (x, y) in enumerate(loader):
        scores = model(x)
        found[i] = scores
        right += (scores.argmax(1) == y).sum().item()
    return found, right
""",
    "a network of JAX": """
from flax import nnx

def evaluate(model, loader):
    model.eval()
    right = 0
    for x, y in loader:
        right += (model(x).argmax(-1) == y).sum().item()
    return right
""",
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_is_shown_where_gradients_are_seen_to_be_on(name: str) -> None:
    assert _shown(GRAPHS[name])


@pytest.mark.parametrize("name", DOUBTS)
def test_a_graph_is_possible_at_most_where_something_may_want_it_or_switch_it_off(name: str) -> None:
    assert not _shown(DOUBTS[name])


def test_a_graph_is_shown_of_torch_only() -> None:
    text = (TRAINS + EVALUATES).replace("import torch.nn.functional as F", "from minitorch import functional as F")
    text = text.replace("import torch\n", "import minitorch\n").replace("from torch import nn\n", "")
    text = text.replace("from torch.utils.data import DataLoader\n", "")
    assert "minitorch" in text
    found = review(code_of(text), rules=[ValidationBuildsGraph]).findings
    assert not any(map(Level().shows, found))


POSSIBLE = {
    "another model that is put into training mode behind it": """
def evaluate(model, other, loader):
    model.eval()
    other.train()
    found = []
    for x, y in loader:
        found.append(model(x))
    return float(torch.cat(found).mean())
""",
    "training mode in a branch that ends": """
def evaluate(model, loader, whole):
    model.eval()
    if whole:
        model.train()
        return 0.0
    found = []
    for x, y in loader:
        found.append(model(x))
    return float(torch.cat(found).mean())
""",
}
TESTS = """
import torch

def test(model, test_loader):
    right = 0
    for x, y in test_loader:
        right += (model(x).argmax(1) == y).sum().item()
    return right

def main(path, test_loader):
    model = torch.load(path)
    model.eval()
    print(test(model, test_loader))
"""


@pytest.mark.parametrize("name", POSSIBLE)
def test_who_else_is_switched_leaves_an_evaluation_possible(name: str) -> None:
    assert how_sure(ValidationBuildsGraph, POSSIBLE[name]) == Sureness.POSSIBLE.strength


def test_a_file_that_only_tests_may_build_a_graph() -> None:
    assert how_sure(ValidationBuildsGraph, TESTS) == Sureness.POSSIBLE.strength
    assert how_sure(ValidationBuildsGraph, TESTS.replace("right +=", "right =")) == -1


def test_the_model_itself_in_training_mode_is_not_evaluated() -> None:
    text = POSSIBLE["another model that is put into training mode behind it"]
    assert how_sure(ValidationBuildsGraph, text.replace("other.train()", "model.train()")) == -1


def _shown(text: str) -> list[str]:
    found = review(code_of(TRAINS + textwrap.dedent(text)), rules=[ValidationBuildsGraph]).findings
    return [one.title for one in found if Level().shows(one)]
