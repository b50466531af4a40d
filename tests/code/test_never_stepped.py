"""Loops whose step is missing, with what else people do with an optimizer there, each beside its healthy twin."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, code_of, how_sure
from stethoscope.core.finding import Finding
from stethoscope.rules.loop.missing_backward import MissingBackward
from stethoscope.rules.loop.missing_optimizer_step import MissingOptimizerStep
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad

IMPORTS = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\nfrom tools import *\n"
STEP = "optimizer.step()"
SHOWN_PROGRAMS = {
    "its state is saved by a function of elsewhere": """
        def fit(model, loader, path):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(9):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                save_checkpoint(path, model, optimizer, epoch)
        """,
    "its state is loaded, and its rate is told": """
        def fit(model, loader, path):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(9):
                resume_if_broken(model, optimizer)
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                print_learning_rate(optimizer)
        """,
    "a schedule of its own is given it": """
        def fit(model, loader, scheduler):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(9):
                scheduler.step(optimizer)
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
        """,
    "a counter is set": """
        def fit(model, loader, writer):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for number, (x, y) in enumerate(loader):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                writer.set_step(number)
        """,
}
POSSIBLE_PROGRAMS = {
    "a function is given it": """
        def fit(model, optimizer, loader):
            for x, y in loader:
                model.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                print(loss.item())
        """,
    "an object keeps it": """
        class Trainer:
            def __init__(self, model):
                self.model, self.optimizer = model, None

            def run(self, loader):
                self.optimizer = build_optimizer(self.model)
                for x, y in loader:
                    self.model.zero_grad(set_to_none=True)
                    self.loss = self.model(x, y)
                    self.loss.backward()
                    self.optimizer.step()
        """,
    "the size of its gradients is told": """
        def total_grad_norm(parameters):
            return torch.stack([one.grad.norm() for one in parameters]).norm()

        def fit(model, optimizer, loader):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                norm = total_grad_norm(model.parameters())
                optimizer.step()
                print(norm)
        """,
}


def _sure(program: str) -> int:
    return how_sure(MissingOptimizerStep, IMPORTS + textwrap.dedent(program))


@pytest.mark.parametrize("name", SHOWN_PROGRAMS)
def test_a_step_that_is_missing_is_shown(name: str) -> None:
    program = SHOWN_PROGRAMS[name]
    assert _sure(program) < 0
    assert _sure(program.replace(STEP.replace("optimizer", "self.optimizer"), "pass").replace(STEP, "pass")) >= SHOWN


@pytest.mark.parametrize("name", POSSIBLE_PROGRAMS)
def test_a_step_that_is_missing_is_possible(name: str) -> None:
    program = POSSIBLE_PROGRAMS[name]
    assert _sure(program) < 0
    assert 0 <= _sure(program.replace(f"self.{STEP}", "pass").replace(STEP, "pass")) < SHOWN


@pytest.mark.parametrize("called", ["save_and_step(optimizer)", "advance(optimizer)", "Saver(optimizer)"])
def test_what_may_step_may_step(called: str) -> None:
    program = SHOWN_PROGRAMS["its state is saved by a function of elsewhere"].replace(STEP, "pass")
    assert _sure(program.replace("save_checkpoint(path, model, optimizer, epoch)", called)) < SHOWN


def test_a_function_that_is_named_as_storing_and_steps() -> None:
    program = SHOWN_PROGRAMS["its state is saved by a function of elsewhere"].replace(STEP, "pass")
    steps = "def save_checkpoint(path, model, optimizer, epoch):\n    optimizer.step()\n"
    assert _sure(steps + textwrap.dedent(program)) < SHOWN


OWN = """
class Careful(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, dict(lr=lr))

    def step(self, closure=None):
        for group in self.param_groups:
            for one in group["params"]:
                one.data.add_(one.grad, alpha=-group["lr"])
        # DONE

def fit(model, loader):
    optimizer = Careful(model.parameters())
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
"""


def test_an_optimizer_of_ones_own_steps_too() -> None:
    assert _sure(OWN) < 0
    assert _sure(OWN.replace(f"        {STEP}\n", "")) >= SHOWN
    uncleared = IMPORTS + OWN.replace("        optimizer.zero_grad()\n", "")
    assert how_sure(MissingZeroGrad, uncleared) >= SHOWN
    assert how_sure(MissingZeroGrad, uncleared.replace("# DONE", "self.zero_grad()")) < 0
    assert how_sure(MissingBackward, IMPORTS + OWN.replace("F.cross_entropy(model(x), y).backward()", "print(x)")) >= 0


PLAIN = IMPORTS.replace("from tools import *\n", "")
ELSEWHERE = f"""
# file: maps.py
{PLAIN}
def gradient_of(model, x):
    x.requires_grad = True
    score = F.cross_entropy(model(x), torch.zeros(len(x)).long())
    score.backward()
    return READ


# file: main.py
{PLAIN}
from maps import gradient_of

model = nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.load("rows.pt", weights_only=True):
    gradient_of(model, x)
"""


def test_gradients_that_a_function_of_another_file_reads_are_wanted_for_themselves() -> None:
    def said(read: str) -> list[Finding]:
        code = code_of(ELSEWHERE.replace("READ", read))
        return [one for one in MissingOptimizerStep().in_code(code) if isinstance(one, Finding)]

    assert said("x.grad.abs().mean(1)") == []
    (found,) = said("score.item()")
    assert found.evidence[0].what == "steps of the optimizer that is made at main.py:8"


LEARNED = """
    def fit(model, rows, rule):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in rows:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            READ
            with torch.no_grad():
                for one, change in zip(model.parameters(), rule(x)):
                    one -= change
            for one in model.parameters():
                one.grad = None
"""


def test_gradients_that_are_given_to_another_network_are_wanted_for_themselves_and_cleared_by_hand() -> None:
    assert _sure(LEARNED.replace("READ", "rule.keep([one.grad.view(-1) for one in model.parameters()])")) < 0
    assert _sure(LEARNED.replace("READ", "print(x)")) >= SHOWN
