"""Lists of layers: how sure it is that nothing registers them, and whose layers they are."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import LISTED, how_sure
from stethoscope.core.finding import Sureness
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

HANDED = """
    class Net(nn.Module):
        def __init__(self, width, operations):
            super().__init__()
            self.layers = LAYERS

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x
"""


def _listed(line: str) -> str:
    return LISTED.replace("# DONE", line)


def _made(layers: str) -> str:
    return HANDED.replace("LAYERS", layers)


CERTAIN = {
    "layers that an inference beside runs without gradients": LISTED
    + """
        @torch.no_grad()
        def infer(self, x):
            for layer in self.layers:
                x = layer(x)
            return x
    """,
    "a list that stays one": _listed("self.layers = list(self.layers)"),
    "a comprehension in a list": _made("list([nn.Linear(width, width) for _ in range(3)])"),
    "a generator in a tuple": _made("tuple(nn.Linear(width, width) for _ in range(3))"),
    "one of two layers": _made("[nn.Linear(width, width) if i else nn.Linear(1, width) for i in range(3)]"),
    "a text that speaks of itself": LISTED.replace(
        "def forward(self, x):", 'def forward(self, x):\n            """(self) `net.eval()`, add_module."""'
    ),
    "a module that is moved in its constructor": _listed("self = self.cuda()"),
    "a constructor of the base by its name": LISTED.replace("super().__init__()", "nn.Module.__init__(self)"),
    "two lists that are gone over together": """
    class Net(nn.Module):
        def __init__(self, depth):
            super().__init__()
            self.convs, self.lines = nn.ModuleList(), []
            for i in range(depth):
                conv = nn.Conv1d(3, 3, 1)
                self.convs.append(conv)
                self.lines.append(nn.Linear(3, 3))

        def forward(self, x):
            for conv, line in zip(self.convs, self.lines):
                x = line(conv(x))
            return x
    """,
    "a comment on hidden layers": LISTED.replace("self.layers = []", "# hidden layers\n            self.layers = []"),
    "a class that begins with an underscore, of layers that are not seen": """
    from torch import nn
    from project import _ConvRelu

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = _ConvRelu(3, 3)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = [Block(), Block()]

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return x
    """,
}
POSSIBLE = {
    "something else of that name that has parameters": LISTED
    + """
    optimizer = torch.optim.SGD(other.layers.parameters())
    """,
    "another layer that is registered by its name": _listed("self.add_module('first', nn.Linear(3, 3))"),
    "a module that is handed over": _listed("start_weights(self)"),
    "other weights that are loaded": _listed("other = nn.Linear(3, 3); other.load_state_dict(torch.load('other'))"),
    "another part that runs without gradients": LISTED.replace(
        "return x", "with torch.no_grad():\n                sizes = x.shape\n            return x.view(sizes)"
    ),
    "an answer that is kept": LISTED.replace("x = layer(x)", "self.last = self.layers[0](x)"),
    "a namespace that is handed over": _made("[operations.Linear(width, width), operations.Conv2d(3, 3, 1)]"),
    "a chain of a namespace's layers": _made("[nn.Sequential(operations.Linear(width, width), nn.ReLU())]"),
    "a class that is not seen": "from torch import nn\nfrom project import DecoderLayer\n"
    + textwrap.dedent(_made("[DecoderLayer(width) for _ in range(3)]")),
    "a local list that is filled": HANDED.replace(
        "self.layers = LAYERS",
        "layers = []\n            layers.append(nn.Linear(3, 3))\n            self.layers = list(layers)",
    ),
    "one of two, the other without weights": _made("[nn.Identity(), nn.Linear(3, 3) if width else nn.Identity()]"),
    "a list that is named beside weights of another": LISTED
    + """
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net(3)

        def sizes(self):
            count = len(self.net.layers)
            return count, len(self.state_dict())
    """,
}
SILENT = {
    "layers of a loop that are registered by names": _listed(
        "for i, layer in enumerate(self.layers):\n                self.add_module(\n"
        '                    f"layer{i}",\n                    layer,\n                )'
    ),
    "a layer that is registered where it is made": LISTED.replace(
        "self.layers.append(layer)", 'self.layers.append(layer); self.register_module(f"layer{i}", layer)'
    ),
    "layers that are frozen": _listed("for layer in self.layers: layer.requires_grad_(False)"),
    "layers that are trained elsewhere": LISTED
    + "\n    net = Net(3)\n    rate = torch.optim.SGD([one for layer in net.layers for one in layer.parameters()])\n",
    "answers without gradients": LISTED.replace(
        "for layer in self.layers:\n                x = layer(x)",
        "with torch.no_grad():\n                x = self.layers[0](x)",
    ),
    "answers without gradients by a decorator": LISTED.replace(
        "def forward", "@torch.no_grad()\n        def run"
    ),
    "one of them that an attribute holds": _listed("self.first = self.layers[0]"),
    "a list of what attributes hold": _made("[]").replace(
        "super().__init__()", "super().__init__()\n            self.first = operations.Linear(3, 3)"
    ).replace("self.layers = []", "self.layers = []\n            self.layers.append(self.first)"),
    "what computes with another layer's weights": _made(
        "[operations.Conv2d(\n                weights=width.mlp.weight\n            )]"
    ),
    "a list that a longer one holds": _listed(
        "every = self.layers + [nn.ReLU()]\n            self.body = nn.Sequential(*every)"
    ),
    "layers that a container gets one by one": _listed(
        "self.kept = nn.ModuleList()\n            for i in range(depth): self.kept.append(self.layers[i])"
    ),
    "layers that a container of names gets": _listed(
        "self.body = nn.Sequential(OrderedDict(\n                (str(i), layer)\n"
        "                for i, layer in enumerate(self.layers)\n            ))"
    ),
    "layers that a function is mapped over": _listed("list(map(self.register, self.layers))"),
    "a local list of which a container is made": HANDED.replace(
        "self.layers = LAYERS",
        "layers = [nn.Linear(3, 3)]\n            self.layers = layers\n"
        "            self.kept = nn.ModuleList(layer for layer in layers)",
    ),
    "encoders of labels": "from torch import nn\nfrom sklearn.preprocessing import LabelEncoder\n"
    + textwrap.dedent(_made("[LabelEncoder() for _ in range(3)]")),
    "things that nothing calls": "from torch import nn\nfrom project import TextBlock\n"
    + textwrap.dedent(_made("[TextBlock(width)]")).replace("x = layer(x)", "x = x + 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", CERTAIN)
def test_a_list_that_nothing_registers_is_certain(name: str) -> None:
    assert how_sure(UnregisteredModules, CERTAIN[name]) == Sureness.CERTAIN.strength


@pytest.mark.parametrize("name", POSSIBLE)
def test_what_a_class_does_with_other_things_leaves_it_possible(name: str) -> None:
    assert how_sure(UnregisteredModules, POSSIBLE[name]) == Sureness.POSSIBLE.strength


STACKED = """
    class Scan(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.projections = (
                nn.Linear(width, width),
                nn.Linear(width, width),
            )
            KEPT

        def forward(self, x):
            return x @ self.stacked
"""
NOTED = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.new_layers = []
            self.head = nn.Sequential(self._conv(3, 3), nn.ReLU())

        def _conv(self, *sizes):
            conv = nn.Conv2d(*sizes, 1)
            self.new_layers.append(conv)
            GIVEN

        def forward(self, x):
            for layer in self.new_layers:
                x = layer(x)
            return self.head(x)
"""
STACK = "self.stacked = nn.Parameter(torch.stack([one.weight for one in self.projections]))"

COUNT = "self.stacked = len(self.projections)"
RUN = STACKED.replace("KEPT", COUNT).replace("x @ self.stacked", "self.projections[0](x)")


@pytest.mark.parametrize(
    ("healthy", "faulty"),
    [
        (STACKED.replace("KEPT", f"{COUNT}; del self.projections"), RUN),
        (STACKED.replace("KEPT", STACK), RUN),
        (NOTED.replace("GIVEN", "return conv"), NOTED.replace("GIVEN", "return sizes")),
        (NOTED.replace("GIVEN", "return conv, 3"), NOTED.replace("GIVEN", "return None")),
        (LISTED.replace("in self.layers:", "in self.children():"), LISTED),
    ],
)
def test_layers_that_are_taken_out_or_handed_back_are_not_hidden(healthy: str, faulty: str) -> None:
    """VMamba stacks the weights of a tuple of layers into a parameter; others note down what a helper hands back."""
    assert how_sure(UnregisteredModules, healthy) == -1
    assert how_sure(UnregisteredModules, faulty) == Sureness.CERTAIN.strength


def test_layers_that_their_class_does_not_run_are_possible_at_most() -> None:
    assert how_sure(UnregisteredModules, RUN) == Sureness.CERTAIN.strength
    assert how_sure(UnregisteredModules, STACKED.replace("KEPT", COUNT)) == Sureness.POSSIBLE.strength


@pytest.mark.parametrize("name", SILENT)
def test_layers_that_are_looked_after_are_not_named(name: str) -> None:
    assert how_sure(UnregisteredModules, SILENT[name]) == -1


def test_classes_that_make_each_other_are_asked_once_each() -> None:
    """Twelve classes that each make all of them: 12 to the 12th ways, if none were left out."""
    names = [f"Part{number}" for number in range(12)]
    classes = [
        f"class {name}(nn.Module):\n    def grow(self):\n        return [{', '.join(f'{one}()' for one in names)}]\n"
        for name in names
    ]
    text = "\n".join(classes) + textwrap.dedent(LISTED).replace("nn.Linear(3, 3)", "Part0()")
    assert how_sure(UnregisteredModules, text) < Sureness.LIKELY.strength


PAIRS = """
    class Net(nn.Module):
        def __init__(self, width, depth, is_plain, wrap):
            super().__init__()
            self.layers = []
            for _ in range(depth):
                FIRST
                self.layers.append(nn.ModuleList([first, nn.Linear(width, width)]))

        def forward(self, x):
            for first, second in self.layers:
                x = second(first(x))
            return x
"""
BRANCHES = """if is_plain:
                    first = nn.Linear(width, width)
                else:
                    first = nn.Conv1d(width, width, 1)"""


@pytest.mark.parametrize("first", ["first = nn.Linear(width, width)", "first = wrap(width)", BRANCHES])
def test_pairs_in_a_list_are_hidden_also_where_a_name_of_the_loop_stands_in_their_own_list(first: str) -> None:
    assert how_sure(UnregisteredModules, PAIRS.replace("FIRST", first)) == Sureness.CERTAIN.strength


def test_pairs_that_another_list_registers_as_well_are_not_hidden() -> None:
    kept = PAIRS.replace("FIRST", "first = nn.Linear(width, width)").replace(
        "self.layers = []", "self.layers, self.kept = [], nn.ModuleList()"
    )
    put = "self.layers.append(nn.ModuleList([first, nn.Linear(width, width)]))"
    assert (
        how_sure(UnregisteredModules, kept.replace(put, f"{put}\n                self.kept.extend(self.layers[-1])"))
        == -1
    )


def test_pairs_of_what_a_function_wraps_are_possible() -> None:
    text = PAIRS.replace("FIRST", "").replace("[first, nn.Linear(width, width)]", "[wrap(width), wrap(depth)]")
    assert how_sure(UnregisteredModules, text) == Sureness.POSSIBLE.strength
    idle = PAIRS.replace("FIRST", "").replace("[first, nn.Linear(width, width)]", "[nn.ReLU(), nn.Tanh()]")
    assert how_sure(UnregisteredModules, idle) == -1
