"""Source texts to facts, without a disk: the way in which examples of rules are read."""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace

from stethoscope.core.finding import Sureness
from stethoscope.core.rule import Rule
from stethoscope.diagnosing.review import review
from stethoscope.facts.code import Code
from stethoscope.facts.linked import Linked
from stethoscope.observe.code.gather import facts_of
from stethoscope.observe.code.reading import Source
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad

IMPORTS = (
    "import torch\nfrom torch import nn\nimport torch.nn.functional as F\nfrom torch.utils.data import DataLoader\n"
)
LISTED = """
    class Net(nn.Module):
        def __init__(self, depth):
            super().__init__()
            self.layers = []
            for i in range(depth):
                layer = nn.Linear(3, 3)
                self.layers.append(layer)
            # DONE

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x
"""
"""A module that hides its layers in a list; `# DONE` is the place for what somebody does with them."""
TRAINS = """
    def train(model, loader, epochs):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        FIRST
        for _ in range(epochs):
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(epochs)
"""
"""A training with a fault; `FIRST` is the place for a line before it, that may always end with an error."""
_FILE = re.compile(r"^# file: (\S+)$", re.M)


def code_of(text: str, file: str = "train.py") -> Code:
    """The facts of a text; of several files, those of the last, linked to the others."""
    parts = _FILE.split(textwrap.dedent(text).strip("\n"))
    codes = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        codes[name.removesuffix(".py")] = _one(body.strip("\n") + "\n", name)
    if not codes:
        return _one(parts[0] + "\n", file)
    *_, last = codes
    linked = Linked.of({module: code for module, code in codes.items() if module != last})
    return replace(codes[last], linked=linked, memo={})


def bad_lines(code: Code) -> set[int]:
    """The lines that are marked as guilty."""
    return {number for number, line in enumerate(code.lines, start=1) if line.rstrip().endswith("# bad")}


def _one(text: str, file: str) -> Code:
    if not re.search(r"^(?:import|from) ", text, re.M):
        text = IMPORTS + text
    return facts_of(Source(file, text), file.removesuffix(".py"))


SHOWN = Sureness.LIKELY.strength
"""At least as sure as this is what is shown by default."""


def how_sure(rule: type[Rule], text: str) -> int:
    """How sure a rule is of its surest finding in a program; -1 where it finds nothing."""
    return max((one.sureness.strength for one in review(code_of(text), rules=[rule]).findings), default=-1)


def how_sure_behind(first: str, above: str = "") -> int:
    """How sure it is that a training is at fault which stands behind some lines of its function."""
    program = textwrap.dedent(TRAINS).replace("FIRST", first.replace("\n", "\n    "))
    return how_sure(MissingZeroGrad, above + program)
