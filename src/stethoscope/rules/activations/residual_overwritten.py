"""A skip connection that adds the layer's output to itself."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Binding, Call, Code, Name, Operation
from stethoscope.facts.expressions import operations_of
from stethoscope.facts.module_classes import modules_in
from stethoscope.facts.origins import called
from stethoscope.facts.things import followed
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code


class ResidualOverwritten(Rule):
    """A sum adds a layer's output to itself: the input that was to skip the layer has been overwritten.

    ## What it sees
    In a module, `x + x` where `x` is what a layer has returned.
    ## Why it hurts
    A skip connection gives the gradient a way around the layer. The sum of an output with itself is twice the output:
    the way around is gone, and the factor grows with depth.
    ## How to fix it
    Keep the input under another name before the layer is called: `x = x + layer(x)`.
    ## When it is not a fault
    Doubling on purpose, which is better written `2 * x`.
    ## Sources
    K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016. `stethoscope check` measures how gradients
    reach the first layers (`vanishing-gradients`, `exploding-gradients`).
    """

    severity = Severity.WARNING
    on_trial = True
    explains = ("vanishing-gradients", "exploding-gradients")

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at sums of a variable with itself."""
        for sum_ in operations_of(file, "+") if any(modules_in(file)) else ():
            made = _doubled(file, sum_)
            if made is None:
                continue
            name = made.name
            yield self.finding(
                fitting(f"`{name} + {name}` adds a layer's output to itself", "a layer's output is added to itself"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, sum_.at),
                evidence=[
                    Evidence(
                        f"different tensors in the sum on {line_of(file, sum_.at)}", 1, 2,
                        f"both come from {line_of(file, made.at)}",
                    )
                ],
                cause=f"`{name}` has been overwritten by the layer's output, so that its input is not in the sum.",
                fixes=["Keep the input:\n" + code(f"identity = {name}", f"{name} = identity + layer({name})")],
                unless="the output is meant to be doubled.",
            )  # fmt: skip

    bad_code = {
        "overwritten": """
            class Block(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(3, 3)

                def forward(self, x):
                    x = self.fc(x)
                    return torch.relu(x + x)  # bad
            """,
        "in two steps": """
            class Block(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(3, 3)
                    self.norm = nn.LayerNorm(3)

                def forward(self, x):
                    out = self.norm(self.fc(x))
                    skip = out
                    out = out + skip  # bad
                    return out
            """,
    }
    good_code = {
        "kept": """
            class Block(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(3, 3)

                def forward(self, x):
                    identity = x
                    x = self.fc(x)
                    x = x + identity
                    return x + self.fc(x)
            """,
        "no layer": """
            class Double(nn.Module):
                def forward(self, x):
                    mask = x > 0
                    x = x * mask
                    return x + x
            """,
    }


def _doubled(file: Code, sum_: Operation) -> Binding | None:
    """The binding of a layer's output that is both sides of a sum."""
    if len(sum_.operands) != 2:
        return None
    made = [_source(file, one) for one in sum_.operands]
    if made[0] is None or made[0] is not made[1]:
        return None
    binding = made[0]
    found, _ = followed(file, binding.value)
    inside = file.class_of(file.function_at(binding.context)) != NOWHERE
    is_layer = isinstance(found, Call) and called(file, found).kind == "module"
    return binding if inside and is_layer and not binding.item else None


def _source(file: Code, value: object) -> Binding | None:
    """The last binding behind a variable, through plain renaming."""
    binding = None
    while isinstance(value, Name) and value.binding != NOWHERE:
        binding = file.bindings[value.binding]
        if binding.how != "assign" or binding.item:
            return binding
        value = binding.value
    return binding
