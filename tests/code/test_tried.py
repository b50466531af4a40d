"""Loops that try a step or measure it: nothing is said of them by default, and of a training it is."""

from __future__ import annotations

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.facts.tried import MOST_ROUNDS
from stethoscope.rules.data.distributed_sampler_epoch import DistributedSamplerEpoch
from stethoscope.rules.loop.call_forgotten import CallForgotten
from stethoscope.rules.loop.missing_backward import MissingBackward
from stethoscope.rules.loop.missing_optimizer_step import MissingOptimizerStep
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.loss.softmax_before_cross_entropy import SoftmaxBeforeCrossEntropy

TRIED = """
    import torch
    from torch import nn
    import torch.nn.functional as F
    from torch.utils.data import DataLoader
    from torch.nn.parallel import DistributedDataParallel as DDP

    def demo(rank, x, y):
        model = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 5)).to(rank)
        ddp = DDP(model, device_ids=[rank])
        loss_fn = nn.MSELoss()
        optimizer = torch.optim.SGD(ddp.parameters(), lr=0.001)
        for _ in range(3):
            CLEAR
            out = ddp(torch.randn(20, 10))
            labels = torch.randn(20, 5).to(rank)
            loss = loss_fn(out, labels)
            loss.backward()
            optimizer.step()
        print("done", out.shape)
"""
SET = """
    import torch
    from torch import nn
    import torch.nn.functional as F
    from torch.utils.data import DataLoader
    from torch.utils.data import TensorDataset
    from torch.utils.data.distributed import DistributedSampler

    def demo(rank, world, other):
        data = TensorDataset(torch.randn(64, 3), torch.randint(0, 2, (64,)))
        sampler = DistributedSampler(data, num_replicas=world, rank=rank)
        loader = DataLoader(data, batch_size=8, sampler=sampler)
        model = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(2):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        print("done", rank)
"""
MEASURED = """
    import torch
    from torch import nn
    import torch.nn.functional as F
    from torch.utils.data import DataLoader
    import time

    def measure(model, loader, found):
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            CLEAR
            begun = time.perf_counter()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            STEP
            found.append(time.perf_counter() - begun)
        return found
"""
FAULTY = [
    ("torch.randn(20, 10)", "x"),
    ("torch.randn(20, 5)", "y"),
    ("range(3)", f"range({MOST_ROUNDS + 1})"),
    ("out.shape)", "ddp)"),
    ("out.shape)", "loss.item())"),
    ('print("done"', "return (model"),
]


LOOKED_AT = [one for one in FAULTY if one[0] == "out.shape)"]
"""A missing step is shown where somebody looks at what is learned, however many rounds there are."""


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        *((rule, *one) for one in FAULTY for rule in (MissingZeroGrad, MissingBackward)),
        *((MissingOptimizerStep, *one) for one in LOOKED_AT),
    ],
)
def test_a_few_steps_on_numbers_that_are_drawn_are_a_trial(rule: type[Rule], before: str, after: str) -> None:
    text = TRIED.replace("CLEAR", "pass" if rule is MissingZeroGrad else "optimizer.zero_grad()")
    if rule is not MissingZeroGrad:
        text = text.replace("optimizer.step()" if rule is MissingOptimizerStep else "loss.backward()", "pass")
    assert before in text
    assert -1 < how_sure(rule, text) < SHOWN
    assert how_sure(rule, text.replace(before, after)) >= SHOWN


def test_as_many_rounds_as_a_trial_has_are_one() -> None:
    text = TRIED.replace("CLEAR", "pass")
    assert how_sure(MissingZeroGrad, text.replace("range(3)", f"range({MOST_ROUNDS})")) < SHOWN


@pytest.mark.parametrize(
    ("before", "after"),
    [("torch.randint(0, 2, (64,))", "other"), ("range(2)", f"range({MOST_ROUNDS + 1})"), ('"done"', "model")],
)
def test_a_trial_of_several_processes_needs_no_other_order(before: str, after: str) -> None:
    assert how_sure(DistributedSamplerEpoch, SET) < SHOWN
    assert how_sure(DistributedSamplerEpoch, SET.replace(before, after)) >= SHOWN


