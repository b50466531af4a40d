"""Lists of layers that are found by what surrounds them: classes of unseen bases, loops over several lines, functions
that give layers. Each beside a healthy twin.
"""

from __future__ import annotations

import textwrap

import pytest

from code_programs import LISTED, how_sure
from stethoscope.core.finding import Sureness
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

CERTAIN, POSSIBLE, SILENT = Sureness.CERTAIN.strength, Sureness.POSSIBLE.strength, -1
UNSEEN = """
    import torch
    from torch import nn
    from MODULE import Base

    class Net(Base):
        def __init__(self, width):
            super().__init__()
            self.layers = [nn.Linear(width, width) for _ in range(3)]

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x
"""
OF_PARTS = """
    from torch import nn

    class Part(BASE):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(3, 3)

        def forward(self, x):
            return self.one(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = [Part() for _ in range(3)]

        def forward(self, x):
            for part in self.parts:
                x = part(x)
            return x
"""
OF_GRAPHS = (
    OF_PARTS.replace("BASE", "MessagePassing")
    .replace("import nn\n", "import nn\n    from torch_geometric.nn import MessagePassing\n", 1)
    .replace("nn.Linear(3, 3)", "LAYER")
)
LOADS = """
        @classmethod
        def loaded(cls, weights, other):
            net = MADE
            net.load_state_dict(weights)
            return net
"""
MADE = """
    class Net(nn.Module):
        def __init__(self, width, norm, act_layer, block_fn):
            super().__init__()
            self.layers = LAYERS

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x
"""
GIVING = """
    def conv(*sizes):
        return nn.utils.weight_norm(nn.Conv1d(*sizes))

    def act(*sizes):
        return nn.utils.fuse(nn.LeakyReLU(*sizes))
"""
ZIPPED = """
    class Net(nn.Module):
        def __init__(self, sizes):
            super().__init__()
            self.lines = [nn.Linear(size, size) for size in sizes]
            self.scales = list(sizes)

        def forward(self, xs):
            for i, (line, scale, x) in enumerate(
                zip(
                    self.lines,
                    self.scales,
                    xs,
                )
            ):
                xs[i] = line(x) / scale
            return xs

        def parts(self):
            return []
"""
TWICE = """
    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.kept = nn.ModuleList()
            self.layers = []
            for _ in range(3):
                block = nn.Linear(width, width)
                self.kept.append(block)
                AGAIN
                self.layers.append(block)

        def forward(self, x):
            for one, other in zip(self.kept, self.layers):
                x = other(one(x))
            return x
"""
ANSWERS = """
    from torch import nn
    from project import train

    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.heads = [nn.Linear(width, width) for _ in range(3)]
            self.out = nn.Linear(3 * width, width)

        def forward(self, x):
            outs = [FIRST for head in self.heads]
            return self.mixed(outs, x)

        def mixed(self, outs, x):
            train(outs, x)
            return sum(head(x) for head in self.heads)
"""
ABOVE = """
    class Base(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.width = width

        def forward(self, x):
            LOOP
            for layer in self.layers:
                x = layer(x)
            return x

    class Net(Base):
        def __init__(self, width):
            super().__init__(width)
            self.layers = [nn.Linear(width, width) for _ in range(3)]
"""
SAVES = """
    class Base(nn.Module):
        def __init__(self):
            super().__init__()
            self.finish(self)

        def finish(self, other):
            DOES

"""


def _heir(does: str) -> str:
    return SAVES.replace("DOES", does) + textwrap.indent(
        textwrap.dedent(LISTED).replace("(nn.Module)", "(Base)"), "    "
    )


def _setter(done: str) -> str:
    setter = "\n    def set_part(self, name, value):\n        setattr(self, name, value)"
    again = "\n\n    def resize(self):\n        self.set_part('one', None)"
    return (
        _heir("pass")
        .replace("        pass", f"        pass\n{textwrap.indent(setter + again, '    ')}")
        .replace("# DONE", done)
    )


