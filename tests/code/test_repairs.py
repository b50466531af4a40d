"""What `--fix` writes, finding by finding: a diff of each, and that the rest of the file stays as it is."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from stethoscope.core.settings import Settings
from stethoscope.fixing import fixes_of, write
from stethoscope.linting import lint

REPAIRS = {
    "missing values of a table": """
        import numpy as np
        import pandas as pd

        def rows(df):
        -   return df[(df['a b'] != np.nan) & df['c']]  # not empty
        +   return df[(pd.notna(df['a b'])) & df['c']]  # not empty
        """,
    "missing values of an array": """
        import numpy as np

        def rows(x):
        -   return x[x != np.nan]
        +   return x[~np.isnan(x)]
        """,
    "a number that is missing": """
        import math

        def clean(loss):
        -   if loss != math.nan and loss > 0:
        +   if not math.isnan(loss) and loss > 0:
                return loss
        """,
    "no axis": """
        import torch.nn.functional as F

        def attend(x):
            return F.softmax(
        -       x,  # scores
        +       x, dim=1,  # scores
            )
        """,
    "a running sum": """
        import torch.nn.functional as F

        def train(model, loader, optimizer):
            total = 0
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        -       total += loss  # of all
        +       total += loss.detach()  # of all
            return total
        """,
    "a loss in a module": """
        from torch import nn

        net = nn.Sequential(nn.Linear(3, 2))
        -riterion = nn.NLLLoss(reduction='sum')
        +riterion = nn.CrossEntropyLoss(reduction='sum')

        def step(x, y):
            return criterion(net(x), y)
        """.replace("-riterion", "-criterion").replace("+riterion", "+criterion"),
    "a target in logarithms": """
        import torch.nn.functional as F

        def distill(student, teacher):
            q = F.log_softmax(teacher, dim=1)
        -   return F.kl_div(F.log_softmax(student, dim=1), q, reduction="batchmean")
        +   return F.kl_div(F.log_softmax(student, dim=1), q, reduction="batchmean", log_target=True)
        """,
    "probabilities where logarithms belong": """
        import torch.nn.functional as F

        def distill(student, teacher):
        -   return F.kl_div(F.softmax(student, dim=1), F.softmax(teacher, dim=1), reduction="batchmean")
        +   return F.kl_div(F.log_softmax(student, dim=1), F.softmax(teacher, dim=1), reduction="batchmean")
        """,
    "a generator": """
        import torch

        def build(model, loader):
        -   params = model.parameters()
        +   params = list(model.parameters())
            optimizer = torch.optim.Adam(params)
            torch.nn.utils.clip_grad_norm_(params, 1.0)
        """,
    "a column": """
        import pandas as pd

        df = pd.read_csv('a.csv')
        if len(df):
        -   df['é'].fillna(0); x = 1
        +   df['é'] = df['é'].fillna(0); x = 1
        """,
    "an evaluation": """
        import torch
        from torch import nn

        model = nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.5), nn.Linear(9, 2))

        class Trainer:
        +   @torch.no_grad()
            def evaluate(self, loader):  # after each epoch
                model.eval()
                right = 0
                for x, y in loader:
                    right += (model(x).argmax(1) == y).sum().item()
                return right
        """,
    "a schedule, to the end of its epoch": """
        import torch

        def train(model, loader):
            optimizer = torch.optim.Adam(model.parameters())
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
            for epoch in range(9):
        -       schedule.step()  # once
                for x in loader:
                    optimizer.zero_grad()
                    model(x).sum().backward()
                    optimizer.step()  # done
        +       schedule.step()  # once
            print()
        """,
    "gradients, cleared behind the step": """
        import torch.nn.functional as F

        def train(model, loader, optimizer):
            for x, y in loader:
                F.cross_entropy(model(x), y).backward()
        -       optimizer.zero_grad()
                optimizer.step()
        +       optimizer.zero_grad()
        """,
    "clipping, behind the backward pass": """
        import torch
        import torch.nn.functional as F

        def train(model, loader, optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
        +       torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # 1.0 is usual
                optimizer.step()
        -       torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # 1.0 is usual
        """,
}
UNREPAIRED = {
    "another name would have to be imported": """
        from torch import nn
        from torch.nn.functional import nll_loss

        net = nn.Linear(3, 2)

        def step(x, y):
            return nll_loss(net(x), y)
        """,
    "two statements on a line": """
        import torch

        def train(model, loader, optimizer):
            for x in loader:
                model(x).sum().backward(); optimizer.zero_grad()
                optimizer.step()
        """,
    "nothing is imported that asks": """
        import torch

        def f(x):
            return x == float("nan")
        """,
}


def sides(diff: str) -> tuple[str, str]:
    """The text before and after."""
    lines = inspect.cleandoc(diff).split("\n")
    before = [line for line in lines if not line.startswith("+")]
    after = [line for line in lines if not line.startswith("-")]
    texts = ("\n".join(_plain(line) for line in side) + "\n" for side in (before, after))
    return next(texts), next(texts)


def _plain(line: str) -> str:
    """A marked line without its mark, which stands in front of code or in the place of a space."""
    if line[:1] not in ("-", "+"):
        return line
    return " " + line[1:] if line[1:2] == " " else line[1:]


def fixed(folder: Path, text: str) -> str:
    (folder / "a.py").write_bytes(text.encode())
    write(fixes_of(lint("a.py", settings=Settings(), possible=True, notes=True), unsafe=True))
    return (folder / "a.py").read_bytes().decode()


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("diff", REPAIRS.values(), ids=REPAIRS)
def test_the_guilty_piece_changes_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, diff: str, end: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before, after = sides(diff)

    once = fixed(tmp_path, before.replace("\n", end))

    assert once == after.replace("\n", end)
    assert fixed(tmp_path, once) == once


@pytest.mark.parametrize("text", UNREPAIRED.values(), ids=UNREPAIRED)
def test_what_no_edit_repairs_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    text = inspect.cleandoc(text)

    assert fixed(tmp_path, text) == text
    assert lint("a.py", settings=Settings(), possible=True, notes=True).findings
