"""Branches that no call of a project takes, beside calls that take them, or may."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad

LOOP = """for _ in range(9):
            for x, y in loader:
                F.cross_entropy(model(x), y).backward()
                optimizer.step()"""
FUNCTION = """
# file: use.py
import torch
BESIDE

# file: train.py
import torch
import torch.nn.functional as F
SETTING = 0
net, rows = torch.nn.Linear(3, 2), torch.load("rows.pt", weights_only=True)

def train(model, loader, mode=0, kind="a", **more):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if TEST:
        LOOP
    ELSE

CALLS
"""
METHOD = """
# file: use.py
import torch
BESIDE

# file: train.py
import torch
import torch.nn.functional as F
import threading

class Runner(BASE):
    def __init__(self, model, loader, is_made=False):
        self.model = model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if is_made:
            LOOP

    def learn_all(self, model, loader, mode=0):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if mode:
            LOOP

CALLS
"""


def _sure(calls: str, beside: str = "", test: str = "mode", otherwise: str = "") -> int:
    text = FUNCTION.replace("TEST", test).replace("LOOP", LOOP).replace("ELSE", otherwise)
    return how_sure(MissingZeroGrad, text.replace("CALLS", textwrap.dedent(calls)).replace("BESIDE", beside))


@pytest.mark.parametrize(
    ("untaken", "taken"),
    [
        ("train(net, rows)", "train(net, rows, 1)"),
        ("train(net, rows, 0)", "train(net, rows, 2)"),
        ("train(net, rows, mode=0)", "train(net, rows, mode=1)"),
        ("train(net, rows, mode=None, kind='b')", "train(net, rows, kind='b', mode='x')"),
        ("train(net, rows)", "train(net, rows, SETTING)"),
        ("train(net, rows)", "train(net, rows, options.mode)"),
        ("train(net, rows)", "train(net, rows, **options)"),
        ("train(net, rows)", "train(*options)"),
        ("train(net, rows)\ntrain(net, rows, False)", "train(net, rows)\ntrain(net, rows, True)"),
        ("train(net, rows)", "train(net, rows)\nstart(train)"),
        ("train(net, rows)", "train(net, rows)\ngetattr(here, 'train')(net, rows, 1)"),
        ("train(net, rows)", "train(net, rows)\nfire.Fire()"),
        ("train(net, rows)", "print(net, rows)"),
        ("def main(mode): train(net, rows, mode)\nmain(0)", "def main(mode): train(net, rows, mode)\nmain(1)"),
        ("def main(mode=0): train(net, rows, mode)\nmain()", "def main(mode=0): train(net, rows, mode)"),
    ],
)
def test_a_branch_that_no_call_takes(untaken: str, taken: str) -> None:
    assert 0 <= _sure(untaken) < SHOWN <= _sure(taken)


@pytest.mark.parametrize(
    ("untaken", "taken"),
    [
        ("mode == 1", "mode == 0"),
        ("mode is not None and mode > 2", "mode is not None and mode < 2"),
        ("mode in (1, 2)", "mode in (0, 2)"),
        ("mode and loader", "not mode and loader"),
        ("kind == 'x'", "kind == 'a'"),
        ("kind == 'x' and mode == 0", "kind == 'x' or mode == 0"),
        ("mode", "mode or loader"),
        ("mode", "mode or more"),
        ("mode", "mode.real"),
    ],
)
def test_a_condition_that_is_never_met(untaken: str, taken: str) -> None:
    assert 0 <= _sure("train(net, rows)", test=untaken) < SHOWN <= _sure("train(net, rows)", test=taken)


def test_a_parameter_that_is_bound_anew() -> None:
    assert _sure("train(net, rows)", test="mode") < SHOWN
    assert _sure("train(net, rows)", test="True:\n        mode = len(loader)\n    if mode") >= SHOWN


def test_the_other_branch() -> None:
    otherwise = f"else:\n        {LOOP}"
    for calls, is_shown in (("train(net, rows)", True), ("train(net, rows, 1)", False)):
        text = FUNCTION.replace("TEST", "mode").replace("LOOP", "pass", 1).replace("ELSE", otherwise)
        assert (how_sure(MissingZeroGrad, text.replace("CALLS", calls)) >= SHOWN) is is_shown


@pytest.mark.parametrize(
    ("beside", "is_doubted"),
    [
        ("from train import train\ntrain(net, rows)", True),
        ("from train import train\ntrain(net, rows, kind=(')', 1), mode=0)", True),
        ("import train\ntrain.train(net, rows)", True),
        ("from train import (\n    SETTING,\n    train,\n)\ntrain(net, [len(rows)], mode=False)", True),
        ("from train import train\ntrain(net, rows, 1)", False),
        ("from train import train\ntrain(net, rows, mode)", False),
        ("from train import train\ntrain(net, rows, **options)", False),
        ("from train import train\nstart(train)", False),
        ("from train import train as learn\nlearn(net, rows, 1)", False),
        ("import train\ntrain.train(net, rows, mode=1)", False),
        ("from train import train\ndef train(net): train(net)", False),
        ("import importlib\nimportlib.import_module(name).train(net, rows, 1)", False),
        ("def train(net, mode): train(net, 1)", True),  # one of its own: it does not import the other
        ("from train import SETTING\ntrained = 1", True),
    ],
)
def test_calls_in_other_files(beside: str, *, is_doubted: bool) -> None:
    for calls in ("train(net, rows)", ""):
        sure = _sure(calls, beside)
        only_here = "train(net, rows" not in beside and "train(net, [" not in beside
        assert 0 <= sure < SHOWN if is_doubted and (calls or not only_here) else sure >= SHOWN, calls


def _method(calls: str, beside: str = "", base: str = "object", *, is_made: bool = False) -> int:
    first, _, last = METHOD.partition("LOOP")
    text = first + (LOOP.replace("\n", "\n    ") if is_made else "pass") + last
    text = text.replace("LOOP", "pass" if is_made else LOOP.replace("\n", "\n    ")).replace("BASE", base)
    return how_sure(MissingZeroGrad, text.replace("CALLS", calls).replace("BESIDE", beside))


@pytest.mark.parametrize(
    ("beside", "base", "is_doubted"),
    [
        ("", "object", True),
        ("", "torch.nn.Module", True),
        ("runner.learn_all(net, rows)", "object", True),
        ("runner.learn_all(net, rows, 1)", "object", False),
        ("runner.learn_all(net, rows, mode=wanted)", "object", False),
        ("start(runner.learn_all)", "object", False),
        ("class Other:\n    def learn_all(self, model): ...", "object", False),
        ("", "threading.Thread", False),
    ],
)
def test_a_branch_of_a_method(beside: str, base: str, *, is_doubted: bool) -> None:
    sure = _method("Runner(net, rows).learn_all(net, rows)", beside, base)
    assert 0 <= sure < SHOWN if is_doubted else sure >= SHOWN
    assert _method("Runner(net, rows).learn_all(net, rows, mode=1)", beside, base) >= SHOWN


@pytest.mark.parametrize(
    ("calls", "is_doubted"),
    [
        ("Runner(net, rows)", True),
        ("Runner(net, rows, is_made=False)", True),
        ("Runner(net, rows, True)", False),
        ("Runner(net, rows)\nclass Other(Runner): ...", False),
        ("", False),
    ],
)
def test_a_branch_of_a_constructor(calls: str, *, is_doubted: bool) -> None:
    sure = _method(calls, is_made=True)
    assert 0 <= sure < SHOWN if is_doubted else sure >= SHOWN


def test_what_a_decorator_may_call() -> None:
    for line, is_shown in (("@torch.enable_grad()", False), ("@app.command()", True)):
        text = FUNCTION.replace("TEST", "mode").replace("LOOP", LOOP).replace("ELSE", "").replace("BESIDE", "")
        text = text.replace("def train", f"import app\n{line}\ndef train").replace("CALLS", "train(net, rows)")
        assert (how_sure(MissingZeroGrad, text) >= SHOWN) is is_shown
