"""What strangers judged wrong in packages that nobody had seen, each beside a twin in which it is a fault."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.data.distributed_sampler_epoch import DistributedSamplerEpoch
from stethoscope.rules.loop.checkpoint_aliased import CheckpointAliased
from stethoscope.rules.loop.gradients_cleared_before_step import GradientsClearedBeforeStep
from stethoscope.rules.loop.graph_kept_alive import GraphKeptAlive
from stethoscope.rules.loop.loss_detached import LossDetached
from stethoscope.rules.loop.missing_optimizer_step import MissingOptimizerStep
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph
from stethoscope.rules.loop.validation_in_train_mode import ValidationInTrainMode
from stethoscope.rules.parameters.overwritten_layer import OverwrittenLayer
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

BETTER = """if loss < self.best:
                    self.best = loss.item()
                    self.params = self.model.state_dict()"""
LAST = """self.params = self.model.state_dict()
                del self.model
                return self"""
TWINS: dict[str, tuple[type[Rule], str, str, str]] = {
    "a generator of the project that clears before each round": (
        MissingZeroGrad,
        """
        class Base:
            def __init__(self, model):
                self.model = model
                self.optimizer = torch.optim.Adam(model.parameters())

            def tag(self, loader, is_train=False):
                for x, y in loader:
                    self.optimizer.zero_grad()
                    yield y, self.model(x)

        class Trainer(Base):
            def train(self, loader):
                for number, (y, out) in enumerate(self.tag(loader, is_train=True), 1):
                    loss = F.cross_entropy(out, y)
                    loss.backward()
                    self.optimizer.step()
                    print(number, loss.item())
        """,
        "self.optimizer.zero_grad()",
        "print(x.shape)",
    ),
    "the parts of one step, listed in one of two ways": (
        GraphKeptAlive,
        """
        def take(model, x, y, mode, parts, many):
            optimizer = torch.optim.Adam(model.parameters())
            if mode in parts:
                chosen = [(mode, parts[mode])]
            else:
                chosen = [(name, parts[name]) for name in parts if mode in name]
            total = 0
            for name, part in chosen:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                total += loss
                loss.backward()
                optimizer.step()
            return total
        """,
        "in chosen:",
        "in torch.utils.data.DataLoader(many):",
    ),
    "an option that is never set, of which a docstring speaks": (
        DistributedSamplerEpoch,
        """
        from torch.utils.data import DataLoader, DistributedSampler

        class Options:
            '''What a run is asked for.

            spread: Whether the samples are spread.
            '''
            spread: bool = False

        def fit(model, data, options: Options):
            optimizer = torch.optim.Adam(model.parameters())
            sampler = None
            if options.spread:
                sampler = DistributedSampler(data)
            loader = DataLoader(data, sampler=sampler)
            for epoch in range(9):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
        """,
        "spread: bool = False",
        "spread: bool = True",
    ),
    "what stands behind a first round that ends with an error": (
        ValidationBuildsGraph,
        """
        import torch
        import torch.nn.functional as F
        from torch.utils.data import DataLoader

        def train(model: torch.nn.Module, data):
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(9):
                for x, y in DataLoader(data):
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    raise ValueError(loss.shape)
                    loss.backward()
                    optimizer.step()
            model.eval()
            right = 0
            for x, y in DataLoader(data):
                right += (model(x).argmax(1) == y).sum().item()
            print(right)
        """,
        "raise ValueError(loss.shape)",
        "print(loss.item())",
    ),
    "a step that is given the function that goes backward": (
        MissingOptimizerStep,
        """
        def fit(scores, y):
            heat = nn.Parameter(torch.ones(1))
            optimizer = torch.optim.LBFGS([heat], lr=0.1)
            schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.99)

            def take():
                optimizer.zero_grad()
                loss = F.cross_entropy(scores / heat, y)
                loss.backward()
                schedule.step()
                return loss

            optimizer.step(take)
            return heat
        """,
        "optimizer.step(take)",
        "for _ in range(9): take()",
    ),
    "a tensor of a class that computes nothing": (
        UnregisteredModules,
        """
        class Norm(nn.Module):
            def __init__(self, shape):
                super().__init__()
                self.gamma = nn.Parameter(torch.ones(shape)).cuda()

            def construct(self, x):
                return x * self.gamma
        """,
        "construct",
        "forward",
    ),
    "layers of an example that takes the time": (
        UnregisteredModules,
        """
        import time
        import torch
        from torch import nn

        class Many(nn.Module):
            def __init__(self, n):
                super().__init__()
                self.layers = [nn.Linear(3, 3) for _ in range(n)]

            def forward(self, x):
                return [layer(x) for layer in self.layers]

        def main(many):
            start = time.time()
            many(torch.randn(8, 3))
            print(time.time() - start)
        """,
        "print(",
        "torch.optim.SGD(many.parameters(), lr=0.1).step()\n    print(",
    ),
    "a layer that stands in place of another, as a comment says": (
        OverwrittenLayer,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.up = nn.ConvTranspose2d(8, 4, 4, 2, 1)
                self.out = nn.Conv2d(4, 1, 1)

                # print("replace all deconv with [nearest + conv]")
                self.up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(8, 4, 3, 1, 1))

            def forward(self, x):
                return self.out(self.up(x))
        """,
        "replace all deconv with",
        "the decoder:",
    ),
    "data of what a function is registered for": (
        LossDetached,
        """
        import torch
        from theirs import Sum, Term, solver

        @solver.register(Sum, Term)
        def least(self, loss, values):
            optimizer = torch.optim.Adam(values)
            for step in range(100):
                optimizer.zero_grad()
                step_loss = loss(*values).data
                step_loss.backward()
                optimizer.step()
        """,
        "@solver.register(Sum, Term)\n",
        "",
    ),
    "a generator that is not seen, and may clear": (
        MissingZeroGrad,
        """
        class Trainer:
            def __init__(self, model, tag):
                self.model, self.tag = model, tag
                self.optimizer = torch.optim.Adam(model.parameters())

            def train(self, loader):
                for x, y in self.tag(loader):
                    loss = F.cross_entropy(self.model(x), y)
                    loss.backward()
                    self.optimizer.step()
                    print(loss.item())
        """,
        "self.tag(loader)",
        "loader",
    ),
    "the state of a model that is let go": (
        CheckpointAliased,
        """
        class Fit:
            def fit(self, loader, n):
                if n > self.least:
                    self.model = nn.Linear(3, 2)
                    optimizer = torch.optim.Adam(self.model.parameters())
                    for epoch in range(100):
                        for x, y in loader:
                            optimizer.zero_grad()
                            loss = F.cross_entropy(self.model(x), y)
                            loss.backward()
                            optimizer.step()
                        KEPT

            def predict(self, x):
                model = nn.Linear(3, 2)
                model.load_state_dict(self.params)
                return model(x)
        """,
        "KEPT",
        BETTER,
    ),
    "steps of one batch that are listed": (
        GraphKeptAlive,
        """
        def train(model, loss_fns, optimizer, x, y, names, loader):
            chosen = [one for one in names if one in loss_fns]
            total = 0
            for one in chosen:
                optimizer.zero_grad()
                loss = F.mse_loss(model(x), y)
                loss.backward()
                optimizer.step()
                total += loss
            return total
        """,
        "in chosen",
        "in loader",
    ),
    "an option of a class that nobody switches on": (
        DistributedSamplerEpoch,
        """
        from torch.utils.data import DataLoader, DistributedSampler

        class Options:
            spread: bool = False

        def fit(model, data, options: Options):
            optimizer = torch.optim.Adam(model.parameters())
            sampler = None
            if options.spread:
                sampler = DistributedSampler(data)
            loader = DataLoader(data, sampler=sampler)
            for epoch in range(9):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
        """,
        "spread: bool = False",
        "spread: bool = True",
    ),
    "a network of a base class, whose heirs may take derivatives": (
        ValidationBuildsGraph,
        """
        import torch
        from torch.utils.data import DataLoader
        from models import BaseNet

        class Trainer:
            def __init__(self, model: BaseNet, device):
                model = model.to(device)
                self.model = model
                self.optimizer = torch.optim.Adam(model.parameters())

            def train(self, data):
                self.model.train()
                for x in DataLoader(data):
                    loss = self.model(x).loss
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()

            def evaluate(self, data):
                self.model.eval()
                total = 0
                for x in DataLoader(data):
                    total += self.model(x).loss.item()
                return total
        """,
        "BaseNet",
        "Network",
    ),
    "steps that look for what fits the memory, and change nothing": (
        GradientsClearedBeforeStep,
        """
        def largest(model, loader):
            optimizer = torch.optim.AdamW(model.parameters())
            for x in loader:
                model(x).sum().backward()
                optimizer.zero_grad()
                optimizer.step()
                try:
                    model(x).sum().backward()
                except torch.cuda.OutOfMemoryError:
                    return len(x)
        """,
        "torch.cuda.OutOfMemoryError",
        "KeyError",
    ),
    "an answer where no training gave one": (
        ValidationInTrainMode,
        """
        def solve(edges, steps):
            best = None
            model = nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.5), nn.Linear(9, 2))
            optimizer = torch.optim.Adam(model.parameters())
            for _ in range(steps):
                optimizer.zero_grad()
                loss = model(edges).sum()
                loss.backward()
                optimizer.step()
            if best is None:
                with torch.no_grad():
                    found = model(edges).argmax(1).tolist()
            print(found)
        """,
        "best is None",
        "steps",
    ),
    "a switch of a constructor that nobody throws": (
        DistributedSamplerEpoch,
        """
        import torch
        import torch.nn.functional as F
        from torch.utils.data import DataLoader, DistributedSampler

        class Trainer:
            def __init__(self, model, data, spread=False):
                self.model, self.data = model, data
                self.spread = spread

            def fit(self):
                optimizer = torch.optim.Adam(self.model.parameters())
                if self.spread:
                    sampler = DistributedSampler(self.data)
                else:
                    sampler = None
                loader = DataLoader(self.data, sampler=sampler)
                for epoch in range(9):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(self.model(x), y).backward()
                        optimizer.step()
        """,
        "spread=False",
        "spread=True",
    ),
    "a device that may be the processor": (
        UnregisteredModules,
        """
        class Net(nn.Module):
            def __init__(self, options):
                super().__init__()
                device = options.get("device", "cpu")
                self.x = nn.Parameter(torch.zeros(3)).to(device)

            def forward(self, x):
                return x * self.x
        """,
        ".to(device)",
        ".cuda()",
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_what_was_judged_wrong_is_not_shown_and_its_faulty_twin_is(name: str) -> None:
    rule, text, healthy, faulty = TWINS[name]
    text = textwrap.dedent(text)
    assert healthy in text
    assert how_sure(rule, text.replace("KEPT", LAST)) < SHOWN <= how_sure(rule, text.replace(healthy, faulty))


@pytest.mark.parametrize("left", ["break", "continue"])
def test_a_loop_that_is_left_before_the_error_is_gone_behind(left: str) -> None:
    rule, text, error, _ = TWINS["what stands behind a first round that ends with an error"]
    reached = f"if len(x) > 1: {left}\n            {error}"
    assert how_sure(rule, textwrap.dedent(text).replace(error, reached)) >= SHOWN
