"""A notebook that asks for what no cell binds ends there when it is run from its start; its twin runs."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from code_programs import IMPORTS
from stethoscope.core.review import Level
from stethoscope.diagnosing.review import review
from stethoscope.facts.code import Code
from stethoscope.observe.code.gather import facts_of
from stethoscope.observe.code.project import Project
from stethoscope.observe.code.reading import source_of
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad

LOADER = "loader = DataLoader(torch.load('rows.pt', weights_only=True), batch_size=8)"
TRAINS = """
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
"""
IN_FUNCTION = "def train(model, loader):\n" + textwrap.indent(TRAINS, "    ")


def _document(*cells: str) -> bytes:
    listed = [{"cell_type": "code", "source": textwrap.dedent(cell)} for cell in (IMPORTS, *cells)]
    return json.dumps({"cells": listed, "metadata": {}}).encode()


def _is_said(code: Code) -> bool:
    (one,) = review(code, rules=[MissingZeroGrad]).findings
    return Level().shows(one)


def _notebook(*cells: str) -> bool:
    return _is_said(facts_of(source_of(_document(*cells), "train.ipynb")))


@pytest.mark.parametrize("behind", [(TRAINS,), (IN_FUNCTION, "train(model, loader)")])
def test_a_name_that_no_cell_binds_ends_a_notebook(behind: tuple[str, ...]) -> None:
    assert not _notebook(LOADER, "model = make_net(3)", *behind)
    assert _notebook(LOADER, "model = make_net(3)", *behind, "def make_net(width):\n    return nn.Linear(width, 2)")
    assert _notebook(LOADER, "model = nn.Linear(3, 2)", *behind)
    assert not _notebook("%load_ext autoreload\n!pip install torch", LOADER, "model = make_net(3)", *behind)


@pytest.mark.parametrize(
    "brings",
    [
        "%run nets.py",
        "from nets import *",
        "make_net = !ls",
        "this is no Python",
        "exec(open('nets.py').read())",
        "globals()['make_net'] = nn.Linear",
        "get_ipython().run_line_magic('run', 'nets.py')",
        "%store -r make_net",
        "import builtins",
        "%%capture make_net\nprint(3)",
    ],
)
def test_what_may_bind_a_name_without_saying_it_lets_the_notebook_run(brings: str) -> None:
    assert _notebook(brings, LOADER, "model = make_net(3)", TRAINS)


@pytest.mark.parametrize("name", ["_", "_12", "_i3", "Out[3]", "In", "_oh"])
def test_what_ipython_keeps_is_bound(name: str) -> None:
    assert _notebook(LOADER, f"model = nn.Linear(3, {name})", TRAINS)


@pytest.mark.parametrize(
    ("scratch", "is_said"),
    [
        ("show(modle)", True),
        ("sizes = measure(modle)", True),  # nobody asks for it
        ("model = prepare(3)\n", False),
        ("model = prepare(3)\nmodel = model.to('cpu')", False),
        ("model = prepare(3)\n\nif torch.cuda.is_available():\n    model = prepare(4)", False),
        ("for row in rows:\n    print(row)", True),
        ("with make_net() as model:\n    print(model)", False),
    ],
)
def test_only_what_other_cells_ask_for_is_missed(scratch: str, is_said: bool) -> None:
    model = "model = nn.Linear(3, 2)" if is_said else "print(3)"
    assert _notebook(LOADER, model, scratch, TRAINS) is is_said


def test_a_name_that_another_cell_binds_is_not_missed() -> None:
    assert _notebook(LOADER, "model = prepare(3)", "model = nn.Linear(3, 2)", TRAINS)
    assert not _notebook(LOADER, "model = prepare(3)", "model = prepare(4)", TRAINS)


def test_a_loop_over_what_no_cell_binds_has_no_round() -> None:
    first, _, rest = TRAINS.strip().partition("\n")
    assert not _notebook("model = nn.Linear(3, 2)", first, rest)
    assert _notebook(LOADER, "model = nn.Linear(3, 2)", first, rest)
    assert _notebook("model = nn.Linear(3, 2)", "for x in rows:\n    print(x)", LOADER, first, rest)


NETS = "from torch import nn\n\n\nclass SmallNet(nn.Module):\n    pass\n"


def _beside(folder: Path, cells: tuple[str, ...], nets: str = NETS) -> bool:
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / "nets.py").write_text(nets)
    (folder / "train.ipynb").write_bytes(_document(*cells))
    return _is_said(Project().read(folder / "train.ipynb", "train.ipynb"))


def test_the_star_of_an_own_module_brings_what_it_binds(tmp_path: Path) -> None:
    cells = ("from src.nets import *", LOADER, "model = LargeNet()", TRAINS)
    assert not _beside(tmp_path, cells)
    assert _beside(tmp_path, cells, NETS.replace("Small", "Large"))
    assert _beside(tmp_path, cells, "from torchvision.models import *\n" + NETS)
    assert _beside(tmp_path, ("from other.nets import *", *cells))


@pytest.mark.parametrize(
    "line",
    [
        "import sys\nsys.path.append('../more')",
        "import os\nos.chdir('..')",
        "%cd ..",
        "!git clone https://example.com/nets.git src",
        "%%writefile src/nets.py\nclass LargeNet: pass",
        "%run src/nets.py",
    ],
)
def test_a_notebook_that_moves_may_find_another_module(tmp_path: Path, line: str) -> None:
    assert _beside(tmp_path, (line, "from src.nets import *", LOADER, "model = LargeNet()", TRAINS))
