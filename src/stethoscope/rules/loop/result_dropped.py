"""The result of an operation that changes nothing in place, thrown away."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Edit, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Call, Code, Name
from stethoscope.facts.origins import thing_of
from stethoscope.rules.lines import fitting, insertion, line_of, place_in, quoted
from stethoscope.rules.sites import code

METHODS = frozenset(
    [
        ".to",
        ".cuda",
        ".cpu",
        ".float",
        ".long",
        ".double",
        ".half",
        ".detach",
        ".clamp",
        ".masked_fill",
        ".squeeze",
        ".unsqueeze",
        ".view",
        ".reshape",
        ".permute",
        ".transpose",
        ".flatten",
        ".softmax",
        ".sigmoid",
        ".relu",
        ".abs",
        ".mul",
        ".add",
        ".div",
        ".sub",
        ".requires_grad",
        ".type",
        ".contiguous",
        ".clone",
    ]
)
"""Methods of a tensor that give a new one."""


class ResultDropped(Rule):
    """A tensor's method gives a new tensor, and the result is thrown away.

    ## What it sees
    `x.to(device)`, `x.detach()`, `x.clamp(0, 1)` and their like as a statement of its own, on something that is
    certainly a tensor.
    ## Why it hurts
    These methods leave the tensor as it is and return another one: the line does nothing.
    ## How to fix it
    Keep the result, `x = x.detach()`, or use the method that works in place, `x.detach_()`.
    ## When it is not a fault
    `model.to(device)`, which moves a module in place; a line in `try` or in `pytest.raises`, which is there to fail.
    Neither is reported.
    ## Sources
    PyTorch documentation, `torch.Tensor.to` ("returns a tensor").
    """

    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for such calls whose value nobody takes."""
        for bare in file.bare:
            call = bare.value
            if not isinstance(call, Call) or call.name not in METHODS or bare.displayed:
                continue
            if thing_of(file, call.receiver).kind != "tensor" or _is_there_to_fail(file, bare.context):
                continue
            if call.name in CONVERSIONS and isinstance(call.receiver, Call) and call.receiver.name in _FRESH:
                continue  # `torch.zeros(1).cuda()` wakes the device
            name = quoted(file, call.receiver, "the tensor")
            yield self.finding(
                fitting(f"the result of `{call.name[1:]}` is dropped", "a result is dropped"),
                sureness=Sureness.POSSIBLE if _has_done_its_work(call) else Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[Evidence(f"what takes the result on {line_of(file, call.at)}", "0 variables", "1")],
                cause=f"`{call.name[1:]}` returns a new tensor and leaves {name} as it is.",
                fixes=[
                    Fix(
                        "Keep the result:\n" + code(f"{name.strip('`')} = {file.text(call.at)}"),
                        safe=True,
                        edits=_kept(file, call),
                    )
                ],
            )

    bad_code = {
        "moved nowhere": """
            for x, y in DataLoader(torch.load("data")):
                x.to("cuda")  # bad
                print(x)
            """,
        "masked, and not kept": """
            class Attention(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.queries, self.keys = nn.Linear(8, 8), nn.Linear(8, 8)

                def forward(self, x, mask):
                    scores = self.queries(x) @ self.keys(x).transpose(-2, -1)
                    scores.masked_fill(mask == 0, float("-inf"))  # bad
                    return F.softmax(scores, dim=-1) @ x
            """,
        "clamped, and not kept": """
            class Actor(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.out = nn.Linear(3, 2)

                def forward(self, x):
                    action = self.out(x)
                    action.clamp(-1, 1)  # bad
                    return action
            """,
    }
    good_code = {
        "kept": """
            for x, y in DataLoader(torch.load("data")):
                x = x.to("cuda")
                x.clamp_(0, 1)
            """,
        "a module": """
            model = nn.Linear(3, 2)
            model.to("cuda")
            """,
        "something unknown": """
            def store(memory):
                memory.detach()
            """,
        "there to fail": """
            x = torch.ones(3)
            try:
                x.view(2, 2)
            except RuntimeError:
                print("no")
            """,
    }


def _kept(file: Code, call: Call) -> tuple[Edit, ...]:
    """The name that takes the result, where binding it there changes nothing else."""
    tensor = call.receiver
    before = file.lines[call.at.line - 1].encode("utf-8", "surrogatepass")[: call.at.column]
    if not isinstance(tensor, Name) or tensor.binding == NOWHERE or before.strip():
        return ()
    made = file.bindings[tensor.binding]
    if "." not in tensor.name and file.function_at(made.context) != file.function_at(call.context):
        return ()  # it would become a local name
    return (insertion(file, call.at.line, call.at.column, f"{tensor.name} = "),)


def _is_there_to_fail(file: Code, context: int) -> bool:
    """Whether a line is in a `try`, or in a `with` that waits for an error."""
    for here in file.around(context):
        if here.kind == "try":
            return True
        if here.kind == "with" and isinstance(here.value, Call) and "aise" in here.value.name:
            return True
        if here.kind == "function":
            return False
    return False


_FRESH = frozenset({"torch.zeros", "torch.ones", "torch.rand", "torch.randn", "torch.empty", "torch.tensor",
                    "torch.Tensor", "torch.FloatTensor", "torch.randint", "torch.arange"})  # fmt: skip
CONVERSIONS = (".to", ".type", ".float", ".double", ".half", ".long", ".int", ".cuda", ".cpu")


def _has_done_its_work(call: Call) -> bool:
    """Whether a conversion follows a method that worked in place: `x.scatter_(...).float()` is not without effect."""
    before = call.receiver
    return call.name in CONVERSIONS and isinstance(before, Call) and before.name.endswith("_")
