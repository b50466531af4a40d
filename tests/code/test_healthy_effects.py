"""Lines that seem to have no effect, states and metrics that seem to be kept too long: healthy twins that rules took
for faults. They are not shown, and as soon as it is a fault they are.
"""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, code_of, how_sure
from stethoscope.core.rule import Rule
from stethoscope.diagnosing.review import review
from stethoscope.rules.data.distributed_sampler_epoch import DistributedSamplerEpoch
from stethoscope.rules.data.nan_compared_by_equals import NanComparedByEquals
from stethoscope.rules.loop.call_forgotten import CallForgotten
from stethoscope.rules.loop.checkpoint_aliased import CheckpointAliased
from stethoscope.rules.loop.metric_not_reset import MetricNotReset
from stethoscope.rules.loop.result_dropped import ResultDropped
from stethoscope.rules.parameters.attribute_without_effect import AttributeWithoutEffect

TRAIN = """
import copy
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, DistributedSampler

def train(model, loader, optimizer, score, epochs, rank):
    best = 0
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        accuracy = score(model)
        if accuracy > best:
            best = accuracy
            state = model.state_dict()
    torch.save(state, "best.pt")
"""
STOP = """
import copy

class Stop:
    def __call__(self, loss, model):
        if loss < self.least:
            self.least = loss
            self.state = model.state_dict()

    def restore(self, model):
        model.load_state_dict(self.state)
"""
METRIC = """
import torchmetrics

def main(model, loader, helper):
    accuracy = torchmetrics.Accuracy(task="binary")
    for epoch in range(3):
        for x, y in loader:
            accuracy.update(model(x), y)
        print(accuracy.compute())
"""
SAMPLER = """
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, DistributedSampler
from elsewhere import hooks

def main(model, data, optimizer, epochs):
    sampler = DistributedSampler(data)
    loader = DataLoader(data, batch_size=32, sampler=sampler)
    for epoch in range(epochs):
        print(epoch)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
"""
FREEZE = """
import torch.nn as nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        self.body.requires_grad = False
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.body(x))
"""
LOOSE = """
def main(data, model, collate):
    for graph, label in DataLoader(data, batch_size=3):
        graph.clamp(0, 1)
        print(model(graph))
"""
OUTPUT = """
class Graph:
    def __init__(self, x):
        self.x = x

    def clamp(self, low, high):
        self.x = self.x.clamp(low, high)
        return self

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, graph):
        return self.layer(graph.x)

def main(graph):
    net = Net()
    out = net(graph)
    out.clamp(0, 1)
    print(out)
"""
CLOCK = """
import time
import torch

def main(rounds):
    x, y = torch.randn(3, 3), torch.randn(3, 3)
    begun = time.perf_counter()
    for _ in range(rounds):
        x.add(y)
    print(x, time.perf_counter() - begun)
"""

