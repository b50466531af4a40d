"""Parameters that are made of memory as it was found."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code, Constant, Starred, Value
from stethoscope.facts.module_classes import assigned, is_plain_module, modules_in
from stethoscope.facts.things import Thing, followed, literal
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_SIZED = {"torch.Tensor", "torch.FloatTensor", "torch.cuda.FloatTensor", "torch.DoubleTensor"}
_ALL = re.compile(
    r"\.parameters\(\)|named_parameters|_parameters\b|load_state_dict|from_pretrained|\.apply\(|getattr|__dict__"
    r"|state_dict|load_weights|register_load"
)
"""What may reach all parameters at once and set them."""


class ParameterUninitialized(Rule):
    """A parameter is made by `torch.empty` or `torch.Tensor(sizes)`, and nothing gives it values.

    ## What it sees
    `self.w = nn.Parameter(torch.empty(...))`, or of `torch.Tensor(3, 4)`, in a class where no line initializes it.
    ## Why it hurts
    Such a tensor holds what the memory held before: often zeros or tiny numbers, now and then NaN or 1e38. Runs differ
    by what ran before them, and a seed does not help.
    ## How to fix it
    `nn.init.xavier_uniform_(self.w)`, or `nn.Parameter(torch.randn(...) * 0.02)`.
    ## When it is not a fault
    A parameter whose values are always loaded from a checkpoint: a file that goes over all parameters, or loads them,
    is not reported.
    ## Sources
    PyTorch documentation, `torch.empty`: "filled with uninitialized data". `loss-not-finite` and
    `badly-scaled-initialization` see what comes of it.
    """

    on_trial = True
    explains = ("loss-not-finite", "exploding-gradients", "badly-scaled-initialization", "symmetric-initialization")

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for parameters of which no line of the class sets the values."""
        for thing in modules_in(file):
            if not is_plain_module(thing):
                continue
            for name, binding in assigned(file, thing):
                empty = _empty(file, binding.value)
                if empty is None or binding.item:
                    continue
                if file.matches(_ALL):
                    return
                if not _is_set(file, thing, name):
                    yield self._report(file, name, empty)

    def _report(self, file: Code, name: str, empty: Call) -> Finding:
        how = empty.name
        return self.finding(
            fitting(
                f"`self.{name}` keeps what the memory held before", "a parameter keeps what the memory held before"
            ),
            sureness=Sureness.LIKELY,
            place=place_in(file, empty.at),
            evidence=[Evidence(f"lines that set the values of what {line_of(file, empty.at)} makes", 0, 1)],
            cause=f"`{how}` reserves memory and writes nothing into it, and no line of this file initializes `{name}`.",
            fixes=["Draw its first values:\n" + code(f"nn.init.normal_(self.{name}, std=0.02)")],
            unless="its values are always loaded.",
        )

    bad_code = {
        "empty": """
            class Net(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.scale = nn.Parameter(torch.empty(width))  # bad
                    self.weight = nn.Parameter(torch.Tensor(width, 3))  # bad

                def forward(self, x):
                    return x * self.scale + self.weight.sum()
            """,
    }
    good_code = {
        "a parameter of no elements, which tells the device": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.last = nn.Linear(3, 1)
                    self.dummy = nn.Parameter(torch.empty(0))

                def forward(self, x):
                    return self.last(x.to(self.dummy.device))
            """,
        "places of a dict, which are drawn": """
            class Net(nn.Module):
                def __init__(self, keys):
                    super().__init__()
                    self.gains = {}
                    for key in keys:
                        self.gains[key] = nn.Parameter(torch.empty(3, 3))
                        nn.init.uniform_(self.gains[key])

                def forward(self, x, key):
                    return x @ self.gains[key]
            """,
        "drawn, in a call of several lines": """
            class Layer(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.weight = nn.Parameter(
                        torch.empty(width, width)
                    )
                    nn.init.normal_(
                        self.weight, std=0.1
                    )

                def forward(self, x):
                    return x @ self.weight
            """,
        "not trained": """
            class Inference(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.weight = nn.Parameter(torch.empty(width, width), requires_grad=False)

                def forward(self, x):
                    return x @ self.weight
            """,
        "initialized": """
            class Net(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.scale = nn.Parameter(torch.empty(width))
                    self.shift = nn.Parameter(torch.Tensor(width, 3))
                    self.gain = nn.Parameter(torch.empty(width).uniform_(-1, 1))
                    self.one = nn.Parameter(torch.Tensor([1.0, 2.0]))
                    nn.init.ones_(self.scale)
                    self.reset()

                def reset(self):
                    self.shift.data.normal_()
            """,
        "through a name, or filled in": """
            class Net(nn.Module):
                def __init__(self, width, values):
                    super().__init__()
                    weight = torch.empty(width)
                    nn.init.ones_(weight)
                    self.weight = nn.Parameter(weight)
                    self.table = nn.Parameter(torch.empty(width, 3))
                    self.table.data[0] = values
                    self.given = nn.Parameter(torch.Tensor(values))
            """,
        "all at once": """
            class Net(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.scale = nn.Parameter(torch.empty(width))

            net = Net(3)
            for p in net.parameters():
                nn.init.normal_(p)
            """,
    }


def _empty(file: Code, value: Value | None) -> Call | None:
    """The call that reserves a parameter's memory."""
    if not isinstance(value, Call) or value.name != "torch.nn.Parameter":
        return None
    if literal(file, value.keyword("requires_grad")) is False:
        return None  # not trained: it waits for what is loaded
    inner = value.argument(0, "data")
    found, way = followed(file, inner)
    if not isinstance(found, Call) or way:
        return None
    if any(literal(file, one) == 0 for one in found.arguments):
        return None  # of no elements: it tells its module's device
    if found.name in ("torch.empty", "torch.empty_like"):
        return found
    if found.name not in _SIZED or not found.arguments or any(isinstance(one, Starred) for one in found.arguments):
        return None
    is_sizes = len(found.arguments) > 1 or (
        isinstance(found.arguments[0], Constant) and type(found.arguments[0].value) is int
    )
    return found if is_sizes else None


def _is_set(file: Code, thing: Thing, name: str) -> bool:
    """Whether a line sets the values: an initializer, an in-place method, or an assignment."""
    name = name.removesuffix("[]")  # of a place in a dict
    said = re.compile(
        rf"(?:init\w*\.|_\(|init\w*\().*\b{name}\b|\b{name}\b.*(?:_\(|\.data\b|\]\s*[-+*]?=|init)|\bin\b.*\b{name}\b"
        rf"|(?:[\[(,]|^)\s*self\.{name}\b\s*[\]),]"
    )
    number = sum(1 for line in file.lines if re.search(rf"\b{name}\b", line))
    return number < 2 or any(said.search(line.partition("#")[0]) for line in file.lines if "Parameter(" not in line)
