"""A line that asks for an attribute which nothing gives ends what stands behind it; its twin is given one somewhere."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from code_programs import IMPORTS, SHOWN, how_sure
from stethoscope.linting import lint
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad

FIT = """
    class Fit:
        def __init__(self, model, loader):
            self.model = model
            self.loader = loader
            DONE

        def train(self):
            FIRST
            optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
            for x, y in self.loader:
                loss = F.cross_entropy(self.model(x), y)
                loss.backward()
                optimizer.step()
"""
IMPORTED = IMPORTS + "from others import Unseen, add_to, parts\n"


def _fit(first: str, done: str = "pass", *changed: str, more: str = "") -> int:
    program = textwrap.dedent(FIT).replace("FIRST", first).replace("DONE", done)
    return how_sure(MissingZeroGrad, IMPORTED + program.replace(*(changed or ("FIRST", ""))) + more)


@pytest.mark.parametrize(
    ("first", "done"),
    [
        ("print(self.cuda)", "self.cuda = True"),
        ("if self.cuda: print(3)", "self.cuda = True"),
        ("self.net = nn.DataParallel(self.net)", "self.net = model"),
        ("self.seen += 1", "self.seen = 0"),
        ("print(self.rate)", "self.rate: float = 0.1"),
        ("print(self.rate)", "self.rate, self.most = 0.1, 3"),
        ("print(self.most)", "def most(self): return 3"),
    ],
)
def test_an_attribute_that_nothing_gives_ends_a_method(first: str, done: str) -> None:
    if done.startswith("def"):
        done = "pass\n\n    " + done
    assert 0 <= _fit(first) < SHOWN <= _fit(first, done)
    assert _fit(f"if self.loader: {first}" if not first.startswith("if") else "pass") >= SHOWN
    assert _fit(first, f"# {done.splitlines()[0]}") < SHOWN


@pytest.mark.parametrize(
    "more",
    [
        "\nfit = Fit(1, 2)\nfit.rate = 3\n",
        "\nFit.rate = 3\n",
        "\ndef put(fit):\n    setattr(fit, 'ra' + 'te', 3)\n",
        "\nNAMES = ['rate']\n",
        "\nclass Other(Fit): rate = 3\n",
        "\n@add_to(Fit)\ndef rate(self): return 3\n",
        "\ndef put(self): self.rate = 3\n",
    ],
)
def test_an_attribute_that_something_else_may_give_is_there(more: str) -> None:
    assert _fit("print(self.rate)", more=more) >= SHOWN
    assert _fit("print(self.rate)", more="\nprint(rate)\n") < SHOWN


@pytest.mark.parametrize(
    "changed",
    [
        ("class Fit:", "class Fit(Unseen):"),
        ("class Fit:", "class BaseFit:"),
        ("class Fit:", "@parts\nclass Fit:"),
        ("class Fit:", "class Fit(metaclass=Unseen):"),
        ("__init__", "set"),
        ("pass", "self.__dict__.update(loader)"),
        ("train(self)", "train(this, self)"),
        ("class Fit:", "class Fit:\n    def __getattr__(self, name): return 3\n"),
    ],
)
def test_a_class_of_which_not_all_is_seen_may_have_it(changed: tuple[str, str]) -> None:
    assert _fit("print(self.rate)", "pass", *changed) >= SHOWN


def test_a_module_has_what_torch_gives_it() -> None:
    module = ("class Fit:", "class Fit(nn.Module):")
    assert _fit("print(self.cuda)", "super().__init__()", *module) >= SHOWN
    assert _fit("print(self.cude)", "super().__init__()", *module) < SHOWN
    assert _fit("print(self.cude)", "self.register_buffer('cude', model)", *module) >= SHOWN


def test_what_another_class_of_the_file_has_is_not_its_own() -> None:
    other = "\nclass Net:\n    def __init__(self):\n        self.bert = nn.Linear(3, 3)\n"
    assert _fit("self.bert = nn.DataParallel(self.bert)", more=other) < SHOWN
    assert _fit("self.bert = nn.DataParallel(self.bert)", "self.bert = model", more=other) >= SHOWN


def test_what_another_class_is_handed_it_may_give_an_attribute() -> None:
    other = "\nclass Net:\n    def put(self):\n        self.rate = 3\n"
    assert _fit("print(self.rate)", "Net.put(self)", more=other) >= SHOWN
    assert _fit("print(self.rate)", "Net.put(model)", more=other) < SHOWN
    assert _fit("print(self.rate)", "Net.put(self)", more=other.replace("rate", "rates")) < SHOWN


def test_a_method_that_nobody_defines_may_be_that_of_an_heir_where_nobody_makes_the_class() -> None:
    assert _fit("print(self.look())") >= SHOWN
    assert _fit("print(self.look())", more="\nfit = Fit(1, 2)\n") < SHOWN


def _files(folder: Path, other: str) -> bool:
    (folder / "pyproject.toml").write_text("")
    for name in ("nets", "tools"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "__init__.py").write_text("")
    fit = textwrap.dedent(FIT).replace("FIRST", "print(self.rate)").replace("DONE", "pass")
    (folder / "nets" / "fit.py").write_text(IMPORTS + fit)
    (folder / "tools" / "start.py").write_text(other)
    review = lint(".", cache=folder / ".kept" / "reviews", processes=1)
    return any(one.rule == MissingZeroGrad.name for file in review.files for one in file.findings
               if one.sureness.strength >= SHOWN)  # fmt: skip


@pytest.mark.parametrize(
    "gives",
    [
        "fit.rate = 3",
        "fit.rate: float = 3",
        "fit.rate, fit.most = 3, 4",
        "setattr(fit, 'rate', 3)",
        "class Other(Fit): pass",
        "for fit.rate in range(3): pass",
        "@add_to(Fit)\ndef rate(self): pass",
    ],
)
def test_the_whole_project_is_asked_who_gives_an_attribute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gives: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not _files(tmp_path, "from nets.fit import Fit\nfit = Fit(1, 2)\nprint(fit.rate, rate == 3)\n")
    assert _files(tmp_path, f"from nets.fit import Fit\n{gives}\n")  # also where the review of the other was kept
    assert not _files(tmp_path, f"# {gives.splitlines()[-1]}\nclass Net:\n    def put(self):\n        self.rate = 3\n")
