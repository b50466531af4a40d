"""Faults that were put into repositories of the half that was held out, and were not found: each beside its healthy
twin.
"""

from __future__ import annotations

import textwrap

import pytest

from code_programs import how_sure
from stethoscope.core.finding import Sureness
from stethoscope.core.rule import Rule
from stethoscope.rules.data.distributed_sampler_epoch import DistributedSamplerEpoch
from stethoscope.rules.loop.missing_backward import MissingBackward
from stethoscope.rules.loop.missing_optimizer_step import MissingOptimizerStep
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.loop.training_in_eval_mode import TrainingInEvalMode
from stethoscope.rules.loop.validation_in_train_mode import ValidationInTrainMode
from stethoscope.rules.parameters.attribute_without_effect import AttributeWithoutEffect
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

CERTAIN, LIKELY, POSSIBLE = (one.strength for one in (Sureness.CERTAIN, Sureness.LIKELY, Sureness.POSSIBLE))
SILENT = -1
THINNED = """
    def thinned(layers, rate):
        if rate == 0:
            return layers
        count = len(layers)
        drawn = torch.rand(count) < rate
        layers = [layer for (layer, drop) in zip(layers, drawn) if not drop]
        return layers

    class Net(nn.Module):
        def __init__(self, depth):
            super().__init__()
            self.layers = []
            for _ in range(depth):
                self.layers.append(nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]))

        def forward(self, x):
            layers = thinned(self.layers, 0.1)
            for attention, mix in layers:
                x = mix(attention(x))
            return x
"""
QUIET = """
    class Net(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body
            self.layers = [nn.Linear(3, 3), nn.Linear(3, 3)]

        def forward(self, x, frozen=False):
            context = torch.no_grad if frozen else nullcontext
            with context():
                x = self.body(x)
            x = self.layers[0](x)
            return x
"""
MAPPED = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(3, 3), nn.Linear(3, 3)]

        def forward(self, x):
            return torch.cat(tuple(map(lambda layer: layer(x), self.layers)), 1)
"""
KEEPING = """
    class Node(nn.Module):
        def __init__(self, mix, after):
            super().__init__()
            self.mix = mix
            self.after = after

        def forward(self, x):
            return self.after(self.mix(x))

    class Net(nn.Module):
        def __init__(self, make):
            super().__init__()
            self.nodes = []
            for _ in range(3):
                after = nn.Sequential()
                after.add_module("conv", nn.Conv2d(3, 3, 1))
                self.nodes.append(Node(mix=make(), after=after))

        def forward(self, x):
            for node in self.nodes:
                x = node(x)
            return x
"""
FROZEN = """
    import torch
    from torch import nn
    from torchvision import models

    class Features(nn.Module):
        def __init__(self, learns=False):
            super().__init__()
            layers = models.vgg16(weights="DEFAULT").features
            self.first = nn.Sequential()
            for number in range(4):
                self.first.add_module(str(number), layers[number])
            if not learns:
                for one in self.parameters():
                    one.requires_grad = False

        def forward(self, x):
            return self.first(x)
