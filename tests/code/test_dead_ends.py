"""What stands behind a line that always ends with an error is possible at most; its twin, that can run, is a fault."""

from __future__ import annotations

import json
import textwrap

import pytest

from code_programs import IMPORTS, SHOWN, TRAINS, code_of, how_sure, how_sure_behind
from stethoscope.core.review import Level
from stethoscope.diagnosing.review import review
from stethoscope.facts.dead_ends import dead_ends
from stethoscope.observe.code.gather import facts_of
from stethoscope.observe.code.reading import source_of
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.parameters.dropout_without_effect import DropoutWithoutEffect
from stethoscope.rules.parameters.super_init_missing import SuperInitMissing
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

NAMED = """
def prepare(model, width=3): return model
def spread(model, **options): return model
class Data:
    def __init__(self, in_keys): self.in_keys = in_keys
"""


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("model = prepare(model, widht=3)", "model = prepare(model, width=3)"),
        ("print(Data(inkeys=[]))", "print(Data(in_keys=[]))"),
        ("model = prepare(model, depth=3)", "model = spread(model, depth=3)"),
        ("model = prepare(model, depth=3)", "model = prepare(model, **{'depth': 3})"),
    ],
)
def test_a_parameter_that_is_not_there_ends_a_function(line: str, right: str) -> None:
    above = IMPORTS + NAMED
    assert 0 <= how_sure_behind(line, above) < SHOWN <= how_sure_behind(right, above)


def test_a_name_that_is_called_where_it_gets_its_first_value_ends_a_function() -> None:
    above = IMPORTS + "def rate(model): return 1\n"
    assert 0 <= how_sure_behind("rate = rate(model)", above) < SHOWN
    assert how_sure_behind("found = rate(model)", above) >= SHOWN


@pytest.mark.parametrize(
    "before",
    [
        "rate = print",
        "import rate",
        "global rate",
        "with model as rate: pass",
        "for rate in [print]: pass",
        "def rate(x): pass",
    ],
)
def test_a_name_that_is_bound_before_may_be_called(before: str) -> None:
    assert how_sure_behind(f"{before}\nrate = rate(model)", IMPORTS + "rate = print\n") >= SHOWN


def test_a_name_that_an_inner_function_sets_is_not_that_of_the_outer_one() -> None:
    inner = "def inner(model):\n    rate = rate(model)\nmodel = rate(model)"
    assert how_sure_behind(inner, IMPORTS + "rate = print\n") >= SHOWN


@pytest.mark.parametrize(
    "line",
    [
        "print(width)",
        "rate = find_rate(model)",
        "seen = wrap(epochs) if width else epochs",
        "with torch.device('cpu'): model = prepare(model)",
        "for one in callbacks: one.begin()",
        "names = [str(one) for one in callbacks]",
        "if epochs: print(width)\nelse: print(height)",
        "def rate(start=width): pass",
        "print(width[0].size or 3)",
    ],
)
def test_a_name_that_nothing_binds_ends_a_function(line: str) -> None:
    assert 0 <= how_sure_behind(line) < SHOWN
    names = "width = height = find_rate = wrap = prepare = callbacks = 1\n"
    assert how_sure_behind(line, IMPORTS + names) >= SHOWN


@pytest.mark.parametrize(
    "line",
    [
        "if epochs: print(width)",
        "try: print(width)\nexcept NameError: pass",
        "seen = lambda: width",
        "seen = epochs or width",
        "seen = [width for _ in loader]",
        "for _ in loader: print(width)",
        "rate: Width = 1",
        "seen = epochs if epochs else width",
        "print(xrange(3), unicode)",
        "display(model)",
        "with contextlib.suppress(NameError): print(width)",
        "def rate(): return width",
        "print(__file__, __name__)",
    ],
)
def test_a_name_that_may_not_be_looked_up_or_that_a_host_gives_ends_nothing(line: str) -> None:
    assert how_sure_behind(line, f"{IMPORTS}import contextlib\n") >= SHOWN


@pytest.mark.parametrize(
    "line",
    [
        "from shapes import *",
        "globals()['width'] = 3",
        "exec('width = 3')",
        "import builtins",
        "def fill():\n    global width\n    width = 3",
        "if epochs:\n    width = 3",
        "from .width import height",
    ],
)
def test_a_name_that_something_may_bind_is_there(line: str) -> None:
    assert 0 <= how_sure_behind("print(width)", IMPORTS + "epochs = 1\n") < SHOWN
    assert how_sure_behind("print(width)", f"{IMPORTS}epochs = 1\n{line}\n") >= SHOWN


def test_only_what_stands_behind_the_line_in_its_block_is_not_reached() -> None:
    program = textwrap.dedent(TRAINS.replace("FIRST", "pass"))
    assert how_sure(MissingZeroGrad, program.replace("print(epochs)", "print(width)")) >= SHOWN
    assert how_sure(MissingZeroGrad, program.replace("for x, y", "print(width)\n        for x, y")) < SHOWN


