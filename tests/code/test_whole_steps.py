"""Loops whose rounds are no whole steps, or that hand gradients or losses on: nothing is said of them by default."""

from __future__ import annotations

import pytest

from code_programs import code_of
from stethoscope.core.review import Level
from stethoscope.core.rule import Rule
from stethoscope.diagnosing.review import review
from stethoscope.rules.loop.graph_kept_alive import GraphKeptAlive
from stethoscope.rules.loop.missing_optimizer_step import MissingOptimizerStep
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.loop.training_in_eval_mode import TrainingInEvalMode
from stethoscope.rules.loop.validation_in_train_mode import ValidationInTrainMode

ACCUMULATED = """
    def train_step(model, loader, optimizer, parts):
        total = 0.0
        for x, y in loader:
            loss = F.cross_entropy(model(x), y) / parts
            loss.backward()
            total += loss
            optimizer.step()
            optimizer.zero_grad()
        return total
"""
WEIGHED = """
    def train(model, chunks, optimizer, n):
        seen = 0.0
        for chunk in chunks:
            optimizer.zero_grad()
            size = len(chunk)
            value = F.mse_loss(model(chunk), chunk)
            loss = (size / n) * value
            loss.backward()
            optimizer.step()
            weight = size / n
            seen += weight * TAKEN
        return seen
"""
ROUNDS = """
    def train(model, draw, optimizer, rounds):
        total = 0.0
        for number in range(rounds):
            optimizer.zero_grad()
            loss = F.mse_loss(model(draw()), draw())
            loss.backward()
            optimizer.step()
            total += loss
        return total.detach()
"""
SUMMED = """
    def train(model, loader, optimizer):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss
        READ
"""
SOME = """
    def train(model, loader, optimizer):
        total = 0.0
        for index, (x, y) in enumerate(loader):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            if ASKED:
                total += loss
        return total
"""
PARTS = """
    def train(model, loader, optimizer, parts):
        for x, y in loader:
            total = 0.0
            for part in DATA:
                optimizer.zero_grad()
                loss = F.mse_loss(model(part), y)
                loss.backward()
                optimizer.step()
                total += loss
            print(total)
"""
NETWORKS = """
    def train(judges, optimizers, shared_optimizer, loader):
        for x, y in loader:
            total = 0.0
            for judge, optimizer in zip(judges, optimizers):
                judge.zero_grad()
                loss = F.mse_loss(judge(x), y)
                loss.backward()
                OPTIMIZER.step()
                total += loss
            print(total)
"""
NUMBERED = NETWORKS.replace("judge, optimizer in zip(judges, optimizers)", "i, judge in enumerate(judges)")
CRITIC = """
    def train(maker, critic, critic_optimizer, maker_optimizer, loader):
        for x, y in loader:
            total, count = 0.0, 0
            while count < 5:
                count += 1
                critic_optimizer.zero_grad()
                loss = F.mse_loss(critic(x), y)
                loss.backward()
                critic_optimizer.step()
                total += loss
            AFTER
            print(total)
"""
FISHER = """
    class Learner:
        def __init__(self, net):
            self.net = net
            self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)

        def finish(self, loader):
            for x, y in loader:
                self.optimizer.zero_grad()
                F.cross_entropy(self.net(x), y).backward()
                self.seen = self.net.get_grads()

        def fit(self, loader):
            for x, y in loader:
                loss = F.cross_entropy(self.net(x), y)
                self.optimizer.step()
"""
EVALUATED = """
    import torch
    import torch.nn.functional as F
    from torch import nn
    from library import restore

    def fit(loader, test_loader, callbacks):
        model = nn.Sequential(nn.Linear(3, 9), nn.BatchNorm1d(9), nn.Linear(9, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(9):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                print(sum(F.cross_entropy(model(x), y).item() for x, y in test_loader))
            AFTER
"""
NORMS = """
    def norms(model, loader):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        found = []
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            found.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9).item())
        return found
"""
WATCHED = """
    import torch
    import torch.nn.functional as F
    from scores import Scores

    def rank(model, loader):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scores = Scores(model)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            scores.update()
        return scores
"""
TRIED = """
    def tried(source, x):
        model = made(source)
        loss = model(x).sum()
        loss.backward()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss = model(x).sum()
        loss.backward()
        optimizer.step()

    def all_tried(sources, x):
        for source in sources:
            tried(source, x)
"""
UNSWITCHED = """
    import torch
    import torch.nn.functional as F
    from torch import nn
    from utils import set_mode

    model = nn.Sequential(nn.Linear(3, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 2))
    optimizer = torch.optim.Adam(model.parameters())

    def fit(loader, test_loader):
        for epoch in range(3):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            SWITCH
            right = 0
            with torch.no_grad():
                for x, y in test_loader:
                    right += model(x).argmax(1).eq(y).sum().item()
"""
GENERATOR = """
    G = nn.Sequential(nn.Linear(3, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 2))
    optimizer = torch.optim.Adam(G.parameters())

    def fit(loader):
        G.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.mse_loss(G(x), y).backward()
            optimizer.step()

    def look(test_loader):
        found = []
        with torch.no_grad():
            for x, y in test_loader:
                LOOK
        return found
"""
APART = """
    HEAD
    def fit(model, loader):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            _ = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            print(x)

    def smallest(model, pruned=0.5):
        importance = model.weight.abs()
        return importance < importance.quantile(pruned)

    fit(nn.Linear(3, 2), torch.load("data"))
    AFTER
"""
SCRIPT = """
    attacked = torch.load("attack")
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in torch.load("data"):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        print(len(x), "AFTER")
    print("saliency", model)
"""
HANDLED = """
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Trainer:
        def __init__(self, name):
            self.model = nn.Sequential(nn.Linear(3, 9), nn.BatchNorm1d(9), nn.Linear(9, 2))
            self.optimizer = getattr(torch.optim, name)(self.model.parameters(), lr=0.1)

        def on_step(self, batch):
            return self.model(batch[0]), batch[1]

        def on_epoch_end(self):
            pass

        def fit(self, loader, test_loader):
            optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
            self.model.train()
            for epoch in range(9):
                for batch in loader:
                    optimizer.zero_grad()
                    answer, y = self.on_step(batch)
                    F.cross_entropy(answer, y).backward()
                    optimizer.step()
                self.model.eval()
                with torch.no_grad():
                    print(sum(F.cross_entropy(self.model(x), y).item() for x, y in test_loader))
                AFTER
"""
GIVEN = """
    eta = torch.tensor(0.0, requires_grad=True)
    optimizer = torch.optim.SGD([eta], lr=1.0)

    def tried():
        optimizer.zero_grad()
        cost = torch.sum((eta.repeat(3) - 1) ** 2)
        cost.backward()
        return eta.grad.clone()

    found = []
    for number in range(1000):
        found.append(tried())
    print(torch.stack(found).var(0))
"""
SHAPES: dict[str, tuple[type[Rule], str, str, str]] = {
    "parts of one step": (GraphKeptAlive, ACCUMULATED, "            optimizer", "            optimizer"),
    "a weight that goes into the loss": (GraphKeptAlive, WEIGHED, "TAKEN", "value"),
    "the parts of a batch": (GraphKeptAlive, PARTS, "DATA", "loader"),
    "several networks, each with its optimizer": (GraphKeptAlive, NETWORKS, "OPTIMIZER", "shared_optimizer"),
    "several optimizers, by their number": (GraphKeptAlive, NUMBERED, "OPTIMIZER", "shared_optimizer"),
    "rounds of one network before a step of another": (GraphKeptAlive, CRITIC, "AFTER", "print(count)"),
    "the last rounds": (GraphKeptAlive, SOME, "ASKED", "y is not None"),
    "a number of rounds that is not known": (GraphKeptAlive, ROUNDS, "range(rounds)", "range(10_000)"),
    "gradients that a function gives": (MissingOptimizerStep, GIVEN, "eta.grad.clone()", "cost.detach()"),
    "gradients that a method gives": (
        MissingOptimizerStep,
        FISHER.replace("                self.optimizer.step()\n", "                print(loss.item())\n"),
        "self.net.get_grads()",
        "len(x)",
    ),
    "an optimizer that steps in its training": (
        MissingOptimizerStep,
        FISHER.replace("self.net.get_grads()", "len(x)"),
        "self.optimizer.step()",
        "print(loss.item())",
    ),
    "how large gradients are": (
        MissingOptimizerStep,
        NORMS,
        "found.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9).item())",
        "torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)",
    ),
    "gradients for a function that prunes": (MissingOptimizerStep, APART, "HEAD", ""),
    "a training that is called for an attack": (MissingOptimizerStep, APART, "AFTER", "print(1)"),
    "something unseen, where the file ranks weights": (MissingOptimizerStep, APART, "print(x)", "print(len(x))"),
    "a hook in the file": (MissingOptimizerStep, APART, "AFTER", "print(1)"),
    "a script that attacks in its loop": (MissingOptimizerStep, SCRIPT, "AFTER", "seen"),
    "a handler that another class may fill in": (TrainingInEvalMode, HANDLED, "AFTER", "print(epoch)"),
    "something that looks at the model": (MissingOptimizerStep, WATCHED, "Scores(model)", "Scores()"),
    "an optimizer that each round makes": (
        MissingZeroGrad, TRIED, "        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n", "",
    ),
    "a mode that a function may set back": (TrainingInEvalMode, EVALUATED, "AFTER", "print(epoch)"),
    "a mode that a callback may set back": (TrainingInEvalMode, EVALUATED, "AFTER", "print(epoch)"),
    "a mode that a function may set": (ValidationInTrainMode, UNSWITCHED, "SWITCH", "print(epoch)"),
    "a generator's samples": (
        ValidationInTrainMode, GENERATOR, "LOOK", "found.append(G(x).argmax(1).tolist())",
    ),
}  # fmt: skip
HEALTHY = {
    "the parts of a batch": "x.chunk(parts)",
    "several networks, each with its optimizer": "optimizer",
    "several optimizers, by their number": "optimizers[i]",
    "rounds of one network before a step of another": "maker_optimizer.step()",
    "the last rounds": "index >= len(loader) - 4",
    "parts of one step": "        optimizer",
    "a weight that goes into the loss": "float(value.detach())",
    "a mode that a function may set back": "restore(model)",
    "a mode that a callback may set back": "[one.on_epoch_end() for one in callbacks]",
    "a mode that a function may set": "set_mode(model, False)",
    "gradients for a function that prunes": "def prune(model, loader):\n        fit(model, loader)\n",
    "a training that is called for an attack": "attack = fit(nn.Linear(3, 2), [])",
    "something unseen, where the file ranks weights": "scores.collect()",
    "a hook in the file": "nn.Linear(3, 2).register_full_backward_hook(print)",
    "a script that attacks in its loop": "attack",
    "a handler that another class may fill in": "self.on_epoch_end()",
    "a generator's samples": "found.append(G(torch.randn(len(x), 3)).argmax(1).tolist())",
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_not_shown_and_its_faulty_twin_is(name: str) -> None:
    rule, text, healthy, faulty = SHAPES[name]
    assert healthy in text
    if name == "an optimizer that each round makes":
        twin = text.replace(healthy, "").replace(
            "def all_tried", "optimizer = torch.optim.SGD(NET)\n\n    def all_tried"
        )
        assert not _shown(rule, text)
        assert _found(rule, twin.replace("NET", "nn.Linear(3, 2).parameters(), lr=0.1"))
        return
    assert not _shown(rule, text.replace(healthy, HEALTHY.get(name, healthy)))
    assert _shown(rule, text.replace(healthy, faulty))


LAYERS = """
    class Net(nn.Module):
        def __init__(self, share=0.5):
            super().__init__()
            self.first, self.share = nn.Linear(3, 9), share
            self.drop = DROPS

        def forward(self, x, is_training=False):
            return RUNS

    model = Net(SHARE)
    optimizer = torch.optim.Adam(model.parameters())

    def fit(loader, test_loader):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x, is_training=True), y).backward()
            optimizer.step()
        BETWEEN
        right = 0
        with torch.no_grad():
            for x, y in test_loader:
                right += model(x).argmax(1).eq(y).sum().item()
"""


@pytest.mark.parametrize(
    ("drops", "runs", "share", "between", "is_shown"),
    [
        ("nn.Dropout(share)", "self.drop(self.first(x))", "0.5", "pass", True),
        ("nn.Dropout(share)", "self.drop(self.first(x))", "0.0", "pass", False),
        ("nn.Identity()", "F.dropout(self.first(x), self.share, self.training)", "0.5", "pass", True),
        ("nn.Identity()", "F.dropout(self.first(x), self.share, is_training)", "0.5", "pass", False),
        ("nn.BatchNorm1d(9)", "self.drop(self.first(x))", "0.5", "pass", True),
        ("nn.BatchNorm1d(9, track_running_stats=False)", "self.drop(self.first(x))", "0.5", "pass", False),
        ("nn.BatchNorm1d(9)", "self.drop(self.first(x))", "0.5", "model.drop.reset_running_stats()", False),
        ("nn.BatchNorm1d(9)", "self.drop(self.first(x))", "0.5", "[getattr(one, mode)() for one in models]", False),
    ],
)
def test_a_mode_matters_where_a_layer_has_two(drops: str, runs: str, share: str, between: str, is_shown: bool) -> None:
    text = LAYERS.replace("DROPS", drops).replace("RUNS", runs).replace("SHARE", share).replace("BETWEEN", between)
    assert bool(_shown(ValidationInTrainMode, text)) is is_shown


def test_a_mode_that_a_base_which_is_not_seen_may_set_is_possible_at_most() -> None:
    text = """
        import torch
        import torch.nn.functional as F
        from torch import nn
        from library import Base

        class Trainer(Base):
            def __init__(self):
                self.model = nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.5), nn.Linear(9, 2))
                self.optimizer = torch.optim.Adam(self.model.parameters())

            def fit(self, loader, test_loader):
                for x, y in loader:
                    self.optimizer.zero_grad()
                    F.cross_entropy(self.model(x), y).backward()
                    self.optimizer.step()
                self.use()
                with torch.no_grad():
                    print(sum((self.model(x).argmax(1) == y).sum().item() for x, y in test_loader))
    """
    assert not _shown(ValidationInTrainMode, text)
    assert _shown(ValidationInTrainMode, text.replace("self.use()", "print(loader)"))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (MissingZeroGrad, "clear = optimizer.zero_grad"),
        (MissingZeroGrad, "[setattr(one, 'grad', None) for one in weights]"),
        (MissingOptimizerStep, "queue.append(optimizer.step)"),
    ],
)
def test_a_method_that_is_called_by_another_name_may_do_it(rule: type[Rule], said: str) -> None:
    text = """
        def fit(model, loader, queue, weights):
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in loader:
                SAID
                FIRST
                F.cross_entropy(model(x), y).backward()
                LAST
    """
    first, last = ("pass", "optimizer.step()") if rule is MissingZeroGrad else ("optimizer.zero_grad()", "pass")
    text = text.replace("FIRST", first).replace("LAST", last)
    assert _shown(rule, text.replace("SAID", "pass"))
    assert not _shown(rule, text.replace("SAID", said))


