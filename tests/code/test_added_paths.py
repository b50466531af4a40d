"""The folders that a file adds to `sys.path`: modules of its project are found there, and missed where they lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from stethoscope.observe.code.added_paths import Added, AddedPaths
from stethoscope.observe.code.project import Project

FOLDERS = ("", "code", "code/src", "code/scripts", "parts")


def _added(lines: str, own: str = "code/scripts/train.py") -> Added:
    return AddedPaths(lambda place: f"import sys\n{lines}\n".encode(), FOLDERS.__contains__).of(own, "")


@pytest.mark.parametrize(
    "line",
    [
        "sys.path.append('../src')",
        "sys.path.append('code/src')",
        "sys.path.append(os.path.join(os.path.dirname(__file__), '..', 'src'))",
        "sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'src'))",
        "sys.path.append(str(Path(__file__).resolve().parent.parent / 'src'))",
        "sys.path.append(str(Path(__file__).parents[1].joinpath('src')))",
        "ROOT = Path(__file__).parents[2]\nCODE: Path = ROOT / 'code'\nsys.path.append(f'{CODE}/src')",
        "sys.path.append(os.path.dirname(os.path.realpath(__file__)) + '/../src')",
        "sys.path.append(os.getcwd() + '/code/src')",
        "def main():\n    if 'x' not in sys.path:\n        sys.path.append(os.path.join('..', 'src'))",
    ],
)
def test_a_folder_is_put_together_as_the_lines_say(line: str) -> None:
    assert _added(line) == Added(last=("code/src",))


def test_what_is_inserted_comes_first() -> None:
    assert _added("sys.path.insert(0, '../src')") == Added(first=("code/src",))


def test_a_relative_folder_lies_beside_the_file_or_at_the_top_of_the_project() -> None:
    assert _added("sys.path.append('..')\nsys.path.append('parts')") == Added(last=("code", "parts"))
    assert _added("sys.path.append('.')") == Added(last=("code/scripts", ""))


@pytest.mark.parametrize(
    "line",
    [
        "sys.path.append(ROOT)",
        "sys.path.append('/home/somebody/project')",
        "for one in folders:\n    sys.path.append(one)",
        "ROOT = 'parts'\nROOT = 'code'\nsys.path.append(ROOT)",
        "def add(ROOT):\n    sys.path.append(ROOT)\nROOT = 'parts'",
        "sys.path.extend(['parts'])",
        "sys.path[:0] = ['parts']",
        "sys.path = ['parts']",
        "use(sys.path)",
        "sys.path.append(os.path.join('parts', name))",
        "sys.path.append(find('parts'))",
        "this is no Python: sys.path",
    ],
)
def test_a_folder_that_is_not_told_leaves_it_open(line: str) -> None:
    assert _added(line) == Added(is_whole=False)


def test_a_folder_outside_of_the_project_leaves_it_open() -> None:
    def added(top: str) -> Added:
        return AddedPaths(lambda place: b"import sys\nsys.path.append('..')\n", FOLDERS.__contains__).of(
            "code/scripts/train.py", top
        )

    assert added("code") == Added(last=("code",))
    assert added("code/scripts") == Added(last=("code",), is_whole=False)


def test_a_file_without_such_a_line_adds_nothing() -> None:
    assert _added("print(3)") == Added()


TRAIN = """import sys
import torch
from torch.nn import functional as F
WHERE
from losses import tell
from nets import Net

net = Net(3)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in torch.load("rows.pt", weights_only=True):
    optimizer.zero_grad()
    tell(net(x), y).backward()
    optimizer.step()
"""
LOSSES = "from torch.nn import functional as F\n\n\ndef tell(scores, y):\n    return F.cross_entropy(scores, y)\n"
NETS = """from torch import nn


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.last = nn.Linear(width, 2)

    def forward(self, x):
        return self.last(x).softmax(dim=1)
"""


@pytest.mark.parametrize(
    "where", ["sys.path.append('../parts')", "sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../parts'))"]
)
def test_what_lies_in_an_added_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "scripts/train.py": TRAIN.replace("WHERE", where),
        "parts/nets.py": NETS,
        "parts/losses.py": LOSSES,
    }.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    code = Project().read(Path("scripts/train.py"), "scripts/train.py")
    assert list(code.linked) == ["losses", "nets"]
    Path("scripts/losses.py").write_text(LOSSES + "\n\nOWN = 3\n")
    is_first = any(one.name == "OWN" for one in Project().read(Path("scripts/train.py"), "").linked["losses"].bindings)
    assert is_first is where.startswith("sys.path.append")
