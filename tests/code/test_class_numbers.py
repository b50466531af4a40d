"""Tensors in source code that hold whole numbers, and how many axes they have."""

from __future__ import annotations

import pytest

from code_programs import code_of
from stethoscope.facts.class_numbers import is_flat, is_table, is_whole
from stethoscope.facts.code import Code, Value

BEFORE = """
import torch
from sklearn.model_selection import train_test_split


def moved(x):
    if torch.cuda.is_available():
        x = x.cuda()
    return x


def drawn():
    return torch.rand(3), torch.randint(0, 9, (3,))


"""


def _last(text: str) -> tuple[Code, Value]:
    code = code_of(f"{BEFORE}def asked(x, y, rows, dtype):\n    return {text}\n")
    return code, code.functions[-1].returns[0].value


@pytest.mark.parametrize(
    "text",
    [
        "x.long().view(-1)",
        "torch.arange(len(rows), device=x.device)",
        "torch.zeros(4, dtype=torch.int64).to('cuda')",
        "torch.cat([one[1].cuda().long() for one in rows])",
        "[one.long() for one in rows][2]",
        "x.max(1)[1]",
        "torch.topk(x, 3).indices",
        "torch.where(x > 0, x.argmax(1), -100)",
        "moved(torch.LongTensor(rows))",
        "drawn()[1] if rows else y.long()",
        "y.type(torch.LongTensor) + 1",
    ],
)
def test_whole_numbers(text: str) -> None:
    code, value = _last(text)

    # What a function gives at a position is followed where it is unpacked, and not where it is indexed.
    assert is_whole(code, value) is ("drawn" not in text)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "x.view(-1)",
        "x.long().float()",
        "x.long().to(y.dtype)",
        "torch.max(x, y)[1]",
        "x.max(1)[0]",
        "torch.arange(0.5, 3.0)",
        "torch.zeros(4)",
        "moved(x)",
        "drawn()",
        "torch.cat([x.long(), y])",
        "x.long() * y",
        "x.long() / 2",
    ],
)
def test_what_may_be_broken_numbers(text: str) -> None:
    assert not is_whole(*_last(text))


def test_parts_that_are_unpacked() -> None:
    code = code_of(
        f"{BEFORE}values, numbers = drawn()\nlabels = torch.tensor([1, 2]).long()\n"
        "a, b, c, d = train_test_split(values, labels)\nfloats, wholes = values, labels\n"
        "asked = [numbers, d, wholes, c, values, b, floats]\n"
    )
    asked = code.bindings[code.names["asked"]].value  # type: ignore[index]

    assert [is_whole(code, one) for one in asked.items] == [True, True, True, True, False, False, False]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "flat", "table"),
    [
        ("x.view(-1)", True, False),
        ("x.reshape((-1,)).to('cuda')", True, False),
        ("torch.flatten(x)", True, False),
        ("x.view(-1, 10).float()", False, True),
        ("x.reshape((4, -1))", False, True),
        ("x.flatten(1)", False, False),
        ("x.view(*rows)", False, False),
        ("x.view(rows)", False, False),
        ("x", False, False),
    ],
)
def test_axes(text: str, *, flat: bool, table: bool) -> None:
    code, value = _last(text)

    assert (is_flat(code, value), is_table(code, value)) == (flat, table)
