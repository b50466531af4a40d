"""Layers that a forward pass constructs for itself, each time anew."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code, Name
from stethoscope.facts.module_classes import has_weights, in_methods, modules_in
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import followed
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code


class LayerMadeInForward(Rule):
    """The forward pass constructs a layer with weights, new ones at each call, which are never trained.

    ## What it sees
    In `forward` of a module a layer with parameters is constructed and called at once.
    ## Why it hurts
    Its weights are random numbers, others at each call. No optimizer knows them, nothing saves them, and two passes
    over the same input differ.
    ## How to fix it
    Construct it in `__init__` as an attribute, and call it in `forward`.
    ## When it is not a fault
    A layer whose weights are set right after from others, or that is kept in an attribute at the first call: that is
    not reported.
    ## Sources
    PyTorch documentation, `torch.nn.Module`: submodules are registered when they are assigned as attributes.
    """

    explains = ("underfitting", "no-gain-over-baseline", "cannot-overfit-batch", "nondeterministic")

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for constructions in `forward` that are called there."""
        for thing in modules_in(file):
            for method, call in in_methods(file, thing):
                if method != "forward" or call.name != "()":
                    continue
                made, way = followed(file, call.receiver)
                if not isinstance(made, Call) or made.name == "()":
                    continue
                if not self._is_made_here(file, thing.number, made):
                    continue
                name = way[0].name if way else ""
                if "." in name or (name and _is_touched(file, name, made)):
                    continue
                yield self._read(file, call, made)

    def _is_made_here(self, file: Code, owner: int, made: Call) -> bool:
        found = thing_of(file, made)
        index = file.function_at(made.context)
        here = file.functions[index].owner == owner and file.functions[index].name == "forward"
        return here and found.made is made and found.cls is None and has_weights(found)

    def _read(self, file: Code, call: Call, made: Call) -> Finding:
        layer = made.name.rpartition(".")[2]
        return self.finding(
            fitting(f"`forward` makes a new `{layer}` at each call", "`forward` makes a new layer at each call"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, made.at),
            evidence=[
                Evidence(f"times that the layer on {line_of(file, made.at)} is drawn", "1 for each pass", "once")
            ],
            cause=f"`nn.{layer}(...)` in `forward` has fresh random weights, which no optimizer holds.",
            fixes=[
                "Make it once, in `__init__`, and call it here:\n"
                + code(f"self.{layer.lower()} = nn.{layer}(...)", f"self.{layer.lower()}(...)")
            ],
        )

    bad_code = {
        "made and called": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.out = nn.Linear(3, 2)

                def forward(self, x):
                    x = nn.LayerNorm(3)(x)  # bad
                    return self.out(x)
            """,
        "by a name": """
            class Net(nn.Module):
                def forward(self, x):
                    linear = nn.Linear(x.shape[1], 2)  # bad
                    return linear(x)
            """,
    }
    good_code = {
        "made once": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.out = nn.Linear(3, 2)

                def forward(self, x):
                    return self.out(nn.ReLU()(x))
            """,
        "kept at the first call": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.out = None

                def forward(self, x):
                    if self.out is None:
                        self.out = nn.Linear(x.shape[1], 2)
                    return self.out(x)
            """,
        "a norm without weights": """
            class Net(nn.Module):
                def forward(self, x):
                    return nn.LayerNorm(x.shape[1:], elementwise_affine=False)(x)
            """,
        "weights that are given": """
            class Net(nn.Module):
                def forward(self, x, weights):
                    linear = nn.Linear(3, 2)
                    linear.load_state_dict(weights)
                    return linear(x)
            """,
        "no module": """
            class Probe:
                def forward(self, x):
                    return nn.Linear(3, 2)(x)
            """,
    }


def _is_touched(file: Code, name: str, made: Call) -> bool:
    """Whether something is done to a layer between its making and its call: weights are set, or it is kept."""
    first, last = file.functions[file.function_at(made.context)].calls
    for call in file.calls[first:last]:
        if isinstance(call.receiver, Name) and call.receiver.name == name and call.name not in ("()", ".to", ".cuda"):
            return True
        if any(isinstance(value, Name) and value.name == name for value in call.arguments):
            return True
    bound = file.bindings[slice(*file.functions[file.function_at(made.context)].bindings)]
    return any(
        binding.name.startswith(name + ".") or (isinstance(binding.value, Name) and binding.value.name == name)
        for binding in bound
    )
