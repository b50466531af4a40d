"""Layers that a forward pass constructs for itself, each time anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Call, Code, Name, Value
from stethoscope.facts.expressions import names_in
from stethoscope.facts.fresh_layers import draws_weights
from stethoscope.facts.layers import chain_of, short
from stethoscope.facts.module_classes import assigned, has_weights, in_methods, modules_in
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import Thing, followed
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code
from stethoscope.rules.spared_layers import are_called_fixed, never_trains


class LayerMadeInForward(Rule):
    """The forward pass constructs a layer with weights, new ones at each call, which are never trained.

    ## What it sees
    In `forward` of a module a layer with parameters is constructed and called at once: one of torch's, or a block of
    the project whose constructor surely makes such layers.
    ## Why it hurts
    Its weights are random numbers, others at each call. No optimizer knows them, nothing saves them, and two passes
    over the same input differ.
    ## How to fix it
    Construct it in `__init__` as an attribute, and call it in `forward`.
    ## When it is not a fault
    A layer whose weights are set right after from others, that is kept in an attribute at the first call, or that is
    drawn without gradients or with a seed, as a random projection, or detached: that is not reported, nor is a
    `Sequential` of layers that the module has, or one that is only asked for the shape of its answer, nor a class of
    the project that loads, freezes or sets weights. A normalization in sizes that are read off the input has weights of
    1 only, and is possible at most, as is a class that is called random (`RandConv`).
    ## Sources
    PyTorch documentation, `torch.nn.Module`: submodules are registered when they are assigned as attributes.
    """

    explains = ("underfitting", "no-gain-over-baseline", "cannot-overfit-batch", "nondeterministic")

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for constructions in `forward` that are called there."""
        for thing in modules_in(file):
            for method, call in in_methods(file, thing, "()"):
                if method != "forward":
                    continue
                made, way = followed(file, call.receiver)
                if not isinstance(made, Call):
                    continue
                if not self._is_made_here(file, thing.number, made):
                    continue
                name = way[0].name if way else ""
                if "." in name or (name and _is_touched(file, name, made)) or _is_meant(file, made):
                    continue
                if any(followed(file, one.receiver)[0] is call for one in file.calls_of(".detach")):
                    continue
                if _ASKS_FOR_SIZES.match(file.lines[call.at.end_line - 1][call.at.end_column :]):
                    continue
                classes = (thing.name.rpartition(".")[2], _layer(file, made))
                is_random = any(are_called_fixed(one, "") for one in classes) or never_trains(file)
                yield self._read(file, thing, made, is_random=is_random)

    def _is_made_here(self, file: Code, owner: int, made: Call) -> bool:
        index = file.function_at(made.context)
        here = file.functions[index].owner == owner and file.functions[index].name == "forward"
        return here and _draws(file, made, index)

    def _read(self, file: Code, thing: Thing, made: Call, *, is_random: bool) -> Finding:
        layer = _layer(file, made)
        is_own = _is_own(file, made)
        is_norm = "norm" in layer.lower() and not is_own
        weights = "weights of 1 and biases of 0 again" if is_norm else "fresh random weights"
        follows_input = is_norm and any(map(_SHAPE.search, _sizes(file, made)))
        times = "1 for each round of the loop, at each pass" if _loops(file, made) else "1 for each pass"
        return self.finding(
            fitting(f"`forward` makes a new `{layer}` at each call", "`forward` makes a new layer at each call"),
            sureness=Sureness.POSSIBLE if follows_input or is_random else Sureness.CERTAIN,
            place=place_in(file, made.at),
            evidence=[Evidence(f"times that the layer on {line_of(file, made.at)} is made", times, "once")],
            cause=f"`{'' if is_own else 'nn.'}{layer}(...)` in `forward` has {weights}, which no optimizer holds.",
            fixes=[_called_instead(file, thing, made, layer) or _made_before(file, made, layer)],
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
        "a new layer in a chain": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.first = nn.Linear(3, 3)

                def forward(self, x):
                    return nn.Sequential(self.first, nn.ReLU(), nn.Linear(3, 2))(x)  # bad
            """,
        "a block of the project": """
            class Block(nn.Module):
                def __init__(self, size):
                    super().__init__()
                    self.fc = nn.Linear(size, 3)

                def forward(self, x):
                    return torch.relu(self.fc(x))

            class Net(nn.Module):
                def forward(self, x):
                    return Block(x.shape[1])(x)  # bad
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
        "layers that the module has, one after the other": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2)

                def forward(self, x):
                    net = nn.Sequential(self.first, nn.ReLU(), self.last)
                    return net(x)
            """,
        "norms without weights, and one that is told by an option": """
            class Net(nn.Module):
                def __init__(self, affine):
                    super().__init__()
                    self.affine = affine

                def forward(self, x):
                    x = nn.InstanceNorm2d(3)(nn.GroupNorm(1, 3, 1e-5, False)(x))
                    return nn.LayerNorm(3, elementwise_affine=self.affine)(x)
            """,
        "weights that are written into, kept, or drawn from a seed": """
            class Blur(nn.Module):
                def forward(self, x, weights):
                    conv = nn.Conv2d(1, 1, 3, bias=False)
                    with torch.no_grad():
                        conv.weight[:] = weights
                    return conv(x)

            class Lazy(nn.Module):
                def forward(self, x):
                    if not self.made:
                        linear = nn.Linear(x.shape[1], 2)
                        self.made["linear"] = linear
                        return linear(x)
                    return self.made["linear"](x)

            class Projection(nn.Module):
                def forward(self, x):
                    torch.manual_seed(0)
                    return nn.Linear(x.shape[1], 2)(x).detach()
            """,
        "no module": """
            class Probe:
                def forward(self, x):
                    return nn.Linear(3, 2)(x)
            """,
    }


def _called_instead(file: Code, thing: Thing, made: Call, layer: str) -> str:
    """The layer of that kind that the module makes and never uses; empty where there is none, or more than one."""
    if thing.cls is None:
        return ""
    lines = [line.partition("#")[0] for line in file.lines[thing.cls.at.line - 1 : thing.cls.at.end_line]]
    idle = [
        name for name, binding in assigned(file, thing)
        if isinstance(binding.value, Call) and _kinds(file, binding.value) == _kinds(file, made) and not binding.item
        and sum(len(re.findall(rf"\bself\.{re.escape(name)}\b", line)) for line in lines) == 1
    ]  # fmt: skip
    if len(idle) != 1:
        return ""
    what = f"Call `self.{idle[0]}`, the `{layer}` that the module makes and never uses:\n"
    return what + code(f"self.{idle[0]}(...)")


def _kinds(file: Code, made: Call) -> list[str]:
    """The class of a layer, with those of the layers that are written down within it."""
    every = (made, *(one for one in made.arguments if isinstance(one, Call)))
    return [thing_of(file, one).name if one.name == "()" else one.name for one in every]


def _made_before(file: Code, made: Call, layer: str) -> str:
    """Where the layer is to be made: once, or once for each round of a loop; of a size that is known by then."""
    is_own = _is_own(file, made)
    name, maker = f"self.{layer.lower()}", f"{'' if is_own else 'nn.'}{layer}(...)"
    told = ""
    if not is_own and layer in _LAZY and _hangs_on_input(file, made, _outputs(made, layer)):
        told = (
            " Its number of outputs is read off the input, which no layer can learn: tell the module when it is made:"
        )
    elif not is_own and layer in _LAZY and _is_of_input(file, made):
        maker = f"nn.Lazy{layer}(...)"
        told = (
            " Its size has to be known there; a lazy layer reads it off the first batch, before an optimizer is made:"
        )
    end = f".{told}\n" if told else ":\n"
    if _loops(file, made):
        lines = (f"{name}s = nn.ModuleList([{maker} for ... in ...])", f"{name}s[i](...)")
        return f"Make them in `__init__`, one for each round, and call them here{end}" + code(*lines)
    return f"Make it once, in `__init__`, and call it here{end}" + code(f"{name} = {maker}", f"{name}(...)")


_LAZY = frozenset({"Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
                   "BatchNorm1d", "BatchNorm2d", "BatchNorm3d"})  # fmt: skip


def _outputs(made: Call, layer: str) -> Value | None:
    """How many numbers a layer gives, which is no size that a lazy layer finds out."""
    if layer.startswith("BatchNorm"):
        return None
    return made.argument(1, "out_features" if layer == "Linear" else "out_channels")


def _is_of_input(file: Code, made: Call) -> bool:
    """Whether the first size of a layer hangs on what `forward` is given, and not on the module's attributes alone."""
    size = made.arguments[0] if made.arguments else made.keyword("in_features") or made.keyword("in_channels")
    return _hangs_on_input(file, made, size)