BUILDS = """
    class Net(nn.Module):
        def __init__(self, depth):
            super().__init__()
            self.layers = [nn.Linear(3, 3) for _ in range(3)]
            FIRST

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x
"""


def _net(first: str, heirs: str = "") -> int:
    return how_sure(UnregisteredModules, BUILDS.replace("FIRST", first) + heirs)


def test_a_class_whose_constructor_cannot_end_cannot_be_made() -> None:
    assert 0 <= _net("self.width = find_width(depth)") < SHOWN
    assert _net("self.width = len(find_width(1) if depth else 'ab')") >= SHOWN
    assert _net("if depth: return\n            self.width = find_width(depth)") >= SHOWN


@pytest.mark.parametrize(
    ("method", "can_be_made"),
    [
        ("def build(self): self.width = find_width(3)", False),
        ("def build(self): self.width = find_width(3) if self.layers else 0", True),
        ("def build(self): raise NotImplementedError", True),  # for those who inherit
        ("def build(self): quit()", True),
        ("def build(self): self.width = find_width(3)\n        build = print", True),
    ],
)
def test_a_method_that_fails_ends_the_constructor_that_calls_it(method: str, *, can_be_made: bool) -> None:
    program = f"{BUILDS.replace('FIRST', 'self.build()')}\n        {method}\n"
    assert (how_sure(UnregisteredModules, program) >= SHOWN) is can_be_made


def test_a_method_that_an_heir_has_anew_need_not_fail() -> None:
    program = f"{BUILDS.replace('FIRST', 'self.build()')}\n        def build(self): self.width = find_width(3)\n"
    heir = "\n    class Wide(Net):\n        def build(self): self.width = 9\n"
    assert how_sure(UnregisteredModules, program) < SHOWN <= how_sure(UnregisteredModules, program + heir)


HEIR = """
    class Deeper(Net):
        def __init__(self):
            BEGIN
            self.norm = nn.LayerNorm(3)
"""


def test_a_class_that_an_heir_makes_in_another_way_can_be_made() -> None:
    assert _net("find_width(depth)", HEIR.replace("BEGIN", "super().__init__(3)")) < SHOWN
    assert _net("find_width(depth)", HEIR.replace("BEGIN", "nn.Module.__init__(self)")) >= SHOWN


BASE = """
    class Net(BASES):
        def __init__(self, config):
            super().__init__(GIVEN)
            self.rnn = nn.LSTM(3, 3, dropout=0.2)

        def forward(self, x):
            return self.rnn(x)

    class Both(Net):
        def __init__(self, config):
            super().__init__(config)
            self.second = nn.LSTM(4, 4, dropout=0.2)
"""


@pytest.mark.parametrize(
    ("bases", "given", "can_be_made"),
    [
        ("nn.Module", "", True),
        ("nn.Module", "config", False),
        ("nn.Module", "config=None", False),
        ("nn.Module", "*config", True),
        ("nn.Module", "**config", True),
        ("Other, nn.Module", "config", True),
        ("nn.Sequential", "config", True),
    ],
)
def test_a_module_takes_no_arguments(bases: str, given: str, *, can_be_made: bool) -> None:
    program = f"{IMPORTS}from others import Other\n" + textwrap.dedent(
        BASE.replace("BASES", bases).replace("GIVEN", given)
    )
    found = [one.sureness.strength for one in review(code_of(program), rules=[DropoutWithoutEffect]).findings]
    assert len(found) == 2
    assert [one >= SHOWN for one in found] == [can_be_made] * 2


USES = """
    # file: nets.py
    from torch import nn

    class Inner(nn.Module):
        def __init__(self):
            super().__init__(GIVEN)

    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.inner = Inner()
    # file: train.py
    import torch
    import torch.nn.functional as F
    from nets import Net

    if __name__ == "__main__":
        model = Net(3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(10):
            for x, y in torch.load("data.pt"):
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
"""


def test_what_makes_a_class_of_another_file_that_cannot_be_made_ends_there() -> None:
    assert 0 <= how_sure(MissingZeroGrad, USES.replace("GIVEN", "config=None")) < SHOWN
    assert how_sure(MissingZeroGrad, USES.replace("GIVEN", "")) >= SHOWN


READS = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    class Texts(Dataset):
        def __init__(self, rows):
            self.rows = rows

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, at):
            return self.READ[at]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(3, 3, dropout=0.2)

        def forward(self, x):
            return self.rnn(x)

    loader = DataLoader(Texts([1, 2]), batch_size=2)
