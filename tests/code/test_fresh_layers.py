"""Blocks of the project that `forward` makes for itself: a fault where their weights are surely new ones each time."""

from __future__ import annotations

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.rules.parameters.layer_made_in_forward import LayerMadeInForward

BLOCKS = """
    class Layer(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.conv = nn.Conv2d(size, 8, 3)

        def forward(self, x):
            return self.conv(x)

    class Base(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.layers = nn.Sequential(Layer(size), nn.ReLU())

    class Block(Base):
        def forward(self, x):
            return self.layers(x)

    class Net(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.size, self.block = size, None

        def forward(self, x):
            block = Block(self.size)
            return block(x)
"""
HEALTHY = {
    "weights that are read from a file": (
        "self.conv(x)",
        "self.conv(x)\n\n        def read(self): self.load_state_dict(w)",
    ),
    "a filter that is written down": ("8, 3)", "8, 3); self.conv.weight.data = torch.ones(8, 8, 3, 3)"),
    "weights that are frozen": ("8, 3)", "8, 3); self.requires_grad_(False)"),
    "a layer without weights": ("nn.Conv2d(size, 8, 3)", "nn.AvgPool2d(3)"),
    "weights of 1": ("nn.Conv2d(size, 8, 3)", "nn.BatchNorm2d(size)"),
    "a layer that may be left out": ("self.conv =", "if size > 3: self.conv ="),
    "a layer that nothing uses": ("self.layers(x)", "x"),
    "layers that are given": ("Layer(size), nn.ReLU()", "size, nn.ReLU()"),
    "a base that is not seen": ("(Base)", "(Base, Mixin)"),
    "a class that makes its objects itself": ("class Block(Base):", "@shared\n    class Block(Base):"),
    "no module": ("class Base(nn.Module):", "class Base:"),
    "kept at the first call": ("block = Block", "self.block = block = self.block or Block"),
    "without gradients": ("block = Block", "with torch.no_grad(): block = Block"),
    "drawn from a seed": ("block = Block", "torch.manual_seed(0); block = Block"),
    "weights that are given": ("return block", "block.load_state_dict(self.size); return block"),
    "handed on": ("return block", "self.keep(block); return block"),
    "its answers are cut off": ("block(x)", "block(x).detach()"),
    "asked for sizes": ("block(x)", "block(x).shape"),
}


def test_a_block_of_the_project_that_forward_makes_is_a_fault() -> None:
    assert how_sure(LayerMadeInForward, BLOCKS) >= SHOWN
    assert how_sure(LayerMadeInForward, BLOCKS.replace("block = Block(self.size)", "block = Layer(3)")) >= SHOWN
    listed = BLOCKS.replace("nn.Sequential(Layer(size), nn.ReLU())", "nn.ModuleList([Layer(size) for _ in range(3)])")
    assert how_sure(LayerMadeInForward, listed) >= SHOWN


@pytest.mark.parametrize("twin", HEALTHY)
def test_it_is_none_where_its_weights_are_others_or_it_is_kept(twin: str) -> None:
    old, new = HEALTHY[twin]
    assert old in BLOCKS

    assert how_sure(LayerMadeInForward, BLOCKS.replace(old, new)) == -1


def test_a_random_block_is_possible_at_most() -> None:
    assert -1 < how_sure(LayerMadeInForward, BLOCKS.replace("Block(", "RandBlock(")) < SHOWN
