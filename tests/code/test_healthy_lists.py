"""Plain lists of layers that nobody misses: fixed, written, trained or registered in another way than by themselves."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import LISTED, SHOWN, how_sure
from stethoscope.rules.parameters.super_init_missing import SuperInitMissing
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

OF_PARTS = """
    class Part(nn.Module):
        def __init__(self, width):
            super().__init__()
            BEGIN

        def forward(self, x):
            return ANSWER

        def learn(self, x):
            y = self.net(x)
            LEARN

    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.parts = [Part(width) for _ in range(3)]
            self.out = nn.Linear(width, 2)

        def forward(self, x):
            for part in self.parts:
                x = part(x)
            return self.out(x)
"""
FIT = """
    def fit(model, loader):
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            F.mse_loss(model(x), y).backward()
            optimizer.step()
"""
HEIR = """
    class Base(nn.Module):
        def __init__(self):
            super().__init__()
            self.build()
            ABOVE

    class Net(Base):
        def build(self):
            self.layers = [nn.Linear(3, 3) for _ in range(4)]
            BUILT

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x
"""
SPARE = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)])
            self.spare = [nn.Linear(3, 3) for _ in range(3)]

        def forward(self, x):
            for layer in self.blocks:
                x = layer(x)
            return x

        def extra_repr(self):
            return " ".join(str(layer) for layer in self.spare)
"""
DECORATED = """
    def finished(cls):
        make = cls.__init__

        def init(self, *sizes):
            make(self, *sizes)
            WRAP

        cls.__init__ = init
        return cls

    @finished
"""
NET = "self.net = nn.Linear(width, width)"
ALL = "\n        def train_all(self, loader):\n            for one in self.layers:\n                "
MUTATE = "\n        def mutate(self, rate):\n            self.layers[0].weight.data"
READOUT = "self.out = nn.Linear(3, 3)"
LONG = "\n" + "            # one\n" * 5 + "            self.layers = []"


def _part(begin: str = NET, answer: str = "self.net(x)", learn: str = "return y") -> str:
    return OF_PARTS.replace("BEGIN", begin).replace("ANSWER", answer).replace("LEARN", learn)


def _listed(line: str) -> str:
    return LISTED.replace("# DONE", line)


def _run(by: str) -> str:
    return LISTED.replace("x = layer(x)", by)