@pytest.mark.parametrize("read", ["print(loss.item())", "found.append(loss.detach())", "model.eval()"])
@pytest.mark.parametrize(
    "measured", ["time.perf_counter()", "torch.cuda.max_memory_allocated()", "torch.cuda.memory_reserved()"]
)
def test_what_only_takes_the_time_or_the_memory_of_a_step_is_possible_at_most(measured: str, read: str) -> None:
    text = MEASURED.replace("time.perf_counter()", measured)
    unstepped = text.replace("CLEAR", "optimizer.zero_grad()").replace("STEP", "pass")
    uncleared = text.replace("CLEAR", "pass").replace("STEP", "optimizer.step()")
    for rule, program in ((MissingOptimizerStep, unstepped), (MissingZeroGrad, uncleared)):
        assert -1 < how_sure(rule, program) < SHOWN
        assert how_sure(rule, program.replace("loss.backward()", f"loss.backward(); {read}")) >= SHOWN


TIMED = """
    import torch
    from torch import nn
    import torch.nn.functional as F
    import time

    def throughput(model, given, size):
        x, y = torch.randn(size, 3), torch.randint(0, 2, (size,))
        optimizer = torch.optim.Adam(model.parameters())
        for _ in range(100):
            CLEAR
            loss = F.cross_entropy(model(x).view(-1, 2), y.view(-1))
            loss.backward()
            STEP
        begun = time.time()
        for _ in range(500):
            CLEAR
            F.cross_entropy(model(x), y).backward()
            STEP
        return 500 * size / (time.time() - begun)
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("torch.randint(0, 2, (size,))", "given"),
        ("time.time()", "model.now()"),
        ("loss.backward()", "loss.backward(); print(loss)"),
    ],
)
def test_a_function_that_takes_the_time_of_steps_on_targets_by_chance_learns_nothing(before: str, after: str) -> None:
    unstepped = TIMED.replace("CLEAR", "optimizer.zero_grad()").replace("STEP", "pass")
    uncleared = TIMED.replace("CLEAR", "pass").replace("STEP", "optimizer.step()")
    for rule, program in ((MissingOptimizerStep, unstepped), (MissingZeroGrad, uncleared)):
        assert -1 < how_sure(rule, program) < SHOWN
        assert how_sure(rule, program.replace(before, after)) >= SHOWN


def test_a_batch_is_looked_for_that_breaks_the_backward_pass() -> None:
    text = """
        def find(model, loader):
            optimizer = torch.optim.Adam(model.parameters())
            with torch.autograd.detect_anomaly():
                for number, (x, y) in enumerate(loader):
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    print(number)
    """
    assert -1 < how_sure(MissingOptimizerStep, text) < SHOWN
    assert how_sure(MissingOptimizerStep, text.replace("detect_anomaly()", "set_detect_anomaly(False)")) >= SHOWN


@pytest.mark.parametrize(
    ("drawn", "read"),
    [
        ("torch.randint(5, (8,)).to(device)", "torch.load('answers').to(device)"),
        ("torch.empty(8, dtype=torch.long).random_(5)", "torch.empty(8, dtype=torch.long).copy_(answers)"),
        ("torch.randint(5, (8,))[:4]", "answers[torch.randint(5, (8,))]"),
    ],
)
def test_targets_that_are_drawn_by_chance_teach_nothing(drawn: str, read: str) -> None:
    text = """
        def steps(net, device, answers, n):
            for _ in range(n):
                target = DRAWN
                F.cross_entropy(net(torch.randn(8, 3)).softmax(1), target).backward()
    """
    assert -1 < how_sure(SoftmaxBeforeCrossEntropy, text.replace("DRAWN", drawn)) < SHOWN
    assert how_sure(SoftmaxBeforeCrossEntropy, text.replace("DRAWN", read)) >= SHOWN


def test_targets_are_drawn_where_every_call_hands_drawn_ones_over() -> None:
    text = """
        def step(net, x, y):
            F.cross_entropy(net(x).softmax(1), y).backward()

        def main(net, data):
            step(net, torch.randn(8, 3), torch.randint(5, (8,)))
    """
    assert -1 < how_sure(SoftmaxBeforeCrossEntropy, text) < SHOWN
    assert how_sure(SoftmaxBeforeCrossEntropy, text + "    step(net, *data)\n") >= SHOWN


def test_gradients_are_not_cleared_where_nothing_goes_backward() -> None:
    text = """
        class Quantizer(nn.Module):
            def fit(self, x):
                self.zero_grad
                self.scale = x.max()
    """
    assert -1 < how_sure(CallForgotten, text) < SHOWN
    assert how_sure(CallForgotten, text + "        self.net(x).sum().backward()\n") >= SHOWN
