"""A layer that the model holds and never calls."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Binding, Call, Class, Code
from stethoscope.facts.module_classes import assigned, has_weights, is_plain_module, modules_in
from stethoscope.facts.origins import thing_of
from stethoscope.facts.uses import times_said
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_REACHES_ALL = re.compile(
    r"getattr|setattr|__dict__|_modules\b|\.children\(|named_children|\.modules\(|named_modules|get_submodule|vars\("
    r"|create_feature_extractor|IntermediateLayerGetter|\beval\("
)


class UnusedLayer(Rule):
    """A model makes a layer with weights that its forward pass never uses.

    ## What it sees
    `__init__` of a module assigns a layer with parameters, and no other line of the file names it.
    ## Why it hurts
    Its weights are saved, counted and moved, and get no gradient. Often another layer is called twice in its place, as
    `fc1` where `fc2` was meant. `DistributedDataParallel` stops at parameters without a gradient.
    ## How to fix it
    Call it in `forward`, or remove it.
    ## When it is not a fault
    A layer that other files reach for, or that is kept for old checkpoints.
    ## Sources
    PyTorch documentation, `DistributedDataParallel` (`find_unused_parameters`). `disconnected-parameters` sees in a
    model that they receive no gradient.
    """

    severity = Severity.NOTE
    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for attributes that are named once."""
        inherited = [base for cls in file.classes for base in _bases(file, cls)]
        for thing in modules_in(file):
            cls = thing.cls
            if cls is None or not is_plain_module(thing) or not _computes(file, cls):
                continue
            if inherited.count(cls.name) > (cls.name in _bases(file, cls)):
                continue
            made = [(name, one) for name, one in assigned(file, thing) if _is_made(file, cls, one)]
            for name, binding in made:
                is_alias = sum(other.value is binding.value for _, other in made) > 1
                if not is_alias and not _is_named(file, cls, name):
                    if file.matches(_REACHES_ALL):
                        return
                    yield self._report(file, cls, name, binding)

    def _report(self, file: Code, cls: Class, name: str, binding: Binding) -> Finding:
        return self.finding(
            fitting(f"`{cls.name}` makes `self.{name}` and never uses it", f"`self.{name}` is never used",
                    "a layer is never used"),
            sureness=Sureness.LIKELY,
            place=place_in(file, binding.at),
            evidence=[Evidence(f"lines that name it after {line_of(file, binding.at)}", 0, "1 at least, in `forward`")],
            cause="No line of this file calls it, so that its weights get no gradient.",
            fixes=["Call it in `forward`, or remove the line:\n" + code(f"x = self.{name}(x)")],
            unless="another file uses it.",
        )  # fmt: skip

    bad_code = {
        "the other is called twice": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc1 = nn.Linear(3, 3)
                    self.fc2 = nn.Linear(3, 3)  # bad
                    self.out = nn.Linear(3, 2)

                def forward(self, x):
                    x = torch.relu(self.fc1(x))
                    x = torch.relu(self.fc1(x))
                    return self.out(x)
            """,
    }
    good_code = {
        "all used": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(3, 3)
                    self.act = nn.ReLU()
                    self.embed = nn.Linear(3, 3)

                def forward(self, x):
                    return self.fc(x)

            net = Net()
            print(net.embed(torch.zeros(3)))
            """,
        "used by those who inherit": """
            class Base(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.inner = nn.Linear(3, 3)

                def forward(self, x):
                    return self.step(x)

            class Net(Base):
                def step(self, x):
                    return [layer for layer in self.parts()][0](x)
            """,
        "used by a base": """
            class Base(nn.Module):
                def run(self, x):
                    return torch.relu(self.left(x))

            class Cell(Base):
                def __init__(self):
                    super().__init__()
                    self.left = nn.Linear(3, 3)
                    self.right = nn.Linear(3, 3)

                def forward(self, x):
                    return self.run(x)
            """,
        "for others to fill in": """
            class Interface(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.decoder = nn.Linear(3, 3)

                def forward(self, **options):
                    raise NotImplementedError("see the classes that inherit")
            """,
        "by a loop over all": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.first = nn.Linear(3, 3)
                    self.second = nn.Linear(3, 3)

                def forward(self, x):
                    for layer in self.children():
                        x = layer(x)
                    return x
            """,
    }


def _computes(file: Code, cls: Class) -> bool:
    """Whether a class has a forward pass of its own, and not an empty one for others to fill in."""
    if "forward" not in cls.methods:
        return False
    first, last = file.functions[cls.methods["forward"]].calls
    return any(call.receiver is not None for call in file.calls[first:last])


def _bases(file: Code, cls: Class) -> set[str]:
    return {file.text(base.at).rpartition(".")[2] for base in cls.bases}


def _is_made(file: Code, cls: Class, binding: Binding) -> bool:
    if binding.item or not binding.name.startswith("self.") or binding.name.count(".") != 1 or "[" in binding.name:
        return False
    if not isinstance(binding.value, Call) or file.function_at(binding.context) != cls.methods.get("__init__"):
        return False
    made = thing_of(file, binding.value)
    return made.made is binding.value and has_weights(made)


def _is_named(file: Code, cls: Class, name: str) -> bool:
    """Whether anything but the assignment names an attribute, also as a text."""
    if times_said(file, f"self.{name}", cls.at) > 1:
        return True
    return file.matches(re.compile(rf"(?<!\bself)\.{name}\b|['\"][\w.]*\b{name}\b"))
