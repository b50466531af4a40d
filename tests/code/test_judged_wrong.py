"""More of what strangers judged wrong in packages that nobody had seen, each beside a twin in which it is a fault."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.loop.checkpoint_aliased import CheckpointAliased
from stethoscope.rules.loop.missing_optimizer_step import MissingOptimizerStep
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph
from stethoscope.rules.loss.one_output_cross_entropy import OneOutputCrossEntropy
from stethoscope.rules.loss.softmax_before_cross_entropy import SoftmaxBeforeCrossEntropy
from stethoscope.rules.parameters.dropout_without_effect import DropoutWithoutEffect
from stethoscope.rules.parameters.overwritten_layer import OverwrittenLayer
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

ONE_OUTPUT = """
class Head(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.out = nn.Linear(width, 1)
        self.act = torch.sigmoid

    def forward(self, x):
        return self.act(self.out(x))

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.head = Head(width)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x, y):
        scores = self.head(x)
        return self.loss(scores, y)
"""
TWINS: dict[str, tuple[type[Rule], str, str, str]] = {
    "one row, whose number stands on a line of its own": (
        ValidationBuildsGraph,
        """
        import numpy as np
        import torch
        from torch import nn
        from torch.utils.data import DataLoader, TensorDataset
        from tqdm import tqdm

        model = nn.Sequential(nn.Linear(30, 9), nn.Dropout(0.5), nn.Linear(9, 2))
        model.load_state_dict(torch.load("model"))
        model.eval()

        with open("genes") as file:
            shape = [int(side) for side in file.readline().split()]
            shape[0] = 1
            seen = np.zeros(shape, dtype=np.float16)
            for line in file.readlines():
                seen[0, int(line)] = 1
        seen = seen[:, :30]
        found = []
        for begin in range(0, len(seen), 1024):
            part = torch.from_numpy(seen[begin : begin + 1024]).float()
            for number, (x,) in tqdm(enumerate(DataLoader(TensorDataset(part), batch_size=8))):
                found.append(torch.ge(model(x), 0.5).cpu().detach().numpy())
        """,
        "shape[0] = 1",
        "print(shape)",
    ),
    "cells of a list, whose states are bound to the variable of the loop": (
        UnregisteredModules,
        """
        class Net(nn.Module):
            def __init__(self, width, depth):
                super().__init__()
                self.cells = [nn.GRUCell(width, width) for _ in range(depth)]
                self.out = nn.Linear(width, 1)

            def forward(self, frames):
                states = list(torch.zeros(9, *frames[0].shape))
                for frame in frames:
                    for number, (cell, state) in enumerate(zip(self.cells, states)):
                        state = cell(frame, state)
                return self.out(states[-1])
        """,
        "state = cell(",
        "states[number] = cell(",
    ),
    "dropout of a model that is only loaded and asked": (
        DropoutWithoutEffect,
        """
        class Reader(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = nn.LSTM(8, 16, dropout=0.3)

            def forward(self, x):
                return self.rnn(x)[0]

        class Recognizer:
            def __init__(self, path):
                self.model = Reader()
                self.model.load_state_dict(torch.load(path))
                self.model.eval()

            def read(self, x):
                with torch.no_grad():
                    return self.model(x).argmax(1)
        """,
        "self.model.eval()",
        "self.model.train()",
    ),
    "outputs of a recurrent layer that are dropped from": (
        DropoutWithoutEffect,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = nn.LSTM(8, 16, dropout=0.3)
                self.dropout = nn.Dropout(0.3)
                self.out = nn.Linear(16, 2)

            def forward(self, x):
                outputs, (state, _) = self.rnn(x)
                return self.out(self.dropout(outputs))
        """,
        "self.dropout(outputs)",
        "self.dropout(state)",
    ),
    "parts of one step, which is taken behind them": (
        MissingOptimizerStep,
        """
        def update(model, x, y, optimizer, size):
            scores = model(x)
            for part, target in zip(torch.split(scores, size), torch.split(y, size)):
                optimizer.zero_grad()
                F.mse_loss(scores, y).backward(retain_graph=True)
            optimizer.step()
            return float(F.mse_loss(scores, y))
        """,
        "optimizer.step()",
        "torch.save(model.state_dict(), 'model.pt')",
    ),
    "steps that only show what they take, of a model that nobody asks afterwards": (
        MissingOptimizerStep,
        """
        from memory import Watched

        model = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 2))
        criterion = nn.CrossEntropyLoss()
        watched = Watched()
        with watched:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
            for number in range(3):
                for x, y in DataLoader(torch.load("data")):
                    optimizer.zero_grad()
                    outputs = model(x.to(0))
                    loss = criterion(outputs, y.squeeze())
                    loss.backward()
        print(watched.most)
        """,
        "print(watched.most)",
        "torch.save(model.state_dict(), 'model')",
    ),
    "one output behind a sigmoid, whose loss is 0 without it, too": (
        SoftmaxBeforeCrossEntropy,
        ONE_OUTPUT,
        "nn.Linear(width, 1)",
        "nn.Linear(width, 2)",
    ),
    "the layer behind a stack, indented into the loop that builds it": (
        OverwrittenLayer,
        """
        class Net(nn.Module):
            def __init__(self, widths):
                super().__init__()
                self.convs = nn.ModuleList()
                width = 3
                for wider in widths:
                    self.convs.append(nn.Linear(width, wider))
                    width = wider
                    self.reduce = nn.Sequential(nn.Linear(width, 8), nn.LeakyReLU())

            def forward(self, x):
                for conv in self.convs:
                    x = conv(x)
                return self.reduce(x)
        """,
        "    return self.reduce(x)",
        "        x = self.reduce(x)\n        return x",
    ),
    "a layer that is never asked, replaced by its like": (
        OverwrittenLayer,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.first = nn.Linear(3, 8)
                self.norm = nn.BatchNorm1d(8)
                self.second = nn.Linear(8, 8)
                self.norm = nn.BatchNorm1d(8)

            def forward(self, x):
                x = self.first(x).relu()
                # x = self.norm(x)
                return self.second(x)
        """,
        "# x = self.norm(x)",
        "x = self.norm(x)",
    ),
    "layers that wrap those of a part": (
        UnregisteredModules,
        """
        class Decoder(nn.Module):
            def __init__(self, layer, number):
                super().__init__()
                self.layer = layer
                self.out = nn.Linear(number, 3)

            def forward(self, x):
                return self.out(self.layer(x))

        class Export(nn.Module):
            def __init__(self, model):
                super().__init__()
                self.model = model
                self.blocks = []
                for layer in self.model.layers:
                    block = Decoder(layer, len(self.blocks))
                    self.blocks.append(block)

            def forward(self, x):
                for block in self.blocks:
                    x = block(x)
                return x
        """,
        "in self.model.layers:",
        "in self.model.sizes:",
    ),
    "a trial whose optimizer is only made": (
        MissingOptimizerStep,
        """
        def largest(data):
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
            for x, y in DataLoader(data):
                outputs = model(x)
                F.cross_entropy(outputs, y).backward()
            return len(x)
        """,
        "outputs = model(x)",
        "outputs = model(x); print((outputs.argmax(1) == y).sum())",
    ),
    "the last weights, kept in each round of those that are not scored": (
        CheckpointAliased,
        """
        class Fitter:
            def fit(self, loader, held_out, rounds):
                optimizer = torch.optim.Adam(self.model.parameters())
                least, few = 9.0, rounds // 4
                for number in range(rounds):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(self.model(x), y).backward()
                        optimizer.step()
                    loss = self.score(held_out)
                    if held_out is not None and number >= few:
                        print(loss)
                    else:
                        self.state = self.model.state_dict()

            def restore(self):
                self.model.load_state_dict(self.state)
        """,
        "number >= few",
        "loss >= least",
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_what_was_judged_wrong_is_not_shown_and_its_faulty_twin_is(name: str) -> None:
    rule, text, healthy, faulty = TWINS[name]
    text = textwrap.dedent(text)
    assert healthy in text
    assert how_sure(rule, text) < SHOWN <= how_sure(rule, text.replace(healthy, faulty))


def test_of_one_output_the_rule_speaks_that_says_what_is_wrong() -> None:
    assert how_sure(OneOutputCrossEntropy, ONE_OUTPUT) >= 0
    assert (
        how_sure(OneOutputCrossEntropy, ONE_OUTPUT.replace("(x)\n        return", "(x).view(-1, 4)\n        return"))
        < 0
    )
    assert how_sure(OneOutputCrossEntropy, ONE_OUTPUT.replace("(width, 1)", "(width, 2)")) < 0
