"""What a file learns of modules that it imports through packages, as Python would import them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stethoscope.core.settings import Settings
from stethoscope.facts.code import Code
from stethoscope.facts.origins import thing_of
from stethoscope.linting import lint
from stethoscope.observe.code.project import Project
from stethoscope.observe.code.reading import Source

NET = "from torch import nn\n\n\nclass Net(nn.Module):\n    pass\n"
OTHER = "from torch import nn\n\n\nclass Net(nn.Conv2d):\n    pass\n"
END = "\nloss = nn.CrossEntropyLoss()\nprint(type(model).__module__)\n"


def written(folder: Path, files: dict[str, str]) -> None:
    """Put a project's files there, and a torch that says just enough to be imported."""
    for name, text in {**files, "torch/__init__.py": "", "torch/nn.py": TORCH}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


TORCH = "class Module:\n    pass\n\n\nclass Conv2d:\n    pass\n\n\nclass CrossEntropyLoss:\n    pass\n"


def home(code: Code) -> str:
    """The file in which the class of `model` is defined; empty where it is not known."""
    number = code.names["model"]
    assert isinstance(number, int)
    thing = thing_of(code, code.bindings[number].value)
    return thing.code.file if thing.code is not None else ""


LINKED = {
    "a module of a package": (
        {"nets/__init__.py": "", "nets/small.py": NET},
        "from nets import small\nmodel = small.Net()",
        "nets/small.py",
    ),
    "a module by its full name": (
        {"nets/__init__.py": "", "nets/small.py": NET},
        "import nets.small\nmodel = nets.small.Net()",
        "nets/small.py",
    ),
    "a module of a package's package": (
        {"nets/__init__.py": "", "nets/all/__init__.py": "", "nets/all/small.py": NET},
        "from nets.all import small\nmodel = small.Net()",
        "nets/all/small.py",
    ),
    "a module that the package imports, too": (
        {"nets/__init__.py": "from . import small\nfrom .small import Net as Best\n", "nets/small.py": NET},
        "from nets import small\nmodel = small.Net()",
        "nets/small.py",
    ),
    "a module of an imported package, which imports it": (
        {"nets/__init__.py": "from . import small\n", "nets/small.py": NET},
        "import nets\nmodel = nets.small.Net()",
        "nets/small.py",
    ),
    "a class that is handed on": (
        {"nets/__init__.py": "from .small import Net\n", "nets/small.py": NET},
        "from nets import Net\nmodel = Net()",
        "nets/small.py",
    ),
    "a class that is handed on by two packages": (
        {
            "nets/__init__.py": "from .all import Best as Net\n",
            "nets/all/__init__.py": "from .small import Net as Best\n",
            "nets/all/small.py": NET,
        },
        "from nets import Net\nmodel = Net()",
        "nets/all/small.py",
    ),
    "a class that is handed on by three packages, and by *": (
        {
            "a/__init__.py": "from a.b import *\n",
            "a/b/__init__.py": "from .c import Net\n",
            "a/b/c/__init__.py": "from .small import Net\n",
            "a/b/c/small.py": NET,
        },
        "import a\nmodel = a.Net()",
        "a/b/c/small.py",
    ),
    "a class that the second package defines": (
        {"nets/__init__.py": "from .all import Net\n", "nets/all/__init__.py": NET, "nets/all/small.py": OTHER},
        "from nets import Net\nmodel = Net()",
        "nets/all/__init__.py",
    ),
    "a module that two packages hand on": (
        {
            "nets/__init__.py": "from .all import small\n",
            "nets/all/__init__.py": "from . import small\n",
            "nets/all/small.py": NET,
        },
        "from nets import small\nmodel = small.Net()",
        "nets/all/small.py",
    ),
    "a class that is handed on under another name": (
        {"nets/__init__.py": "from nets.small import Net as Best\n", "nets/small.py": NET},
        "from nets import Best as Mine\nmodel = Mine()",
        "nets/small.py",
    ),
    "a class of an imported package": (
        {"nets/__init__.py": "from .small import Net\n", "nets/small.py": NET},
        "import nets as zoo\nmodel = zoo.Net()",
        "nets/small.py",
    ),
    "a class of a package's package": (
        {"nets/__init__.py": "", "nets/all/__init__.py": "from .small import Net\n", "nets/all/small.py": NET},
        "from nets import all\nmodel = all.Net()",
        "nets/all/small.py",
    ),
    "a class that is handed on by star": (
        {"nets/__init__.py": "from .small import *\nfrom .large import *\n", "nets/small.py": NET, "nets/large.py": ""},
        "from nets import Net\nmodel = Net()",
        "nets/small.py",
    ),
    "the last of two stars": (
        {
            "nets/__init__.py": "from .small import *\nfrom .large import *\n",
            "nets/small.py": NET,
            "nets/large.py": NET,
        },
        "from nets import *\nmodel = Net()",
        "nets/large.py",
    ),
    "one of several packages by star": (
        {"nets/__init__.py": "from .small import *\n", "nets/small.py": NET, "tools/__init__.py": "", "tools/x.py": ""},
        "from nets import *\nfrom tools import *\nmodel = Net()",
        "nets/small.py",
    ),
    "an import that may fail": (
        {
            "nets/__init__.py": "try:\n    from .small import Net\nexcept ImportError:\n    Net = None\n",
            "nets/small.py": NET,
        },
        "from nets import Net\nmodel = Net()",
        "nets/small.py",
    ),
    "a class with the name of a module": (
        {"nets/__init__.py": "from .small import Net as small\n", "nets/small.py": NET},
        "from nets import small\nmodel = small()",
        "nets/small.py",
    ),
    "such a class, and the module by its full name": (
        {
            "nets/__init__.py": "from .small import Net as small\n",
            "nets/small.py": NET + "\n\nclass Other(Net): pass\n",
        },
        "from nets import small\nfrom nets.small import Other\nmodel = Other()",
        "nets/small.py",
    ),
    "what the package binds, before the module of that name": (
        {"nets/__init__.py": "from . import large as small\n", "nets/small.py": OTHER, "nets/large.py": NET},
        "from nets import small\nmodel = small.Net()",
        "nets/large.py",
    ),
    "what the package defines itself": (
        {"nets/__init__.py": NET + "\n\nclass small:\n    Net = Net\n", "nets/small.py": OTHER},
        "from nets import Net\nmodel = Net()",
        "nets/__init__.py",
    ),
    "a name that begins with an underscore, by a star that lists it": (
        {
            "nets/__init__.py": "from .small import *\n",
            "nets/small.py": '__all__ = [\n    "_Net",\n]\n' + NET.replace("Net", "_Net"),
        },
        "from nets import _Net\nmodel = _Net()",
        "nets/small.py",
    ),
    "packages that import each other": (
        {
            "nets/__init__.py": "from tools import Net as Mine\nfrom .small import Net\n",
            "nets/small.py": NET,
            "tools/__init__.py": "from nets.small import Net\n",
        },
        "from nets import Net\nmodel = Net()",
        "nets/small.py",
    ),
}


