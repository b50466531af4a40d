"""Losses given in the wrong order, and sums that keep graphs, each beside the healthy program that it is made of."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.loop.graph_kept_alive import GraphKeptAlive
from stethoscope.rules.loss.loss_arguments_swapped import LossArgumentsSwapped

_STEP = """
                optimizer.zero_grad()
                loss{part}.backward()
                optimizer.step()
                total += loss{part}.item()"""

TWINS: dict[str, tuple[type[Rule], str, str, str]] = {
    "what is named after what it is made of": (
        LossArgumentsSwapped,
        """
        def default_loss(x, recon_x):
            return F.binary_cross_entropy(recon_x, x)
        """,
        "(recon_x, x)",
        "(x, recon_x)",
    ),
    "an input and what a model makes of it": (
        LossArgumentsSwapped,
        """
        class Builder(nn.Module):
            def __init__(self, model):
                super().__init__()
                self.model = model

            def take(self, x, y):
                x_out, latent = self.model.forward(x, y)
                return F.cross_entropy(x_out, x.squeeze(1))
        """,
        "(x_out, x.squeeze(1))",
        "(x.squeeze(1), x_out)",
    ),
    "a product with learned weights": (
        LossArgumentsSwapped,
        """
        class Margin(nn.Module):
            def __init__(self):
                super().__init__()
                self.W = nn.Parameter(torch.randn(3, 4))
                self.ce = nn.CrossEntropyLoss()

            def forward(self, x, label):
                cosine = 30 * torch.mm(x, self.W)
                return self.ce(cosine, label)
        """,
        "(cosine, label)",
        "(label, cosine)",
    ),
    "class numbers made of a range": (
        LossArgumentsSwapped,
        """
        import numpy as np
        import torch
        import torch.nn.functional as F

        def contrast(first, second, count):
            mine = F.cosine_similarity(first, second)
            own = torch.from_numpy(np.asarray(range(0, count))).to("cpu")
            return F.cross_entropy(mine, torch.repeat_interleave(own, repeats=2, dim=0))
        """,
        "(mine, torch.repeat_interleave(own, repeats=2, dim=0))",
        "(torch.repeat_interleave(own, repeats=2, dim=0), mine)",
    ),
    "one of two outputs": (
        LossArgumentsSwapped,
        """
        def loss_of(outputs, labels):
            try:
                main, other = outputs
            except ValueError:
                main = outputs
            return F.cross_entropy(main, labels)
        """,
        "(main, labels)",
        "(labels, main)",
    ),
    "results and reshaped labels": (
        LossArgumentsSwapped,
        """
        def loss_of(results, labels):
            labels = labels.view(-1)
            return F.cross_entropy(results, labels)
        """,
        "(results, labels)\n",
        "(labels, results)\n",
    ),
    "a target that a function of that name makes": (
        LossArgumentsSwapped,
        """
        def train(model, loader, targets):
            for number, x in enumerate(loader):
                batch_targets = batch_target(targets[number])
                output = model(x)
                loss = F.cross_entropy(output, batch_targets)
        """,
        "(output, batch_targets)",
        "(batch_targets, output)",
    ),
    "a step of a decoder": (
        LossArgumentsSwapped,
        """
        def train(self, x, y, hidden):
            for i in range(y.size(1)):
                hidden, projection = self.decoder.forward_step(x, hidden)
                target_y = y[:, i]
                loss = F.cross_entropy(projection, target_y)
        """,
        "(projection, target_y)",
        "(target_y, projection)",
    ),
    "a loop whose head takes several lines": (
        GraphKeptAlive,
        f"""
        def train(model, loader, optimizer):
            total = 0
            for x, y in tqdm(
                    loader, leave=False):  # each
                loss = F.cross_entropy(model(x), y){_STEP.format(part="")}
                if total > 9:
                    break
        """,
        ".item()",
        "",
    ),
    "a validation on another way": (
        GraphKeptAlive,
        """
        def go(model, loader, optimizer, mode):
            total = 0
            for x, y in loader:
                if mode == "train":
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                else:
                    with torch.no_grad():
                        loss = F.cross_entropy(model(x), y)
                total += loss.item()
        """,
        ".item()",
        "",
    ),
    "one of the losses that a function gives": (
        GraphKeptAlive,
        f"""
        def train(model, loader, optimizer, losses_of):
            total = 0
            for x, y in loader:
                loss = losses_of(model(x), y){_STEP.format(part="[0]")}
        """,
        ".item()",
        "",
    ),
    "a place that is written to": (
        GraphKeptAlive,
        """
        def train(model, loader, optimizer, losses_of):
            total = 0
            for x, y in loader:
                loss = losses_of(model(x), y)
                optimizer.zero_grad()
                loss["all"].backward()
                optimizer.step()
                loss["all"] = loss["all"].item()
                total += loss["all"]
        """,
        'loss["all"] = loss["all"].item()',
        "pass",
    ),
    "a switch around the step and the sum": (
        GraphKeptAlive,
        f"""
        def go(model, loader, optimizer, is_training):
            total = 0
            with torch.set_grad_enabled(is_training):
              for x, y in loader:
                loss = F.cross_entropy(model(x), y){_STEP.format(part="")}
        """,
        ".item()",
        "",
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_the_faulty_twin_is_named_and_the_healthy_one_is_not(name: str) -> None:
    rule, text, healthy, faulty = TWINS[name]
    text = textwrap.dedent(text)
    assert healthy in text
    assert how_sure(rule, text) < how_sure(rule, text.replace(healthy, faulty))
    assert how_sure(rule, text) < SHOWN


@pytest.mark.parametrize(
    "text",
    [
        "def loss_of(x_hat, x):\n    return F.binary_cross_entropy(x_hat, x)\n",
        "def loss_of(labels, model, x):\n    labels = model(x)\n    return F.cross_entropy(labels, x)\n",
        "def loss_of(pred, x_rec, x):\n    return F.binary_cross_entropy(pred, x_rec)\n",
        "def loss_of(goal, x, y):\n    own = torch.from_numpy(y)\n    return F.cross_entropy(own, goal(x))\n",
    ],
)
def test_names_that_fit_are_not_doubted(text: str) -> None:
    assert how_sure(LossArgumentsSwapped, text) < 0


ELSEWHERE = """
    # file: tools.py
    import torch

    def unused(a, b, c):
        for x in a:
            for y in b:
                for z in c:
                    if x:
                        print(x, y, z)

    def end_epoch(optimizer, rounds):
        for _ in rounds:
            if rounds:
                optimizer.step()

    # file: train.py
    import torch
    import torch.nn.functional as F
    from tools import end_epoch

    def fit(model, optimizer, loader, rounds):
        for epoch in range(10):
            total = 0
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                total += loss
                optimizer.step()
            end_epoch(optimizer, rounds)
            print(total)
"""


def test_a_step_that_another_file_takes_is_placed_where_it_is_called() -> None:
    inline = ELSEWHERE.replace("end_epoch(optimizer, rounds)\n", "optimizer.step()\n")
    assert how_sure(GraphKeptAlive, ELSEWHERE) == how_sure(GraphKeptAlive, inline) < SHOWN
