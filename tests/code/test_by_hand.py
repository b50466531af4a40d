"""Gradients, modes and graphs that a script handles by hand: nothing is said of them by default."""

from __future__ import annotations

import pytest

from code_programs import code_of
from stethoscope.core.review import Level
from stethoscope.core.rule import Rule
from stethoscope.diagnosing.review import review
from stethoscope.rules.loop.gradients_cleared_before_step import GradientsClearedBeforeStep
from stethoscope.rules.loop.graph_kept_alive import GraphKeptAlive
from stethoscope.rules.loop.missing_optimizer_step import MissingOptimizerStep
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.loop.training_in_eval_mode import TrainingInEvalMode
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph
from stethoscope.rules.loop.validation_in_train_mode import ValidationInTrainMode
from stethoscope.rules.loss.softmax_before_cross_entropy import SoftmaxBeforeCrossEntropy

NET = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)
            self.out = nn.Linear(3, 2)

        def forward(self, x):
            return self.out(self.drop(x))

    def fill(net, kept):
        for p, g in zip(net.parameters(), kept):
            p.grad = g

    def look(net, kept):
        for p, g in zip(net.parameters(), kept):
            print(p, g)

    def reset(layer):
        for p in layer.parameters(recurse=False):
            p.grad = None

    def tell(layer):
        print(layer)

"""
UNCLEARED = """
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    for i, (x, y) in enumerate(torch.load("data")):
        FIRST
        F.cross_entropy(model(x), y).backward()
        BETWEEN
        optimizer.step()
        LAST
"""
CLEARED = """
    model, shared = Net(), Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in torch.load("data"):
        F.cross_entropy(model(x), y).backward()
        kept = [p.grad.clone() for p in model.parameters()]
        optimizer.zero_grad(set_to_none=False)
        BETWEEN
        optimizer.step()
"""
UNSTEPPED = """
    def work(server, size):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        try:
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                LAST
        except CAUGHT:
            return size - 1
        torch.save(model.state_dict(), "model")
"""
EVALUATED = """
    def evaluate(model, loader):
        modes = [one.training for one in model.modules()]
        model.eval()
        with torch.no_grad():
            print(sum((model(x).argmax(1) == y).sum().item() for x, y in loader))
        for one, mode in zip(model.modules(), modes):
            BACK

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    resume = KEPT
    for epoch in range(9):
        resume()
        for x, y in torch.load("data"):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, torch.load("test"))
"""
SUMMED = """
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    total = 0
    for x, y in torch.load("data"):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        LAST
        total += loss
    print(total)
"""
GRAPHS = """
    def evaluate(model, loader):
        model.eval()
        right = 0
        guard = torch.no_grad()
        FIRST
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
        return right

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in torch.utils.data.DataLoader(DATA):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    print(evaluate(model, torch.utils.data.DataLoader(TEST)))
"""
MEASURED = """
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(9):
        for x, y in torch.load("data"):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        right = 0
        with torch.no_grad():
            for x, y in torch.load("test"):
                LAST
                right += (model(x).argmax(1) == y).sum().item()
        print(right)
"""
COMPARED = """
    scores, y = nn.Linear(3, 2)(torch.randn(4, 3)), torch.tensor([0, 1, 1, 0])
    LAST
    print(F.cross_entropy(F.softmax(scores, dim=1), y))
"""
CASES: list[tuple[type[Rule], str, str, str, str]] = [
    (MissingZeroGrad, UNCLEARED, "FIRST", "model.apply(reset)", "model.apply(tell)"),
    (MissingZeroGrad, UNCLEARED, "LAST", "for p in weights: del p.grad", "for p in weights: del p"),
    (MissingZeroGrad, UNCLEARED, "LAST", "torch._foreach_zero_([p.grad for p in weights])", "print(i)"),
    (MissingZeroGrad, UNCLEARED, "FIRST", "for p in weights: p.grad.mul_(0.9)", "print(i)"),
    (MissingZeroGrad, UNCLEARED, "LAST", "print(began.elapsed_time(ended))", "print(began)"),
    (MissingZeroGrad, UNCLEARED, "FIRST", "if i > 0: break", "if i > 9: break"),
    (GradientsClearedBeforeStep, CLEARED, "BETWEEN", "fill(model, kept)", "look(model, kept)"),
    (
        GradientsClearedBeforeStep, CLEARED, "BETWEEN",
        "for p, g in zip(model.parameters(), kept): p.grad.copy_(g)", "for g in kept: print(g)",
    ),
    (
        GradientsClearedBeforeStep, CLEARED, "BETWEEN",
        "for p, g in zip(model.parameters(), kept): setattr(p, 'grad', g)", "for g in kept: print('grad', g)",
    ),
    (MissingOptimizerStep, UNSTEPPED, "LAST", "server.push(size, model)", "server.push(size)"),
    (MissingOptimizerStep, UNSTEPPED, "CAUGHT", "RuntimeError", "KeyError"),
    (TrainingInEvalMode, EVALUATED, "BACK", "one.training = mode", "print(one, mode)"),
    (TrainingInEvalMode, EVALUATED, "KEPT", "model.train", "print"),
    (GraphKeptAlive, SUMMED, "LAST", "loss.detach_()", "loss.detach()"),
    (ValidationInTrainMode, MEASURED, "LAST", "model.train()", "print(x)"),
    (SoftmaxBeforeCrossEntropy, COMPARED, "LAST", "print(F.cross_entropy(scores, y))", "print(scores)"),
    (ValidationBuildsGraph, GRAPHS, "FIRST", "guard.__enter__()", "print(guard)"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "text", "place", "healthy", "faulty"), CASES)
def test_what_is_done_by_hand_is_not_shown_and_its_faulty_twin_is(
    rule: type[Rule], text: str, place: str, healthy: str, faulty: str
) -> None:
    assert not _shown(rule, _filled(text.replace(place, healthy)))
    assert _shown(rule, _filled(text.replace(place, faulty)))


def test_gradients_that_are_scaled_before_a_step_still_add_up() -> None:
    assert _shown(MissingZeroGrad, _filled(UNCLEARED.replace("BETWEEN", "for p in weights: p.grad.mul_(0.1)")))


def _filled(text: str) -> str:
    for place, said in (("CAUGHT", "KeyError"), ("KEPT", "print"), ("BACK", "pass")):
        text = text.replace(place, said)
    for place in ("FIRST", "BETWEEN", "LAST"):
        text = text.replace(place, "pass")
    return NET + text


def _shown(rule: type[Rule], text: str) -> list[str]:
    return [one.title for one in review(code_of(text), rules=[rule]).findings if Level().shows(one)]
