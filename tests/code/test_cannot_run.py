"""What cannot run as it stands for another reason than the one told is possible at most, beside a twin that can."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from code_programs import IMPORTS, SHOWN, how_sure, how_sure_behind
from stethoscope.core.settings import Settings
from stethoscope.linting import lint
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.loop.validation_in_train_mode import ValidationInTrainMode
from stethoscope.rules.parameters.dropout_without_effect import DropoutWithoutEffect
from stethoscope.rules.parameters.super_init_missing import SuperInitMissing
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

FAULT = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(8, 16, dropout=0.3)

    def forward(self, x):
        return self.rnn(x)[0]
"""


def is_told(folder: str, files: dict[str, str], file: str) -> bool:
    """Whether the fault of a file is told by default that begins with these lines, in a project of such files."""
    for name, text in files.items():
        (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).write_text(text + FAULT if name == file else text)
    found = lint(Path(folder) / file, possible=True, processes=1, settings=Settings()).findings
    (sure,) = (one.sureness.strength for one in found if one.rule == "dropout-without-effect")
    return sure >= SHOWN


OWN = {"nets/__init__.py": "", "nets/data/__init__.py": "", "nets/data/files.py": "def read(): pass\n"}
CHAIN = {
    **OWN,
    "nets/train.py": "from nets.audio import load\n",
    "nets/audio.py": "import nets.sound\n\ndef load(): pass\n",
}
PROJECTS: dict[str, tuple[dict[str, str], str, str, str]] = {
    "a module of the own package": (
        {**OWN, "nets/train.py": "from nets.data.tables import read\n"},
        "nets/train.py",
        ".tables",
        ".files",
    ),
    "a package of the own package": (
        {**OWN, "nets/train.py": "import nets.sound.files\n"},
        "nets/train.py",
        ".sound",
        ".data",
    ),
    "a module of the own package, by a module that is imported": (
        {**CHAIN, "nets/sound/__init__.py": "from .waves import wave\n"},
        "nets/train.py",
        "from .waves import wave",
        "wave = 1",
    ),
    "the same, where that may fail": (
        {**CHAIN, "nets/sound.py": "from .waves import wave\n"},
        "nets/train.py",
        "from .waves import wave",
        "try:\n    from .waves import wave\nexcept ImportError:\n    wave = None",
    ),
    "the same, where nobody reads it at run time": (
        {**CHAIN, "nets/sound.py": "from .waves import wave\n"},
        "nets/train.py",
        "from .waves import wave",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .waves import wave",
    ),
    "the same, in a function": (
        {**CHAIN, "nets/sound.py": "from .waves import wave\n"},
        "nets/train.py",
        "from .waves import wave",
        "def wave():\n    from .waves import wave",
    ),
    "the same, in a text": (
        {**CHAIN, "nets/sound.py": "from .waves import wave\n"},
        "nets/train.py",
        "from .waves import wave",
        'TEXT = """\nfrom .waves import wave\n"""',
    ),
    "modules that import each other, one of which lacks one": (
        {**CHAIN, "nets/sound.py": "import nets.audio\nimport nets.train\nimport nets.waves\n"},
        "nets/train.py",
        "import nets.waves",
        "import nets.data.files",
    ),
    "the same, below a folder that is a package by mistake": (
        {
            **{f"own-0.1/{path}".replace("nets", "own"): text.replace("nets", "own") for path, text in CHAIN.items()},
            "own-0.1/__init__.py": "",
            "own-0.1/own/sound.py": "from .waves import wave\n",
        },
        "own-0.1/own/train.py",
        "from .waves import wave",
        "wave = 1",
    ),
    "a name that a module does not define": (
        {**OWN, "nets/train.py": "from nets.data.files import write\n"},
        "nets/train.py",
        "import write",
        "import read",
    ),
    "a name that a package neither binds nor has a module for": (
        {**OWN, "nets/train.py": "from nets.data import tables\n"},
        "nets/train.py",
        "import tables",
        "import files",
    ),
    "a name that may come by star": (
        {**OWN, "nets/data/files.py": "import os\n", "nets/train.py": "from nets.data.files import write\n"},
        "nets/train.py",
        "import os",
        "from os import *",
    ),
    "a name that a module gives when it is asked": (
        {**OWN, "nets/data/files.py": "import os\n", "nets/train.py": "from nets.data.files import write\n"},
        "nets/train.py",
        "import os",
        "def __getattr__(name): return name",
    ),
    "a module below a folder for sources that is used as a package": (
        {"src/train.py": "from src.data.files import read\n", "src/data/tables.py": "read = 1\n"},
        "src/train.py",
        "src.data.files",
        "src.data.tables",
    ),
    "a package beside a script": (
        {"train.py": "from tools.files import read\n", "tools/__init__.py": "", "tools/tables.py": "read = 1\n"},
        "train.py",
        "tools.files",
        "tools.tables",
    ),
    "a script that sets where packages lie": (
        {"train.py": "import sys\nfrom tools.files import read\n", "tools/__init__.py": ""},
        "train.py",
        "import sys",
        'import sys\nsys.path.insert(0, "..")',
    ),
    "a script that looks in the folder above, too": (
        {"a/train.py": "import sys\nsys.path.append('..')\nfrom tools import read\n", "tools.py": "", "setup.py": ""},
        "a/train.py",
        "'..'",
        "'../../parts'",
    ),
    "a package of another name": (
        {**OWN, "nets/train.py": "from nets.sound import read\n"},
        "nets/train.py",
        "from nets.sound",
        "from sounds.sound",
    ),
    "a module of a common name that lies nowhere in the project": (
        {**OWN, "setup.py": "", "nets/train.py": "from utils.files import read\n", "tools/tables.py": ""},
        "nets/train.py",
        "from utils.files",
        "from tables.files",
    ),
    "a name that a module beside a script does not define": (
        {"train.py": "from tools import write\n", "tools.py": "def read(): pass\n"},
        "train.py",
        "import write",
        "import read",
    ),
    "a name of which a module has a longer one": (
        {"train.py": "from tools import read\n", "tools.py": "def read_rows(): pass\n"},
        "train.py",
        "import read",
        "import read_rows",
    ),
    "a name that only a function of a module has": (
        {"train.py": "from tools import rows\n", "tools.py": "def read():\n    rows = 1\n    return rows\n"},
        "train.py",
        "    rows = 1",
        "    global rows; rows = 1",
    ),
    "a name that a module binds under a condition": (
        {"train.py": "from tools import rows\n", "tools.py": "import os\nif os.name:\n    raws = 1\nprint('rows')\n"},
        "train.py",
        "raws = 1",
        "rows = 1",
    ),
    "a name that a module beside a script in a package does not define": (
        {"runs/train.py": "from raw import Rows, wave\n", "runs/raw.py": "class Rows: pass\n", "runs/__init__.py": ""},
        "runs/train.py",
        "import Rows, wave",
        "import Rows",
    ),
    "a module beside a script in a package, of which nothing says that it is meant": (
        {"runs/train.py": "from raw import Rows, wave\n", "runs/raw.py": "class Rows: pass\n", "runs/__init__.py": ""},
        "runs/train.py",
        "class Rows",
        "class Columns",
    ),
    "a name that no module called so defines": (
        {"setup.py": "", "runs/train.py": "from tools import write\n", "tools.py": "", "old/tools.py": "read = 1\n"},
        "runs/train.py",
        "read = 1",
        "write = 1",
    ),
    "a name that the library may define which is meant": (
        {"train.py": "from parts import write\n", "datasets.py": "", "parts.py": ""},
        "train.py",
        "from parts",
        "from datasets",
    ),
    "a loader of data that lies nowhere in the project": (
        {"setup.py": "", "train.py": "from data_loader import read\n", "tools.py": ""},
        "train.py",
        "data_loader",
        "tables",
    ),
    "a name that a module in a folder beside a script does not define": (
        {"train.py": "from tools.files import write\n", "tools/files.py": "def read(): pass\n"},
        "train.py",
        "import write",
        "import read",
    ),
    "a name that a module in an added folder does not define": (
        {
            "setup.py": "",
            "runs/train.py": "import sys\nsys.path.append('../src')\nfrom tools import write\n",
            "src/tools.py": "def read(): pass\n",
        },
        "runs/train.py",
        "import write",
        "import read",
    ),
    "a module of an added folder that may be another one": (
        {
            "setup.py": "",
            "runs/train.py": "import sys\nsys.path.append('../src')\nfrom tools import write\n",
            "src/tools.py": "def read(): pass\n",
        },
        "runs/train.py",
        "'../src'",
        "SOURCES",
    ),
    "a package of an added folder": (
        {
            "setup.py": "",
            "runs/train.py": "import sys\nsys.path.append('../src')\nfrom tools.tables import read\n",
            "src/tools/__init__.py": "",
            "src/tools/files.py": "def read(): pass\n",
        },
        "runs/train.py",
        "tools.tables",
        "tools.files",
    ),
    "a module that the package of a project does not have": (
        {
            "setup.py": "",
            "examples/train.py": "from tools.tables import read\n",
            "tools/__init__.py": "",
            "tools/files.py": "def read(): pass\n",
        },
        "examples/train.py",
        "tools.tables",
        "tools.files",
    ),
    "an annotation that asks for what nothing binds": (
        {"train.py": "class Agent:\n    def board(self, game: Chess): pass\n"},
        "train.py",
        "Chess",
        "'Chess'",
    ),
    "an annotation that is left as it is": (
        {"train.py": "import os\ndef board(game) -> Chess: pass\n"},
        "train.py",
        "import os",
        "from __future__ import annotations",
    ),
    "an annotation beside a look at what is bound": (
        {"train.py": "def board(*games: Chess): pass\nshown = '__file__' in globals()\n"},
        "train.py",
        "'__file__' in globals()",
        "globals().update(Chess=1)",
    ),
    "a module that a build compiles": (
        {**OWN, "setup.py": "name = ''\n", "nets/train.py": "from nets.sound import read\n"},
        "nets/train.py",
        "name = ''",
        "ext_modules = [Extension('nets.sound', ['sound.pyx'])]",
    ),
}


