"""Programs for the tests of `stethoscope lint`, and a way to start it."""

from __future__ import annotations

import json

from click.testing import CliRunner

from stethoscope.cli.lint import command

BAD = """\
import torch
from torch import nn

model = nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in torch.load("data"):
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
"""


def lint(*arguments: str, text: str | bytes | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(command, [*arguments], input=text, standalone_mode=False)
    assert result.exception is None, result.exception
    return result.return_value, result.output


def notebook(text: str) -> str:
    first, last = text.split("for x")
    cells = [{"cell_type": "markdown", "source": "Title"}] + [
        {"cell_type": "code", "source": part} for part in (first, "for x" + last)
    ]
    return json.dumps({"cells": cells, "metadata": {}})
