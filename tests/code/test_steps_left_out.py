"""Trainings whose step was taken away, with calls beside it that are no steps, each beside its healthy twin."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.rules.loop.missing_optimizer_step import MissingOptimizerStep

IMPORTS = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\nfrom tools import *\n"
FIT = """
def fit(model, loader, kinds, settings):
    for fold in range(3):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        HEAD
        for x, y in loader:
            optimizer.zero_grad()
            FIRST
            loss.backward()
            LAST
"""
LOSS = "loss = F.cross_entropy(model(x), y)"


def _sure(text: str) -> int:
    return how_sure(MissingOptimizerStep, IMPORTS + textwrap.dedent(text))


def _fit(first: str = LOSS, last: str = "pass", head: str = "pass") -> str:
    lines = {"FIRST": first, "LAST": last, "HEAD": head}
    text = FIT
    for name, line in lines.items():
        text = text.replace(name, line)
    return text


NO_STEPS = {
    "times are drawn": _fit(head="times = process.sample_timesteps(8)"),
    "numbers of steps are read": _fit(head="count = settings.get_num_steps()"),
    "a file is named": _fit(last='path = tools.get_step_path(fold, ".pt")'),
    "what follows a step": _fit(last="tools.after_optimizer_step(fold)"),
    "an optimizer is made": _fit(head='optimizer = OPTIMIZERS["step"](model.parameters())'),
    "a function makes one": _fit(head="optimizer = make_optimizer(model)"),
    "a loss is computed": _fit("loss = forward_step(model, x, y)"),
    "a loss is computed by what is handed over": _fit("loss = settings.loss_step(model, x, y)"),
}


@pytest.mark.parametrize("name", NO_STEPS)
def test_what_is_no_step_is_none(name: str) -> None:
    text = NO_STEPS[name]
    assert _sure(text) >= 0
    assert _sure(text.replace("loss.backward()", "loss.backward()\n            optimizer.step()")) < 0


@pytest.mark.parametrize(
    "last", ["take_step(model)", "tools.optimize(model)", "settings.save_and_step(model)", "learner.training_step()"]
)
def test_what_may_be_a_step_behind_the_backward_pass_is_left_alone(last: str) -> None:
    assert _sure(_fit(last=last)) < 0


def test_what_stands_before_the_backward_pass_is_a_step_where_the_clearing_may_be_missing() -> None:
    text = _fit("loss = forward_step(model, x, y)")
    assert 0 <= _sure(text) < SHOWN
    assert _sure(text.replace("optimizer.zero_grad()", "if x.any(): optimizer.zero_grad()")) < 0
