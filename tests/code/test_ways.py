"""What functions of a project give, and what is run of them, by the constants that their calls give."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import IMPORTS, SHOWN, code_of, how_sure
from stethoscope.facts.model_values import comes_of_model
from stethoscope.facts.ways import UNTOLD, truth
from stethoscope.rules.data.distributed_sampler_epoch import DistributedSamplerEpoch

TRAINED = """
# file: loading.py
from torch.utils.data import DataLoader, RandomSampler
from torch.utils.data.distributed import DistributedSampler

MADE

# file: train.py
from loading import load_data
import torch
import torch.nn.functional as F

SETTING = False

def main(model, options, chosen):
    optimizer = torch.optim.Adam(model.parameters())
    GOT
    for epoch in range(9):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
"""
MADE = {
    "a loader in each of two branches": """
        def load_data(data, gpu=True, mode="train"):
            if gpu:
                loader = DataLoader(data, sampler=DistributedSampler(data))
            else:
                loader = DataLoader(data, shuffle=True)
            return loader
        """,
    "a loader on each of two ways": """
        def load_data(data, gpu=True, mode="train"):
            if gpu:
                return DataLoader(data, sampler=DistributedSampler(data))
            return DataLoader(data, shuffle=True)
        """,
    "the other way first": """
        def load_data(data, gpu=True, mode="train"):
            if not gpu:
                return DataLoader(data, shuffle=True)
            return DataLoader(data, sampler=DistributedSampler(data))
        """,
    "one of two samplers": """
        def load_data(data, gpu=True, mode="train"):
            sampler = DistributedSampler(data) if gpu else RandomSampler(data)
            return DataLoader(data, sampler=sampler)
        """,
    "a function of its own for samplers": """
        def sampler_of(data, spread):
            return DistributedSampler(data) if spread else RandomSampler(data)

        def load_data(data, gpu=True, mode="train"):
            return DataLoader(data, sampler=sampler_of(data, gpu))
        """,
    "a condition of several": """
        def load_data(data, gpu=True, mode="train"):
            sampler = None
            if gpu is not False and mode in ("train", "both"):
                sampler = DistributedSampler(data)
            return DataLoader(data, sampler=sampler, shuffle=sampler is None)
        """,
}


def _trained(made: str, got: str) -> int:
    text = TRAINED.replace("MADE", textwrap.dedent(made).strip()).replace("GOT", got)
    return how_sure(DistributedSamplerEpoch, text)


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_a_sampler_of_a_way_that_the_call_does_not_take(made: str) -> None:
    for got in ("load_data([1])", "load_data([1], True)", "load_data([1], chosen)", "load_data([1], SETTING)",
                "load_data([1], **options)", "load_data(*options)"):  # fmt: skip
        assert _trained(made, f"loader = {got}") >= SHOWN, got
    for got in ("load_data([1], gpu=False)", "load_data([1], False)", "load_data(gpu=False, data=[1])"):
        assert _trained(made, f"loader = {got}") == -1, got


def test_the_parts_of_what_such_a_function_gives() -> None:
    made = MADE["a loader in each of two branches"].replace("return loader", "return loader, DataLoader(data)")
    assert _trained(made, "loader, _ = load_data([1])") >= SHOWN
    assert _trained(made, "loader, _ = load_data([1], False)") == -1


def test_the_loaders_in_a_dict_that_such_a_function_gives() -> None:
    made = """
        def load_data(data, gpu=True):
            if gpu:
                return {"train": DataLoader(data, sampler=DistributedSampler(data))}
            return {"train": DataLoader(data, shuffle=True)}
        """
    assert _trained(made, "loader = load_data([1])['train']") >= SHOWN
    assert _trained(made, "loader = load_data([1], False)['train']") == -1


def test_a_call_that_leads_to_another_one() -> None:
    made = MADE["a loader on each of two ways"] + "\n" + MADE["a loader on each of two ways"].replace(
        "DataLoader(data, shuffle=True)", "inner(data, GIVEN)"
    ).replace("load_data", "outer").replace("inner", "load_data")  # fmt: skip
    for given, is_shown in (("True", True), ("gpu", False), ("not gpu", True), ("mode == 'train'", True)):
        text = made.replace("load_data(", "inner(").replace("outer(", "load_data(").replace("GIVEN", given)
        assert (_trained(text, "loader = load_data([1], gpu=False)") >= SHOWN) is is_shown, given


@pytest.mark.parametrize(
    ("condition", "comes_to"),
    [
        ("a", False), ("not a", True), ("a == 0", True), ("a != 0", False), ("a > 1", False), ("a <= 0", True),
        ("b == 'x'", True), ("b in ('x', 'y')", True), ("b not in ['x']", False), ("b in 'xyz'", True),
        ("a is None", False), ("a and c", False), ("c or b", True), ("a or b", True), ("b and not a", True),
        ("bool(b)", True), ("c", None), ("not c", None), ("b and c", None), ("a or c", None), ("c == 0", None),
        ("b.lower() == 'x'", None), ("b in c", None), ("b > 1", None), ("0 < a < 2", None), ("a in b", None),
        ("kept", None), ("moved", True),
    ],
)  # fmt: skip
def test_what_a_condition_comes_to(condition: str, comes_to: bool | None) -> None:
    code = code_of(
        IMPORTS + f"def f(a, b, c):\n    kept = True\n    moved = b == 'x'\n    if {condition}:\n        g()\n"
    )
    given = {"a": 0, "b": "x"}
    (asked,) = (here.value for here in code.contexts if here.kind == "if")
    assert truth(code, asked, lambda binding: given.get(code.bindings[binding].name, UNTOLD)) is comes_to


@pytest.mark.parametrize(("given", "comes"), [("", True), ("True", True), ("kept", True), ("False", False)])
def test_an_answer_of_a_way_that_the_call_does_not_take(given: str, *, comes: bool) -> None:
    text = """
    def take(model: nn.Module, x, asks=True):
        if asks:
            return model(x)
        return x

    def use(net: nn.Module, x, kept):
        return take(net, x, GIVEN)
    """
    code = code_of(IMPORTS + textwrap.dedent(text).replace("GIVEN", given))
    assert comes_of_model(code, code.functions[-1].returns[0].value) is comes
