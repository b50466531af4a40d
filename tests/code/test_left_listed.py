"""Lists of layers that a class hands on, freezes in part, or fills in one branch; each beside a healthy twin."""

from __future__ import annotations

import re
import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

HANDED = """
    import torch
    from torch import nn

    def pad(x, layer):
        return layer(x)

    def bank(x, layers, act):
        outs = []
        for layer in layers:
            out = act(pad(x, layer))
            outs.append(out)
        return torch.cat(outs + [x], dim=1)

    class Encoder(nn.Module):
        def __init__(self, width, depth):
            super().__init__()
            self.act = nn.ReLU()
            self.bank = [nn.Conv1d(width, width, 3) for _ in range(depth)]
            self.out = nn.Linear(width, width)

        def forward(self, x):
            out = bank(x, self.bank, act=self.act)
            return self.out(pad(out, self.out))
"""
FROZEN = """
    from torch import nn

    class Net(nn.Module):
        def __init__(self, width, depth, frozen_stages):
            super().__init__()
            self.frozen_stages = frozen_stages
            self.stages = []
            for _ in range(depth):
                self.stages.append(nn.Linear(width, width))

        def forward(self, x):
            for i, stage in enumerate(self.stages):
                x = stage(x)
            return x

        def freeze(self):
            FREEZING
"""
BY_NUMBER = """
            for i in range(self.frozen_stages):
                part = self.stages[i]
                part.eval()
                for parameter in part.parameters():
                    parameter.requires_grad = False
"""
BY_CONDITION = """
            for i, stage in enumerate(self.stages):
                if self.frozen_stages >= i:
                    for parameter in stage.parameters():
                        parameter.requires_grad = False
"""
WHOLE = """
            for stage in self.stages:
                for parameter in stage.parameters():
                    parameter.requires_grad = False
"""
BRANCHES = """
    from torch import nn

    class Net(nn.Module):
        def __init__(self, width, depth, kinds):
            super().__init__()
            if kinds:
                # The names stay those that state_dict() had before.
                self.cell = nn.Linear(width, width)
            else:
                self.cells = [nn.Linear(width, width) for _ in range(depth)]
                NONE

        def forward(self, x):
            return [cell(x) for cell in self.cells]
"""
WRAPPED = """
    from torch import nn
    from torch.nn.utils import spectral_norm

    def pad(x, layer):
        return layer(x)

    class Net(nn.Module):
        def __init__(self, width, depth, normed):
            super().__init__()
            f = spectral_norm if normed else lambda x: x
            self.layers = [f(nn.Linear(width, width)) for _ in range(depth)]

        def forward(self, x):
            for i in range(len(self.layers)):
                x = pad(x, self.layers[i])
            return x
"""


def _sure(text: str) -> int:
    return how_sure(UnregisteredModules, textwrap.dedent(text))


def _frozen(how: str) -> str:
    return textwrap.dedent(FROZEN).replace("        FREEZING\n", textwrap.dedent(how).replace("\n", "\n        "))


def _registered(text: str) -> str:
    """The healthy twin."""
    return re.sub(r"= (\[.* for _ in range\(depth\)\])", r"= nn.ModuleList(\1)", text)


def test_a_function_that_goes_over_a_list_registers_nothing() -> None:
    assert _sure(HANDED) >= 0
    assert _sure(_registered(HANDED)) < 0


@pytest.mark.parametrize("kept", ["found.extend(layers)", "held = nn.ModuleList(layers)", "act.held = layers"])
def test_a_function_that_may_keep_what_it_is_handed_is_left_alone(kept: str) -> None:
    assert _sure(HANDED.replace("outs = []", f"outs = []\n        {kept}")) < 0


@pytest.mark.parametrize("how", [BY_NUMBER, BY_CONDITION])
def test_to_freeze_the_first_of_them_is_not_to_look_after_all(how: str) -> None:
    assert 0 <= _sure(_frozen(how)) < SHOWN
    assert _sure(_frozen(WHOLE)) < 0
    assert _sure(_frozen(how).replace("self.stages = []", "self.stages = nn.ModuleList()")) < 0


def test_a_list_that_is_made_in_one_of_two_branches() -> None:
    plain = BRANCHES.replace("NONE", "pass")
    assert _sure(plain) >= 0
    assert _sure(BRANCHES.replace("NONE", "self.cell = None")) >= 0
    assert _sure(plain.replace("else:\n", "else:\n                # hidden on purpose\n")) < 0
    assert _sure(_registered(plain)) < 0


def test_layers_that_one_of_two_functions_wraps() -> None:
    assert 0 <= _sure(WRAPPED) < SHOWN
    assert _sure(_registered(WRAPPED)) < 0