WHOLE = "for p in self.parameters():\n                p.requires_grad = False"
OTHER = f"{NET}\n            self.old = nn.Linear(3, 3)\n            for p in self.old.parameters():\n"
OTHER += "                p.requires_grad = False"
SCALE = "self.net = lambda y: y * self.scale\n            self.scale = nn.Parameter(torch.ones(3)"
TEACHER = "self.net = torchvision.models.vgg16(pretrained=True).features[:16].eval()\n            "
SHOWN_BESIDE = LISTED + LISTED.replace("class Net", "class Other").replace("= []", "= nn.ModuleList()")
SHOWN_BESIDE += "\n    listed = Net(3)\n    registered = Other(3)\n"
TWINS: dict[str, tuple[str, str]] = {
    "layers that freeze themselves": (_part(f"{NET}\n            {WHOLE}"), _part(OTHER)),
    "layers that freeze the one part that learns": (
        _part(f"{TEACHER}for p in self.net.parameters():\n                p.requires_grad_(False)"),
        _part(f"{TEACHER}self.shift = nn.Parameter(torch.zeros(3))"),
    ),
    "layers whose parameter is a constant": (_part(f"{SCALE}, requires_grad=False)"), _part(f"{SCALE})")),
    "layers whose answers are cut off": (_part(answer="self.net(x).detach()"), _part(answer="self.net(x.detach())")),
    "layers with an optimizer of their own for a part": (
        _part(f"{NET}; self.best = torch.optim.Adam(self.net.parameters())"),
        _part(f"{NET}; self.best = dict(self.net.named_parameters())"),
    ),
    "layers that learn by a rule of their own": (
        _part(learn="self.net.weight.data += 0.1 * (y.t() @ x)"), _part(learn="self.norm = 0.1 * (y.t() @ x)"),
    ),
    "kernels that are given": (
        _listed("for kernel, layer in zip(KERNELS, self.layers): layer.weight.data = kernel"),
        _listed("for layer in self.layers: layer.weight.data = torch.randn(3, 3) * 0.1"),
    ),
    "weights that all share": (
        _listed("for layer in self.layers: layer.weight = self.shared.weight"),
        _listed("for layer in self.layers: nn.init.xavier_uniform_(layer.weight)"),
    ),
    "weights that another network gives": (
        _listed("for layer in self.layers: del layer.weight"), _listed("for layer in self.layers: del depth"),
    ),
    "weights that are copied out of a file": (
        _listed("for layer in self.layers: layer.weight.data.copy_(next(FILE))"),
        _listed("for layer in self.layers: layer.weight.data.uniform_(-1, 1)"),
    ),
    "parameters that are kept one by one": (
        _listed("self.kept = nn.ParameterList()\n            for layer in self.layers: self.kept.append(layer.weight)"),
        _listed("self.kept = []\n            for layer in self.layers: self.kept.append(layer.weight.shape)"),
    ),
    "layers that a text registers": (
        _listed("for i in range(depth): exec('self.layer%d = self.layers[%d]' % (i, i))"),
        _listed("for i in range(depth): print('self.layer%d = self.layers[%d]' % (i, i))"),
    ),
    "a list with two names": (
        LISTED.replace("self.layers = []", "self.layers = layers = [nn.Linear(3, 3), nn.ReLU()]")
        .replace("# DONE", "self.net = nn.Sequential(*layers)"),
        LISTED.replace("self.layers = []", "self.layers = layers = [nn.Linear(3, 3), nn.ReLU()]")
        .replace("# DONE", "self.depth = len(layers)"),
    ),
    "attributes in parentheses": (
        _listed("(self.first, self.last) = self.layers"), _listed("(first, last) = (depth, len(self.layers))"),
    ),
    "a base that registers what its heirs build": (
        HEIR.replace("ABOVE", "self.net = nn.ModuleList(self.layers)").replace("BUILT", ""),
        HEIR.replace("ABOVE", "self.net = len(self.layers)").replace("BUILT", ""),
    ),
    "a base whose method puts lists into containers": (
        HEIR.replace("ABOVE", "pass\n\n        def end(self):\n            setattr(self, 'layers', nn.ModuleList())")
        .replace("BUILT", "self.end()"),
        HEIR.replace("ABOVE", "pass\n\n        def end(self):\n            setattr(self, 'layers', nn.ModuleList())")
        .replace("BUILT", "pass"),
    ),
    "a decorator that puts lists into containers": (
        DECORATED.replace("WRAP", "setattr(self, 'layers', nn.ModuleList(self.layers))").strip("\n") + LISTED,
        DECORATED.replace("WRAP", "print(self)").strip("\n") + LISTED,
    ),
    "members that are trained one by one": (
        FIT + _listed(f"{ALL}fit(one, loader)"),
        FIT + _listed(f"{ALL}print(one, loader)"),
    ),
    "members that are trained one by one from outside": (
        FIT + LISTED + "\n    net = Net(3)\n    for one in net.layers:\n        fit(one, [])\n",
        FIT + LISTED + "\n    net = Net(3)\n    for one in net.layers:\n        print(one)\n    fit(net, [])\n",
    ),
    "members with a method that trains them": (_run("x = layer.learn(layer(x))"), _run("x = F.relu(layer(x))")),
    "a readout that is solved for": (
        _listed("\n        def fit(self, x, y):\n            self.out = torch.linalg.lstsq(self(x), y).solution"),
        _listed("\n        def fit(self, x, y):\n            self.out = torch.linalg.norm(self(x) - y)"),
    ),
    "a reservoir": (LISTED.replace("class Net", "class ReservoirNet"), LISTED.replace("class Net", "class ReserveNet")),
    "filters that are called fixed": (LISTED.replace("layers", "fixed_filters"), LISTED.replace("layers", "filters")),
    "an optimizer of the readout": (
        _listed(READOUT) + "\n    net = Net(3)\n    best = torch.optim.SGD(net.out.parameters(), 1)",
        _listed(READOUT) + "\n    net = Net(3)\n    best = torch.optim.SGD(net.parameters(), 1)",
    ),
    "a file without gradients": ("torch.set_grad_enabled(False)\n" + textwrap.dedent(LISTED), LISTED),
    "tables that stay on the processor": (
        LISTED.replace("self.layers = []", f"# so that .cuda() leaves them on the host,{LONG}"),
        LISTED.replace("self.layers = []", f"# on the host,{LONG}"),
    ),
    "layers that are only shown": (SPARE, SPARE.replace("str(layer)", "str(layer(1))")),
    "layers that are handed out": (
        _listed("\n        def __getitem__(self, i):\n            return self.layers[i]"),
        _listed("\n        def __getitem__(self, i):\n            return i"),
    ),
    "layers that evolve": (
        _listed(f"{MUTATE} += rate * torch.randn(3, 3)"),
        _listed(f"{MUTATE} = rate * torch.randn(3, 3)"),
    ),
    "weights that are set by name": (
        _listed("for one in self.layers: setattr(one, 'weight', self.table.weight)"),
        _listed("for one in self.layers: print(one, 'weight', self.table.weight)"),
    ),
    "whatever an object holds": (
        LISTED + "\n    def every(net):\n        return [p for one in vars(net).values() for p in flat(one)]\n",
        LISTED + "\n    def every(net):\n        return [p for one in net.values() for p in flat(one)]\n",
    ),
    "a class that a later one replaces": (
        LISTED + LISTED.replace("self.layers = []", "self.layers = nn.ModuleList()"),
        LISTED + "\n    net = Net(3)\n" + LISTED.replace("self.layers = []", "self.layers = nn.ModuleList()"),
    ),
    "a class that shows how not to": (
        f"{LISTED}\n    class RightNet(nn.Module):\n        pass\n".replace("class Net", "class WrongNet"),
        LISTED.replace("class Net", "class WrongNet"),
    ),
}  # fmt: skip


