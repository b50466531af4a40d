"""Networks whose parameters are switched off where they are made."""

from __future__ import annotations

import pytest

from code_programs import code_of
from stethoscope.facts.evaluations import evaluations_of
from stethoscope.facts.freezing import builds_no_graph

BUILD = """
    def build(classes, averaged=False):
        model = nn.Linear(3, classes)
        if averaged:
            for parameter in model.parameters():
                parameter.requires_grad = False
        return model
"""
SCORE = """
    def score(model, loader):
        model.eval()
        for x, y in loader:
            print((model(x).argmax(1) == y).sum().item())
"""


def is_quiet(text: str) -> list[bool]:
    """Of each evaluation of a text, whether its network wants no gradient."""
    code = code_of(text)
    return [builds_no_graph(code, one.forward.subject) for one in evaluations_of(code)]


@pytest.mark.parametrize(
    "made", ["build(2, True)", "build(2, averaged=True)", "nn.DataParallel(build(2, True)).cuda()"]
)
def test_a_function_that_freezes_what_it_gives(made: str) -> None:
    assert is_quiet(BUILD + SCORE + f"\n    score({made}, torch.load('data'))\n") == [True]


@pytest.mark.parametrize("made", ["build(2)", "build(2, averaged=False)", "nn.Linear(3, 2)"])
def test_a_function_that_could_freeze_and_does_not(made: str) -> None:
    assert is_quiet(BUILD + SCORE + f"\n    score({made}, torch.load('data'))\n") == [False]


def test_a_function_that_is_given_several() -> None:
    calls = "\n    score(build(2, True), torch.load('data'))\n    score(build(2), torch.load('data'))\n"
    assert is_quiet(BUILD + SCORE + calls) == [False]


@pytest.mark.parametrize(
    "freeze",
    [
        "for p in net.parameters(): p.requires_grad = False",
        "for p in net.parameters(): p.requires_grad_(False)",
        "for p in net.parameters(): p.detach_()",
        "for name, p in net.named_parameters(): p.requires_grad = False",
        "net.requires_grad_(False)",
        "net = net.requires_grad_(False)",
        "net = net.cuda(); net.requires_grad_(False)",
        "for p in net.parameters(): p.requires_grad = False\nnet = nn.DataParallel(net)",
    ],
)
def test_all_parameters_are_switched_off(freeze: str) -> None:
    assert is_quiet(_script(freeze)) == [True]


@pytest.mark.parametrize(
    "freeze",
    [
        "",
        "for p in net.parameters(): p.requires_grad = True",
        "for p in net.fc.parameters(): p.requires_grad = False",
        "for p in net.parameters():\n    if p.dim() > 1: p.requires_grad = False",
        "for p in net.parameters(): p.requires_grad = False\nnet.fc = nn.Linear(3, 2)",
        "net.requires_grad_(False)\nnet.fc.requires_grad_(True)",
        "for p in net.parameters(): p.requires_grad = False\nfor p in net.parameters(): p.requires_grad = True",
        "other = nn.Linear(3, 2)\nother.requires_grad_(False)",
    ],
)
def test_some_parameters_stay_on(freeze: str) -> None:
    assert is_quiet(_script(freeze)) == [False]


FREEZE = """
    def freeze(model, really=True):
        if really:
            for parameter in model.parameters():
                parameter.requires_grad = False

    class Net(nn.Linear):
        def freeze(self):
            for parameter in self.parameters():
                parameter.requires_grad = False

    net = Net(3, 2)
    {}
    net.eval()
    for x, y in torch.load("data"):
        print(net(x).argmax(1).eq(y).sum().item())
"""


@pytest.mark.parametrize(
    ("call", "is_frozen"),
    [
        ("freeze(net)", True),
        ("freeze(model=net)", True),
        ("net.freeze()", True),
        ("freeze(net, False)", False),
        ("freeze(nn.Linear(3, 2))", False),
        ("print(net)", False),
    ],
)
def test_a_function_or_a_method_that_freezes(call: str, is_frozen: bool) -> None:
    assert is_quiet(FREEZE.format(call)) == [is_frozen]


def test_a_method_that_thaws_as_well() -> None:
    text = FREEZE.replace(
        "    net = Net", "        def thaw(self):\n            self.weight.requires_grad = True\n\n    net = Net"
    )
    assert is_quiet(text.format("net.freeze()")) == [False]


def test_a_network_behind_self() -> None:
    text = """
        class Distiller:
            def __init__(self, data):
                self.teacher, self.data = nn.Linear(3, 2), data
                self.student = nn.Linear(3, 2)
                self.pupil = nn.Linear(3, 2)
                for parameter in self.pupil.parameters():
                    parameter.requires_grad = False

            def compare(self):
                for x, y in self.data:
                    print(self.{}(x).argmax(1).eq(y).sum().item())
        """
    assert is_quiet(text.format("pupil")) == [True]
    assert is_quiet(text.format("student")) == [False]


def _script(freeze: str) -> str:
    lines = [
        "net = torchvision.models.resnet18()",
        *freeze.split("\n"),
        "net.eval()",
        "for x, y in torch.load('data'):",
        "    print(net(x).argmax(1).eq(y).sum().item())",
    ]
    return "import torch\nimport torchvision\nfrom torch import nn\n\n" + "\n".join(lines) + "\n"
