"""Class weights in the order of how common classes are, and not of their indices."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Each, Item, Name, Operation, Starred, Value
from stethoscope.facts.things import MOST_STEPS
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code

_LOSSES = {
    "torch.nn.CrossEntropyLoss": "weight", "torch.nn.NLLLoss": "weight", "torch.nn.functional.cross_entropy": "weight",
    "torch.nn.functional.nll_loss": "weight", "torch.nn.MultiMarginLoss": "weight",
}  # fmt: skip
_PASSES_FIRST = {
    "torch.tensor", "torch.Tensor", "torch.FloatTensor", "torch.as_tensor", "torch.from_numpy", "numpy.array",
    "numpy.asarray", "builtins.list", "builtins.tuple", "torch.sqrt", "numpy.sqrt", "torch.log", "numpy.log",
    "numpy.log1p", "torch.nn.functional.normalize", "torch.softmax", "torch.nn.functional.softmax", "torch.reciprocal",
    "numpy.reciprocal",
}  # fmt: skip
_PASSES_ON = {
    ".to", ".cuda", ".float", ".double", ".values", ".tolist", ".to_list", ".to_numpy", ".astype", ".numpy", ".pow",
    ".sqrt", ".reciprocal", ".copy", ".div", ".rdiv", ".map", ".apply", ".clip", ".clamp", ".type", ".round", ".half",
}  # fmt: skip
_COUNTERS = {"collections.Counter"}


class ClassWeightsMisordered(Rule):
    """A loss gets class weights sorted by how common the classes are, where it takes them by class index.

    ## What it sees
    `weight=` of a loss that comes from pandas' `value_counts()`, or from the values of a `Counter`, and was not brought
    into the order of the classes.
    ## Why it hurts
    `value_counts()` puts the most common class first, a `Counter` the first one that it met. The weight of class 0 then
    belongs to another class, and the rare one can get the smallest weight of all.
    ## How to fix it
    `counts.sort_index()`, `numpy.bincount(labels)`, or a weight for each class in order.
    ## When it is not a fault
    Classes whose indices were given by how common they are.
    ## Sources
    pandas documentation, `Series.value_counts`: "in descending order so that the first element is the most
    frequently-occurring". PyTorch documentation, `CrossEntropyLoss` (`weight`). `class-imbalance` tells in a run how
    often each class occurs.
    """

    on_trial = True
    explains = ("class-imbalance", "collapsed-predictions")

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the weights of losses."""
        for call in file.calls_of(*_LOSSES):
            weight = call.keyword("weight")
            if weight is None and call.name.startswith("torch.nn.C"):
                weight = call.argument(0)
            source = _counts(file, weight)
            if source is not None and weight is not None:
                yield self._report(file, call, source)

    def _report(self, file: Code, call: Call, source: Call) -> Finding:
        is_pandas = source.name == ".value_counts"
        order = "by how common they are" if is_pandas else "as they were met first"
        fix = "counts = labels.value_counts().sort_index()" if is_pandas else (
            "weight = [1 / counts[label] for label in range(len(counts))]"
        )  # fmt: skip
        return self.finding(
            f"class weights are ordered {order}",
            sureness=Sureness.LIKELY,
            place=place_in(file, source.at),
            evidence=[
                Evidence(
                    f"order of the weights that the loss on {line_of(file, call.at)} gets", order, "by class index"
                )
            ],
            cause="The loss takes weight 0 for class 0, and this list begins with another class.",
            fixes=["Bring them into the order of the classes:\n" + code(fix)],
            unless="the classes were numbered in this very order.",
            chain=(Link(place_in(file, call.at), "the loss gets the weights"),),
        )

    bad_code = {
        "pandas": """
            import pandas as pd
            import torch
            from torch import nn

            df = pd.read_csv("data.csv")
            counts = df["label"].value_counts()  # bad
            weights = 1.0 / torch.tensor(counts.values, dtype=torch.float)
            criterion = nn.CrossEntropyLoss(weight=weights.to("cuda"))
            """,
        "a counter": """
            from collections import Counter

            import torch
            import torch.nn.functional as F

            def loss_of(output, labels):
                counts = Counter(labels.tolist())  # bad
                weight = torch.tensor([1 / count for count in counts.values()])
                return F.cross_entropy(output, labels, weight=weight)
            """,
    }
    good_code = {
        "in order": """
            import numpy as np
            import pandas as pd
            import torch
            from collections import Counter
            from torch import nn

            df = pd.read_csv("data.csv")
            counts = df["label"].value_counts().sort_index()
            first = nn.CrossEntropyLoss(weight=torch.tensor((1 / counts).values))
            second = nn.CrossEntropyLoss(weight=torch.tensor(1 / np.bincount(df["label"])))
            found = Counter(df["label"])
            third = nn.NLLLoss(weight=torch.tensor([1 / found[i] for i in range(3)]))
            by_name = df["label"].value_counts().to_dict()
            fourth = nn.NLLLoss(weight=torch.tensor([1 / by_name[i] for i in range(3)]))
            fifth = nn.NLLLoss(weight=torch.tensor([count for _, count in sorted(found.items())]))
            """,
    }


def _counts(file: Code, value: Value | None, depth: int = 0) -> Call | None:
    """The count of classes that a value is made of, in the order in which that gives them."""
    if depth > MOST_STEPS or value is None:
        return None
    if isinstance(value, Name):
        binding = file.bindings[value.binding] if value.binding != NOWHERE else None
        if binding is None or binding.item or binding.how not in ("assign", "augment"):
            return None
        return _counts(file, binding.value, depth + 1)
    if isinstance(value, Starred | Attribute):
        named = isinstance(value, Attribute) and value.name not in ("values", "T", "data")
        return None if named else _counts(file, value.value, depth + 1)
    if isinstance(value, Operation):
        if value.operator not in ("/", "*", "+", "-", "**"):
            return None
        return next((found for one in value.operands if (found := _counts(file, one, depth + 1)) is not None), None)
    if isinstance(value, Each):
        source = value.source
        is_plain = isinstance(source, Call) and source.name == ".values"
        return _counts(file, source, depth + 1) if is_plain or isinstance(source, Name) else None
    if isinstance(value, Item):
        return None
    return _counted(file, value, depth) if isinstance(value, Call) else None


def _counted(file: Code, call: Call, depth: int) -> Call | None:
    if call.name == ".value_counts":
        return call
    if call.name == ".values" and not call.arguments:
        counter = call.receiver
        while isinstance(counter, Name) and counter.binding != NOWHERE:
            binding = file.bindings[counter.binding]
            if binding.how != "assign" or binding.item:
                return None
            counter = binding.value
        is_counter = isinstance(counter, Call) and counter.name in _COUNTERS and len(counter.arguments) == 1
        return counter if is_counter and isinstance(counter, Call) else None
    if call.name in _PASSES_FIRST:
        return _counts(file, call.argument(0), depth + 1)
    return _counts(file, call.receiver, depth + 1) if call.name in _PASSES_ON else None