MIXED = "from torch import nn\nfrom elsewhere import MIXIN\n" + textwrap.dedent(LISTED)
MIXED = MIXED.replace("(nn.Module)", "(MIXIN, nn.Module)")
TWINS |= {
    "layers that are timed": (_run("x = self.add(time.time() - x, layer(x))"), _run("x = self.add(1 - x, layer(x))")),
    "layers that tell their sizes": (_run("x = x + layer(x).numel()"), _run("x = x.numel() + layer(x)")),
    "a mixin that is not seen": (MIXED.replace("MIXIN", "ListRegistrar"), MIXED.replace("MIXIN", "HubMixin")),
    "signs of random planes": (_run("x = (layer(x) > 0).float()"), _run("x = layer(x > 0).float()")),
    "classes that layers choose": (_run("x = layer(x).argmax(-1)"), _run("x = layer(x.argmax(-1))")),
    "numbers that are measured": (
        _run("x = self.far(layer(x), layer(x)).item()"),
        _run("x = layer(x + x.mean().item())"),
    ),
    "parameters that are read out of a module's own table": (
        _listed("for one in self.layers: self.flat.update(one._parameters)"),
        _listed("for one in self.layers: self.flat.update(one.bias.shape)"),
    ),
    "whatever can be asked of an object": (
        LISTED + "\n    def every(net):\n        return [p for one in dir(net) for p in flat(net, one)]\n",
        LISTED + "\n    def every(net):\n        return [p for one in net.names for p in flat(net, one)]\n",
    ),
    "a text that shows what a list does": (
        f"{SHOWN_BESIDE}\n    print(len(list(listed.parameters())))\n",
        f"{SHOWN_BESIDE}\n    best = torch.optim.SGD(list(listed.parameters()), 1)\n",
    ),
    "a class that says what it does": (
        LISTED.replace("def forward(self, x):", 'def forward(self, x):\n            """Layers of a plain list."""'),
        LISTED.replace("def forward(self, x):", 'def forward(self, x):\n            """Layers of a network."""'),
    ),
    "a class that cannot be made": (
        LISTED.replace("# DONE", 'raise NotImplementedError("see the second version")'),
        LISTED.replace("# DONE", 'if depth > 9:\n                raise NotImplementedError("see the second version")'),
    ),
}
TENSOR = """
    class Net(nn.Module):
        def __init__(self, width, device="cuda"):
            super().__init__()
            self.gain = MADE

        def forward(self, x):
            return x * self.gain

        # DONE
"""
MOVED = "nn.Parameter(torch.ones(width)).to(device)"
ASKS = "torch.ones(width, requires_grad=True)"