def _hangs_on_input(file: Code, made: Call, size: Value | None) -> bool:
    index = file.function_at(made.context)
    first = file.functions[index].parameters[:1]
    own = {one.binding for one in first}
    return size is not None and _hangs_on(file, size, index, own)


def _hangs_on(file: Code, value: Value, index: int, own: set[int], depth: int = 0) -> bool:
    for one in names_in(value):
        root = file.bindings[one.binding] if one.binding != NOWHERE else None
        if root is None or one.binding in own or "." in one.name or file.function_at(root.context) != index:
            continue
        if root.how == "argument":
            return True
        if root.value is not None and depth < MOST_NAMES and _hangs_on(file, root.value, index, own, depth + 1):
            return True
    return False


MOST_NAMES = 6
"""Variables that a size is followed through, at most."""


def _layer(file: Code, made: Call) -> str:
    """What the class of a layer is called."""
    cls = thing_of(file, made).cls
    return made.name.rpartition(".")[2] if cls is None else cls.name


def _is_own(file: Code, made: Call) -> bool:
    """Whether the class of a layer is one of the project."""
    return thing_of(file, made).cls is not None


def _loops(file: Code, made: Call) -> bool:
    """Whether a layer is made in a loop of its function."""
    around = takewhile(lambda here: here.kind != "function", file.around(made.context))
    return any(here.kind in ("for", "while", "comprehension") for here in around)


