"""What no run comes to, in a loop over nothing or a network that cannot be asked, beside a twin in which it is."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from code_programs import IMPORTS, SHOWN, how_sure
from stethoscope.core.settings import Settings
from stethoscope.linting import lint
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.parameters.overwritten_layer import OverwrittenLayer
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

TRAINING = """
def train(model, loader, epochs, shown):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    BEFORE
    LOOP
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
    print(epochs)
"""


def _in_loop(loop: str, before: str = "pass") -> int:
    return how_sure(MissingZeroGrad, IMPORTS + TRAINING.replace("LOOP", loop).replace("BEFORE", before))


@pytest.mark.parametrize(
    ("loop", "right"),
    [
        ("for _ in range(0):", "for _ in range(1):"),
        ("for _ in range(3, 3):", "for _ in range(0, 3):"),
        ("for _ in range(3, 0):", "for _ in range(3, 0, -1):"),
        ("for _ in []:", "for _ in [0]:"),
        ("for _ in ():", "for _ in (0,):"),
        ("for _, _ in enumerate([]):", "for _, _ in enumerate([0]):"),
        ("for _ in list():", "for _ in list(epochs):"),
        ("while False:", "while True:"),
        ("while 0:", "while 1:"),
        ("while False and epochs:", "while True and epochs:"),
        ("if False and epochs:", "if True and epochs:"),
        ("if not 1:", "if not 0:"),
    ],
)
def test_a_block_that_nothing_enters(loop: str, right: str) -> None:
    assert 0 <= _in_loop(loop) < SHOWN <= _in_loop(right)


@pytest.mark.parametrize("test", ["if False:", "if 0:", "if True:\n        pass\n    else:"])
def test_a_branch_that_is_switched_off_is_no_fact_at_all(test: str) -> None:
    assert _in_loop(test) < SHOWN
    assert _in_loop("if epochs:") >= SHOWN


@pytest.mark.parametrize(
    ("before", "is_doubted"),
    [
        ("n = 0", True),
        ("n = 1", False),
        ("n = 0\n    if epochs: n = 3", False),
        ("n = 0\n    n += epochs", False),
        ("n = 0\n    for n in shown: pass", False),
        ("n = 0\n    with shown as n: pass", False),
        ("n = 0\n    def count():\n        nonlocal n\n        n = 3", False),
        ("n = len(shown)", False),
        ("global n\n    n = 0", False),
    ],
)
def test_a_loop_to_a_variable_that_is_nothing_but_0(before: str, *, is_doubted: bool) -> None:
    sure = _in_loop("for _ in range(n):", before)
    assert 0 <= sure < SHOWN if is_doubted else sure >= SHOWN
    assert _in_loop("for _ in range(epochs):", "epochs = 0") >= SHOWN  # a parameter, that is set aside by hand


def test_an_error_in_a_loop_over_nothing_ends_nothing() -> None:
    assert _in_loop("for _ in range(2):", "for _ in []:\n        raise ValueError\n        print(1)") >= SHOWN
    assert 0 <= _in_loop("for _ in range(2):", "for _ in [0]:\n        raise ValueError\n        print(1)") < SHOWN


LOOPED = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 4)
        self.cell = LAYER
        self.out = nn.Linear(4, 4)

    def forward(self, xs):
        h = torch.zeros(3, 4)
        for x in xs:
            h = CALL
        return self.out(h)
"""


@pytest.mark.parametrize(
    ("layer", "call", "below", "is_doubted"),
    [
        ("nn.Linear(4, 4)", "self.cell(x, h)", "", True),
        ("nn.Sequential(nn.Linear(4, 4))", "self.cell(x, h)", "", True),
        ("nn.Linear(4, 4)", "self.cell(nn.Linear(4, 4)(x, h))", "", True),
        ("nn.Linear(4, 4)", "self.cell(missing(x))", "", True),
        ("nn.Linear(4, 4)", "self.cell(x + h)", "", False),
        ("nn.Linear(4, 4)", "self.cell(*x)", "", False),
        ("nn.Bilinear(4, 4, 4)", "self.cell(x, h)", "", False),
        ("nn.ConvTranspose1d(4, 4, 1)", "self.cell(x, h)", "", False),
        ("nn.Linear(4, 4)", "self.cell(x, h) if h.any() else x", "", False),
        ("nn.Linear(4, 4)", "self.cell(x, h)", "class Other(Net):\n    pass\n", False),
        ("nn.Linear(4, 4)", "self.cell(x, h)", "net = Net()\nnet.cell = nn.Bilinear(4, 4, 4)\n", False),
        ("nn.Linear(4, 4)", "self.cell(x, h)", "    def step(self, x):\n        return self.cell(x)\n", False),
        ("nn.Linear(4, 4)", "self.cell(x, h)", "nn.Linear = nn.Bilinear\n", False),
    ],
)
def test_layers_of_a_network_that_cannot_be_asked(layer: str, call: str, below: str, *, is_doubted: bool) -> None:
    sure = how_sure(OverwrittenLayer, LOOPED.replace("LAYER", layer).replace("CALL", call) + below)
    assert 0 <= sure < SHOWN if is_doubted else sure >= SHOWN