def _tensor(made: str, old: str = "", new: str = "") -> str:
    text = TENSOR.replace("MADE", made)
    return text.replace(old, new) if old else text


TWINS |= {
    "a parameter on the processor": (_tensor(MOVED, '"cuda"', '"cpu"'), _tensor(MOVED)),
    "a parameter on the processor, which has a name": (
        "PLACE = torch.device('cpu')\n" + textwrap.dedent(_tensor("nn.Parameter(torch.ones(width)).to(PLACE)")),
        "PLACE = torch.device('cuda')\n" + textwrap.dedent(_tensor("nn.Parameter(torch.ones(width)).to(PLACE)")),
    ),
    "a device for all": ("torch.set_default_device('cuda')\n" + textwrap.dedent(_tensor(MOVED)), _tensor(MOVED)),
    "a mean that inputs are shifted by": (_tensor(MOVED, "self.gain", "self.mean"), _tensor(MOVED)),
    "a mask": (_tensor("nn.Parameter(torch.tril(torch.ones(width, width))).to(device)"), _tensor(MOVED)),
    "a factor that is a constant": (
        _tensor("0.5 * nn.Parameter(torch.ones(3), requires_grad=False)"), _tensor("0.5 * nn.Parameter(torch.ones(3))"),
    ),
    "a table that is only looked into": (
        _tensor(MOVED, "def forward", "@torch.no_grad()\n        def forward"), _tensor(MOVED),
    ),
    "a property that registers": (
        _tensor(MOVED, "# DONE", "@property\n        def gain(self):\n            return self.kept"),
        _tensor(MOVED, "# DONE", "@property\n        def gains(self):\n            return self.kept"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_a_list_that_nobody_misses_is_not_shown_and_its_faulty_twin_is(name: str) -> None:
    healthy, faulty = TWINS[name]
    assert how_sure(UnregisteredModules, healthy) < SHOWN <= how_sure(UnregisteredModules, faulty)


def test_a_tensor_that_asks_for_gradients_is_possible_at_most() -> None:
    assert -1 < how_sure(UnregisteredModules, _tensor(ASKS)) < SHOWN


def test_a_penalty_on_weights_takes_none_out() -> None:
    stacked = _listed("self.kept = torch.stack([one.weight for one in self.layers])")
    assert how_sure(UnregisteredModules, stacked) == -1
    penalty = "\n        def penalty(self):\n            return sum(one.weight.norm() for one in self.layers)"
    assert how_sure(UnregisteredModules, _listed(penalty)) >= SHOWN


def test_a_layer_whose_forward_is_called_by_its_name_is_run() -> None:
    assert how_sure(UnregisteredModules, _run("x = layer.forward(x)")) >= SHOWN
    assert how_sure(UnregisteredModules, _run("x = x + layer.forwarded(x)")) < SHOWN


SHOWS = """
    class Net(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(3, 3)

    DONE
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)
"""


def test_what_is_replaced_before_it_is_named_is_left_behind() -> None:
    assert how_sure(SuperInitMissing, SHOWS.replace("DONE", "# next")) < SHOWN
    assert how_sure(SuperInitMissing, SHOWS.replace("DONE", "net = Net()")) >= SHOWN
    assert how_sure(SuperInitMissing, SHOWS.replace("DONE\n    class Net", "class Other")) >= SHOWN
    assert (
        how_sure(SuperInitMissing, SHOWS.replace("DONE\n    class Net", "def other(): pass\n\n    class Net")) < SHOWN
    )
