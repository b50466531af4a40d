"""A call that does not fit ends what stands behind it; beside each stands one that fits, or that may."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from code_programs import IMPORTS, SHOWN, how_sure, how_sure_behind
from stethoscope.linting import lint
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad

TAKING = """
from dataclasses import dataclass, field
from typing import ClassVar

def one(model): return model
def two(model, width): return model
def three(model, width=3, *, depth): return model
def rest(model, *more): return model
@torch.no_grad()
def quiet(model): return model
@spread
def marked(model): return model
if F:
    def chosen(model): return model
else:
    def chosen(model, width): return model
def again(model): return model
again = spread

class Plain: pass
class Module(nn.Module): pass
class Given:
    def __init__(self, width): self.width = width
class Heir(Given):
    def show(self): print(self.width)
class Made:
    def __new__(cls, *given): return object()
class Odd(Unseen):
    def __init__(self, width): self.width = width

@dataclass
class Options:
    width: int
    depth: int = 3
    names: list = field(default_factory=list)
    done: bool = field(default=False, init=False)
    kind: ClassVar[str] = "plain"
@dataclass
class More(Options):
    rate: float = 0.1
@dataclass(kw_only=True)
class Named:
    width: int
@dataclass
class Unknown(Unseen):
    width: int
"""


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("one(model, 3)", "one(model)"),
        ("one()", "one(*[model])"),
        ("two(model)", "two(model, 3)"),
        ("two(model)", "two(model, **{'width': 3})"),
        ("two(model, model=3)", "two(model, width=3)"),
        ("two(model, 3, depth=4)", "two(width=3, model=model)"),
        ("three(model, 4)", "three(model, depth=4)"),
        ("one(model, 3)", "rest(model, 3)"),
        ("quiet(model, 3)", "quiet(model)"),
        ("one(model, 3)", "marked(model, 3)"),
        ("one(model, 3)", "chosen(model, 3)"),
        ("one(model, 3)", "again(model, 3)"),
        ("Plain(3)", "Plain()"),
        ("Module(3)", "Module()"),
        ("Given()", "Given(3)"),
        ("Given(3, 4)", "Given(width=3)"),
        ("Heir()", "Heir(3)"),
        ("Plain(3)", "Made(3)"),
        ("Given()", "Odd()"),
        ("Options()", "Options(3)"),
        ("Options(3, 4, [], True)", "Options(3, 4, [])"),
        ("Options(3, done=True)", "Options(3, names=[])"),
        ("Options(3, kind='odd')", "Options(3, depth=4)"),
        ("Options(3, evaluate=True)", "Unknown(3, evaluate=True)"),
        ("More(rate=0.2)", "More(3, rate=0.2)"),
        ("More(3, 4, [], 0.2, 5)", "More(3, 4, [], 0.2)"),
        ("Named(3)", "Named(width=3)"),
        ("nn.AdaptiveAvgPool2d(2, 2)", "nn.AdaptiveAvgPool2d((2, 2))"),
        ("nn.Linear(5)", "nn.Linear(5, out_features=3)"),
        ("nn.Linear(5)", "nn.Linear(*[5, 3])"),
        ("nn.ReLU(1, 2, 3)", "nn.Identity(1, 2, 3)"),
        ("nn.LeakyReLU(alpha=0.2)", "nn.LeakyReLU(negative_slope=0.2)"),
        ("nn.BatchNorm2d(3, None, None, None, None, None, None, True)", "nn.BatchNorm2d(3, bias=True)"),
        ("nn.Conv2d(3, 64, padding=1)", "nn.Conv2d(3, 64, 3, padding=1)"),
        ("nn.ConvTrasnpose2d(3, 3, 3)", "nn.ConvTranspose2d(3, 3, 3)"),
        ("nn.BatchNomr2d(3)", "nn.BatchNorm4d(3)"),
        ("nn.BathNorm2d(3)", "nn.Grouped2d(3)"),
        ("nn.Relu()", "nn.SwiGLU()"),
        ("nn.Sequential(nn.conv2d(3, 3, 3))", "nn.Sequential(nn.Conv2d(3, 3, 3))"),
        ("one(nn.BathNorm2d)", "one(nn.BatchNorm2d)"),
        ("torch.optim.Adma([model])", "torch.optim.RAdamW([model])"),
        ("F.binary_cross_entropy_with_logit(model, model)", "F.relu6_(model)"),
    ],
)
def test_a_call_that_does_not_fit_ends_a_function(wrong: str, right: str) -> None:
    above = IMPORTS + "from others import Unseen, spread\n" + TAKING
    assert 0 <= how_sure_behind(f"print({wrong})", above) < SHOWN <= how_sure_behind(f"print({right})", above)
    assert how_sure_behind(f"if epochs: print({wrong})", above) >= SHOWN


@pytest.mark.parametrize(
    "gives",
    [
        "nn.BathNorm2d = nn.BatchNorm2d",
        "setattr(nn, 'BathNorm2d', nn.BatchNorm2d)",
        "class BathNorm2d(nn.Module): pass",
    ],
)
def test_a_name_that_the_project_gives_to_torch_is_there(gives: str) -> None:
    assert how_sure_behind("print(nn.BathNorm2d(3))", f"{IMPORTS}{gives}\n") >= SHOWN


def test_a_class_whose_base_torch_does_not_have_ends_the_file() -> None:
    program = "class Net(nn.BASE):\n    pass\n\nmodel = nn.Linear(3, 3)\nFIRST"
    loop = """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in torch.load("data.pt"):
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
    """
    program = IMPORTS + program.replace("FIRST", textwrap.dedent(loop))
    assert 0 <= how_sure(MissingZeroGrad, program.replace("BASE", "Sequental")) < SHOWN
    assert how_sure(MissingZeroGrad, program.replace("BASE", "Sequential")) >= SHOWN


METHODS = """
    class Fit:
        def __init__(self, model, loader):
            self.model = model
            self.loader = loader

        def step(self, x, y):
            return F.cross_entropy(self.model(x), y)

        def train(self):
            optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
            for x, y in self.loader:
                loss = self.step(GIVEN)
                loss.backward()
                optimizer.step()
