"""A model whose `forward` is called by its name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Edit, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import At, Call, Code, Name, Value
from stethoscope.facts.events import name_of
from stethoscope.facts.origins import thing_of
from stethoscope.rules.lines import edit_of, fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code

_NEEDS_CALL = re.compile(r"register_(?:full_)?(?:forward|backward)\w*hook|FullyShardedDataParallel")


class ForwardCalledDirectly(Rule):
    """`model.forward(x)` is called instead of `model(x)`, which passes by hooks and wrappers.

    ## What it sees
    A call of the method `forward` of a model, from outside of it.
    ## Why it hurts
    `model(x)` runs the hooks around `forward`: those of spectral and weight norm, of quantization, of profilers, and
    those by which `DistributedDataParallel` joins gradients. The method alone runs none of them.
    ## How to fix it
    Write `model(x)`.
    ## When it is not a fault
    A model without hooks computes the same; then it is a matter of habit, and a note.
    ## Sources
    PyTorch documentation, `torch.nn.Module.forward`: "one should call the Module instance afterwards instead of this
    since the former takes care of running the registered hooks while the latter silently ignores them".
    """

    severity = Severity.NOTE
    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for calls of `forward` of something that is certainly a module."""
        for call in file.calls_of(".forward"):
            owner = call.receiver
            is_own = isinstance(owner, Name) and owner.name in ("self", "cls")
            if is_own or (isinstance(owner, Call) and owner.name == "builtins.super"):
                continue
            if owner is None or thing_of(file, owner).kind != "module":
                continue
            yield self._report(file, call, Severity.WARNING if _needs_call(file, owner) else Severity.NOTE)

    def _report(self, file: Code, call: Call, severity: Severity) -> Finding:
        owner = call.receiver
        model = quoted(file, owner, "the model")
        called = code(f"{model.strip('`')}(...)") if model.startswith("`") else code("model(...)")
        return self.finding(
            fitting(
                f"{model} is run by `forward`, without its hooks", "a model is run by `forward`, without its hooks"
            ),
            severity=severity,
            sureness=Sureness.CERTAIN,
            place=place_in(file, call.at),
            evidence=[Evidence(f"hooks of the model that {line_of(file, call.at)} runs", 0, "all of them")],
            cause="`forward` is what a model computes; calling the model runs its hooks around it.",
            fixes=[Fix("Call the model itself:\n" + called, edits=_edits(file, call))],
        )

    bad_code = {
        "a model": """
            model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
            model.register_forward_hook(print)
            y = model.forward(torch.zeros(1, 3))  # bad
            """,
        "a part": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(3, 2)

                def forward(self, x):
                    return self.fc.forward(x)  # bad
            """,
    }
    good_code = {
        "called": """
            class Net(nn.Linear):
                def forward(self, x):
                    return super().forward(x) + self.forward_one(x)

                def forward_one(self, x):
                    return self.forward(x)

            model = Net(3, 2)
            y = model(torch.zeros(1, 3))
            """,
        "what hands its inputs on, and hooks another": """
            class Wrapper:
                def __init__(self):
                    self.parts = nn.ModuleList([nn.Linear(3, 3)])
                    for part in self.parts:
                        part.register_forward_hook(print)

                def run(self, x):
                    return self.parts(x)
            """,
        "no module": """
            def solve(chain, x):
                return chain.forward(x)
            """,
    }


def _needs_call(file: Code, owner: Value) -> bool:
    """Whether a line hooks this very model, or wraps it, by its name."""
    name = name_of(file, owner)
    return any(
        _NEEDS_CALL.search(call.name) and name in (name_of(file, call.receiver), name_of(file, call.argument(0)))
        for call in file.calls
    )


def _edits(file: Code, call: Call) -> tuple[Edit, ...]:
    """Taking `.forward` away, where it stands on one line."""
    owner = call.receiver
    if owner is None or owner.at.end_line != call.at.line:
        return ()
    rest = file.lines[owner.at.end_line - 1].encode()[owner.at.end_column :]
    if not rest.startswith(b".forward("):
        return ()
    at = At(owner.at.end_line, owner.at.end_column, owner.at.end_line, owner.at.end_column + len(".forward"))
    return (edit_of(file, at, ""),)
