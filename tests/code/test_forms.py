"""Expressions and statements to forms: full names, nearest bindings, tuple positions, contexts."""

from __future__ import annotations

import pytest

from code_programs import code_of
from stethoscope.facts.code import Call, Code, Constant, Name
from stethoscope.facts.things import literal


def called(text: str) -> list[str]:
    return [call.name for call in code_of(text).calls]


def given(code: Code, function: str = "show") -> list[object]:
    """What the calls of a function that nothing defines are given, as far as it is a literal."""
    found = []
    for call in code.calls:
        if isinstance(call.receiver, Name) and call.receiver.name == function:
            value = literal(code, call.arguments[0])
            found.append(value if isinstance(value, int | str) else "?")
    return found


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import torch.nn.functional as F\nF.relu(x)", "torch.nn.functional.relu"),
        ("import torch\ntorch.nn.functional.relu(x)", "torch.nn.functional.relu"),
        ("from torch import nn\nnn.Linear(1, 2)", "torch.nn.Linear"),
        ("from torch.nn import Linear as L\nL(1, 2)", "torch.nn.Linear"),
        ("from torch.nn import *\nLinear(1, 2)", "torch.nn.Linear"),
        ("from torch.optim.adam import Adam\nAdam(x)", "torch.optim.Adam"),
        ("from torch.nn.modules.loss import MSELoss\nMSELoss()", "torch.nn.MSELoss"),
        ("import tensorflow as tf\ntf.keras.layers.Dense(1)", "keras.layers.Dense"),
        ("import pytorch_lightning as pl\npl.Trainer()", "lightning.pytorch.Trainer"),
        ("import torch\nwith torch.autograd.no_grad(): pass", "torch.no_grad"),
        ("try:\n    from apex import amp\nexcept ImportError:\n    amp = None\namp.scale(x)", "apex.amp.scale"),
        ("import numpy as np\nfloat(np.pi)", "builtins.float"),
        ("from .models import Net\nNet()", "models.Net"),
    ],
)
def test_a_call_has_its_full_name(text: str, name: str) -> None:
    assert called(text) == [name]


def test_what_a_file_binds_itself_is_no_import_any_more() -> None:
    assert called("import torch\ntorch = load()\ntorch.relu(x)") == ["()", ".relu"]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("x = 1\nshow(x)\nx = 2\nshow(x)", [1, 2]),
        ("x, y = 1, 2\nshow(y)", [2]),
        ("if a:\n    x = 1\nelse:\n    x = 2\nshow(x)", ["?"]),
        ("x = 1\nif a:\n    x = 2\n    show(x)\nshow(x)", [2, "?"]),
        ("x = 1\nif a:\n    x = 2\n    raise E\nshow(x)", [1]),
        ("if a:\n    x = 1\nelse:\n    raise E\nshow(x)", [1]),
        ("for i in a:\n    x = 2\nshow(x)", [2]),
        ("try:\n    x = 1\nexcept E:\n    x = 2\nshow(x)", ["?"]),
        ("try:\n    x = 1\nexcept E:\n    raise\nshow(x)", [1]),
        ("x = 1\ndef f():\n    show(x)", [1]),
        ("x = 1\ndef f():\n    show(x)\nx = 2", ["?"]),
        ("x = 1\ndef f(x):\n    show(x)", ["?"]),
        ("x = 1\nshow([x for x in a])\nshow(x)", ["?", 1]),
        ("a.b = 1\nshow(a.b)\na = c\nshow(a.b)", [1, "?"]),
        ("if (x := 3):\n    show(x)", [3]),
        ("def f():\n    global x\n    x = 5\ndef g():\n    show(x)", [5]),
        ("x = 1\ndel x\nshow(x)", ["?"]),
        ("x = y = 4\nshow(x)", [4]),
    ],
)
def test_a_name_has_the_nearest_binding_on_its_path(text: str, seen: list[object]) -> None:
    assert given(code_of("import nothing\n" + text)) == seen


def test_a_position_in_a_tuple_is_kept() -> None:
    code = code_of("import a\nfor i, (x, *_, y) in enumerate(b): pass")

    assert [(binding.name, binding.item) for binding in code.bindings if binding.how == "for"] == [
        ("i", (0,)),
        ("x", (1, 0)),
        ("y", (1, -1)),
    ]


def test_contexts_tell_what_encloses_a_call() -> None:
    code = code_of(
        "import a\nclass C:\n    def m(self):\n        for i in b:\n            if i:\n                with c: f()"
    )

    kinds = [context.kind for context in code.around(code.calls[0].context)]
    assert kinds == ["with", "if", "for", "function", "class", "module"]


def test_calls_of_a_function_stand_together_in_the_order_in_which_they_are_made() -> None:
    code = code_of("import a\ndef f():\n    g(h(1), i(2))\nk()")

    def name(call: Call) -> str:
        return call.receiver.name if isinstance(call.receiver, Name) else call.name

    assert [name(call) for call in code.calls] == ["k", "h", "i", "g"]
    assert code.functions[1].calls == (1, 4)


def test_attributes_of_a_class_are_collected_from_all_its_methods() -> None:
    code = code_of(
        "import a\nclass C:\n    n = 1\n    def __init__(self):\n        self.x = 1\n    def m(me):\n        me.y = 2"
    )

    assert set(code.classes[0].attributes) == {"n", "x", "y"}
    assert set(code.classes[0].methods) == {"__init__", "m"}


def test_an_argument_is_found_by_place_or_name() -> None:
    call = code_of("import a\na.f(1, b=2)").calls[0]

    assert call.argument(0, "x") == Constant(1, call.arguments[0].at)
    assert isinstance(call.argument(1, "b"), Constant)
    assert call.argument(1, "c") is None
