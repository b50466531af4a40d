"""A layer with weights as the default of a parameter, shared by everything that does not give its own."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code, Parameter
from stethoscope.facts.layers import parts_of
from stethoscope.facts.module_classes import has_weights
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import Thing
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code


class LayerAsDefault(Rule):
    """A layer with weights is the default of a parameter, so that all who leave it out share one layer.

    ## What it sees
    A function or a constructor whose parameter has a call as its default that makes a layer with parameters, or an
    `nn.Parameter`.
    ## Why it hurts
    Python evaluates a default once, where the function is defined. Every block that is built without an argument of its
    own holds the same layer, and with it the same weights.
    ## How to fix it
    Let the default be None, and make the layer inside; or take the class, and construct it inside.
    ## When it is not a fault
    Layers without weights, such as `nn.ReLU()`: sharing those changes nothing, and they are not reported.
    ## Sources
    Python documentation, "Function definitions": default parameter values are evaluated when the definition is
    executed. `shared-submodule-unintended` sees in a model which layers are one.
    """

    severity = Severity.WARNING
    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the defaults of all functions."""
        for function in file.functions:
            for parameter in function.parameters:
                default = parameter.default
                if not isinstance(default, Call):
                    continue
                made = thing_of(file, default)
                if made.made is default and (_weighs(made) or made.name == "torch.nn.Parameter"):
                    yield self._report(file, parameter, default)

    def _report(self, file: Code, parameter: Parameter, made: Call) -> Finding:
        name = parameter.name
        written = file.text(made.at)
        return self.finding(
            fitting(f"all who leave `{name}` out share one layer", "all who leave a parameter out share one layer"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, made.at),
            evidence=[Evidence(f"layers that the default on {line_of(file, made.at)} makes", 1, "one for each call")],
            cause="A default is made once, when the function is defined, and its weights are shared by all calls.",
            fixes=["Leave the default empty, and make the layer inside:\n" + code(f"{name} = {name} or {written}")],
            unless="the weights are meant to be shared.",
        )

    bad_code = {
        "a norm": """
            class Block(nn.Module):
                def __init__(self, width, norm=nn.LayerNorm(64)):  # bad
                    super().__init__()
                    self.fc = nn.Linear(width, width)
                    self.norm = norm
            """,
        "an activation with a weight": """
            def block(width, activation=nn.PReLU()):  # bad
                return nn.Sequential(nn.Linear(width, width), activation)
            """,
    }
    good_code = {
        "nothing to share": """
            class Block(nn.Module):
                def __init__(self, width, activation=nn.ReLU(), norm=nn.LayerNorm, drop=nn.Dropout(0.1)):
                    super().__init__()
                    self.fc = nn.Sequential(nn.Linear(width, width), norm(width), activation, drop)
            """,
        "a loss of one's own, whose base is not seen": """
            from losses import Base

            class Absolute(Base):
                def __init__(self, weight=None):
                    super().__init__()
                    self.weight = weight

            def train(model, loss=Absolute()):
                return model, loss
            """,
        "made inside": """
            class Block(nn.Module):
                def __init__(self, width, norm=None):
                    super().__init__()
                    self.norm = nn.LayerNorm(width) if norm is None else norm
            """,
    }


def _weighs(made: Thing, depth: int = 0) -> bool:
    """Whether a layer has weights for certain: one of the project's is known to hold a layer of torch's that has."""
    if made.cls is None or depth > 3:
        return made.cls is None and has_weights(made)
    return any(part.kind == "module" and _weighs(part, depth + 1) for _, part in parts_of(made))
