"""An in-place activation that changes the input of a block, which the skip connection reads afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, At, Call, Code, Name, Value
from stethoscope.facts.layers import ACTIVATIONS, chain_of, output_of, short
from stethoscope.facts.origins import called
from stethoscope.facts.things import Thing, literal
from stethoscope.facts.uses import readings_of
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_FUNCTIONS = "torch.nn.functional."


class InputChangedInPlace(Rule):
    """An in-place activation overwrites a tensor that is read again afterwards, as by a skip connection.

    ## What it sees
    `nn.ReLU(inplace=True)`, also as the first layer of a `Sequential`, is called on a variable, and that variable is
    read later in the same function.
    ## Why it hurts
    The activation writes into its input. The skip connection then adds the rectified input, and not the input itself: a
    pre-activation block becomes another network. Autograd notices only where the old values were saved.
    ## How to fix it
    `nn.ReLU()` there: the first activation of a block must not work in place.
    ## When it is not a fault
    Where the input was rectified before, so that nothing changes; that is not reported where the code shows it.
    ## Sources
    PyTorch documentation, `torch.nn.ReLU` (`inplace`). K. He et al., "Identity Mappings in Deep Residual Networks",
    ECCV 2016: the shortcut carries the input itself.
    """

    severity = Severity.WARNING
    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at what is read after an in-place activation has had it."""
        if not file.says("inplace", "relu_("):
            return
        for call in file.calls:
            value = _changed(file, call)
            if not isinstance(value, Name) or value.binding == NOWHERE or file.bindings[value.binding].how == "merge":
                continue
            if output_of(file, value).kind in ("relu", "softmax", "sigmoid") or file.function_at(call.context) == 0:
                continue
            same = _same(file, value.binding)
            reads = (one for number in same for one in readings_of(file, number) if _is_later(file, call, number, one))
            later = next(reads, None)
            if later is not None:
                yield self._report(file, call, value.name, later)

    def _report(self, file: Code, call: Call, name: str, later: Name) -> Finding:
        return self.finding(
            fitting(
                f"`{name}` is overwritten in place, and read again", "an input is overwritten in place and read again"
            ),
            sureness=Sureness.LIKELY,
            place=place_in(file, call.at),
            evidence=[
                Evidence(
                    f"negative values of `{name}` left when {line_of(file, later.at)} reads it", 0, "as many as before"
                )
            ],
            cause=f"The activation works in place: it writes its result into `{name}`, which is used once more.",
            fixes=["Let this activation make a new tensor:\n" + code("nn.ReLU(inplace=False)")],
            unless=f"`{name}` is never negative there.",
            chain=(Link(place_in(file, later.at), f"`{name}` is read again"),),
        )

    bad_code = {
        "before a skip connection": """
            class Block(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.relu = nn.ReLU(inplace=True)
                    self.conv = nn.Conv2d(8, 8, 3, padding=1)

                def forward(self, x):
                    out = self.relu(x)  # bad
                    out = self.conv(out)
                    return out + x
            """,
        "under another name": """
            class Block(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.relu = nn.ReLU(inplace=True)
                    self.conv = nn.Conv2d(8, 8, 3, padding=1)

                def forward(self, x):
                    identity = x
                    x = self.relu(x)  # bad
                    return self.conv(x) + identity
            """,
        "first of a chain": """
            class Block(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Sequential(nn.ReLU(True), nn.Conv2d(8, 8, 3, padding=1))

                def forward(self, x):
                    return self.body(x) + x  # bad

            def function(x):
                return F.relu(x, inplace=True) * x.mean()  # bad
            """,
    }
    good_code = {
        "its size": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.features = nn.Conv2d(3, 3, 3)

                def forward(self, x):
                    features = self.features(x)
                    out = F.relu(features, inplace=True)
                    return out.view(features.size(0), -1)
            """,
        "of a tensor that is not read again": """
            class Block(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.relu = nn.ReLU(inplace=True)
                    self.conv = nn.Conv2d(8, 8, 3, padding=1)
                    self.norm = nn.BatchNorm2d(8)

                def forward(self, x):
                    out = self.norm(self.conv(x))
                    out = self.relu(out)
                    out = self.conv(out)
                    out += x
                    return self.relu(out)
            """,
        "not in place, or on a copy": """
            class Block(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.relu = nn.ReLU()
                    self.other = nn.ReLU(inplace=True)
                    self.conv = nn.Conv2d(8, 8, 3, padding=1)

                def forward(self, x):
                    out = self.conv(self.relu(x)) + self.other(x.clone())
                    return out + x
            """,
        "bound anew on some path": """
            def forward(x, layers):
                for index, layer in enumerate(layers):
                    x = layer(x)
                    if index < 3:
                        x = x.relu_()
                    x = x + index
                return x
            """,
        "rectified before, or in the other branch": """
            class Block(nn.Module):
                def __init__(self, first):
                    super().__init__()
                    self.first = first
                    self.relu = nn.ReLU(inplace=True)
                    self.conv = nn.Conv2d(8, 8, 3, padding=1)

                def forward(self, x, y):
                    x = F.relu(self.conv(x))
                    out = self.relu(x) + x
                    if self.first:
                        out = out + self.relu(y)
                    else:
                        out = out + y
                    return out
            """,
    }


def _changed(file: Code, call: Call) -> Value | None:
    """What a call overwrites with its activation."""
    if call.name.startswith(_FUNCTIONS) and short(call.name) in ACTIVATIONS:
        return call.argument(0, "input") if literal(file, call.keyword("inplace")) is True else None
    if call.name in (".relu_", ".leaky_relu_", ".elu_"):
        return call.receiver
    if call.name in ("torch.relu_", _FUNCTIONS + "relu_"):
        return call.argument(0)
    if call.receiver is None or len(call.arguments) != 1 or not isinstance(call.arguments[0], Name):
        return None
    layer = called(file, call)
    if layer.kind != "module":
        return None
    chain = chain_of(layer)
    return call.arguments[0] if _is_in_place(chain[0].thing if chain else layer) else None


def _is_in_place(layer: Thing) -> bool:
    made, home = layer.made, layer.made_in
    if made is None or home is None or not layer.name.startswith("torch.nn.") or short(layer.name) not in ACTIVATIONS:
        return False
    first = 0 if short(layer.name) in ("relu", "relu6", "silu", "selu", "hardswish", "mish") else 1
    return literal(home, made.argument(first, "inplace")) is True


def _same(file: Code, number: int) -> list[int]:
    """A variable and those that it was plainly renamed to, or from."""
    known: dict[int, list[int]] | None = file.memo.get("renamed")
    if known is None:
        known = file.memo["renamed"] = {}
        for index, binding in enumerate(file.bindings):
            value = binding.value
            if binding.how == "assign" and not binding.item and isinstance(value, Name) and value.binding != NOWHERE:
                known.setdefault(value.binding, []).append(index)
    binding = file.bindings[number]
    is_renamed = binding.how == "assign" and not binding.item and isinstance(binding.value, Name)
    first = binding.value.binding if is_renamed and isinstance(binding.value, Name) else number
    first = number if first == NOWHERE else first
    return [first, *known.get(first, ())]


_SIZES = re.compile(r"\.(?:size|shape|dim|ndim|device|dtype|numel)\b")


def _is_later(file: Code, call: Call, number: int, name: Name) -> bool:
    """Whether a name is read after the call, in the same function, and not in a branch that excludes it."""
    function = file.functions[file.function_at(call.context)]
    if (name.at.line, name.at.column) <= (call.at.end_line, call.at.end_column) or name.at.line > function.at.end_line:
        return False
    # A variable that another path has bound anew meanwhile holds what that path gave.
    if name.binding != number or _is_inside(name.at, call.at):
        return False
    if _SIZES.match(file.lines[name.at.line - 1].encode()[name.at.end_column :].decode()):
        return False
    branches = [here for here in file.around(call.context) if here.kind in ("if", "else", "try", "except")]
    return not any(_is_inside(name.at, here.at) for here in branches if here.at.line > function.at.line)


def _is_inside(inner: At, outer: At) -> bool:
    return (outer.line, outer.column) <= (inner.line, inner.column) and (inner.end_line, inner.end_column) <= (
        outer.end_line,
        outer.end_column,
    )