"""


def test_a_method_that_does_not_fit_ends_the_one_that_calls_it() -> None:
    def sure(given: str, *changed: str, more: str = "") -> int:
        program = METHODS.replace("GIVEN", given).replace(*(changed or ("GIVEN", "")))
        return how_sure(MissingZeroGrad, IMPORTS + "from others import Unseen\n" + textwrap.dedent(program + more))

    assert 0 <= sure("x") < SHOWN <= sure("x, y")
    assert 0 <= sure("self, x, y") < SHOWN <= sure("*x")
    assert sure("x", "Fit:", "Fit(Unseen):") >= SHOWN
    assert sure("x", "self.loader = loader", "self.loader = loader\n            self.step = model.step") >= SHOWN
    assert sure("x", more="\n    class Other(Fit):\n        def step(self, x): return x.mean()\n") >= SHOWN
    assert sure("x", more="\n    Fit.step = print\n") >= SHOWN
    assert sure("x", more="\n    Chosen = Fit\n") >= SHOWN  # of which something may inherit
    assert sure("x", "def step(self, x, y)", "step = Unseen\n\n        def other(self, x, y)") >= SHOWN
    assert sure("x", "def step(self, x, y)", "step = lambda self, x: x.mean()\n\n        def other(self, x)") >= SHOWN
    assert 0 <= sure("self, x, y", "def step(self, x, y)", "@staticmethod\n        def step(x, y)") < SHOWN
    assert sure("x, y", "def step(self, x, y)", "@staticmethod\n        def step(x, y)") >= SHOWN


STARRED = """
    # file: tools.py
    import torch.nn.functional as F

    def compare(scores, labels, weights):
        return F.cross_entropy(scores, labels, weights)
    # file: others.py
    from torch import nn
    # file: train.py
    import torch
    from others import *
    from tools import *

    def train(model, loader):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            loss = compare(GIVEN)
            loss.backward()
            optimizer.step()
"""


def test_a_function_of_another_file_is_asked_what_it_takes() -> None:
    wrong, right = STARRED.replace("GIVEN", "model(x), y"), STARRED.replace("GIVEN", "model(x), y, None")
    assert 0 <= how_sure(MissingZeroGrad, wrong) < SHOWN <= how_sure(MissingZeroGrad, right)
    # What is imported by `*` behind it may bring another one.
    assert (
        how_sure(MissingZeroGrad, wrong.replace("tools import *", "tools import *\n    from unseen import *")) >= SHOWN
    )
    named = wrong.replace("from tools import *", "from tools import compare")
    assert how_sure(MissingZeroGrad, named) < SHOWN
    first = "import sys\n    sys.path.insert(0, 'more')\n    from tools import compare"
    assert how_sure(MissingZeroGrad, wrong.replace("from tools import *", first)) >= SHOWN
    tried = "try:\n        from tools import compare\n    except ImportError:\n        from unseen import compare"
    assert how_sure(MissingZeroGrad, wrong.replace("from tools import *", tried)) >= SHOWN


CHOSEN = "import torch\nif torch.cuda.is_available(): from .first import compare\nelse: from .second import compare\n"


@pytest.mark.parametrize(("hands_on", "is_shown"), [("from .first import compare\n", False), (CHOSEN, True)])
def test_what_a_package_hands_on_by_a_condition_may_be_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hands_on: str, *, is_shown: bool
) -> None:
    _, tools, _, train = textwrap.dedent(STARRED.replace("GIVEN", "model(x), y")).split("# file: ")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tools").mkdir()
    compare = tools.partition("\n")[2]
    (tmp_path / "tools" / "__init__.py").write_text(hands_on)
    (tmp_path / "tools" / "first.py").write_text(compare)
    if is_shown:
        (tmp_path / "tools" / "second.py").write_text(compare.replace(", weights", ""))
    train = train.partition("\n")[2].replace("from others import *\n", "").replace("import *", "import compare")
    (tmp_path / "train.py").write_text(train)
    (found,) = (
        one for file in lint(".", processes=1).files for one in file.findings if one.rule == "missing-zero-grad"
    )
    assert (found.sureness.strength >= SHOWN) == is_shown
