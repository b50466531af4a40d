"""An answer squeezed on all axes before the loss, also on that of a batch of one."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Call, Code, Name, Value
from stethoscope.facts.loss_calls import losses_of
from stethoscope.facts.origins import called
from stethoscope.rules.lines import insertion, line_of, place_in, quoted
from stethoscope.rules.sites import code


class SqueezeWithoutDim(Rule):
    """`model(x).squeeze()` goes into a loss: with one sample in the batch its batch axis goes, too.

    ## What it sees
    A model's answer on which `.squeeze()` without an axis is called, as the first argument of a loss, in a loop over a
    loader.
    ## Why it hurts
    `squeeze()` removes every axis of size 1. A last batch of a single sample loses its batch axis: the loss then
    broadcasts, or stops at the end of the epoch.
    ## How to fix it
    Name the axis: `.squeeze(1)` or `.squeeze(-1)`.
    ## When it is not a fault
    Batches that always hold several samples; a note therefore.
    ## Sources
    PyTorch documentation, `torch.squeeze`: "if the tensor has a batch dimension of size 1, then squeeze(input) will
    also remove the batch dimension". `target-shape-broadcast` sees it in a run.
    """

    severity = Severity.NOTE
    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at what losses are given."""
        for loss in losses_of(file):
            squeezed = _squeezed(file, loss.given)
            if squeezed is not None and any(here.kind == "for" for here in file.around(loss.call.context)):
                yield self._report(file, squeezed, loss.call)

    def _report(self, file: Code, squeezed: Call, loss: Call) -> Finding:
        inner = quoted(file, squeezed.receiver, "output").strip("`")
        at = squeezed.at
        edits = (insertion(file, at.end_line, at.end_column - 1, "-1"),) if file.text(at).endswith("squeeze()") else ()
        return self.finding(
            "`squeeze()` takes the axis of a batch of one sample, too",
            sureness=Sureness.CERTAIN,
            place=place_in(file, at),
            evidence=[
                Evidence(f"axes that the answer on {line_of(file, at)} keeps of a batch of one", 0, "1, of samples",
                         f"the loss on {line_of(file, loss.at)} gets it")
            ],
            cause="Without an axis it removes all those of size 1, and that of samples has size 1 in a batch of one.",
            fixes=[Fix("Name the axis:\n" + code(f"{inner}.squeeze(-1)"), edits=edits)],
            unless="no batch ever holds a single sample.",
        )  # fmt: skip

    bad_code = {
        "in the loop": """
            model = nn.Sequential(nn.Linear(8, 1))
            loss_fn = nn.MSELoss()
            for x, y in DataLoader(torch.load("data"), batch_size=16):
                loss = loss_fn(model(x).squeeze(), y)  # bad
                output = model(x).squeeze()  # bad
                other = F.binary_cross_entropy_with_logits(output, y)
            """,
    }
    good_code = {
        "with an axis": """
            model = nn.Sequential(nn.Linear(8, 1))
            for x, y in DataLoader(torch.load("data"), batch_size=16):
                loss = F.mse_loss(model(x).squeeze(-1), y.squeeze())
            """,
        "no loader": """
            model = nn.Sequential(nn.Linear(8, 1))
            x, y = torch.load("data")
            loss = F.mse_loss(model(x).squeeze(), y)
            """,
    }


def _squeezed(file: Code, value: Value | None) -> Call | None:
    """The `.squeeze()` that a loss is given."""
    for _ in range(4):
        if isinstance(value, Name) and value.binding != NOWHERE:
            binding = file.bindings[value.binding]
            if binding.how != "assign" or binding.item:
                return None
            value = binding.value
        elif isinstance(value, Call) and value.name in (".float", ".to", ".double", ".cpu", ".cuda"):
            value = value.receiver
        else:
            break
    if not isinstance(value, Call) or value.name != ".squeeze" or value.arguments or value.keywords:
        return None
    source = value.receiver
    if isinstance(source, Name) and source.binding != NOWHERE:
        binding = file.bindings[source.binding]
        source = binding.value if binding.how == "assign" and not binding.item else None
    return value if isinstance(source, Call) and called(file, source).kind == "module" else None