"""
DEMO = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(3, 3)

        def forward(self, x):
            return self.one(x)

    model = parallel(Net().cuda())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for number in range(10):
        torch.manual_seed(number)
        out = model(torch.rand(20, 3))
        out.sum().backward()
        optimizer.step()
"""
EPISODES = """
    import torch
    from games import Policy, play

    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)

    def finish():
        losses = [-log * gain for log, gain in zip(policy.logs, policy.gains)]
        optimizer.zero_grad()
        loss = torch.cat(losses).sum()
        loss.backward()
        optimizer.step()

    def main(env):
        for episode in range(1000):
            play(env, policy)
            finish()
"""
CANCELLED = """
    def train(model, loader, optimizer, steps):
        model.train()
        for number, (x, y) in enumerate(loader):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            if number < steps:
                for name, parameter in model.named_parameters():
                    if "head" in name:
                        parameter.grad = None
            optimizer.step()
            print(loss.item())
"""
CLIPPED = """
    def bounded_clipping(parameters, most):
        norm = torch.tensor([0.0])
        for one in parameters:
            norm += (one.grad.data ** 2).sum()
        if norm.sqrt().item() > most:
            for one in parameters:
                one.grad.data *= most / norm.sqrt().item()

    def train(model, loader):
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            bounded_clipping(model.parameters(), 1.0)
            optimizer.step()
            print(loss.item())
"""
ADVERSARIES = """
    maker = nn.Linear(3, 3)
    judge = nn.Linear(3, 1)
    of_maker = torch.optim.Adam(maker.parameters())
    of_judge = torch.optim.Adam(judge.parameters())

    def judge_step(x):
        judge.zero_grad()
        loss = (judge(maker(torch.rand(8, 3)).detach()) - judge(x)).mean()
        loss.backward()
        of_judge.step()
        return loss.item()

    def maker_step():
        maker.zero_grad()
        loss = -judge(maker(torch.rand(8, 3))).mean()
        loss.backward()
        of_maker.step()
        return loss.item()

    for x, _ in DataLoader(torch.load("data")):
        print(judge_step(x), maker_step())
"""
ADDED = """
    model = nn.Sequential()
    model.add_module("one", nn.Linear(3, 8))
    model.add_module("drop", nn.Dropout(0.5))
    model.add_module("two", nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters())

    def train(epochs, loader, test_loader):
        for epoch in range(epochs):
            model.train()
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            model.eval()
            right = 0
            with torch.no_grad():
                for x, y in test_loader:
                    right += (model(x).argmax(1) == y).sum().item()
            print(right)

    train(9, DataLoader(torch.load("data")), DataLoader(torch.load("test")))
"""
RESUMED = ADDED.replace(
    """
    model = nn.Sequential()
    model.add_module("one", nn.Linear(3, 8))
    model.add_module("drop", nn.Dropout(0.5))
    model.add_module("two", nn.Linear(8, 2))
""",
    """
    name = input()
    if name:
        model = torch.load(name)
    else:
        model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2))
""",
)
SPAWNED = """
    from torch import multiprocessing as mp
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader
    from torch.utils.data.distributed import DistributedSampler

    def loaders(data, is_distributed=True):
        sampler = DistributedSampler(data) if is_distributed else None
        return DataLoader(data, sampler=sampler, shuffle=sampler is None)

    def run_epoch(batches, model, optimizer):
        for x, y in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    def worker(rank, data, model, is_distributed=False):
        loader = loaders(data, is_distributed)
        optimizer = torch.optim.Adam(model.parameters())
        for epoch in range(9):
            # TELLS
            run_epoch(((x.cuda(), y.cuda()) for x, y in loader), model, optimizer)

    def main(data, model, many):
        if many:
            mp.spawn(worker, args=(data, model, True), nprocs=4)
        else:
            worker(0, data, model, False)
"""
ONE_BY_ONE = """for one in self.parameters():
                    one.requires_grad = False"""
