"""The row of an embedding that stands for padding, drawn anew and so no longer zero."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Attribute, Binding, Call, Code, Constant, Name, Value
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import Thing, literal
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_DRAWS = {"normal_", "uniform_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_",
          "trunc_normal_", "orthogonal_", "ones_", "constant_"}  # fmt: skip
_SETS_ROW = re.compile(
    r"weight(?:\.data)?\s*\[|(?:pad|PAD)\w*\s*\]|(?:weight|emb\w*)(?:\.data)?\.(?:fill_\(0|zero_\(\))"
    r"|zeros_\([^)\n]*(?:weight|emb)"
)
"""What may set the row back; a bias that is set to zero does not."""


class PaddingRowOverwritten(Rule):
    """An embedding is initialized as a whole, so that its padding row is no longer zero.

    ## What it sees
    `nn.Embedding(..., padding_idx=...)`, and an initializer for its whole weight afterwards, with no line that sets the
    row back to zero.
    ## Why it hurts
    PyTorch makes that row zero once, when the layer is constructed, and then gives it no gradient. Drawn anew, it is
    noise that never learns, and every padded position adds it to sums and means.
    ## How to fix it
    `nn.init.zeros_(self.embedding.weight[padding_idx])` under `torch.no_grad()`, right after the initializer.
    ## When it is not a fault
    A model that masks its padded positions everywhere.
    ## Sources
    PyTorch documentation, `torch.nn.Embedding` (`padding_idx`): "the embedding vector at `padding_idx` will default to
    all zeros" and "is not updated during training". `padding-in-loss` is its companion in the loss.
    """

    severity = Severity.WARNING
    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at what is drawn into the weights of embeddings."""
        if not file.says("padding_idx") or file.matches(_SETS_ROW):
            return
        for call in file.calls_named(lambda name: name.rpartition(".")[2] in _DRAWS):
            weight = _drawn(call)
            owner = weight.value if isinstance(weight, Attribute) and weight.name == "weight" else None
            layer = thing_of(file, owner) if owner is not None else _named_weight(file, weight)
            if layer.name != "torch.nn.Embedding" or layer.made is None or layer.made_in is not file:
                continue
            index = literal(file, layer.made.argument(2, "padding_idx"))
            has_index = layer.made.argument(2, "padding_idx") is not None and index is not None
            if has_index and not _is_none(file, layer.made) and layer.made.at < call.at:
                yield self._report(file, call, layer.made)

    def _report(self, file: Code, call: Call, made: Call) -> Finding:
        how = call.name.rpartition(".")[2]
        return self.finding(
            fitting(f"`{how}` fills the embedding's padding row, too", "the embedding's padding row is filled, too"),
            sureness=Sureness.LIKELY,
            place=place_in(file, call.at),
            evidence=[
                Evidence(
                    f"rows of the embedding made on {line_of(file, made.at)} that stay 0", 0, "1, at `padding_idx`"
                )
            ],
            cause="The padding row is zero when the layer is made, and gets no gradient: what is drawn there stays.",
            fixes=["Set it back:\n" + code("with torch.no_grad():", "    self.embedding.weight[padding_idx] = 0")],
            unless="padded positions are masked everywhere.",
        )

    bad_code = {
        "an initializer": """
            class Net(nn.Module):
                def __init__(self, words):
                    super().__init__()
                    self.embedding = nn.Embedding(words, 64, padding_idx=0)
                    nn.init.xavier_uniform_(self.embedding.weight)  # bad

                def forward(self, tokens):
                    return self.embedding(tokens).mean(dim=1)
            """,
        "a method": """
            class Net(nn.Module):
                def __init__(self, words, pad):
                    super().__init__()
                    self.embedding = nn.Embedding(words, 64, padding_idx=pad)
                    self.embedding.weight.data.uniform_(-0.1, 0.1)  # bad
            """,
    }
    good_code = {
        "set back, or none": """
            class Net(nn.Module):
                def __init__(self, words):
                    super().__init__()
                    self.embedding = nn.Embedding(words, 64, padding_idx=0)
                    nn.init.xavier_uniform_(self.embedding.weight)
                    self.embedding.weight.data[0] = 0
                    self.positions = nn.Embedding(512, 64)
                    nn.init.normal_(self.positions.weight)
            """,
        "other weights": """
            class Net(nn.Module):
                def __init__(self, words):
                    super().__init__()
                    self.embedding = nn.Embedding(words, 64, padding_idx=0)
                    self.positions = nn.Embedding(512, 64, padding_idx=None)
                    self.out = nn.Linear(64, words)
                    nn.init.normal_(self.positions.weight)
                    nn.init.normal_(self.out.weight)
            """,
    }


def _drawn(call: Call) -> Value | None:
    """The weight that a call fills."""
    if call.name == f"torch.nn.init.{call.name.rpartition('.')[2]}":
        return call.argument(0, "tensor")
    value = call.receiver
    return value.value if isinstance(value, Attribute) and value.name == "data" else value


def _named_weight(file: Code, weight: Value | None) -> Thing:
    """The layer of `self.embedding.weight`, where that is one name."""
    if not isinstance(weight, Name) or not weight.name.endswith(".weight"):
        return Thing("unknown")
    owner = weight.name.removesuffix(".weight")
    makers: list[Binding] = [one for one in file.bindings if one.name == owner and one.how == "assign"]
    return thing_of(file, makers[0].value) if len(makers) == 1 else Thing("unknown")


def _is_none(file: Code, made: Call) -> bool:
    value = made.argument(2, "padding_idx")
    return isinstance(value, Constant) and value.value is None