def test_pictures_that_are_translated_in_train_mode_are_possible_at_most() -> None:
    assert not _shown(ValidationInTrainMode, GENERATOR.replace("LOOK", "save(G(x).cpu(), y)"))


def test_a_mode_that_a_caller_elsewhere_may_set_is_possible_at_most() -> None:
    text = GENERATOR.replace("LOOK", "found.append(G(x).argmax(1).tolist())")
    assert _shown(ValidationInTrainMode, text)
    assert not _shown(ValidationInTrainMode, text.replace("        G.train()\n", ""))


def test_what_a_kept_graph_and_a_mode_that_stays_do_is_said_as_it_is() -> None:
    (kept,) = review(code_of(SUMMED.replace("READ", "return total")), rules=[GraphKeptAlive]).findings
    assert "frees activations at most" in kept.cause  # what is saved for the backward pass is not kept
    dropped = """
        model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
        optimizer = torch.optim.Adam(model.parameters())
        for epoch in range(9):
            for x, y in loader:
                optimizer.zero_grad()
                F.mse_loss(model(x), y).backward()
                optimizer.step()
            model.eval()
    """
    (stays,) = review(code_of(dropped), rules=[TrainingInEvalMode]).findings
    assert "uses its running statistics" not in stays.cause  # there is no batch normalization


