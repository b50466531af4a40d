"""A layer that is made, kept in an attribute, and replaced by the next one before anything used it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Binding, Call, Code, Name, Starred, Value
from stethoscope.facts.module_classes import assigned, has_weights, modules_in
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import Thing
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code


class OverwrittenLayer(Rule):
    """An attribute gets a layer, and another one before the first was used: the first is lost.

    ## What it sees
    In `__init__` of a module the same attribute is given a layer with parameters twice, one after the other, or in each
    round of a loop, and nothing reads it in between.
    ## Why it hurts
    Only the last layer exists. The network is smaller than it reads: where `fc2` was meant, `fc1` has been replaced,
    and a loop that should build a stack leaves one layer.
    ## How to fix it
    Give each layer a name of its own, or collect the layers of a loop in an `nn.ModuleList`.
    ## When it is not a fault
    A default that a branch replaces, and a layer that the next one is built from: those are not reported.
    ## Sources
    PyTorch documentation, `torch.nn.Module`: an attribute holds one submodule. In a model that exists,
    `disconnected-parameters` and the outline of `stethoscope check` show which layers there are.
    """

    severity = Severity.WARNING
    explains = ("underfitting", "no-gain-over-baseline")

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for layers that are replaced in the same block."""
        for thing in modules_in(file):
            for name, binding in assigned(file, thing):
                before = file.bindings[binding.before] if binding.before != NOWHERE else None
                if before is None and file.contexts[binding.context].kind != "for":
                    continue
                if not name.isidentifier() or not _is_made_in_init(file, thing, binding):
                    continue
                if before is not None and _is_lost(file, thing, name, before, binding):
                    yield self._report(file, name, before, f"the one made on {line_of(file, binding.at)} replaces it")
                elif _is_in_loop(file, thing, name, binding):
                    yield self._report(file, name, binding, "each round of the loop replaces the one before")

    def _report(self, file: Code, name: str, lost: Binding, how: str) -> Finding:
        in_loop = how.startswith("each")
        listed = f"self.{name} = nn.ModuleList([nn.Linear(...) for _ in range(n)])"
        return self.finding(
            fitting(f"`self.{name}` is replaced before it is used", "a layer is replaced before it is used"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, lost.at),
            evidence=[
                Evidence(
                    f"uses of the layer made on {line_of(file, lost.at)} before it is replaced",
                    "0 in all rounds but the last" if in_loop else 0,
                    "1 at least",
                )
            ],
            cause=f"An attribute holds one layer, and {how}: it is neither called, trained nor saved.",
            fixes=[
                "Keep all of them:\n" + code(listed)
                if in_loop
                else "Give each layer its own name, or remove the line:\n" + code(f"self.{name}_2 = ...")
            ],
        )

    bad_code = {
        "the same name twice": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc1 = nn.Linear(3, 3)
                    self.fc2 = nn.Linear(3, 3)  # bad
                    self.fc2 = nn.Linear(3, 2)

                def forward(self, x):
                    return self.fc2(torch.relu(self.fc1(x)))
            """,
        "in a loop": """
            class Net(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    for _ in range(depth):
                        self.layer = nn.Linear(3, 3)  # bad

                def forward(self, x):
                    return self.layer(x)
            """,
    }
    good_code = {
        "a default that a branch replaces": """
            class Net(nn.Module):
                def __init__(self, wide):
                    super().__init__()
                    self.fc = nn.Linear(3, 3)
                    if wide:
                        self.fc = nn.Linear(3, 30)
            """,
        "built from it": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(3, 3)
                    nn.init.zeros_(self.fc.bias)
                    self.fc = nn.Sequential(self.fc, nn.Linear(3, 3))
            """,
        "used in between": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv = nn.Conv2d(3, 3, 3)
                    layers = [self.conv]
                    self.conv = nn.Conv2d(3, 6, 3)
                    self.layers = nn.Sequential(*layers, self.conv)
            """,
        "either of two": """
            class Net(nn.Module):
                def __init__(self, deep):
                    super().__init__()
                    if deep:
                        self.fc = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
                    else:
                        self.fc = nn.Linear(3, 3)
            """,
        "a container that grows": """
            class Net(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    layers = []
                    for index in range(depth):
                        layers.append(nn.Linear(3, 3))
                        self.body = nn.Sequential(*layers)
            """,
        "kept under other names in a loop": """
            class Net(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    for index in range(depth):
                        self.layer = nn.Linear(3, 3)
                        self.add_module(f"layer{index}", self.layer)
            """,
        "one for each key": """
            class Net(nn.Module):
                def __init__(self, keys):
                    super().__init__()
                    self.layers = nn.ModuleDict()
                    for key in keys:
                        self.layers[key] = nn.Linear(3, 3)
            """,
        "the last of a search": """
            class Net(nn.Module):
                def __init__(self, widths):
                    super().__init__()
                    for width in widths:
                        if width > 3:
                            self.layer = nn.Linear(3, width)
                            break
            """,
    }


def _is_made_in_init(file: Code, thing: Thing, binding: Binding) -> bool:
    cls = thing.cls
    if cls is None or binding.item or file.function_at(binding.context) != cls.methods.get("__init__"):
        return False
    return binding.how == "assign" and has_weights(thing_of(file, binding.value))


def _is_lost(file: Code, thing: Thing, name: str, first: Binding, second: Binding) -> bool:
    """Whether the second of two bindings surely replaces the first, which nothing has read."""
    if first.context != second.context or first.value is second.value or not _is_made_in_init(file, thing, first):
        return False
    if first.value is None or second.value is None or first.at.line >= second.at.line:
        return False
    return not _reads(file, name, first.value.at.end_line + 1, second.at.line - 1) and not _reads(
        file, name, second.at.line, second.value.at.end_line, but=1
    )


def _grows(value: Value | None) -> bool:
    """Whether a container is made of a list anew, which may have grown meanwhile."""
    return (
        isinstance(value, Call)
        and any(isinstance(one, Starred | Name) for one in value.arguments)
        and (value.name.rpartition(".")[2] in ("Sequential", "ModuleList"))
    )


def _is_in_loop(file: Code, thing: Thing, name: str, binding: Binding) -> bool:
    """Whether each round of a loop gives the attribute a layer, of which only the last stays."""
    here = file.contexts[binding.context]
    if here.kind != "for" or thing.cls is None:
        return False
    if "setattr" in "\n".join(file.lines[here.at.line - 1 : here.at.end_line]) or _grows(binding.value):
        return False
    return not _reads(file, name, here.at.line, here.at.end_line, but=1)


def _reads(file: Code, name: str, first: int, last: int, but: int = 0) -> bool:
    """Whether the lines say the attribute more often than they set it, or something that goes over all layers."""
    lines = [line.partition("#")[0] for line in file.lines[first - 1 : last]]
    said = sum(len(re.findall(rf"\bself\.{re.escape(name)}\b", line)) for line in lines)
    return said > but or any(
        re.search(r"self\.(?:modules|children|parameters|apply|_modules)\b", line) for line in lines
    )