TWINS: dict[str, tuple[type[Rule], str, str, str]] = {
    "graphs that a function puts together": (
        ResultDropped,
        LOOSE,
        "batch_size=3)",
        "batch_size=3, collate_fn=collate)",
    ),
    "graphs of PyG": (
        ResultDropped,
        LOOSE,
        "\ndef main",
        "\nfrom torch_geometric.loader import DataLoader\n\ndef main",
    ),
    "what a tokenizer gives": (ResultDropped, LOOSE, "model(graph)", "model(**graph)"),
    "what a model gives, of a class of the project": (
        ResultDropped,
        OUTPUT,
        "return self.layer(graph.x)",
        "return Graph(self.layer(graph.x))",
    ),
    "a tensor by its annotation, that holds a graph": (
        ResultDropped,
        """
        class Net(nn.Module):
            def training_step(self, batch: torch.Tensor, index):
                graph, y = batch
                graph.clamp(0, 1)
                return self.net(F.relu(graph), y)
        """,
        "F.relu(graph)",
        "graph.x",
    ),
    "a script in cells": (ResultDropped, "x = torch.arange(6) * 2\nx.clamp(2, 3)\nprint(x)\n", "print", "# %%\nprint"),
    "a notebook that was made a script": (
        ResultDropped,
        "x = torch.arange(6) * 2\nx.clamp(2, 3)\nprint(x)\n",
        "x = ",
        "# In[1]:\nx = ",
    ),
    "a loop that is timed": (ResultDropped, CLOCK, "time.perf_counter", "torch.seed"),
    "a tensor that wakes the device": (
        ResultDropped,
        "def wake():\n    x = torch.randn(3, device='cuda')\n    x.abs()\n",
        "x.abs()\n",
        "x.abs()\n    return x\n",
    ),
    "a profile": (
        ResultDropped,
        (
            "def main():\n    x = torch.randn(3)\n    with torch.profiler.profile() as seen:\n        x.add(x)\n"
            "    print(seen, x)\n"
        ),
        "torch.profiler.profile() as seen",
        "torch.no_grad()",
    ),
    "a method that worked in place": (
        ResultDropped,
        "def main(x):\n    y = torch.zeros(3)\n    y.copy_(x).clamp(0, 1)\n    return y\n",
        ".copy_(x)",
        "",
    ),
    "errors that are let go": (
        ResultDropped,
        (
            "import contextlib\nimport torch\n\ndef main():\n    x = torch.ones(4)\n"
            "    with contextlib.suppress(RuntimeError):\n"
            "        x.clamp(3)\n    return x\n"
        ),
        "contextlib.suppress(RuntimeError)",
        "torch.no_grad()",
    ),
    "a page of a gallery": (
        ResultDropped,
        '"""\nViews\n=====\n"""\nimport torch\n\n'
        + "#" * 30
        + "\n# One\nx = torch.arange(6) * 2\nx.clamp(2, 3)\nprint(x)\n",
        "\n=====\n",
        "\n\n",
    ),
    "an option that is only named": (
        CallForgotten,
        "def main(options):\n    options.train\n",
        "options.train\n",
        "options.train\n    options.eval()\n",
    ),
    "a property of a model": (
        CallForgotten,
        """
        class Net(nn.Module):
            @property
            def eval(self):
                return 1

        net = Net()
        net.eval
        """,
        "@property\n",
        "\n",
    ),
    "a method in cells": (CallForgotten, "# %%\nmodel = nn.Linear(3, 2)\nmodel.eval\n", "# %%\n", ""),
    "an attribute that is tried": (
        CallForgotten,
        "model = nn.Linear(3, 2)\n\ndef main():\n    try:\n        model.eval\n    except TypeError:\n        return\n",
        "    try:\n        model.eval\n    except TypeError:\n        return\n",
        "    model.eval\n",
    ),
    "columns of Spark": (
        NanComparedByEquals,
        "import pyspark.sql.functions as P\n\ndef main(x):\n    return P.when(x == float('nan'), None)\n",
        "import pyspark.sql.functions as P",
        "import pandas as P",
    ),
    "asked beside": (
        NanComparedByEquals,
        "import numpy as np\n\ndef main(x):\n    return x == np.nan or np.isnan(x)\n",
        " or np.isnan(x)",
        "",
    ),
    "a state on the last epoch": (
        CheckpointAliased,
        TRAIN.replace("accuracy > best", "epoch >= epochs - 1"),
        "epoch >= epochs - 1",
        "accuracy > best",
    ),
    "a state of one process": (
        CheckpointAliased,
        TRAIN.replace("accuracy > best", "rank == 0"),
        "rank == 0",
        "accuracy > best",
    ),
    "the state of a schedule": (
        CheckpointAliased,
        TRAIN.replace("best = 0", "best, schedule = 0, torch.optim.lr_scheduler.StepLR(optimizer, 3)").replace(
            "state = model", "state = schedule"
        ),
        "state = schedule",
        "state = model",
    ),
    "a model that was moved for it": (
        CheckpointAliased,
        TRAIN.replace("best = accuracy", "best = accuracy; model.cpu()"),
        "; model.cpu()",
        "",
    ),
    "a loop that ends there": (
        CheckpointAliased,
        TRAIN.replace("for epoch in range(epochs):", "while True:").replace(
            "_dict()\n", "_dict()\n            break\n"
        ),
        "            break\n",
        "",
    ),
    "a state that processes put together": (
        CheckpointAliased,
        TRAIN.replace("            state =", "            with FSDP.state_dict_type(model, FULL): state ="),
        "with FSDP.state_dict_type(model, FULL): ",
        "",
    ),
    "a model that gives copies": (
        CheckpointAliased,
        "import torch.nn as nn\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.body = nn.Linear(3, 3)\n\n    def state_dict(self):\n"
        "        return {k: v.clone() for k, v in super().state_dict().items()}\n"
        + TRAIN.replace("    best = 0", "    best, model = 0, Net()"),
        "def state_dict",
        "def states",
    ),
    "the state of a copy, kept by a class": (
        CheckpointAliased,
        STOP.replace("= model.s", "= copy.deepcopy(model).s"),
        "copy.deepcopy(model)",
        "model",
    ),
    "copied in the next line, by a class": (
        CheckpointAliased,
        STOP.replace("_dict()\n", "_dict()\n            self.state = {k: v.clone() for k, v in self.state.items()}\n"),
        "            self.state = {k: v.clone() for k, v in self.state.items()}\n",
        "",
    ),
    "weights for another model, now and then": (
        CheckpointAliased,
        STOP.replace("loss < self.least", "self.steps % 100 == 0"),
        "self.steps % 100 == 0",
        "loss < self.least",
    ),
    "a metric that others empty": (
        MetricNotReset,
        METRIC + "        helper(accuracy)\n",
        "        helper(accuracy)\n",
        "",
    ),
    "a metric in a collection": (
        MetricNotReset,
        METRIC.replace("    for epoch", "    all = torchmetrics.MetricCollection([accuracy])\n    for epoch")
        + "        all.reset()\n",
        "MetricCollection([accuracy])",
        "MetricCollection([])",
    ),
    "a metric whose reset is handed over": (
        MetricNotReset,
        METRIC.replace("    for epoch", "    helper.at_end(accuracy.reset)\n    for epoch"),
        "helper.at_end(accuracy.reset)",
        "print(helper)",
    ),
    "a running mean": (
        MetricNotReset,
        METRIC.replace('Accuracy(task="binary")', "RunningMean(window=5)"),
        "RunningMean(window=5)",
        "MeanMetric()",
    ),
    "the mean over several files, so far": (
        MetricNotReset,
        METRIC.replace("for epoch in range(3)", "for loader in helper"),
        "for loader in helper",
        "for epoch in range(3)",
    ),
    "an episode in each round": (
        MetricNotReset,
        METRIC.replace("for x, y in loader:", "steps = helper(epoch)\n        for x, y in steps:"),
        "in steps:",
        "in loader:",
    ),
    "a hook that gets the loader": (
        DistributedSamplerEpoch,
        SAMPLER.replace("print(epoch)", "hooks.begin(loader, epoch)"),
        "hooks.begin",
        "print",
    ),
    "data that change": (
        DistributedSamplerEpoch,
        SAMPLER.replace("print(epoch)", "data.draw(epoch)"),
        "data.draw",
        "print",
    ),
    "a hook for others to fill in": (
        DistributedSamplerEpoch,
        """
        import torch.nn.functional as F
        from torch.utils.data import DataLoader, DistributedSampler

        class Trainer:
            def __init__(self, data, model, optimizer):
                self.model, self.optimizer = model, optimizer
                self.loader = DataLoader(data, sampler=DistributedSampler(data))

            def begin(self, epoch):
                pass

            def train(self, epochs):
                for epoch in range(epochs):
                    self.begin(epoch)
                    for x, y in self.loader:
                        self.optimizer.zero_grad()
                        F.cross_entropy(self.model(x), y).backward()
                        self.optimizer.step()
        """,
        "        self.begin(epoch)",
        "        print(epoch)",
    ),
    "one round": (DistributedSamplerEpoch, SAMPLER.replace("range(epochs)", "range(1)"), "range(1)", "range(2)"),
    "a training in each round": (
        DistributedSamplerEpoch,
        SAMPLER.replace("print(epoch)", "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)"),
        "optimizer = torch.optim",
        "other = torch.optim",
    ),
    "told through a name": (
        DistributedSamplerEpoch,
        SAMPLER.replace("print(epoch)", "tell = 'set_epoch'; getattr(sampler, tell)(epoch)"),
        "tell = 'set_epoch'; getattr(sampler, tell)(epoch)",
        "print(epoch)",
    ),
    "data that are shuffled": (
        DistributedSamplerEpoch,
        SAMPLER.replace("print(epoch)", "data.shuffle()"),
        "data.shuffle()",
        "print(epoch)",
    ),
    "a class that takes attributes in a way of its own": (
        AttributeWithoutEffect,
        FREEZE.replace(" = nn.Sequential(nn.Linear(3, 3), nn.ReLU())", " = Body()")
        + "\nclass Body(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        + "        self.layer = nn.Linear(3, 3)\n\n"
        + "    def __setattr__(self, name, value):\n        super().__setattr__(name, value)\n",
        "def __setattr__",
        "def set",
    ),
    "updates that exchange the tensors": (
        CheckpointAliased,
        TRAIN.replace("optimizer.step()", "optimizer.step(); model.weight.data = model.weight.data * 0.9"),
        "; model.weight.data = model.weight.data * 0.9",
        "",
    ),
    "all metrics of a model are reset": (
        MetricNotReset,
        METRIC + "        model.reset_metrics()\n",
        "        model.reset_metrics()\n",
        "",
    ),
    "an option of another name": (
        AttributeWithoutEffect,
        "def main(model, options):\n    for one in model.options():\n        one.require_grad = False\n",
        ".options()",
        ".parameters()",
    ),
    "an option of a module's": (
        AttributeWithoutEffect,
        FREEZE.replace("self.body.requires_grad = False", "self.settings.require_grad = False"),
        "self.settings.require_grad",
        "self.body.requires_grad",
    ),
    "parameters under a name that stood for layers": (
        AttributeWithoutEffect,
        """
        def freeze(model):
            for one in model.modules():
                one.eval()
            for one in model.parameters():
                one.requires_grad = False
        """,
        "model.parameters()",
        "model.modules()",
    ),
    "a weight under the name of its layer": (
        AttributeWithoutEffect,
        (
            "def main(model):\n    layer = model.head\n    layer.eval()\n    layer = layer.weight\n"
            "    layer.requires_grad = False\n"
        ),
        "    layer = layer.weight\n",
        "",
    ),
    "a layer that nothing runs": (
        AttributeWithoutEffect,
        FREEZE.replace("self.head(self.body(x))", "self.head(x)"),
        "self.head(x)",
        "self.head(self.body(x))",
    ),
    "parameters that are switched beside": (
        AttributeWithoutEffect,
        FREEZE.replace("        self.head =", "        self.body.requires_grad_(False)\n        self.head ="),
        "        self.body.requires_grad_(False)\n",
        "",
    ),
    "no parameters": (AttributeWithoutEffect, FREEZE.replace("nn.Linear(3, 3), ", ""), "nn.ReLU()", "nn.Linear(3, 3)"),
    "no gradients": (
        AttributeWithoutEffect,
        FREEZE.replace(
            "        return", "        with torch.no_grad():\n            x = self.body(x)\n        return"
        ).replace("self.head(self.body(x))", "self.head(x)"),
        "self.head(x)",
        "self.head(self.body(x))",
    ),
    "nothing is frozen": (
        AttributeWithoutEffect,
        FREEZE.replace("grad = False", "grad = True"),
        "grad = True",
        "grad = False",
    ),
    "a project that asks its modules": (
        AttributeWithoutEffect,
        FREEZE
        + "\n    def kept(self):\n        return [one for one in self.children() if hasattr(one, 'requires_grad')]\n",
        " if hasattr(one, 'requires_grad')",
        "",
    ),
    "an optimizer of a class of its own": (
        AttributeWithoutEffect,
        "def slow(optimizer: torch.optim.Optimizer):\n    optimizer.lr = 0.1\n",
        "optimizer: torch.optim.Optimizer):\n",
        "model):\n    optimizer = torch.optim.SGD(model.parameters(), lr=1)\n",
    ),
    "a tensor without anything in it": (
        ResultDropped,
        """
        def sent(x: torch.Tensor, n):
            if x.numel() == 0:
                x.clamp(0, n)
            return torch.relu(x)
        """,
        "numel() == 0",
        "numel() == 9",
    ),
    "a line that is left over, of a part": (
        ResultDropped,
        """
        def pruned(weight: torch.Tensor, n):
            kept = weight.clone()
            kept[:, :4].clamp(0, n)
            return torch.relu(kept)
        """,
        "kept[:, :4].clamp",
        "kept.clamp",
    ),
    "a line that is left over, of what a call gives": (
        ResultDropped,
        """
        def pruned(weight: torch.Tensor):
            kept = torch.abs(weight)
            kept.t().abs()
            return torch.relu(kept)
        """,
        "kept.t().abs",
        "kept.abs",
    ),
    "NaN that fails the order behind it": (
        NanComparedByEquals,
        """
        import numpy as np

        def chosen(x, place):
            if place is not None and place != np.nan and place >= 0:
                return x[place]
        """,
        " and place >= 0",
        "",
    ),
    "texts that are left behind isnan": (
        NanComparedByEquals,
        """
        import numpy as np

        def is_missing(x):
            try:
                return bool(np.isnan(x))
            except TypeError:
                return True if x == np.nan else False
        """,
        "np.isnan(x)",
        "np.isinf(x)",
    ),
    "NaN that is handed on": (
        NanComparedByEquals,
        """
        def watts(text):
            value = float(text)
            if value == float("nan"):
                return text
            return value / 1000
        """,
        "return text",
        "return 0",
    ),
    "NaN that is answered by NaN": (
        NanComparedByEquals,
        """
        import math

        def interval(score, n):
            if score == math.nan:
                return (math.nan, math.nan)
            return (score - 1 / n, score + 1 / n)
        """,
        "return (math.nan, math.nan)",
        "return (0, 1)",
    ),
}