def _draws(file: Code, made: Call, function: int) -> bool:
    """Whether a call in a function makes a layer of torch's with weights: of a `Sequential`, one that is new, too; or
    one of a class of the project that surely draws some.
    """
    found = thing_of(file, made)
    if found.made is not made or made.keyword("_weight") is not None:
        return False
    if found.cls is not None:
        return found.kind == "module" and draws_weights(found)
    if short(found.name) == "sequential":
        return any(_is_new(file, layer.thing, layer.call, function) for layer in chain_of(found) or ())
    return has_weights(found)


def _is_new(file: Code, layer: Thing, made: Call | None, function: int) -> bool:
    is_here = made is not None and layer.made is made and layer.made_in is file
    return is_here and made is not None and file.function_at(made.context) == function and has_weights(layer)


def _sizes(file: Code, made: Call) -> list[str]:
    """The text of what a call is given, and of what it follows from."""
    given: list[Value] = [*made.arguments, *(value for _, value in made.keywords)]
    found = [one for value in given for one in (value, followed(file, value)[0], _unpacked(file, value))]
    return [file.text(one.at) for one in found if one is not None]


def _unpacked(file: Code, value: Value) -> Value | None:
    """What a size is one part of: `n, c = x.shape`."""
    is_bound = isinstance(value, Name) and value.binding != NOWHERE
    return file.bindings[value.binding].value if is_bound and isinstance(value, Name) else None


_ASKS_FOR_SIZES = re.compile(r"\s*\.(?:shape|size|ndim|dim|numel)\b")
_SHAPE = re.compile(r"\.(?:shape|size|ndim)\b")
_SEEDED = re.compile(r"manual_seed|fork_rng|Generator\(")


def _is_meant(file: Code, made: Call) -> bool:
    """Whether a layer is drawn on purpose: without gradients, or from a seed that is set in the same function."""
    function = file.functions[file.function_at(made.context)]
    contexts = [here.value for here in file.around(made.context) if here.kind == "with"]
    if any(isinstance(one, Call) and one.name in _QUIET for one in contexts):
        return True
    return file.matches(_SEEDED, function.at) or any("no_grad" in file.text(one.at) for one in function.decorators)


_QUIET = ("torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "torch.set_grad_enabled")


def _is_touched(file: Code, name: str, made: Call) -> bool:
    """Whether anything is done to a layer but to move and to call it: weights are set, or it is kept."""
    at = file.functions[file.function_at(made.context)].at
    said = rf"(?<![\w.]){re.escape(name)}\b(?!\s*\(|\s*=(?!=)|\.(?:to|cuda|cpu|float|double|half)\()"
    return file.matches(re.compile(said), at)
