"""Faults that come to nothing, as fresh packages write them, each beside a twin in which somebody is hurt."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.data.distributed_sampler_epoch import DistributedSamplerEpoch
from stethoscope.rules.loop.checkpoint_aliased import CheckpointAliased
from stethoscope.rules.loop.missing_optimizer_step import MissingOptimizerStep
from stethoscope.rules.loop.training_in_eval_mode import TrainingInEvalMode
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph
from stethoscope.rules.loop.validation_in_train_mode import ValidationInTrainMode

KEEPER = """
    class Keeper:
        def __init__(self):
            self.least, self.state = None, None

        def keep(self, loss, model):
            if self.least is None or loss < self.least:
                self.least = loss
                self.state = model.state_dict()

        def restore(self, model):
            model.load_state_dict(self.state)
"""
TRIALS = """
    def search(make, fit, trials, args):
        keeper = Keeper()
        for trial in range(trials):
            model = make(args)
            for epoch in range(9):
                loss = fit(model)
            keeper.keep(loss, model)
        keeper.restore(model)
"""
CHOSEN = TRIALS.replace(
    "model = make(args)",
    "if args.deep:\n                model = deep(args)\n            else:\n                model = make(args)",
)
ONCE = """
    def fit(model, step, loss):
        keeper = Keeper()
        for epoch in range(9):
            loss = step(model, loss)
        keeper.keep(loss, model)
        keeper.restore(model)
"""
DRAWN = """
    import random
    from torch.utils.data import DataLoader, Dataset, DistributedSampler

    class Pairs(Dataset):
        def __init__(self, samples, near=None):
            self.samples, self.near = samples, near

        def __getitem__(self, index):
            if self.near is None:
                chosen = random.choice(self.samples)
            else:
                chosen = self.near[index]
            return chosen

    def train(model, samples, optimizer):
        data = Pairs(samples)
        loader = DataLoader(data, sampler=DistributedSampler(data))
        for epoch in range(9):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
"""
PROBE = """
    def largest(model, size, last):
        while size < last:
            try:
                model.load_state_dict(last.state_dict())
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                x, y = torch.randn(size, 3), torch.randint(0, 2, (size,))
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.zero_grad()
                size *= 2
            except RuntimeError as error:
                if "out of memory" not in str(error):
                    raise
                break
        return size
"""
UNREAD = """
    def evaluate(model, loader, others, labels):
        found, rows = [], []
        for x, y in loader:
            with torch.no_grad():
                out = model(x)
            found.extend(torch.sigmoid(out).cpu().tolist())
            rows.extend(y.tolist())
        return score(others, labels)

    def train(loader, held_out, score):
        model = nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.5), nn.Linear(9, 2))
        optimizer = torch.optim.Adam(model.parameters())
        for epoch in range(9):
            others, labels = [], []
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            print(evaluate(model, held_out, others, labels))
"""
LEFT = """
    # file: nets.py
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.5), nn.Linear(9, 2))

        def forward(self, x):
            return self.layers(x)
    # file: train.py
    import torch
    import torch.nn.functional as F
    from nets import Net

    def evaluate(loader):
        model.eval()
        right = 0
        for x, y in loader:
            with torch.no_grad():
                out = model(x, labels=y)
            right += (out.argmax(1) == y).sum().item()
        return right

    if __name__ == "__main__":
        model = Net()
        optimizer = torch.optim.Adam(model.parameters())
        loader, held_out = torch.load("train.pt"), torch.load("test.pt")
        model.train()
        for epoch in range(9):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                print(evaluate(held_out))
"""
REPEATED = """
    def test(model, test_loader):
        model.eval()
        total = 0
        for x, y in test_loader:
            total += F.cross_entropy(model(x), y).item()
        model.train()
        return total

    def train(model, loader, test_loader, optimizer):
        for epoch in range(9):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            with torch.no_grad():
                test(model, test_loader)

    model = nn.Linear(3, 2)
    train(model, torch.load("train.pt"), torch.load("test.pt"), torch.optim.Adam(model.parameters()))
    print(test(model, torch.load("test.pt")))
"""
TWINS: dict[str, tuple[type[Rule], str, str, str]] = {
    "weights of a model that is made in each round": (
        CheckpointAliased, KEEPER + TRIALS, "    keeper.keep(loss, model)\n", "        keeper.keep(loss, model)\n"),
    "the model is moved in each round, and not made": (
        CheckpointAliased, KEEPER + TRIALS, "model = make(args)", "model = model.to(args)"),
    "the model is one of two": (CheckpointAliased, KEEPER + CHOSEN, "model = deep(args)", "pass"),
    "asked once behind the training": (
        CheckpointAliased, KEEPER + ONCE, "    keeper.keep(loss, model)\n", "        keeper.keep(loss, model)\n"),
    "nobody asks a class that speaks of no epochs": (CheckpointAliased, KEEPER, "def keep(", "def after_epoch("),
    "a data set that draws where it goes by no index": (
        DistributedSamplerEpoch, DRAWN, "random.choice(self.samples)", "self.samples[index]"),
    "a data set that may go by its index, and draws as well": (
        DistributedSamplerEpoch, DRAWN, "return chosen", "return self.samples[index], chosen"),
    "what fits into memory": (MissingOptimizerStep, PROBE, "loss.backward()", "loss.backward(); print(loss)"),
    "targets that are given": (MissingOptimizerStep, PROBE, "torch.randint(0, 2, (size,))", "last.targets"),
    "an evaluation that nobody reads": (
        ValidationInTrainMode, UNREAD, "score(others, labels)", "score(found, rows)"),
    "an evaluation that is told": (ValidationInTrainMode, UNREAD, "rows.extend(", "print(out); rows.extend("),
    "an evaluation that always fails leaves no mode behind": (
        TrainingInEvalMode, LEFT, "model(x, labels=y)", "model(x)"),
    "repeated without a graph, and once with one": (
        ValidationBuildsGraph, REPEATED, "with torch.no_grad():", "if epoch:"),
    "repeated without a graph, and with one": (
        ValidationBuildsGraph, REPEATED, "print(test(", "for _ in range(99): print(test("),
}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_what_hurts_nobody_is_not_shown_and_its_faulty_twin_is(name: str) -> None:
    rule, text, healthy, faulty = TWINS[name]
    assert healthy in text
    healthy_text, faulty_text = textwrap.dedent(text), textwrap.dedent(text.replace(healthy, faulty))
    assert how_sure(rule, healthy_text) < SHOWN <= how_sure(rule, faulty_text)