@pytest.mark.parametrize(("files", "text", "where"), LINKED.values(), ids=LINKED)
def test_what_is_imported_through_a_package_is_found_where_python_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], text: str, where: str
) -> None:
    written(tmp_path, {**files, "train.py": f"from torch import nn\n{text}{END}"})
    monkeypatch.chdir(tmp_path)

    said = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    code = Project().read(Path("train.py").absolute(), "train.py")

    assert said.strip() == where.removesuffix(".py").removesuffix("/__init__").replace("/", "."), "as Python has it"
    assert home(code) == where


RELATIVE = {
    "a module beside it": ("from . import small\nmodel = small.Net()", {"small.py": NET}),
    "what its own package hands on": ("from . import Net\nmodel = Net()", {"__init__.py": "from .small import Net\n"}),
    "what a package beside it hands on": (
        "from .all import Net\nmodel = Net()",
        {"all/__init__.py": "from ..small import Net\n"},
    ),
    "what the package above hands on": (
        "from .. import Net\nmodel = Net()",
        {"../__init__.py": "from .nets.small import Net\n"},
    ),
}


@pytest.mark.parametrize(("text", "files"), RELATIVE.values(), ids=RELATIVE)
def test_dots_reach_through_packages_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, files: dict[str, str]
) -> None:
    whole = {"__init__.py": "", "../__init__.py": "", "small.py": NET, **files}
    (tmp_path / "work/nets").mkdir(parents=True)
    written(tmp_path / "work/nets", {**whole, "train.py": f"from torch import nn\n{text}{END}"})
    monkeypatch.chdir(tmp_path)

    code = Project().read(Path("work/nets/train.py").absolute(), "work/nets/train.py")

    assert home(code) == "work/nets/small.py"