@pytest.mark.parametrize("name", PROJECTS)
def test_a_file_that_cannot_be_imported_is_doubted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # whose own name says that it tests
    files, file, wrong, right = PROJECTS[name]
    assert any(wrong in text for text in files.values())
    assert not is_told("wrong", files, file)
    healthy = {path: text.replace(wrong, right) for path, text in files.items()}
    assert is_told("right", healthy, file)


def test_a_package_is_read_from_its_own_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_told(str(tmp_path), {**OWN, "nets/train.py": "from .data.tables import read\n"}, "nets/train.py")
    monkeypatch.chdir(tmp_path / "nets")  # nothing lies above a path that begins here
    assert not is_told("", {"train.py": "from .data.tables import read\n"}, "train.py")
    assert is_told("", {"train.py": "from .data.files import read\n"}, "train.py")


MODULES: dict[str, tuple[dict[str, str], str, str]] = {
    "a module beside the script": (
        {"run.py": "import train\ntrain.score(1)\n", "train.py": "def rate(x): pass\n"},
        "train.score",
        "train.rate",
    ),
    "by another name": (
        {"run.py": "import train as parts\nparts.score(1)\n", "train.py": "def rate(x): pass\n"},
        "parts.score",
        "parts.rate",
    ),
    "which gives what it is asked for": (
        {"run.py": "import train\ntrain.score(1)\n", "train.py": "import os\n"},
        "import os",
        "from os import *",
    ),
    "which is given it": (
        {"run.py": "import train\ntrain.score(1)\n", "train.py": "", "setup.py": "import train\ntrain.last = 1\n"},
        "train.last",
        "train.score",
    ),
    "a variable of the same name": (
        {"run.py": "import train\nDEFAULT = 1\ntrain.score(1)\n", "train.py": ""},
        "DEFAULT",
        "train",
    ),
    "a module of a package": (
        {"run.py": "from nets import train\ntrain.score(1)\n", "nets/__init__.py": "", "nets/train.py": "rate = 1\n"},
        "train.score",
        "train.rate",
    ),
    "a function that a package hands on": (
        {"run.py": "from nets import train\ntrain.score(1)\n", "nets/__init__.py": "", "nets/train.py": "rate = 1\n"},
        "rate = 1",
        "def train(): pass",
    ),
    "a module of the same package": (
        {"nets/run.py": "from . import train\ntrain.score(1)\n", "nets/__init__.py": "", "nets/train.py": "rate = 1\n"},
        "train.score",
        "train.rate",
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_of_the_project_does_not_have(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # whose own name says that it tests
    files, wrong, right = MODULES[name]
    assert any(wrong in text for text in files.values())
    file = next(iter(files))
    assert not is_told("wrong", files, file)
    assert is_told("right", {path: text.replace(wrong, right) for path, text in files.items()}, file)


LOADS = """
def load(root, changes=None):
    return (root, CHANGED)
def read(root, changes=None):
    print(root)
    if root == "a":
        return load(root, changes)
    else:
        return load(root, changes=changes)
"""


@pytest.mark.parametrize("first", ["load(epochs)", "read(epochs)", "load(epochs, changes=None or 1)"])
@pytest.mark.parametrize("asked", ["changes.train", "changes[0]", "changes(root)", "len(changes)", "[*changes]"])
def test_a_call_without_what_a_function_asks_in_any_case_ends_with_an_error(first: str, asked: str) -> None:
    sure = how_sure_behind(first, IMPORTS + LOADS.replace("CHANGED", asked))
    assert (sure >= SHOWN) is ("None" in first)


@pytest.mark.parametrize(
    "asked",
    [
        "changes.train if changes else 1",
        "changes and changes.train",
        "lambda: changes.train",
        "[changes.train for _ in root]",
        "changes.__class__",
        "print(changes)",
    ],
)
def test_a_function_may_ask_only_where_something_is_given(asked: str) -> None:
    assert how_sure_behind("load(epochs)", IMPORTS + LOADS.replace("CHANGED", asked)) >= SHOWN


@pytest.mark.parametrize(
    "before",
    [
        "changes = changes or root",
        "if changes is None:\n        changes = root",
        "if changes is None:\n        return root",
        "try:\n        print(changes.train)\n    except AttributeError:\n        return root",
        "with suppress(AttributeError):\n        print(changes.train)\n    return root",
    ],
)
def test_a_function_may_look_first_whether_something_is_given(before: str) -> None:
    above = (
        IMPORTS
        + f"from contextlib import suppress\ndef load(root, changes=None):\n    {before}\n    return changes.train\n"
    )
    assert how_sure_behind("load(epochs)", above) >= SHOWN


def test_a_constructor_may_ask_in_any_case_too() -> None:
    above = IMPORTS + "class Data:\n    def __init__(self, root, changes=None):\n        self.kind = changes.kind\n"
    assert 0 <= how_sure_behind("data = Data(epochs)", above) < SHOWN
    assert how_sure_behind("data = Data(epochs, loader)", above) >= SHOWN


def test_what_a_module_of_the_package_asks_for_that_is_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # whose own name says that it tests
    script = "from nets.data.files import read\ndata = read('a')\n"
    files = {**OWN, "nets/train.py": script, "nets/data/files.py": "def read(root, way=None): return way.train\n"}
    assert not is_told("wrong", files, "nets/train.py")
    files["nets/train.py"] = script.replace("'a'", "'a', way")
    assert is_told("right", files, "nets/train.py")


NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 3)

    def forward(self, x, mask=None):
        scores = self.out(x)
        return RETURNED
"""


@pytest.mark.parametrize(
    ("returned", "first", "is_doubted"),
    [
        ("scores, x", "net = Net()\nnet(epochs, epochs, epochs)", True),
        ("scores, x", "net = Net()\nnet(epochs, inputs=epochs)", True),
        ("scores, x", "net = Net()\nnet(epochs, epochs)", False),
        ("scores, mask.any()", "net = Net()\nnet(epochs)", True),
        ("scores, mask.any()", "net = Net()\nnet(epochs, mask=epochs)", False),
        ("scores, x", "net = Net()\nseen = net(epochs)\nprint(seen['scores'])", True),
        ("scores, x", "net = Net()\nseen = net(epochs)\nprint(seen[0])", False),
        ("{'scores': scores}", "net = Net()\nseen = net(epochs)\nprint(seen[0])", True),
        ("{'scores': scores}", "net = Net()\nseen = net(epochs)\nprint(seen['scores'])", False),
        ("{0: scores}", "net = Net()\nseen = net(epochs)\nprint(seen[0])", False),
        ("scores", "net = Net()\nseen = net(epochs)\nprint(seen['scores'])", False),
        ("scores, x", "net = Net()\nseen = net(epochs)\nseen = dict(seen)\nprint(seen['scores'])", False),
        ("scores, x", "net = Net()\nseen = net(epochs)\nprint(lambda: seen['scores'])", False),
    ],
)
def test_a_network_that_is_asked_otherwise_than_it_answers(returned: str, first: str, *, is_doubted: bool) -> None:
    sure = how_sure_behind(first, IMPORTS + NET.replace("RETURNED", returned))
    assert 0 <= sure < SHOWN if is_doubted else sure >= SHOWN


BRANCHES = """
def load(root, kind=None):
    if TEST:
        return root
    else:
        raise ValueError(kind)
"""


@pytest.mark.parametrize(
    ("test", "is_doubted"),
    [
        ("kind == 'a'", True),
        ("kind == 'a' or kind == 'b'", True),
        ("kind is not None", True),
        ("kind and root", True),
        ("not (kind is None or root)", True),
        ("kind is None", False),
        ("kind != 'a'", False),
        ("not kind", False),
        ("kind == root", False),
        ("kind or root", False),
        ("kind in (None, 'a')", False),
    ],
)
def test_a_branch_that_hangs_on_what_is_left_out(test: str, *, is_doubted: bool) -> None:
    above = IMPORTS + BRANCHES.replace("TEST", test)
    assert (0 <= how_sure_behind("load(epochs)", above) < SHOWN) is is_doubted
    assert how_sure_behind("load(epochs, 'a')", above) >= SHOWN


def test_a_function_that_always_raises_is_one_that_somebody_else_writes() -> None:
    above = IMPORTS + "class Data:\n    def __init__(self, kind=None):\n        print(kind)\n        raise ValueError\n"
    above += "def load(root, kind=None):\n    if root:\n        print(kind.x)\n    raise NotImplementedError(kind)\n"
    assert how_sure_behind("if epochs: load(epochs)", above) >= SHOWN


@pytest.mark.parametrize(
    ("given", "is_doubted"),
    [
        ("kernel_size, stride, **more", True),
        ("stride, **more", False),
        ("kernel_size, kernel_size=3, **more", False),
        ("kernel_size, stride, **(more or {})", False),
    ],
)
def test_options_do_not_hold_what_the_function_takes_by_a_name_of_its_own(given: str, *, is_doubted: bool) -> None:
    names, _, _ = given.replace("kernel_size=3", "stride").rpartition(", ")
    call = "kernel_size=3, **more" if "=3" in given else given.rpartition(", ")[2]
    text = f"""
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = []
            self.out = nn.Linear(3, 3)

        def add(self, width, {names}, **more):
            self.layers.append(nn.Conv2d(3, width, {call}))

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return self.out(x)
    """
    sure = how_sure(UnregisteredModules, textwrap.dedent(text))
    assert 0 <= sure < SHOWN if is_doubted else sure >= SHOWN


KEEPER = """
class Trainer:
    def __init__(self, width):
        self.net = Net()
        self.width = width

    def train(self, loader, epochs):
        optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)
        for _ in range(epochs):
            for x, y in loader:
                loss = F.cross_entropy(self.net(GIVEN)[0], y)
                loss.backward()
                optimizer.step()
        print(epochs)
"""


@pytest.mark.parametrize(
    ("given", "below", "is_doubted"),
    [
        ("x, inputs=y", "", True),
        ("x, y, y", "", True),
        ("x, y", "", False),
        ("x, *y", "", False),
        ("x, y, y", "trainer = Trainer(3)\ntrainer.net = nn.Bilinear(3, 3, 3)\n", False),
        ("x, y, y", "class Other(Trainer):\n    def __init__(self):\n        self.net = nn.Bilinear(3, 3, 3)\n", False),
    ],
)
def test_a_network_that_an_object_keeps(given: str, below: str, *, is_doubted: bool) -> None:
    net = NET.replace("RETURNED", "scores, x")
    sure = how_sure(MissingZeroGrad, IMPORTS + net + KEEPER.replace("GIVEN", given) + below)
    assert 0 <= sure < SHOWN if is_doubted else sure >= SHOWN


def test_an_option_with_which_a_class_cannot_be_made() -> None:
    text = """
    class Cell(nn.Module):
        def __init__(self, width, looks=False):
            super().__init__()
            self.width = width
            self.looks = looks
            if looks:
                self.back = nn.Parameter(torch.zeros(width)).cuda()
            self.out = nn.Linear(width, width)
            self.begin()

        def begin(self):
            if self.looks:
                bound = 1 / self.size
                self.back.data.uniform_(-bound, bound)

        def forward(self, x):
            return self.out(x) + self.back * x
    """
    text = textwrap.dedent(text)
    doubted = how_sure(UnregisteredModules, text)
    assert 0 <= doubted < SHOWN
    for old, new in [
        ("self.size", "self.width"),
        ("if self.looks:", "if not self.looks:"),
        ("if self.looks:", "if self.width:"),
        ("self.begin()", "if width:\n            self.begin()"),
        ("self.looks = looks", "self.looks = looks and width"),
        ("            if looks:\n".strip(), "if width:"),
    ]:
        assert old in text
        assert how_sure(UnregisteredModules, text.replace(old, new, 1)) >= SHOWN, new


SCRIPT = """
class Net(nn.Module):
    def __init__(self):
        self.out = nn.Linear(3, 3)

    def forward(self, x):
        return self.out(x)

def last(x):
    return x[-1]

FIRST
x = torch.rand(8, 3)
LAST
"""


@pytest.mark.parametrize(
    ("first", "last", "is_doubted"),
    [
        ("if x > 1: print(x)", "model = Net()", True),
        ("print(last(x))", "model = Net()", True),
        ("with open(x) as file: print(file)", "model = Net()", True),
        ("if last: print(x)", "model = Net()", False),
        ("print(x)", "model = Net()\nmodel(x)\n", True),
        ("model = Net()\nprint(x)", "", False),
        ("def make(): return Net()\nmake()\nprint(x)", "", False),
        ("print(y)", "model = Net()", False),  # a few lines out of the middle
        ("print(lambda: x)", "model = Net()", False),
        ("print([x for x in range(3)])", "model = Net()", False),
        ("for x in range(3): print(x)", "model = Net()", False),
        ("x: int", "model = Net()", False),
        ("try:\n    print(x)\nexcept NameError:\n    pass", "model = Net()", False),
        ("def f():\n    global x\n    x = 1\nf()\nprint(x)", "model = Net()", False),
        ("from math import *\nprint(x)", "model = Net()", False),
        ("while (x := 3) and not x: print(x)", "model = Net()", False),
        ("def f():\n    y = 1\n    return y\nprint(y)", "model = Net()", True),
        ("def f():\n    global y\n    y = 1\nf()\nprint(y)", "model = Net()", False),
        ("def f():\n    y = 1\nfrom math import *\nprint(y)", "model = Net()", False),
        ("# In[1]:\ndef f():\n    y = 1\nprint(y)", "model = Net()", False),
        ("print(y)", "if __name__ == '__main__':\n    model = Net()", True),
        ("print([y for y in range(3)])", "if __name__ == '__main__':\n    model = Net()", False),
        ("if __name__ == '__main__':\n    print(y)\n    model = Net()", "", False),  # what is above is imported
    ],
)
def test_a_file_whose_own_lines_end_before(first: str, last: str, *, is_doubted: bool) -> None:
    sure = how_sure(SuperInitMissing, IMPORTS + SCRIPT.replace("FIRST", first).replace("LAST", last))
    assert 0 <= sure < SHOWN if is_doubted else sure >= SHOWN


TRAINS = """
def train(model, loader, optimizer, inputs):
    FIRST
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    LAST
"""


@pytest.mark.parametrize(
    ("first", "last", "is_doubted"),
    [
        ("x = model.prepare(x)", "", True),
        ("state = model.start(state)", "", True),
        ("state, best = model.start(inputs, best)", "", True),
        ("with open(inputs) as file: print(file, loss)", "", True),
        ("inputs = model.prepare(inputs)", "", False),
        ("print([x for x in inputs])", "", False),
        ("print(one)", "print([one for one in inputs])", False),  # the variable of a round: `one` is that of the file
        ("print(one)", "one = 3", True),
        ("global one; print(one)", "one = 3", False),
        ("if inputs: print(loss)", "", False),
        ("try:\n        print(loss)\n    except NameError:\n        pass", "", False),
        ("def last(): return loss", "print(last())", False),
        ("print(lambda: loss)", "", False),
        ("pass", "    print(wrong)", True),  # `LAST` is in the loop
        ("pass", "    if inputs: print(wrong)", False),
        ("pass", "    if inputs: continue\n        print(wrong)", False),
        ("@torch.no_grad()\n    def ask(one): print(wrong)\n    ask(inputs)", "", True),
        ("@wrapped\n    def ask(one): print(wrong)\n    ask(inputs)", "", False),
    ],
)
def test_a_function_that_asks_for_what_it_binds_later(first: str, last: str, *, is_doubted: bool) -> None:
    text = IMPORTS + "from calls import wrapped\none = 1\n" + TRAINS.replace("FIRST", first).replace("LAST", last)
    sure = how_sure(MissingZeroGrad, text)
    assert 0 <= sure < SHOWN if is_doubted else sure >= SHOWN


def test_a_share_that_nobody_feels_is_no_dropout() -> None:
    text = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stack = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Dropout(SHARE), nn.Linear(3, 3))

        def forward(self, x):
            return self.stack(x)

    def train(loader, held_out):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            right = 0
            with torch.no_grad():
                for x, y in held_out:
                    right += (model(x).argmax(1) == y).sum().item()
            print(right)
    """
    text = textwrap.dedent(text)
    assert how_sure(ValidationInTrainMode, text.replace("SHARE", "1e-5")) < SHOWN
    assert how_sure(ValidationInTrainMode, text.replace("SHARE", "0.1")) >= SHOWN
    assert how_sure(DropoutWithoutEffect, "rnn = nn.LSTM(8, 16, dropout=1e-5)") < 0
    assert how_sure(DropoutWithoutEffect, "rnn = nn.LSTM(8, 16, dropout=0.1)") >= SHOWN


@pytest.mark.parametrize(
    ("first", "is_doubted"),
    [
        ("os.exists(loader)", True),
        ("os.path.exists(loader)", False),
        ("print(os.join(loader, 'a'))", True),
        ("os.unknown(loader)", False),
        ("nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm=1)", True),
        ("nn.utils.clip_grad_norm_(model.parameters(), 1, norm=2)", True),
        ("nn.utils.clip_grad_norm_(model.parameters(), max_norm=1, norm_type=2)", False),
        ("nn.utils.clip_grad_value_(model.parameters(), **epochs)", False),
        ("F.cross_entropy(loader, epochs, smoothing=0.1)", True),
        ("F.cross_entropy(loader, epochs, label_smoothing=0.1)", False),
        ("F.relu(loader, dim=1)", True),
    ],
)
def test_what_a_library_does_not_have_or_take(first: str, *, is_doubted: bool) -> None:
    assert (0 <= how_sure_behind(first, "import os\n" + IMPORTS) < SHOWN) is is_doubted


def test_os_may_be_given_what_it_has_not() -> None:
    assert how_sure_behind("os.exists(loader)", f"import os\n{IMPORTS}os.exists = os.path.exists\n") >= SHOWN


NETWORK = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, 9), nn.Linear(9, 2)

    def forward(self, x):
        return self.head(self.body(x))

net = Net().to("cpu")
"""


@pytest.mark.parametrize(
    ("asked", "is_doubted"),
    [
        ("net.tail", True),
        ("print(net.tail.weight)", True),
        ("net.head", False),
        ("net.training", False),
        ("net.tail = nn.Linear(2, 2); net.tail", False),
        ("setattr(net, 'tail', 1); net.tail", False),
        ("nn.DataParallel(net).tail", False),
    ],
)
def test_what_a_network_of_the_project_does_not_have(asked: str, *, is_doubted: bool) -> None:
    assert (how_sure_behind(asked, IMPORTS + NETWORK) < SHOWN) is is_doubted


def test_a_variable_that_is_bound_twice_may_be_another_network() -> None:
    assert how_sure_behind("net.tail", IMPORTS + NETWORK + "net = load()\n") >= SHOWN
