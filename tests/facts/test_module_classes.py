"""Whether a module has parameters."""

from __future__ import annotations

import pytest

from code_programs import code_of
from stethoscope.facts.module_classes import has_weights
from stethoscope.facts.origins import thing_of

GROWN = """
class Block(nn.Module):
    def __init__(self, width, pool, is_small):
        super().__init__()
        FIRST
        if is_small:
            self.phi = nn.Sequential(self.phi, pool)
"""
TREE = """
class Tree(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.parts = nn.ModuleList([Tree(depth - 1) for _ in range(depth)])
        self.leaf = LEAF

net = Tree(3)
""".rstrip()


def _grown(first: str) -> bool:
    code = code_of(GROWN.replace("FIRST", first))
    (grown,) = code.calls_of("torch.nn.Sequential")
    return has_weights(thing_of(code, grown))


def test_a_sequence_that_reads_as_one_within_itself_is_looked_into_so_far_and_no_further() -> None:
    assert not _grown("# self.phi = nn.Conv2d(width, width, 1)")


def test_a_sequence_of_a_layer_with_weights_has_them() -> None:
    code = code_of("net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())")
    (made,) = code.calls_of("torch.nn.Sequential")
    assert has_weights(thing_of(code, made))


@pytest.mark.parametrize(("leaf", "has"), [("nn.Identity()", False), ("nn.Linear(3, 3)", True)])
def test_a_class_that_keeps_a_list_of_its_own_objects_is_asked_once(leaf: str, has: bool) -> None:
    code = code_of(TREE.replace("LEAF", leaf))
    made = max(code.calls, key=lambda call: call.at.line)
    assert has_weights(thing_of(code, made)) is has