@pytest.mark.parametrize("mark", ["pyproject.toml", "setup.py", ".git", "readme.md"])
@pytest.mark.parametrize("folder", ["src/", ""])
def test_a_script_finds_the_packages_of_a_project_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str, folder: str
) -> None:
    files = {mark: "", f"{folder}nets/__init__.py": "", f"{folder}nets/small.py": NET}
    text = f"from torch import nn\nfrom nets.small import Net\nmodel = Net(){END}"
    written(tmp_path, {**files, "scripts/all/train.py": text})
    monkeypatch.chdir(tmp_path)

    code = Project().read(Path("scripts/all/train.py").absolute(), "scripts/all/train.py")

    assert home(code) == ("" if mark == "readme.md" else f"{folder}nets/small.py")


UNKNOWN = {
    "what the package makes": (
        {"nets/__init__.py": "small = make()\n", "nets/small.py": NET},
        "from nets import small\nmodel = small.Net()",
    ),
    "seven packages away": (
        {**{f"nets{n}/__init__.py": f"from nets{n + 1} import Net\n" for n in range(7)}, "nets7/__init__.py": NET},
        "from nets0 import Net\nmodel = Net()",
    ),
    "packages that hand it round": (
        {"nets/__init__.py": "from tools import Net\n", "tools/__init__.py": "from nets import Net\n"},
        "from nets import Net\nmodel = Net()",
    ),
    "a package that hands on its own importer": (
        {"nets/__init__.py": "from train import Net\n"},
        "from nets import Net\nmodel = Net()",
    ),
    "a name that begins with an underscore, by star": (
        {"nets/__init__.py": "from .small import *\n", "nets/small.py": NET.replace("Net", "_Net")},
        "from nets import _Net\nmodel = _Net()",
    ),
    "a package that does not parse": (
        {"nets/__init__.py": "from .small import Net (\n", "nets/small.py": NET},
        "from nets import Net\nmodel = Net()",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "text"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_followed_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], text: str
) -> None:
    written(tmp_path, {**files, "train.py": f"from torch import nn\n{text}{END}"})
    monkeypatch.chdir(tmp_path)

    assert home(Project().read(Path("train.py").absolute(), "train.py")) == ""


def test_what_a_package_has_from_a_library_is_that_of_the_library(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/__init__.py").write_text("from torch import nn as layers\n")
    (tmp_path / "train.py").write_text("from parts import layers\nmodel = layers.Conv2d(1, 2, 3)\noptim.SGD(model)\n")
    code = Project().read(tmp_path / "train.py", "train.py")
    number = code.names["model"]
    assert isinstance(number, int)

    assert thing_of(code, code.bindings[number].value).kind == "module"


MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return torch.softmax(self.out(x), dim=1)
"""
TRAIN = """
import torch
from torch import nn
from nets import Net

model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
"""


def test_a_package_that_hands_on_another_class_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = MODEL.replace("torch.softmax(self.out(x), dim=1)", "self.out(x)")
    files = {"nets/__init__.py": "from .small import Net\n", "nets/small.py": MODEL, "nets/plain.py": plain}
    for name, text in {**files, "train.py": TRAIN}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)

    def rules() -> list[str]:
        review = lint("train.py", settings=Settings(), cache=tmp_path / "cache")
        return [finding.rule for one in review.files for finding in one.findings]

    assert rules() == ["softmax-before-cross-entropy"]
    assert rules() == ["softmax-before-cross-entropy"], "as it was remembered"
    (tmp_path / "nets/__init__.py").write_text("from .plain import Net\n")
    assert rules() == []
    (tmp_path / "nets/plain.py").write_text(MODEL)
    assert rules() == ["softmax-before-cross-entropy"]


def test_a_text_that_is_not_on_the_disk_is_read_though_another_file_asks_for_the_one_that_is(tmp_path: Path) -> None:
    loss = "from torch import nn\nfrom OTHER import make\n\nloss = nn.CrossEntropyLoss()\n\n\ndef make():\n    pass\n"
    (tmp_path / "ours.py").write_text(loss.replace("OTHER", "theirs"))
    (tmp_path / "theirs.py").write_text(loss.replace("OTHER", "ours"))
    project, ours = Project(keeps=False), tmp_path / "ours.py"
    theirs = project.read(ours, "ours.py").linked["theirs"]
    assert "loss" in theirs.names
    assert "ours" in project.read(tmp_path / "theirs.py", "theirs.py").linked
    typed = Source("ours.py", ours.read_text().replace("loss =", "cost ="))
    assert "cost" in project.linked(typed, ours).names
