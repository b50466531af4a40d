"""What `--fix` does to a notebook: the guilty cell's line, and every other byte stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stethoscope.core.finding import Edit, Place
from stethoscope.core.settings import Settings
from stethoscope.fixing import fixes_of, write
from stethoscope.linting import lint
from stethoscope.observe.code.notebook_rewriting import rewritten_notebook

SETUP = """\
%matplotlib inline
import torch
from torch import nn
model = nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)"""
LOOP = """\
!nvidia-smi
for x, y in torch.load("é"):
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()  # jeder Schritt: "ü"
model.eval
print()"""


def notebook(*cells: str, as_list: bool = True) -> dict[str, object]:
    listed: list[dict[str, object]] = [{"cell_type": "markdown", "metadata": {}, "source": ["# Títle\n", "x"]}]
    listed += [
        {"cell_type": "code", "execution_count": 1.50, "metadata": {}, "outputs": [{"text": ["\u2028"]}],
         "source": cell.splitlines(keepends=True) if as_list else cell}
        for cell in cells
    ]  # fmt: skip
    return {"cells": listed, "metadata": {"kernelspec": {"language": "python"}}, "nbformat": 4, "nbformat_minor": 5}


WRITTEN: dict[str, Callable[[dict[str, object]], str]] = {
    "as Jupyter does": lambda one: json.dumps(one, indent=1, ensure_ascii=False) + "\n",
    "in ASCII": lambda one: json.dumps(one, indent=4),
    "on one line": lambda one: json.dumps(one, separators=(",", ":")),
    "with Windows' line ends": lambda one: json.dumps(one, indent=1, ensure_ascii=False).replace("\n", "\r\n"),
    "with its keys in another order": lambda one: json.dumps(dict(reversed(one.items())), sort_keys=False, indent=2),
}


@pytest.mark.parametrize("as_list", [True, False], ids=["lines", "one text"])
@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_every_other_byte_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Callable[[dict[str, object]], str], as_list: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    right = LOOP.replace('"ü"', '"ü"\n    optimizer.zero_grad()').replace("model.eval", "model.eval()")
    before, after = (written(notebook(SETUP, loop, as_list=as_list)) for loop in (LOOP, right))
    (tmp_path / "nb.ipynb").write_bytes(before.encode())

    said = write(fixes_of(lint("nb.ipynb", settings=Settings()), unsafe=True))

    assert said == ["nb.ipynb: 2 findings repaired"]
    assert (tmp_path / "nb.ipynb").read_bytes() == after.encode()
    assert not lint("nb.ipynb", settings=Settings()).findings
    assert not fixes_of(lint("nb.ipynb", settings=Settings()), unsafe=True)


def edit(cell: int | None, line: int, column: int, text: str) -> Edit:
    return Edit(Place(file="nb.ipynb", cell=cell, line=line, column=column, end_line=line, end_column=column), text)


def test_a_change_across_cells_or_of_none_is_left_out() -> None:
    data = json.dumps(notebook("x = 1", "y = 2")).encode()

    across = [edit(2, 1, 1, "z = 0; "), edit(3, 1, 1, "z = 0; ")]
    assert rewritten_notebook(data, [across, [edit(None, 1, 1, "z")], [edit(9, 1, 1, "z")], [edit(1, 1, 1, "z")]]) == (
        data,
        0,
    )
    assert rewritten_notebook(data, [[edit(2, 1, 1, "(")]]) == (data, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b'{"cells": 1}', b"\xff", b'{"cells": [1, {"cell_type": "code", "source": 5}]}',
        b'{"worksheets": [{"cells": [{"cell_type": "code", "input": "x"}]}]}', b'{"cells": ' + b"[" * 9999,
    ],
)  # fmt: skip
def test_what_is_no_notebook_stays(data: bytes) -> None:
    assert rewritten_notebook(data, [[edit(1, 1, 1, "y")], [edit(2, 1, 1, "y")]]) == (data, 0)


TEXTS = st.text(st.characters(codec="utf-8"))


@given(TEXTS, TEXTS, st.booleans(), st.booleans(), st.sampled_from([None, 0, 1, 3]))
def test_texts_of_all_kinds_stay(other: str, note: str, as_list: bool, is_ascii: bool, indent: int | None) -> None:
    wrong, right = f"# {note!r}\nmodel.eval", f"# {note!r}\nmodel.eval()"
    before, after = (
        json.dumps(
            {**notebook(cell, as_list=as_list), f"x{other}": {"cells": [other]}}, ensure_ascii=is_ascii, indent=indent
        )
        for cell in (wrong, right)
    )

    assert rewritten_notebook(before.encode(), [[edit(2, 2, 11, "()")]]) == (after.encode(), 1)
