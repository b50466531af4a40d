"""Layers and parameters that the model holds in plain lists, where `parameters()` does not see them."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Rule
from stethoscope.facts.code import Binding, Code
from stethoscope.facts.model import Hidden, Structure
from stethoscope.facts.module_classes import assigned, modules_in, plain_tensor
from stethoscope.facts.things import Thing
from stethoscope.facts.training import History
from stethoscope.rules.examples import tried
from stethoscope.rules.lines import edit_of, fitting, line_of, place_in
from stethoscope.rules.list_uses import asks_for_list
from stethoscope.rules.listed_layers import Listed, comma_behind, every_list, unlike_a_module
from stethoscope.rules.plain_tensors import is_no_weight, may_stay, registered
from stethoscope.rules.sites import code, place_at

REGISTERS = {"list": "nn.ModuleList(%s)", "tuple": "nn.ModuleList(%s)", "set": "nn.ModuleList(%s)",
             "dict": "nn.ModuleDict(%s)", "tensor": "nn.Parameter(%s)"}  # fmt: skip


def _run(*hidden: Hidden) -> History:
    return tried(structure=Structure(hidden=hidden))


_layers = Hidden("", "layers", "list", "3 Linear", values=12_000)


class UnregisteredModules(Rule):
    """Layers or parameters are kept in a plain list, dict or tensor, so that `parameters()` misses them.

    ## What it sees
    Among the attributes of the model's modules there are trainable tensors that `model.parameters()` does not give, on
    which the loss depends, and which no optimizer holds.
    ## Why it hurts
    `nn.Module` registers a layer when it is assigned to an attribute, and not when it is put into a list. What is not
    registered is not trained, not moved by `.to(device)`, not switched by `.eval()`, and not saved by `state_dict()`.
    ## How to fix it
    Use `nn.ModuleList`, `nn.ModuleDict`, `nn.ParameterList`, or `nn.Parameter`.
    ## When it is not a fault
    A teacher or a frozen feature extractor that is hidden on purpose: switch its gradients off. A moved parameter whose
    `.grad` is used. That layers which an optimizer is given by hand are not saved is a note; in code nothing is said
    where somebody asks hidden layers for `parameters()` or a state, puts them into eval mode, or keeps them elsewhere.
    Possible at most, with `--all`, is a list whose layers the class is not seen to run, or whose own base is not seen;
    one in a class that hands itself to a function, registers, loads or freezes other layers than those, or runs another
    part without gradients; a list of what only its name tells to be layers, of a namespace (`operations.Linear`), or of
    a class that is handed over or not seen; layers that nobody misses: whose class freezes them, cuts off their
    answers or reads none, or trains them with an optimizer or a rule of its own; whose weights the class writes, shares
    or hands on; members that a function is given one by one; a readout that is solved for, an optimizer of other parts,
    a name that says so (`Reservoir`, `self.frozen`); and lists that a class above, a decorator or `exec` may register.
    So is a tensor that asks for gradients, which may be stepped by hand, and a moved parameter that is a mask or a
    mean, or stays on the processor by default.
    ## Sources
    PyTorch documentation, `torch.nn.ModuleList`. Islam et al., "Deep Learning Bug Characteristics", FSE 2019.
    """

    explains = (
        "parameters-not-in-optimizer", "disconnected-parameters", "underfitting", "no-gain-over-baseline",
        "loss-not-decreasing", "cannot-overfit-batch", "batch-leakage",
    )  # fmt: skip

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge what the model hides."""
        structure = seen.preflight.structure
        if structure is None:
            yield self.cannot_tell(seen.preflight.why_not("structure"))
            return
        for hidden in structure.hidden:
            if hidden.used:
                yield self._report(hidden)

    def _report(self, hidden: Hidden) -> Finding:
        holder = f"{hidden.owner}.{hidden.attribute}" if hidden.owner else hidden.attribute
        title = f"`self.{hidden.attribute}` hides {hidden.values:,} trainable values from `parameters()`"
        is_layer = hidden.what.split(" ")[-1] != "Tensor"
        what = "layers" if is_layer else "tensors"
        kept = f"a plain {hidden.kind}" if hidden.kind != "tensor" else "a plain tensor"
        register = REGISTERS.get(hidden.kind, "nn.ModuleList(%s)") % "..."
        if not is_layer and hidden.kind != "tensor":
            register = "nn.ParameterList(...)"
        trained = (
            "An optimizer holds them, so they are trained, but neither saved nor moved with the model."
            if hidden.trained
            else "No optimizer holds them, so they stay as they were drawn."
        )
        return self.finding(
            title if len(title) <= 72 else f"{hidden.values:,} trainable values are hidden from `parameters()`",
            severity=Severity.NOTE if hidden.trained else Severity.ERROR,
            sureness=Sureness.CERTAIN,
            place=place_at(None, module=holder),
            evidence=[
                Evidence(f"in `{holder}`, {kept}", hidden.what, f"in an {register.replace('...', '')[:-2]}"),
                Evidence(
                    "trainable values that the loss depends on and `parameters()` misses", f"{hidden.values:,}", 0,
                    "read off the graph of the loss",
                ),
            ],
            cause=f"`{holder}` is {kept}, which `nn.Module` does not look into: its {what} are not registered. "
            + trained,
            fixes=["Register them, before the optimizer is made:\n" + code(f"self.{hidden.attribute} = {register}")],
            unless="they are hidden on purpose and not to be trained; then switch their gradients off.",
        )  # fmt: skip

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for modules that construct layers in a plain list, and never register it."""
        for thing, found in every_list(file):
            yield self._read(file, thing, found)
        for thing in modules_in(file):
            for name, binding in assigned(file, thing):
                how = plain_tensor(file, thing, name, binding)
                if how:
                    is_sure = how == "derived" and not may_stay(file, binding.at)
                    is_sure = is_sure and not is_no_weight(file, thing, name, binding)
                    yield self._tell(file, name, binding, how, Sureness.LIKELY if is_sure else Sureness.POSSIBLE)

    def _tell(self, file: Code, name: str, binding: Binding, how: str, sure: Sureness) -> Finding:
        cause, fix = {
            "asks": (
                "`nn.Module` registers `nn.Parameter` and layers, and no tensor that merely asks for gradients.",
                f"self.{name} = nn.Parameter(...)",
            ),
            "derived": (
                "What an operation makes of an `nn.Parameter` is a plain tensor: the parameter itself is kept nowhere.",
                f"self.{name} = {registered(file, binding.value)}",
            ),
        }[how]
        return self.finding(
            fitting(f"`self.{name}` is a plain tensor, and no parameter", "a plain tensor is meant as a parameter"),
            sureness=sure,
            place=place_in(file, binding.at),
            evidence=[Evidence(f"parameters that {line_of(file, binding.at)} registers", 0, 1)],
            cause=f"{cause} No optimizer that is given `parameters()` gets it, and `state_dict()` leaves it out.",
            fixes=["Make it a parameter:\n" + code(fix)],
            unless=(
                "an optimizer is given the tensor itself."
                if how == "asks"
                else "it is moved to the device and type that it has already, which gives the parameter itself."
            ),
        )

    def _read(self, file: Code, thing: Thing, found: Listed) -> Finding:
        name, layers, kind = found.name, found.layers, found.kind
        register = REGISTERS.get(kind, "nn.ModuleList(%s)") % "..."
        comma = comma_behind(file, name, layers[0]) if kind == "tuple" else None
        asked = asks_for_list(file, thing, name)
        do = "Register them" + (f", and change {line_of(file, asked)}, which wants a plain {kind}" if asked else "")
        fix = Fix(f"{do}:\n" + code(f"self.{name} = {register}"), safe=True, edits=found.edits)
        if comma is not None:
            called = file.text(layers[0].at).partition("(")[0]
            fix = Fix(
                f"Take the comma away:\n{code(f'self.{name} = {called}(...)')}", edits=(edit_of(file, comma, ""),)
            )
        made = layers[0].name.rpartition(".")[2]
        if layers[0].receiver is not None:
            made = file.text(layers[0].at).partition("(")[0]
        return self.finding(
            fitting(f"`self.{name}` hides its layers from `parameters()`", "a list hides layers from `parameters()`"),
            sureness=Sureness.CERTAIN if found.is_sure else Sureness.POSSIBLE,
            place=place_in(file, found.at),
            evidence=[
                Evidence(
                    f"what holds the `{made}` that `{thing.name}` makes on {line_of(file, layers[0].at)}",
                    f"a plain {kind}", "`self` itself" if comma is not None else f"an `{register.partition('(')[0]}`",
                )
            ],
            cause=f"`nn.Module` does not look into a plain {kind}: these layers are {unlike_a_module(thing)}, and not "
            + (f"saved. It gets weights only {found.under}." if found.under else "saved.")
            + (f" The comma makes the {kind}, and `self.{name}(...)` raises a TypeError." if comma is not None else ""),
            fixes=[fix],
            unless="they are hidden on purpose and not to be trained.",
        )  # fmt: skip

    bad = Examples(
        lambda: {
            "layers in a list": _run(_layers),
            "in a dict of a part": _run(Hidden("encoder", "heads", "dict", "2 Linear, Conv2d", 900)),
            "a plain tensor": _run(Hidden("", "scale", "tensor", "Tensor", 16)),
            "tensors in a list": _run(Hidden("", "weights", "list", "3 Tensor", 300)),
            "trained all the same": _run(Hidden("", "layers", "list", "3 Linear", 12_000, trained=True)),
            "a long name": _run(Hidden("", "convolutional_blocks_of_the_encoder", "list", "3 Conv2d", 12_000)),
        }
    )
    good = Examples(
        lambda: {
            "nothing hidden": _run(),
            "not used": _run(Hidden("", "teacher", "list", "Net", 12_000, used=False)),
            "not read": tried(),
        }
    )
    bad_code = {
        "lists of lists, and a list that is extended": """
            class Net(nn.Module):
                def __init__(self, width, depth):
                    super().__init__()
                    self.encode_modules, self.rows = [], []
                    self.encode_modules.extend([nn.Linear(width, width) for _ in range(depth)])  # bad
                    for _ in range(depth):
                        self.rows.append(nn.ModuleList())
                        self.rows[-1].append(nn.Linear(width, width))  # bad

                def forward(self, x):
                    for layer, row in zip(self.encode_modules, reversed(self.rows)):
                        x = row[0](layer(x))
                    return x
            """,
        "layers that are wrapped": """
            class Residual(nn.Module):
                def __init__(self, inner):
                    super().__init__()
                    self.inner = inner

            class Net(nn.Module):
                def __init__(self, width, depth):
                    super().__init__()
                    self.shifts = nn.ParameterList([nn.Parameter(torch.zeros(width))])
                    self.layers = [Residual(nn.Linear(width, width)) for _ in range(depth)]  # bad

                def forward(self, x):
                    for layer in self.layers:
                        x = layer(x)
                    return x
            """,
        "a list": """
            class Net(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.layers = [nn.Linear(width, width), nn.Linear(width, width)]  # bad

                def forward(self, x):
                    for layer in self.layers:
                        x = layer(x)
                    return x
            """,
        "a comprehension of the project's own layers": """
            class Block(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.out = nn.Linear(3, 3)

            class Net(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    self.blocks = [Block() for _ in range(depth)]  # bad

                def forward(self, x):
                    for block in self.blocks:
                        x = block(x)
                    return x
            """,
        "appended one by one": """
            class Net(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    self.layers = []
                    for _ in range(depth):
                        self.layers.append(nn.Linear(3, 3))  # bad

                def forward(self, x):
                    for layer in self.layers:
                        x = layer(x)
                    return x
            """,
        "a tensor that asks for gradients": """
            class Net(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.scale = torch.ones(width, requires_grad=True)  # bad

                def forward(self, x):
                    return x * self.scale
            """,
        "a parameter that was moved": """
            class Net(nn.Module):
                def __init__(self, width, device):
                    super().__init__()
                    self.scale = nn.Parameter(torch.ones(width)).to(device)  # bad
                    self.shift = 0.1 * nn.Parameter(torch.zeros(width))  # bad

                def forward(self, x):
                    return x * self.scale + self.shift
            """,
        "in one of two branches": """
            class Net(nn.Module):
                def __init__(self, each):
                    super().__init__()
                    self.each = each
                    if each:
                        self.out = []
                        for _ in range(3):
                            layer = nn.Linear(3, 3)
                            self.out.append(layer)  # bad
                    else:
                        self.out = nn.Linear(3, 3)

                def forward(self, x):
                    return self.out[0](x) if self.each else self.out(x)
            """,
        "a dict": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.heads = {"a": nn.Linear(3, 1), "b": nn.Linear(3, 1)}  # bad

                def forward(self, x, task):
                    return self.heads[task](x)
            """,
    }
    good_code = {
        "handed on through another list": """
            class Net(nn.Module):
                def __init__(self, sizes, functions):
                    super().__init__()
                    self.layers = []
                    for i in range(len(sizes) - 1):
                        self.layers.append(nn.Linear(sizes[i], sizes[i + 1]))
                    every = []
                    for layer, function in zip(self.layers[:-1], functions):
                        every.append(layer)
                        every.append(function())
                    every.append(self.layers[-1])
                    self.model = nn.Sequential(*every)

                def forward(self, x):
                    return self.model(x)
            """,
        "what tells the device": """
            class Net(nn.Module):
                def __init__(self, device):
                    super().__init__()
                    self.body = nn.Linear(3, 2)
                    self.empty = nn.Parameter(torch.empty(0)).to(device)

                def forward(self, x):
                    return self.body(x.to(self.empty))
            """,
        "unpacked": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.first, self.second = [nn.Linear(3, 3) for _ in range(2)]

                def forward(self, x):
                    return self.second(self.first(x))
            """,
        "registered as single layers, too": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    first = nn.Linear(3, 3)
                    self.first = first
                    self.layers = []
                    self.layers.append(first)

                def forward(self, x):
                    for layer in self.layers:
                        x = layer(x)
                    return x
            """,
        "registered": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)])

                def forward(self, x):
                    for layer in self.layers:
                        x = layer(x)
                    return x
            """,
        "a list first": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.layers = []
                    for _ in range(3):
                        self.layers.append(nn.Linear(3, 3))
                    self.layers = nn.Sequential(*self.layers)

                def forward(self, x):
                    return self.layers(x)
            """,
        "tensors that are registered, or not to be trained": """
            class Net(nn.Module):
                def __init__(self, width, device):
                    super().__init__()
                    self.scale = nn.Parameter(torch.ones(width, requires_grad=True))
                    self.shift = nn.Parameter(torch.zeros(width).to(device))
                    self.mean = torch.zeros(width)
                    self.gain = nn.Parameter(torch.ones(width)).requires_grad_()
                    self.noise = torch.randn(width, requires_grad=True)
                    self.attack = torch.optim.SGD([self.noise], lr=0.1)

                def forward(self, x):
                    return (x - self.mean) * self.scale * self.gain + self.shift + self.noise
            """,
        "one layer for each name": """
            class Net(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.a, self.b = [nn.Linear(width, width) for _ in range(2)]

                def forward(self, x):
                    return self.a(self.b(x))
            """,
        "layers of the project without weights": """
            class Trend(nn.Module):
                def __init__(self, kernel):
                    super().__init__()
                    self.mean = nn.AvgPool1d(kernel, 1)

                def forward(self, x):
                    return self.mean(x)

            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.trends = [Trend(kernel) for kernel in (3, 5)]
                    self.out = nn.Linear(3, 3)

                def forward(self, x):
                    return self.out(sum(trend(x) for trend in self.trends))
            """,
        "registered by name": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.layers = [nn.Linear(3, 3) for _ in range(3)]
                    for i, layer in enumerate(self.layers):
                        self.add_module(f"layer{i}", layer)

                def forward(self, x):
                    return self.layers[0](x)
            """,
        "layers that are registered already": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.a = nn.Linear(3, 3)
                    self.b = nn.Linear(3, 3)
                    self.both = [self.a, self.b]

                def forward(self, x):
                    return self.both[0](x) + self.both[1](x)
            """,
        "nothing to train": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.pools = [nn.MaxPool2d(2), nn.ReLU()]

                def forward(self, x):
                    return self.pools[0](x)
            """,
        "no module": """
            class Ensemble:
                def __init__(self):
                    self.nets = [nn.Linear(3, 3) for _ in range(3)]

                def __call__(self, x):
                    return sum(net(x) for net in self.nets)
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) / 16
        labels = torch.tensor(data.target)


        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                layers = [nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 16)]
                self.layers = layers  # fix: self.layers = nn.ModuleList(layers)
                self.out = nn.Linear(16, 10)

            def forward(self, x):
                for layer in self.layers:
                    x = torch.relu(layer(x))
                return self.out(x)


        model = Net()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for epoch in range(10):
            for rows in torch.randperm(1797).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)