@pytest.mark.parametrize("read", ["total.item()", "(total / len(loader)).item()", "total.detach().cpu()"])
def test_a_sum_that_is_read_as_a_tensor_stays_one(read: str) -> None:
    assert _offered(SUMMED.replace("READ", "print(total)")) == ["loss.detach()", "loss.item()"]
    assert _offered(SUMMED.replace("READ", "return total")) == ["loss.detach()", "loss.item()"]
    assert _offered(SUMMED.replace("READ", f"print({read})")) == ["loss.detach()"]


def _offered(text: str) -> list[str]:
    (kept,) = review(code_of(text), rules=[GraphKeptAlive]).findings
    return [one.text.split()[-1] for one in kept.fixes]


def _shown(rule: type[Rule], text: str) -> list[str]:
    return [one.title for one in review(code_of(text), rules=[rule]).findings if Level().shows(one)]


def _found(rule: type[Rule], text: str) -> list[str]:
    return [one.title for one in review(code_of(text), rules=[rule]).findings]


def test_a_loop_in_another_file_than_its_step_is_named_with_its_file() -> None:
    program = """
    # file: steps.py
    import torch

    class Step:
        def __init__(self, model):
            self.model = model
            self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def step(self, x, y):
            loss = torch.nn.functional.cross_entropy(self.model(x), y)
            loss.backward()
            self.optimizer.step()
    # file: train.py
    from steps import Step
    import torch

    step = Step(torch.nn.Linear(3, 2))
    for x, y in torch.utils.data.DataLoader(torch.load("data")):
        step.step(x, y)
    """

    (found,) = review(code_of(program), rules=[MissingZeroGrad]).findings
    assert found.place.source == "steps.py:11"
    assert "in the loop at train.py:5, backward passes" in [one.what for one in found.evidence]