def test_a_network_that_only_its_forward_uses() -> None:
    text = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(3, 3) for _ in range(3)]
            self.act = nn.ReLU()
            self.out = nn.Linear(3, 3)

        def last(self, x):
            return self.out(x)

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            x = self.act(x, x)
            return self.last(x)
    """
    text = textwrap.dedent(text)
    assert 0 <= how_sure(UnregisteredModules, text) < SHOWN
    assert how_sure(UnregisteredModules, text.replace("x, x)", "x)")) >= SHOWN
    assert how_sure(UnregisteredModules, f"{text}print(Net().last(1))\n") >= SHOWN
    assert how_sure(UnregisteredModules, text.replace("x = self.act(x, x)", "raise NotImplementedError")) >= SHOWN


STARS = {
    "nets/__init__.py": "",
    "nets/layers.py": "from .parts import *\n\nclass Layer: pass\n",
    "nets/parts.py": "import os\n\ndef part(): pass\n",
    "nets/train.py": "import torch\nimport torch.nn.functional as F\nfrom .layers import *\nfrom nets.parts import *\n"
    + TRAINING.replace("LOOP", "for _ in range(epochs):").replace("BEFORE", "writer = Writer()"),
}


def _told(folder: Path, changed: dict[str, str]) -> bool:
    for name, text in (STARS | changed).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    found = lint(folder / "nets/train.py", possible=True, processes=1, settings=Settings()).findings
    (sure,) = (one.sureness.strength for one in found if one.rule == "missing-zero-grad")
    return sure >= SHOWN


@pytest.mark.parametrize(
    ("file", "text", "is_told"),
    [
        ("nets/parts.py", "import os\n", False),
        ("nets/parts.py", "__all__ = ['os']\nimport os\nWriter = 1\n", False),
        ("nets/parts.py", "_Writer = 1\n", False),
        ("nets/parts.py", "from os.path import join\nfrom .layers import *\n", False),
        ("nets/parts.py", "def f():\n    Writer = 1\n", False),
        ("nets/parts.py", "class Writer: pass\n", True),
        ("nets/parts.py", "from torch.utils.tensorboard import SummaryWriter as Writer\n", True),
        ("nets/parts.py", "try:\n    from tensorboardX import Writer\nexcept ImportError:\n    pass\n", True),
        ("nets/parts.py", "import os\nif os.name:\n    Writer = 1\n", True),
        ("nets/parts.py", "def f():\n    global Writer\n    Writer = 1\n", True),
        ("nets/parts.py", "from tkinter import *\n", True),
        ("nets/parts.py", "from tensorboardX import *\n", True),
        ("nets/parts.py", "__all__ = ['Writer']\n", True),
        ("nets/parts.py", "__all__ = []\n__all__ += ['Writer']\nWriter = 1\n", True),
        ("nets/parts.py", "def __getattr__(name): pass\n", True),
        ("nets/parts.py", "globals()['Writer'] = 1\n", True),
        ("nets/parts.py", "exec('Writer = 1')\n", True),
        ("nets/parts.py", "print 'two'\n", True),
        ("nets/layers.py", "import sys\nsys.path.append('..')\nfrom nets.parts import *\n", True),
        ("nets/train.py", STARS["nets/train.py"].replace("nets.parts", "torch"), True),
        ("nets/train.py", STARS["nets/train.py"].replace("nets.parts", "parts"), True),
    ],
)
def test_a_name_that_no_star_brings(
    file: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_told: bool
) -> None:
    monkeypatch.chdir(tmp_path)  # whose own name says that it tests
    assert _told(Path("project"), {file: text}) is is_told


def test_the_modules_of_a_package_are_names_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train = STARS["nets/train.py"].replace("nets.parts", "nets.more")
    assert not _told(Path("without"), {"nets/train.py": train, "nets/more/__init__.py": "", "nets/more/a.py": ""})
    assert _told(Path("with"), {"nets/train.py": train, "nets/more/__init__.py": "", "nets/more/Writer.py": ""})


def test_what_a_file_asks_for_as_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train = STARS["nets/train.py"].replace("writer = Writer()", "pass") + "class Log(BASE): pass\n"
    assert not _told(Path("wrong"), {"nets/train.py": train.replace("BASE", "Writer")})
    assert _told(Path("right"), {"nets/train.py": train.replace("BASE", "Layer")})
