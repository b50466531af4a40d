"""How models are defined: healthy twins of what rules took for faults, and the faults beside them."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.parameters.attribute_without_effect import AttributeWithoutEffect
from stethoscope.rules.parameters.layer_made_in_forward import LayerMadeInForward
from stethoscope.rules.parameters.overwritten_layer import OverwrittenLayer
from stethoscope.rules.parameters.super_init_missing import SuperInitMissing

LEARNER = """
    class Learner:
        def __init__(self):
            self.encoder = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
            self.encoder.requires_grad = False
            self.head = nn.Linear(3, 2)
            self.optimizer = torch.optim.Adam(self.head.parameters())
"""
CUT = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(3, 3), nn.Linear(3, 2)
            self.body.requires_grad = False

        def forward(self, x):
            return self.head(self.body(x).detach())
"""
SIZES = """
    class Net(nn.Module):
        def forward(self, x):
            size = nn.Conv2d(3, 8, 3, stride=2)(x).shape
            return x[..., : size[2]]
"""
DRAWN = """
    class RandConv(nn.Module):
        def forward(self, x):
            return nn.Conv2d(3, 3, 3, padding=1)(x)
"""
TWICE = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            # drawn and thrown away, so that the random numbers are those of the paper
            self.fc = nn.Linear(3, 3)
            self.fc = nn.Linear(3, 7)

        def forward(self, x):
            return self.fc(x)
"""
BEGUN = """
    class Stem(nn.Module):
        def __init__(self, width):
            self.stem = nn.Linear(3, width)

    class Net(Stem):
        def __init__(self, width):
            super(Stem, self).__init__()
            super().__init__(width)
"""
TRIED = """
    class Net(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(3, 3)

    try:
        Net()
    except AttributeError as error:
        print("without super().__init__():", error)
"""
PATCHED = "nn.Module.__setattr__ = lazily\n" + textwrap.dedent(TRIED.partition("try:")[0])
PHASES = """
    def train(net: nn.Module, judge: nn.Module, loader, first, second):
        for x, y in loader:
            judge.requires_grad = True
            first.zero_grad()
            (judge(y).mean() - judge(net(x).detach()).mean()).backward()
            first.step()
            judge.requires_grad = False
            second.zero_grad()
            judge(net(x)).mean().backward()
            second.step()
"""
SWITCHED = """
    class Net(nn.Module):
        def __init__(self, frozen):
            super().__init__()
            self.body = nn.Linear(3, 3)
            if frozen:
                self.body.requires_grad = False
            for one in self.body.parameters():
                one.requires_grad = not frozen

        def forward(self, x):
            return self.body(x)
"""
BUILT = """
    class Net(nn.Module):
        def __init__(self, width):
            self.fc = nn.Linear(3, width)

        @classmethod
        def build(cls, width):
            made = cls.__new__(cls)
            nn.Module.__init__(made)
            made.__init__(width)
            return made
"""
TWINS: dict[str, tuple[type[Rule], str, str, str]] = {
    "a frozen part that no optimizer of its object has": (
        AttributeWithoutEffect, LEARNER, "self.head.parameters()", "self.encoder.parameters()",
    ),
    "a frozen part whose answers are cut off": (AttributeWithoutEffect, CUT, "self.body(x).detach()", "self.body(x)"),
    "a model that is handed over and switched in each round": (
        AttributeWithoutEffect, PHASES, "judge.requires_grad = True", "net.train()",
    ),
    "parameters that are switched behind the condition": (
        AttributeWithoutEffect, SWITCHED, "one.requires_grad = not frozen", "one.retain_grad()",
    ),
    "a layer that only tells sizes": (LayerMadeInForward, SIZES, ").shape", ")[0]"),
    "a random augmentation": (LayerMadeInForward, DRAWN, "RandConv", "RandyConv"),
    "a layer that is drawn for its random numbers": (
        OverwrittenLayer, TWICE, "# drawn and thrown away, so that the random numbers are those of the paper", "# head",
    ),
    "a constructor that heirs pass over first": (SuperInitMissing, BEGUN, "super(Stem, self)", "super(Net, self)"),
    "a class that shows an error": (SuperInitMissing, TRIED, "AttributeError", "OSError"),
    "a maker that sets the module up": (SuperInitMissing, BUILT, "nn.Module.__init__(made)", "made.eval()"),
    "a change of `nn.Module` itself": (SuperInitMissing, PATCHED, "nn.Module.__setattr__", "nn.Modules.__setattr__"),
}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_a_healthy_definition_is_not_shown_and_its_faulty_twin_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, text, healthy, faulty = TWINS[name]
    monkeypatch.setattr(rule, "on_trial", False)  # a rule on trial has to know what is healthy before it leaves it
    assert healthy in text
    assert how_sure(rule, text) < SHOWN <= how_sure(rule, text.replace(healthy, faulty))