FAULTY_FIRST = {
    "graphs that a function puts together", "graphs of PyG", "what a tokenizer gives",
    "what a model gives, of a class of the project", "a tensor by its annotation, that holds a graph",
    "a script in cells", "a notebook that was made a script",
}  # fmt: skip
"""Twins whose text is the faulty one, and which the exchange makes healthy."""


@pytest.mark.parametrize("name", TWINS)
def test_a_healthy_twin_is_not_shown_and_the_faulty_one_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, text, before, after = TWINS[name]
    monkeypatch.setattr(rule, "on_trial", False)  # a rule on trial has to know what is healthy before it leaves it
    text = textwrap.dedent(text)
    assert before in text
    other = text.replace(before, after)
    healthy, faulty = (other, text) if name in FAULTY_FIRST else (text, other)
    assert how_sure(rule, healthy) < SHOWN <= how_sure(rule, faulty)


@pytest.mark.parametrize(
    "same", ["to(device)", "cuda()", "to(torch.half)", "clone()", "detach()", "detach().cpu()", "view(-1)", "squeeze()"]
)
def test_the_same_numbers_that_are_dropped_are_possible_at_most(same: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResultDropped, "on_trial", False)
    program = """
    def loss(p, q, device):
        weight = torch.where(p > 0, p, 1 - p)
        weight.abs()
        return torch.sum(weight * q)
    """

    assert how_sure(ResultDropped, program) >= SHOWN
    assert -1 < how_sure(ResultDropped, program.replace("abs()", same)) < SHOWN


def test_what_is_said_to_be_a_module_is_moved_in_place() -> None:
    program = """
    def moved(x: torch.Tensor, dtype):
        if isinstance(x, nn.Module) and x.dtype != dtype:
            x.type(dtype)
        return torch.relu(x)
    """

    assert how_sure(ResultDropped, program) == -1
    assert how_sure(ResultDropped, program.replace("isinstance", "not isinstance")) >= 0


def test_a_parameter_is_changed_in_place_and_not_bound_anew() -> None:
    program = """
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            self.weight.clamp(min=0, max=f(1))
            return x * self.weight
    """

    (found,) = review(code_of(program), rules=[ResultDropped]).findings
    (fix,) = found.fixes
    assert "with torch.no_grad():\n        self.weight.clamp_(min=0, max=f(1))" in fix.text
    assert not fix.edits