TWINS: dict[str, tuple[type[Rule], str, str, str, int, int]] = {
    "a function registers what it is given, or only chooses from it": (
        UnregisteredModules, THINNED, "count = len(layers)", "count = len(nn.ModuleList(layers))", CERTAIN, SILENT
    ),
    "a context that is chosen is entered around another part, or around the layers": (
        UnregisteredModules, QUIET, "    x = self.layers[0]", "        x = self.layers[0]", POSSIBLE, SILENT,
    ),
    "layers are called by `map`, or asked for their weights": (
        UnregisteredModules, MAPPED, "layer: layer(x)", "layer: layer(x, layer.parameters())", CERTAIN, SILENT
    ),
    "a module keeps a layer that it is given, or an activation": (
        UnregisteredModules, KEEPING, "nn.Conv2d(3, 3, 1)", "nn.ReLU()", POSSIBLE, SILENT
    ),
    "a module freezes itself by an attribute, or its parameters": (
        AttributeWithoutEffect, FROZEN.replace(ONE_BY_ONE, "self.requires_grad = False"),
        "self.requires_grad = False", ONE_BY_ONE, POSSIBLE, SILENT,
    ),
    "a module sets an attribute that it asks for": (
        AttributeWithoutEffect, FROZEN.replace(ONE_BY_ONE, "self.requires_grad = False"),
        "return self.first(x)", "return self.first(x) if self.requires_grad else x", POSSIBLE, SILENT,
    ),
    "a demonstration goes backward, or never": (
        MissingBackward, DEMO.replace("out.sum().backward()", "print(out.sum())"),
        "print(out.sum())", "out.sum().backward()", POSSIBLE, SILENT,
    ),
    "a file that never says backward leaves it to what is given the model": (
        MissingBackward, DEMO.replace("out.sum().backward()", "print(out.sum())"),
        "print(out.sum())", "learn(model, out)", POSSIBLE, SILENT,
    ),
    "episodes end with a backward pass, or without": (
        MissingBackward, EPISODES.replace("        loss.backward()\n", "        # HERE\n"),
        "# HERE", "loss.backward()", POSSIBLE, SILENT,
    ),
    "a step in a function that a loop calls, or nobody": (
        MissingBackward, EPISODES.replace("        loss.backward()\n", ""),
        "    finish()\n", "    pass\n", CERTAIN, POSSIBLE,
    ),
    "gradients are cancelled, or written": (
        MissingBackward, CANCELLED.replace("            loss.backward()\n", ""),
        "parameter.grad = None", "parameter.grad = torch.zeros(3)", POSSIBLE, SILENT,
    ),
    "a helper clips, or steps": (
        MissingOptimizerStep, CLIPPED.replace("            optimizer.step()\n", ""),
        "bounded_clipping(model.parameters(), 1.0)", "bounded_step(model.parameters(), 1.0)", CERTAIN, SILENT,
    ),
    "an optimizer of the module is never named again, or steps": (
        MissingOptimizerStep, ADVERSARIES.replace("of_judge.step()", "print(loss)"),
        "print(loss)", "of_judge.step()", POSSIBLE, SILENT,
    ),
    "another optimizer has the same weights": (
        MissingOptimizerStep, ADVERSARIES.replace("of_judge.step()", "print(loss)"),
        "Adam(maker.parameters())", "Adam([*maker.parameters(), *judge.parameters()])", POSSIBLE, SILENT,
    ),
    "one of two networks is cleared by its function, or neither is left out": (
        MissingZeroGrad, ADVERSARIES.replace("        judge.zero_grad()\n", "        # HERE\n"),
        "# HERE", "judge.zero_grad()", POSSIBLE, SILENT,
    ),
    "dropout is added to a sequence, or nothing with modes": (
        ValidationInTrainMode, ADDED.replace("            model.eval()\n", ""),
        "nn.Dropout(0.5)", "nn.ReLU()", LIKELY, POSSIBLE,
    ),
    "each epoch but the first trains without the dropout that was added, or is switched back": (
        TrainingInEvalMode, ADDED.replace("            model.train()\n", "            # HERE\n"),
        "# HERE", "model.train()", LIKELY, SILENT,
    ),
    "batches that a generator forms, of processes that are spawned, which are told the epoch, or not": (
        DistributedSamplerEpoch, SPAWNED, "# TELLS", "loader.sampler.set_epoch(epoch)", CERTAIN, SILENT
    ),
    "a worker that is spawned with a sampler, or only called without": (
        DistributedSamplerEpoch, SPAWNED, "mp.spawn(worker, args=(data, model, True), nprocs=4)", "pass",
        CERTAIN, SILENT,
    ),
    "what is loaded in place of a model that is made": (
        ValidationInTrainMode, RESUMED.replace("            model.eval()\n", ""),
        "nn.Dropout(0.5)", "nn.ReLU()", LIKELY, POSSIBLE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_what_was_held_out_is_found_and_its_healthy_twin_is_not(name: str) -> None:
    rule, text, faulty, healthy, at_least, at_most = TWINS[name]
    text = textwrap.dedent(text)
    assert faulty in text
    assert how_sure(rule, text) >= at_least
    assert how_sure(rule, text.replace(faulty, healthy)) <= at_most