"""


def _read(name: str, more: str = "") -> int:
    return how_sure(DropoutWithoutEffect, READS.replace("READ", name) + more)


def test_data_that_cannot_be_read_train_nothing() -> None:
    assert 0 <= _read("lines") < SHOWN
    assert _read("rows") >= SHOWN
    assert _read("lines", "    others = DataLoader(torch.zeros(3, 3), batch_size=2)\n") >= SHOWN
    assert _read("lines", "    Texts([1]).lines = [3]\n") >= SHOWN
    assert _read("lines", "    setattr(loader.dataset, 'li' + 'nes', [3])\n") >= SHOWN
    assert _read("lines", "    NAMES = ['lines']\n") >= SHOWN
    assert _read("rows[0], [self.lines for _ in at], self.rows") >= SHOWN
    assert _read("lines", "    data = Texts([2])\n    def load():\n        return DataLoader(data)\n") >= SHOWN
    for base in ("Texts(Rows)", "Texts(torch.nn.Sequential)", "BaseTexts(Dataset)"):
        texts = READS.replace("Texts(Dataset)", base).replace("(Texts(", f"({base.partition('(')[0]}(")
        assert how_sure(DropoutWithoutEffect, f"{IMPORTS}from rows import Rows\n{textwrap.dedent(texts)}") >= SHOWN
    made = READS.replace("loader = DataLoader", "def load(): return DataLoader").replace("READ", "lines")
    assert how_sure(DropoutWithoutEffect, made) >= SHOWN  # who has it may give it more


def test_an_attribute_that_the_constructor_reads_too_early_is_there_for_who_inherits() -> None:
    reads = BUILDS.replace("FIRST", "self.width = self.find(3)")
    assert how_sure(UnregisteredModules, reads) >= SHOWN  # an heir in another file may have it
    assert how_sure(UnregisteredModules, reads + "\n    net = Net(3)\n") < SHOWN
    assert (
        how_sure(UnregisteredModules, reads.replace("self.find(3)", "self.training") + "\n    net = Net(3)\n") >= SHOWN
    )


def test_a_missing_call_of_the_base_is_told_though_nobody_can_make_the_class() -> None:
    net = BUILDS.replace("super().__init__()", "width = find_width(depth)").replace(
        "FIRST", "self.fc = nn.Linear(3, 3)"
    )
    net = net.replace("[nn.Linear(3, 3) for _ in range(3)]", "nn.ModuleList([nn.Linear(3, 3)])")
    assert how_sure(SuperInitMissing, net) >= SHOWN


def _notebook(*cells: str) -> bool:
    document = {
        "cells": [{"cell_type": "code", "source": textwrap.dedent(cell)} for cell in (IMPORTS, *cells)],
        "metadata": {},
    }
    code = facts_of(source_of(json.dumps(document).encode(), "train.ipynb"))
    (one,) = review(code, rules=[MissingZeroGrad]).findings
    return Level().shows(one)


def test_names_of_a_notebook_are_bound_in_any_cell_or_by_a_magic() -> None:
    cell = TRAINS.replace("FIRST", "print(width)")
    assert not _notebook(cell)
    assert not _notebook("%matplotlib inline\n!pip install torch\n", cell)
    assert _notebook(cell, "width = 3")
    assert _notebook("%run setup.py", cell)
    assert _notebook("width = !ls", cell)
    assert _notebook("this is no Python", cell)


def test_only_its_cell_ends_with_a_line_of_a_notebook() -> None:
    broken = "class Net(nn.Module):\n    def __init__(self):\n        super().__init__(3)\n"
    assert _notebook(broken, "Net()", TRAINS.replace("FIRST", "pass"))
    script = broken + "Net()\n" + textwrap.dedent(TRAINS.replace("FIRST", "pass"))
    assert how_sure(MissingZeroGrad, script) < SHOWN


def test_a_function_with_a_decorator_is_found_by_its_own_line() -> None:
    (at,) = dead_ends(code_of("@torch.no_grad()\ndef look(x):\n    print(width)\n    return x\n")).behind
    assert (at.line, at.end_line) == (7, 8)


OWN_NET = """
class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(width, 2)

    def forward(self, x):
        return self.layer(x)


def show(title):
    print(title)
"""
USES_NET = """
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
"""


def test_a_cell_that_cannot_make_the_network_leaves_later_cells_without_one() -> None:
    loader = "loader = torch.utils.data.DataLoader(torch.load('rows.pt', weights_only=True), batch_size=8)"
    assert _notebook(loader, OWN_NET, "model = Net(width=8)", USES_NET)
    assert not _notebook(loader, OWN_NET, "model = Net(columns=8, classes=2)", USES_NET)


def test_a_cell_that_fails_and_would_bind_nothing_is_passed_over() -> None:
    loader = "loader = torch.utils.data.DataLoader(torch.load('rows.pt', weights_only=True), batch_size=8)"
    assert _notebook(loader, OWN_NET, "model = Net(8)", "show('rows', colour='red')", USES_NET)
