"""Files that cannot be imported: what lint is sure of elsewhere is possible there at most."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from code_programs import code_of
from stethoscope.core.review import Level
from stethoscope.diagnosing.review import review
from stethoscope.facts.code import Code
from stethoscope.facts.importable import cannot_be_imported
from stethoscope.observe.code.project import Project
from stethoscope.observe.code.reading import source_of

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(4, 4) for _ in range(3)]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x
"""

MISSING = {
    "a base class": ("Block", "class Deeper(Block):\n    pass\n"),
    "an annotation": ("jax", "def loss(x: jax.Array):\n    return x\n"),
    "a return outside of a function": ("return", "x = 3\nreturn x\n"),
    "an annotation of what comes back": ("Tensor", "def loss(x) -> Tensor:\n    return x\n"),
    "a decorator": ("dataclass", "@dataclass\nclass Options:\n    rate: float = 0.1\n"),
    "a default": ("RATE", "def train(rate=RATE):\n    return rate\n"),
    "an annotation in a class": ("List", "class Reader:\n    def read(self, rows: List[int]):\n        return rows\n"),
}
THERE = {
    "bound in a branch": "if 1:\n    RATE = 1\ndef train(rate=RATE):\n    return rate\n",
    "bound in a try": "try:\n    import jax\nexcept ImportError:\n    jax = 0\ndef loss(x: jax.Array):\n    pass\n",
    "annotated in quotes": "def loss(x: 'jax.Array'):\n    return x\n",
    "imported by a star": "from shapes import *\ndef loss(x: Array):\n    return x\n",
    "bound by a function": "def fill():\n    global RATE\n    RATE = 1\ndef train(rate=RATE):\n    return rate\n",
    "used when it is called": "def train():\n    return RATE\n",
    "in a lambda": "def train(rate=lambda: RATE):\n    return rate\n",
    "in a comprehension": "def train(rates=tuple(one for one in (1, 2))):\n    return rates\n",
    "of the class around it": "class Net:\n    width = 3\n    def grow(self, by=width):\n        return by\n",
    "a part of the package": "from .parts import one\ndef train(rate=parts.RATE):\n    return rate\n",
    "a module that answers for any name": "def __getattr__(name):\n    return 1\ndef f(x=RATE):\n    return x\n",
    "a condition": "if False:\n    def train(rate=RATE):\n        return rate\n",
}


@pytest.mark.parametrize("kind", MISSING)
def test_a_name_that_nothing_binds_is_told(kind: str) -> None:
    name, text = MISSING[kind]
    assert cannot_be_imported(code_of(text)) == name


@pytest.mark.parametrize("kind", THERE)
def test_a_name_that_may_be_there_is_none(kind: str) -> None:
    assert cannot_be_imported(code_of(THERE[kind])) == ""


def test_annotations_that_wait_need_no_name() -> None:
    lines = ("def loss(x: Array):", "    return x")
    assert cannot_be_imported(Code("train.py", lines=lines)) == "Array"
    assert cannot_be_imported(Code("train.py", lines=("from __future__ import annotations", *lines))) == ""


@pytest.mark.parametrize("kind", MISSING)
def test_what_is_said_of_such_a_file_is_possible_at_most(kind: str) -> None:
    (sure,) = review(code_of(NET + MAKES)).findings
    assert Level().shows(sure)
    (possible,) = review(code_of(NET + MAKES + textwrap.dedent(MISSING[kind][1]))).findings
    assert not Level().shows(possible)
    assert Level(possible=True).shows(possible)


MAKES = """
def build():
    return Net()
"""


@pytest.mark.parametrize(
    ("line", "is_lost"),
    [
        ("from .parts import Block", True),
        ("from ..parts.blocks import Block", True),
        ("from .nets.blocks import Block", True),
        ("from .nets import Block", False),
        ("from ..tools import Block", False),
        ("from .fast import Block", False),
        ("from ._parts import Block", False),
        ("from .version import Block", False),
        ("from . import nets", False),
        ("from . import parts", True),
        ("from .nets import Other", True),
        ("from ..tools import Other", True),
        ("from parts import Block", False),
        ("try:\n    from .parts import Block\nexcept ImportError:\n    Block = None", False),
    ],
)
def test_a_module_or_name_of_the_own_package_that_is_not_there_is_told(
    tmp_path: Path, line: str, *, is_lost: bool
) -> None:
    package = tmp_path / "tools" / "models"
    (package / "nets").mkdir(parents=True)
    for place in ("../__init__.py", "__init__.py", "nets/__init__.py", "fast.cpython-311-x86_64-linux-gnu.so"):
        (package / place).write_text("")
    for place in ("nets/__init__.py", "../tools.py"):
        (package / place).write_text("class Block:\n    pass\n")
    (package / "train.py").write_text(f"{line}\n{NET}")

    code = Project().read(package / "train.py", "train.py")

    assert bool(cannot_be_imported(code)) is is_lost


def test_a_text_that_lies_in_no_file_may_import_what_it_says(tmp_path: Path) -> None:
    source = source_of(f"from .parts import Block\n{NET}".encode(), "train.py")
    assert cannot_be_imported(Project().linked(source, tmp_path / "train.py")) == ""