def _unseen(module: str, base: str) -> str:
    return UNSEEN.replace("MODULE", module).replace("Base", base)


def _made(layers: str) -> str:
    return MADE.replace("LAYERS", layers)


def _copied(layers: str, gives: str = "") -> str:
    return (
        "\n    import copy\n    from torch import nn\n" + _made(layers).replace("(self, ", "(self, layer, ", 1) + gives
    )


GIVES = """
    def clones(layer, n=3):
        return [copy.deepcopy(layer) for _ in range(n)]
"""
PROGRAMS: dict[str, tuple[str, int]] = {
    "a base that is not seen": (_unseen("project.base", "Model"), POSSIBLE),
    "a base that is not seen, and a list that is registered": (
        _unseen("project.base", "Model").replace("[nn.Linear(width, width) for _ in range(3)]", "nn.ModuleList()"),
        SILENT,
    ),
    "a base that is no module": (_unseen("project.base", "PairDataset"), SILENT),
    "a base of another framework": (_unseen("keras.models", "Model"), SILENT),
    "a base that does not begin": (_unseen("project.base", "Model").replace("super().__init__()", "pass"), SILENT),
    "nothing that a module runs": (_unseen("project.base", "Model").replace("forward", "all_answers"), SILENT),
    "a base of a library": (_unseen("transformers", "BertPreTrainedModel"), CERTAIN),
    "a base of a library that is no module": (_unseen("transformers", "BertConfig"), SILENT),
    "layers whose base is not seen": (
        OF_PARTS.replace("BASE", "Base").replace("import nn\n", "import nn\n    from project import Base\n", 1),
        POSSIBLE,
    ),
    "layers whose base is of a library": (OF_GRAPHS.replace("LAYER", "nn.Linear(3, 3)"), CERTAIN),
    "layers whose base is of a library, without weights": (OF_GRAPHS.replace("LAYER", "nn.ReLU()"), SILENT),
    "weights that the whole module loads": (LISTED + LOADS.replace("MADE", "cls(3)"), CERTAIN),
    "weights that something loads": (LISTED + LOADS.replace("MADE", "other(3)"), POSSIBLE),
    "things without a base": (OF_PARTS.replace("BASE", "object"), SILENT),
    "a loop on one line": (LISTED.replace("in self.layers:\n                x", "in self.layers: x"), CERTAIN),
    "a list with its type, which nothing reads": (
        LISTED.replace("self.layers = []", "self.layers: list[nn.Module] = []").replace("in self.layers", "in self.a"),
        SILENT,
    ),
    "a loop over several lines": (ZIPPED, CERTAIN),
    "a list that a call over several lines gets": (
        ZIPPED.replace("return []", "return gather(\n                xs,\n                self.lines,\n            )"),
        POSSIBLE,
    ),
    "a variable of another layer": (TWICE.replace("AGAIN", "block = nn.Linear(width, width)"), CERTAIN),
    "a variable of the same layer": (TWICE.replace("AGAIN", "pass"), SILENT),
    "answers that a function gets": (ANSWERS.replace("FIRST", "head(x)"), CERTAIN),
    "layers that a function gets": (ANSWERS.replace("FIRST", "head"), POSSIBLE),
    "a function that gives a layer with a norm": (GIVING + _made("[conv(1, 8, 3), conv(8, 8, 3)]"), CERTAIN),
    "a chain of what it gives": (GIVING + _made("[nn.Sequential(nn.ReLU(), conv(1, 8, 3))]"), CERTAIN),
    "a function that gives an activation": (GIVING + _made("[act(0.1), act(0.2)]"), SILENT),
    "a base that sets what others hold": (_heir("setattr(other.config, 'name', 3); parts = other._modules"), CERTAIN),
    "a base that sets what it holds itself": (_heir("setattr(self, 'name', 3)"), POSSIBLE),
    "a setter of a base": (_setter("pass"), CERTAIN),
    "a setter of a base, by which the layers are set": (_setter("self.set_part('layer', layer)"), SILENT),
    "a setter of a base, which the class uses": (_setter("self.set_part('one', depth)"), POSSIBLE),
    "layers that a lambda makes": (_made("list(map(lambda size: nn.Linear(size, size), width))"), POSSIBLE),
    "activations that a lambda makes": (_made("list(map(lambda size: nn.ReLU(), width))"), SILENT),
    "layers that a variable wraps": (_made("[norm(nn.Conv2d(1, 8, 3)), norm(nn.Conv2d(8, 8, 3))]"), POSSIBLE),
    "layers that a function may keep": (_made("[norm(self, nn.Conv2d(1, 8, 3))]"), SILENT),
    "layers that are moved": (_made("[nn.Linear(3, 3).to(width) for _ in range(3)]"), POSSIBLE),
    "activations that are moved": (_made("[nn.ReLU().to(width) for _ in range(3)]"), SILENT),
    "layers of a class that a parameter holds": (_made("[block_fn(width) for _ in range(3)]"), POSSIBLE),
    "activations of a class that a parameter holds": (_made("[act_layer(width) for _ in range(3)]"), SILENT),
    "a list that a base reads": (ABOVE.replace("LOOP", "pass"), POSSIBLE),
    "a list that a base freezes": (
        ABOVE.replace("LOOP", "for one in self.layers: one.requires_grad_(False)"), SILENT,
    ),
    "a list that a base sets": (ABOVE.replace("self.width = width", "self.layers = nn.ModuleList()"), SILENT),
    "copies of a given layer": (_copied("[copy.deepcopy(layer) for _ in range(3)]"), POSSIBLE),
    "copies of given rates": (_copied("[copy.deepcopy(rate) for _ in range(3)]"), SILENT),
    "a list that a function gives": (_copied("clones(nn.Linear(3, 3))", GIVES), POSSIBLE),
    "a registered list that a function gives": (
        _copied("clones(nn.Linear(3, 3))", GIVES.replace("[", "nn.ModuleList([").replace("(n)]", "(n)])")),
        SILENT,
    ),
    "one of two lists": (
        _copied("clones(nn.Linear(3, 3))", GIVES.replace("return", "if n: return n\n        return")), SILENT,
    ),
    "layers, or nothing": (_made("[nn.LayerNorm(3) if width else nn.Identity() for _ in range(3)]"), POSSIBLE),
    "activations, or nothing": (_made("[nn.ReLU() if width else nn.Identity() for _ in range(3)]"), SILENT),
    "a list that is copied": (
        _copied("[nn.Linear(3, 3)]\n            self.others = copy.deepcopy(self.layers)"), POSSIBLE,
    ),
    "a list that another attribute gets": (
        _copied("[nn.Linear(3, 3)]\n            self.others = Holder(self.layers)"), SILENT,
    ),
    "containers of local lists": (
        _made("[]\n            parts = []\n            parts.append(nn.Linear(3, 3))\n"
              "            self.layers.append(nn.ModuleList(parts))"), POSSIBLE,
    ),
    "containers of local activations": (
        _made("[]\n            parts = []\n            parts.append(nn.ReLU())\n"
              "            self.layers.append(nn.ModuleList(parts))"), SILENT,
    ),
    "a name in a text": (
        LISTED + "\n    def convert(state_dict):\n        return 'net.layers.0' in state_dict\n", CERTAIN,
    ),
    "a name outside": (LISTED + "\n    def convert(net, state_dict):\n        return net.layers, state_dict\n", SILENT),
}  # fmt: skip
PLACES = [*PROGRAMS]


