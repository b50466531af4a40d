"""Faults put into the loops of fresh packages that nothing was said of, each beside a healthy twin."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.loop.missing_backward import MissingBackward
from stethoscope.rules.loop.training_in_eval_mode import TrainingInEvalMode
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph
from stethoscope.rules.loop.validation_in_train_mode import ValidationInTrainMode

IMPORTS = """
        import torch
        import torch.nn.functional as F
        from torch import nn
"""

PROGRAMS: dict[str, tuple[type[Rule], str, str, str]] = {
    "a loss that the object gives when it is called": (
        MissingBackward,
        """
        class Trainer:
            def __init__(self, model, optimizer):
                self.model, self.optimizer = model, optimizer

            def __call__(self, x, y):
                answer = self.model(x)
                return self.judge(answer, y), answer

            def step(self, x, y):
                loss, answer = self(x, y)
                loss.mean().backward()
                self.optimizer.step()
                self.optimizer.zero_grad()
                return loss, answer
        """,
        "loss.mean().backward()",
        "pass",
    ),
    "a loss that the object gives when it is called, and goes backward there": (
        MissingBackward,
        """
        class Trainer:
            def __init__(self, model, optimizer):
                self.model, self.optimizer = model, optimizer

            def __call__(self, x, y):
                loss = self.judge(self.model(x), y)
                loss.backward()
                return loss, y

            def step(self, x, y):
                loss, answer = self(x, y)
                self.optimizer.step()
                self.optimizer.zero_grad()
                return loss, answer
        """,
        "                loss.backward()\n",
        "",
    ),
    "a sum of log probabilities": (
        MissingBackward,
        """
        class Policy:
            def __init__(self, model, rate):
                self._model = prepared(model)
                self._optimiser = prepared(torch.optim.AdamW(model.parameters(), lr=rate))

            def apply(self, samples, rewards):
                gains = rewards - rewards.mean()
                ratio = torch.exp(self._log_probabilities(samples))
                loss = -torch.min(ratio * gains, torch.clamp(ratio, 0.8, 1.2) * gains).mean()
                self._optimiser.zero_grad()
                loss.backward()
                self._optimiser.step()

            def _log_probabilities(self, samples):
                return torch.log_softmax(self._model(samples), -1).sum(-1)
        """,
        "loss.backward()",
        "pass",
    ),
    "a function that is chosen, and named as a loss": (
        MissingBackward,
        """
        def tune(optimizer, weights, parts):
            first_loss = parts["loss"]
            if parts["compiled"]:
                first_loss = torch.compile(first_loss)

            def step(W):
                optimizer.zero_grad()
                loss = first_loss(W)
                loss.backward()
                optimizer.step()
                return loss.item()

            for _ in range(100):
                print(step(weights))
        """,
        "loss.backward()",
        "pass",
    ),
    "the first of several answers": (
        MissingBackward,
        """
        class Trainer:
            def __init__(self, model):
                self.model = model
                self.optimizer = torch.optim.AdamW(self.model.parameters())

            def run(self, batches):
                for batch in batches:
                    outputs = self.model(batch, labels=batch)
                    loss, logits = outputs[:2]
                    loss.backward()
                    self.optimizer.step()
                    self.optimizer.zero_grad()

            def gradients_of(self, loss):
                (2 * loss).backward()
                return [one.grad for one in self.model.parameters()]
        """,
        "            loss.backward()",
        "            pass",
    ),
    "a validation that may stop the training": (
        TrainingInEvalMode,
        """
        class Trainer:
            def fit(self, train_loader, val_loader):
                best, waited = 1e9, 0
                for epoch in range(9):
                    self.train_epoch(train_loader)
                    if val_loader:
                        loss = self.evaluate(val_loader)
                        if loss < best:
                            best, waited = loss, 0
                        else:
                            waited += 1
                        if waited >= 3:
                            break

            def evaluate(self, loader):
                self.model.eval()
                with torch.no_grad():
                    return sum(F.mse_loss(self.model(x), y).item() for x, y in loader)

            def train_epoch(self, loader):
                self.model.train()
                for x, y in loader:
                    self.optimizer.zero_grad()
                    F.mse_loss(self.model(x), y).backward()
                    self.optimizer.step()
        """,
        "self.model.train()",
        "pass",
    ),
    "a validation that ends the training": (
        TrainingInEvalMode,
        """
        class Trainer:
            def fit(self, train_loader, val_loader):
                for epoch in range(9):
                    self.train_epoch(train_loader)
                    if epoch % 4 == 3:
                        print(self.evaluate(val_loader))
                        break

            def evaluate(self, loader):
                self.model.eval()
                with torch.no_grad():
                    return sum(F.mse_loss(self.model(x), y).item() for x, y in loader)

            def train_epoch(self, loader):
                for x, y in loader:
                    self.optimizer.zero_grad()
                    F.mse_loss(self.model(x), y).backward()
                    self.optimizer.step()
        """,
        "                        break\n",
        "",
    ),
    "a network of a library, beside a loss without modes": (
        ValidationInTrainMode,
        """
        from transformers import BertModel

        class Dice(nn.Module):
            def forward(self, x, y):
                return (x * y).sum()

        @torch.no_grad()
        def evaluate(model, loader, judge):
            model.eval()
            total = 0
            for x, y in loader:
                total += judge(model(x), y).item()
            return total

        def main(name, loader, test_loader, judge):
            model = BertModel.from_pretrained(name)
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(9):
                model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    judge(model(x), y).backward()
                    optimizer.step()
                print(evaluate(model, test_loader, judge))
        """,
        "model.eval()",
        "pass",
    ),
    "a text that grows round by round": (
        ValidationInTrainMode,
        """
        class Writer:
            def __init__(self, name):
                self.model = make(name)
                self.model.train()

            def fit(self, batches, optimizer):
                for batch in batches:
                    optimizer.zero_grad()
                    self.model(batch).loss.backward()
                    optimizer.step()

            def write(self, words):
                self.model.eval()
                with torch.no_grad():
                    for _ in range(50):
                        scores = self.model(words)
                        words = torch.cat([words, scores.argmax(-1)])
                return words
        """,
        "self.model.eval()",
        "pass",
    ),
    "a model that its class switches when it is loaded": (
        ValidationBuildsGraph,
        """
        class Scorer:
            def load(self, name):
                self.net = make(name)
                self.net.eval()

            def score(self, words):
                total = 0.0
                for i in range(len(words)):
                    with torch.no_grad():
                        scores = self.net(masked(words, i))
                    total += scores[words[i]].item()
                return total
        """,
        "with torch.no_grad():",
        "if True:",
    ),
    "a model that is switched where it is made": (
        ValidationBuildsGraph,
        """
        from transformers import BertModel

        class Scorer:
            def __init__(self, name, device):
                self.net = BertModel.from_pretrained(name).eval().to(device)

            def score(self, words):
                total = 0.0
                for i in range(len(words)):
                    with torch.no_grad():
                        scores = self.net(masked(words, i))
                    total += scores[words[i]].item()
                return total
        """,
        "with torch.no_grad():",
        "if True:",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_was_not_seen_is_said_beside_a_healthy_twin_of_which_nothing_is(name: str) -> None:
    rule, text, healthy, faulty = PROGRAMS[name]
    text = IMPORTS + text
    assert healthy in text
    assert how_sure(rule, textwrap.dedent(text)) == -1
    assert how_sure(rule, textwrap.dedent(text.replace(healthy, faulty))) >= 0


SURE: dict[str, tuple[type[Rule], str, str, str]] = {
    "a criterion that a function makes by its name": (
        MissingBackward,
        """
        def made_by(name):
            return getattr(nn, name)()

        def fit(model, loader, args):
            criterion = made_by(args.loss)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in loader:
                model.train()
                optimizer.zero_grad()
                answer = model(x)
                loss = criterion(answer, y)
                loss.backward()
                optimizer.step()
        """,
        "loss.backward()",
        "pass",
    ),
    "gradients that are cleared right before the step": (
        MissingBackward,
        """
        def tune(weights, graphs, reward):
            optimizer = torch.optim.AdamW([weights], lr=0.1)
            for graph in graphs:
                chance = torch.sigmoid(weights)
                loss = torch.norm(chance, p="nuc") - reward * torch.log(chance).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        """,
        "loss.backward()",
        "pass",
    ),
    "a network that is none where its library is missing": (
        TrainingInEvalMode,
        """
        HAS_TORCH = "torch" in globals()

        class Net(nn.Module if HAS_TORCH else object):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout()
                self.out = nn.Linear(3, 2)

            def forward(self, x):
                return self.out(self.drop(x))

        def fit(loader, test_loader):
            model = Net()
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(9):
                model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                model.eval()
                with torch.no_grad():
                    for x, y in test_loader:
                        print(F.cross_entropy(model(x), y).item())
        """,
        "model.train()",
        "pass",
    ),
    "options that cannot be changed": (
        ValidationBuildsGraph,
        """
        from dataclasses import dataclass

        @dataclass(frozen=True)
        class Options:
            rate: float = 0.1

        def fit(loader, test_loader):
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters(), lr=Options().rate)
            for epoch in range(9):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                model.eval()
                with torch.no_grad():
                    total = 0
                    for x, y in test_loader:
                        total += F.cross_entropy(model(x), y).item()
                print(total)

        fit(torch.load("train_data"), torch.load("test_data"))
        """,
        "with torch.no_grad():",
        "if True:",
    ),
}


@pytest.mark.parametrize("name", SURE)
def test_what_can_be_seen_whole_is_shown_by_default(name: str) -> None:
    rule, text, healthy, faulty = SURE[name]
    text = IMPORTS + text
    assert healthy in text
    assert how_sure(rule, textwrap.dedent(text)) == -1
    assert how_sure(rule, textwrap.dedent(text.replace(healthy, faulty))) >= SHOWN


HEALTHY: dict[str, tuple[type[Rule], str]] = {
    "a method that is not seen, and may do all of it": (
        MissingBackward,
        """
        class Trainer:
            def fit(self, batches):
                for batch in batches:
                    self.optimizer.zero_grad()
                    loss = self.engine.run(batch)
                    self.optimizer.step()
                    print(loss.item())
        """,
    ),
    "a loss that is read, and goes backward in a function that is not seen": (
        MissingBackward,
        """
        def fit(net, judge_loss, batches, optimizer, apply):
            for batch in batches:
                optimizer.zero_grad()
                loss = judge_loss(net, batch)
                apply(loss)
                optimizer.step()
                print(loss.item())
        """,
    ),
    "a model that its class switches both ways": (
        ValidationBuildsGraph,
        """
        class Scorer:
            def __init__(self, net):
                self.net = net

            def score(self, words):
                return sum(self.net(masked(words, i))[words[i]].item() for i in range(len(words)))

            def rest(self):
                self.net.eval()

            def work(self):
                self.net.train()
        """,
    ),
    "a model that gives nothing back, and fills what it is given": (
        ValidationBuildsGraph,
        """
        from transformers import BertModel

        class Matcher:
            def __init__(self, name):
                self.net = BertModel.from_pretrained(name).eval()

            def match(self, pairs):
                for pair in pairs:
                    self.net(pair)
                    print(pair["points"].cpu())
        """,
    ),
    "a question that is asked many times": (
        ValidationInTrainMode,
        """
        class Oracle:
            def __init__(self, name):
                self.model = make(name)
                self.model.train()

            def fit(self, batches, optimizer):
                for batch in batches:
                    optimizer.zero_grad()
                    self.model(batch).loss.backward()
                    optimizer.step()

            def ask(self, words):
                with torch.no_grad():
                    for _ in range(50):
                        print(self.model(words).argmax(-1))
        """,
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_may_be_right_is_not_told(name: str) -> None:
    rule, text = HEALTHY[name]
    assert how_sure(rule, textwrap.dedent(IMPORTS + text)) == -1


@pytest.mark.parametrize(("network", "is_shown"), [("BertModel", True), ("LlamaModel", False), ("SamModel", False)])
def test_a_network_that_drops_nothing_by_default_is_shown_with_all_only(network: str, *, is_shown: bool) -> None:
    text = textwrap.dedent(IMPORTS + PROGRAMS["a network of a library, beside a loss without modes"][1])
    text = text.replace("BertModel", network).replace("model.eval()", "pass")
    assert how_sure(ValidationInTrainMode, text) >= 0
    assert (how_sure(ValidationInTrainMode, text) >= SHOWN) is is_shown
