"""A loss class that is constructed with the tensors that its object should be called with."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code
from stethoscope.facts.origins import thing_of
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_WEIGHTED = {"CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss", "MultiLabelSoftMarginLoss", "NLLLoss2d"}
"""Losses whose first argument may be a tensor, of weights."""


class LossClassCalled(Rule):
    """A loss class is given output and target where its options belong; it has to be constructed first.

    ## What it sees
    `nn.MSELoss(output, target)`: a loss class of `torch.nn` with two tensors as its arguments, or with one that a model
    has returned.
    ## Why it hurts
    The class takes options (`weight`, `reduction`), and gives an object that computes the loss. What comes out is no
    number: `.backward()` fails, or a tensor that stands for a truth value is refused.
    ## How to fix it
    Construct it, then call it, `nn.MSELoss()(output, target)`, or use the function `F.mse_loss(output, target)`.
    ## When it is not a fault
    Never, as far as we know.
    ## Sources
    PyTorch documentation, `torch.nn.MSELoss`; PyTorch forum, "Boolean value of Tensor with more than one value is
    ambiguous", of which this is the usual cause.
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at how loss classes are constructed."""
        for call in file.calls_named(lambda name: name.startswith("torch.nn.") and name.endswith(("Loss", "Loss2d"))):
            name = call.name.rpartition(".")[2]
            if not _gets_tensors(file, call, name):
                continue
            yield self.finding(
                fitting(f"`nn.{name}` is constructed with output and target", f"`{name}` is constructed with tensors"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[Evidence(f"losses that {line_of(file, call.at)} computes", 0, 1)],
                cause=f"`nn.{name}(...)` takes options and gives an object; the loss comes from calling that object.",
                fixes=["Construct it first:\n" + code(f"criterion = nn.{name}()", "loss = criterion(output, target)")],
            )

    bad_code = {
        "called at once": """
            model = nn.Linear(3, 1)
            for x, y in DataLoader(torch.load("data")):
                loss = nn.MSELoss(model(x), y)  # bad
                loss.backward()
            """,
        "one with weights": """
            model = nn.Linear(3, 2)
            x, y = torch.randn(8, 3), torch.randint(0, 2, (8,))
            output = model(x)
            loss = nn.CrossEntropyLoss(output, y)  # bad
            """,
    }
    good_code = {
        "constructed and called": """
            model = nn.Linear(3, 1)
            x, y = torch.randn(8, 3), torch.randn(8, 1)
            loss = nn.MSELoss()(model(x), y)
            weighted = nn.CrossEntropyLoss(torch.tensor([1.0, 2.0]))
            ranked = nn.MarginRankingLoss(0.5)
            summed = nn.L1Loss(reduction="sum")
            """,
    }


def _gets_tensors(file: Code, call: Call, name: str) -> bool:
    kinds = [thing_of(file, value).kind for value in call.arguments[:2]]
    if kinds[:2] == ["tensor", "tensor"]:
        return True
    return kinds[:1] == ["tensor"] and name not in _WEIGHTED and not call.keywords