@pytest.mark.parametrize("name", PLACES)
def test_how_sure_it_is_of_a_list(name: str) -> None:
    text, sure = PROGRAMS[name]
    assert how_sure(UnregisteredModules, text) == sure


NAMED = """
    from torch import nn
    from project import YOLOAnchors

    class BoxHead(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.width = width
            PART

        def forward(self, x):
            return self.width * x

    class Net(nn.Module):
        def __init__(self, widths):
            super().__init__()
            self.heads = [BoxHead(width) for width in widths]

        def forward(self, xs):
            return [head(x) for head, x in zip(self.heads, xs)]
"""


def test_a_name_proves_nothing_of_a_class_that_is_seen_whole() -> None:
    assert how_sure(UnregisteredModules, NAMED.replace("PART", "self.act = nn.ReLU()")) == SILENT
    assert how_sure(UnregisteredModules, NAMED.replace("PART", "self.act = YOLOAnchors(width)")) == POSSIBLE


SIBLINGS = {
    "gradients that a setting switches": (
        """
        def forward(self, x):
            torch.set_grad_enabled(SWITCH)
            for layer in self.layers:
                x = layer(x)
            return x
        """,
        "SWITCH", "not self.is_local", "False",
    ),
    "an heir with a list in its place": (
        """
        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    class Heir(Net):
        def __init__(self, width):
            super().__init__(width)
            self.layers = OTHERS
        """,
        "OTHERS", "nn.ModuleList()", "nn.ModuleList(self.layers)",
    ),
    "a list that is only counted": (
        """
            self.after = nn.ModuleList([
                nn.Sequential(TAKEN, nn.GELU())
                for _ in self.layers
            ])

        def forward(self, x):
            for number, after in enumerate(self.after):
                x = after(self.layers[number](x))
            return x
        """,
        "TAKEN", "nn.Linear(width, width)", "_",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIBLINGS)
def test_what_stands_beside_a_list_does_not_register_it(name: str) -> None:
    does, word, faulty, healthy = SIBLINGS[name]
    text = "\n    class Net(nn.Module):\n        def __init__(self, width):\n            super().__init__()\n"
    text += f"            self.layers = [nn.Linear(width, width) for _ in range(3)]\n{does}"
    assert how_sure(UnregisteredModules, text.replace(word, faulty)) >= POSSIBLE
    assert how_sure(UnregisteredModules, text.replace(word, healthy)) == SILENT


def test_a_list_is_hidden_where_only_the_other_branch_registers_it() -> None:
    text = """
    class Net(nn.Module):
        def __init__(self, width, depth):
            super().__init__()
            first = nn.Linear(width, width)
            if depth == 1:
                self.layers = nn.ModuleList([first])
            else:
                self.layers = MADE

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x
    """
    layers = "[first] + [nn.Linear(width, width) for _ in range(depth - 1)]"
    assert how_sure(UnregisteredModules, text.replace("MADE", f"list({layers})")) == CERTAIN
    assert how_sure(UnregisteredModules, text.replace("MADE", f"nn.ModuleList({layers})")) == SILENT


def test_chunks_of_layers_that_a_class_of_lists_holds_may_be_hidden() -> None:
    text = """
    class Chunk(nn.BASE):
        def forward(self, x):
            for layer in self:
                x = layer(x)
            return x

    class Net(nn.Module):
        def __init__(self, layers, size):
            super().__init__()
            chunks = []
            for first in range(0, len(layers), size):
                chunks.append([nn.Identity()] * first + layers[first : first + size])
            self.chunks = HELD

        def forward(self, x):
            for chunk in self.chunks:
                x = chunk(x)
            return x
    """.replace("BASE", "ModuleList")
    assert how_sure(UnregisteredModules, text.replace("HELD", "[Chunk(one) for one in chunks]")) == POSSIBLE
    assert (
        how_sure(UnregisteredModules, text.replace("HELD", "nn.ModuleList([Chunk(one) for one in chunks])")) == SILENT
    )


def test_a_sequence_of_a_named_convolution_may_be_hidden() -> None:
    text = """
    from torch import nn
    from blocks import KIND

    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.layers = []
            for _ in range(3):
                layer = KIND(width, width, 1)
                self.layers.append(nn.Sequential(layer, nn.MaxPool2d(2)))

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x
    """
    for named, sure in (("ConvModule", POSSIBLE), ("ConvBNReLU", POSSIBLE), ("ConvConfig", SILENT)):
        assert how_sure(UnregisteredModules, text.replace("KIND", named)) == sure
