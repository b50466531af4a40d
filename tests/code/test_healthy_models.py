"""Healthy models and losses that rules took for faulty: they are silent there, and speak as soon as it is a fault."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import LISTED, SHOWN, code_of, how_sure
from stethoscope.core.rule import Rule
from stethoscope.diagnosing.review import review
from stethoscope.rules.activations.double_activation import DoubleActivation
from stethoscope.rules.loss.loss_arguments_swapped import LossArgumentsSwapped
from stethoscope.rules.loss.sigmoid_before_bce_with_logits import SigmoidBeforeBceWithLogits
from stethoscope.rules.loss.softmax_before_cross_entropy import SoftmaxBeforeCrossEntropy
from stethoscope.rules.loss.wrong_softmax_dim import WrongSoftmaxDim
from stethoscope.rules.parameters.attribute_without_effect import AttributeWithoutEffect
from stethoscope.rules.parameters.layer_made_in_forward import LayerMadeInForward
from stethoscope.rules.parameters.overwritten_layer import OverwrittenLayer
from stethoscope.rules.parameters.shared_submodule_unintended import SharedSubmoduleUnintended
from stethoscope.rules.parameters.super_init_missing import SuperInitMissing
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules


def _listed(healthy: str, place: str = "# DONE") -> tuple[type[Rule], str, str, str]:
    return UnregisteredModules, LISTED.replace(place, healthy), healthy, place


SHAPES: dict[str, tuple[type[Rule], str, str, str]] = {
    "an embedding that is refined behind a constructor that was copied": (
        OverwrittenLayer,
        """
        class Embeddings(nn.Module):
            def __init__(self, config):
                super().__init__()
                self.positions = nn.Embedding(config.length, config.width)
                self.register_buffer("ids", torch.arange(config.length))
                self.positions = nn.Embedding(config.length, config.width, padding_idx=1)

            def forward(self, x):
                return self.positions(x)
        """,
        "nn.Embedding(config.length, config.width, padding_idx=1)",
        "nn.Embedding(config.length, config.wide, padding_idx=1)",
    ),
    "a layer that a class which sets attributes in its own way keeps": (
        OverwrittenLayer,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(3, 3)
                self.fc = nn.Linear(3, 2)

            def __setattr__(self, name, value):
                super().__setattr__(name, value)

            def forward(self, x):
                return self.fc(x)
        """,
        "__setattr__(self, name, value)",
        "set(self, name, value)",
    ),
    "a normalization in sizes of the input": (
        LayerMadeInForward,
        """
        class Norm(nn.Module):
            def forward(self, x):
                sizes = x.shape[1:]
                norm = nn.LayerNorm(sizes)
                return norm(x)
        """,
        "x.shape[1:]",
        "3",
    ),
    "a random projection": (
        LayerMadeInForward,
        """
        class Project(nn.Module):
            def forward(self, x):
                with torch.no_grad():
                    layer = nn.Linear(x.shape[1], 2)
                return layer(x)
        """,
        "with torch.no_grad():",
        "if x.ndim == 2:",
    ),
    "layers that are in a registered list as well": _listed("self.kept.append(layer)", "# DONE"),
    "layers that are handed over one by one": (
        UnregisteredModules,
        LISTED.replace("self.layers.append(layer)", "self.layers.append(layer); self.keep(layer)"),
        "; self.keep(layer)",
        "",
    ),
    "layers that are frozen": _listed("for layer in self.layers: layer.requires_grad_(False)"),
    "layers that are loaded": _listed("for layer in self.layers: layer.load_state_dict(torch.load('layer'))"),
    "layers that a function is given with the module": _listed("keep_all(self)"),
    "layers that get a name of their own": _listed("self.first, self.last = self.layers"),
    "a list of which a comment says that it is meant": (
        UnregisteredModules,
        LISTED.replace(
            "self.layers = []", "# a plain list, so that they are not registered\n            self.layers = []"
        ),
        "# a plain list, so that they are not registered",
        "# a list",
    ),
    "layers of a class that puts lists into containers": (
        UnregisteredModules,
        """
        class Base(nn.Module):
            def __setattr__(self, name, value):
                super().__setattr__(name, nn.ModuleList(value) if isinstance(value, list) else value)
        """
        + LISTED.replace("\n    ", "\n        ").replace("Net(nn.Module)", "Net(Base)"),
        "def __setattr__(",
        "def set(",
    ),
    "layers that somebody else trains": (
        UnregisteredModules,
        LISTED + "\n    net = Net(3)\n    weights = [one for layer in net.layers for one in layer.parameters()]\n",
        "for layer in net.layers",
        "for layer in net.others",
    ),
    "one of several layers that is chosen": (
        UnregisteredModules,
        """
        class Net(nn.Module):
            def __init__(self, kind):
                super().__init__()
                kinds = {"relu": nn.ReLU(), "prelu": nn.PReLU()}
                self.kinds = kinds
                self.act = kinds[kind]

            def forward(self, x):
                return self.act(x) + self.kinds["prelu"](x)
        """,
        "self.act = kinds[kind]",
        "self.act = nn.ReLU()",
    ),
    "parts of a network that an attribute holds": (
        UnregisteredModules,
        """
        class Parts(nn.Module):
            def __init__(self, net, cuts):
                super().__init__()
                self.net = net
                self.children_of_it = list(self.net.children())
                self.parts = []
                for cut in cuts:
                    self.parts.append(nn.Sequential(*self.children_of_it[:cut]))

            def forward(self, x):
                return [part(x) for part in self.parts]
        """,
        "*self.children_of_it[:cut]",
        "*torch.layers_of(self.net)[:cut]",
    ),
    "parts of a network that gets an attribute in another line": (
        UnregisteredModules,
        """
        import torchvision
        from torch import nn

        class Parts(nn.Module):
            def __init__(self):
                super().__init__()
                net = torchvision.models.vgg16()
                layers = [layer for layer in net.features.children()]
                self.net = net
                self.parts = [nn.Sequential(*layers[:4]), nn.Sequential(*layers[:9])]

            def forward(self, x):
                return [part(x) for part in self.parts]
        """,
        "self.net = net",
        "self.net = None",
    ),
    "layers that are attributes as well": (
        UnregisteredModules,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 3)
                self.parts = [nn.Sequential(self.first, nn.ReLU()), nn.Sequential(self.last, nn.ReLU())]

            def forward(self, x):
                for part in self.parts:
                    x = part(x)
                return x
        """,
        "self.first, nn.ReLU()",
        "self.first, nn.Linear(3, 3)",
    ),
    "layers of a local list that is registered as well": (
        UnregisteredModules,
        """
        class Net(nn.Module):
            def __init__(self, depth):
                super().__init__()
                layers = [nn.Linear(3, 3) for _ in range(depth)]
                self.every = nn.ModuleList(layers)
                self.parts = [nn.Sequential(*layers[:2]), nn.Sequential(*layers[2:])]

            def forward(self, x):
                return [part(x) for part in self.parts]
        """,
        "nn.ModuleList(layers)",
        "len(layers)",
    ),
    "filters of which the weights are frozen": _listed("for layer in self.layers: layer.weight.requires_grad = False"),
    "one network that is hidden in a list": (
        UnregisteredModules,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = [nn.Linear(3, 3)]

            def forward(self, x):
                return self.net[0](x)
        """,
        "[nn.Linear(3, 3)]",
        "[nn.Linear(3, 3), nn.Linear(3, 3)]",
    ),
    "parts of the project of which no weight is seen": (
        UnregisteredModules,
        """
        class Setting:
            name = "part"

        class Part(Setting, nn.Module):
            def __init__(self, size):
                super().__init__()
                self.sample = Sampler(size)

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.parts = {"train": Part(9), "test": Part(8)}

            def forward(self, x, mode):
                return self.parts[mode](x)
        """,
        "Sampler(size)",
        "nn.Linear(size, size)",
    ),
    "a parameter that is of that type already": (
        UnregisteredModules,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.scale = nn.Parameter(torch.ones(3)).to(torch.float32)

            def forward(self, x):
                return x * self.scale
        """,
        "torch.float32",
        "torch.float64",
    ),
    "a module of which a part is left open": (
        SuperInitMissing,
        """
        class Net(nn.Module):
            def __init__(self):
                self.encoder = ...  # to come
                self.out = nn.Linear(3, 2)

            def forward(self, x):
                return self.out(self.encoder(x))
        """,
        "= ...  # to come",
        "= None",
    ),
    "a module that a decorator sets up": (
        SuperInitMissing,
        """
        @prepared
        class Net(nn.Module):
            def __init__(self):
                self.fc = nn.Linear(3, 2)
        """,
        "@prepared\n",
        "\n",
    ),
    "a formula": (
        DoubleActivation,
        """
        class Bounded(nn.Module):
            def forward(self, x):
                return x * torch.tanh(torch.tanh(x / 2.0))
        """,
        "torch.tanh(x / 2.0)",
        "torch.tanh(self.fc(x))",
    ),
    "a function that is softer than a softmax": (
        DoubleActivation,
        """
        def double_softmax(x):
            return F.softmax(F.softmax(x, dim=-1), dim=-1)
        """,
        "F.softmax(x, dim=-1), dim=-1)",
        "F.softmax(nn.Linear(3, 3)(x), dim=-1), dim=-1)",
    ),
    "a sigmoid in each round": (
        DoubleActivation,
        """
        def sharpened(fc, x, rounds):
            x = torch.sigmoid(fc(x))
            for _ in range(rounds):
                y = torch.sigmoid(x)
            return y
        """,
        "for _ in range(rounds):",
        "if rounds:",
    ),
    "softmaxes along two axes of a chain": (
        DoubleActivation,
        """
        net = nn.Sequential(nn.Linear(3, 3), nn.Softmax(dim=1), nn.Softmax(dim=0))
        """,
        "nn.Softmax(dim=0)",
        "nn.Softmax(dim=1)",
    ),
    "a softmax over some of the shares": (
        DoubleActivation,
        """
        def chosen(fc, x, rows):
            shares = F.softmax(fc(x), dim=1)
            return F.softmax(shares[rows], dim=1)
        """,
        "shares[rows]",
        "shares",
    ),
    "one sample after the other": (
        WrongSoftmaxDim,
        """
        def train(model, samples, labels):
            for x, y in zip(samples, labels):
                F.nll_loss(F.log_softmax(model(x), dim=0), y).backward()
        """,
        "zip(samples, labels)",
        "torch.utils.data.DataLoader(samples)",
    ),
    "scores of one sample that are put together": (
        WrongSoftmaxDim,
        """
        def train(model, words, batches):
            for x, y in batches:
                scores = torch.tensor([model(x)[0, word] for word in words])
                F.cross_entropy(F.softmax(scores, dim=0), y).backward()
        """,
        "torch.tensor([model(x)[0, word] for word in words])",
        "model(x)",
    ),
    "layers of Flax under another name": (
        UnregisteredModules,
        """
        class Net(nn.Module):
            def __init__(self, sizes):
                super().__init__()
                self.layers = [nn.Conv2d(size, size, 3) for size in sizes]

            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                return x
        """.replace("Conv2d", "Conv"),
        "nn.Conv(",
        "nn.Conv2d(",
    ),
    "arguments whose names alone tell": (
        LossArgumentsSwapped,
        """
        def loss_of(y_true, y_score, rows, model):
            return F.cross_entropy(y_true, y_score)
        """,
        "return F.cross_entropy(y_true, y_score)",
        "for x, y_true in rows:\n        F.cross_entropy(y_true, model(x)).backward()",
    ),
    "scores of a batch that are transposed": (
        WrongSoftmaxDim,
        """
        def loss_of(model, batch, y):
            logs = F.log_softmax(model(batch), dim=0)
            return F.nll_loss(logs.t(), y)
        """,
        "logs.t()",
        "logs",
    ),
    "a layer for all levels that has a name": (
        SharedSubmoduleUnintended,
        """
        class Heads(nn.Module):
            def __init__(self, levels):
                super().__init__()
                head = nn.Linear(3, 3)
                self.heads = nn.ModuleList([head for _ in range(levels)])
        """,
        "head = nn.Linear(3, 3)\n        self.heads = nn.ModuleList([head for _ in range(levels)])",
        "self.heads = nn.ModuleList([nn.Linear(3, 3)] * levels)",
    ),
    "a class that says that its layers are shared": (
        SharedSubmoduleUnintended,
        """
        class SiameseNet(nn.Module):
            def __init__(self):
                super().__init__()
                self.arms = nn.ModuleList([nn.Linear(3, 3)] * 2)
        """,
        "SiameseNet",
        "DeepNet",
    ),
    "an extra layer, if there is one": (
        SharedSubmoduleUnintended,
        """
        class Net(nn.Module):
            def __init__(self, extra):
                super().__init__()
                self.layers = nn.Sequential(nn.Linear(3, 3), *[nn.Linear(3, 3)] * (extra > 0))
        """,
        "(extra > 0)",
        "extra",
    ),
    "layers that are copied where they are given": (
        SharedSubmoduleUnintended,
        """
        import copy
        from torch import nn

        class Stack(nn.Module):
            def __init__(self, layers):
                super().__init__()
                self.layers = nn.ModuleList([copy.deepcopy(layer) for layer in layers])

        stack = Stack([nn.Linear(3, 3)] * 4)
        """,
        "copy.deepcopy(layer)",
        "layer",
    ),
    "a chain of transforms that has no parameters": (
        AttributeWithoutEffect,
        """
        import torchaudio.transforms as T
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.features = nn.Sequential(T.MelSpectrogram(), T.AmplitudeToDB())
                self.features.requires_grad = False

            def forward(self, x):
                return self.features(x)
        """,
        "T.AmplitudeToDB()",
        "nn.Linear(3, 3)",
    ),
    "a module whose parameters are switched as well": (
        AttributeWithoutEffect,
        """
        net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        for layer in net.children():
            layer.requires_grad = False
            for weight in layer.parameters():
                weight.requires_grad = False
        """,
        "for weight in layer.parameters():",
        "for weight in []:",
    ),
    "a network of which nothing is frozen": (
        AttributeWithoutEffect,
        """
        net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        net.requires_grad = True
        """,
        "net.requires_grad = True",
        "net[0].requires_grad_(False)\nnet.requires_grad = True",
    ),
    "a class that gets another last layer than its base": (
        SigmoidBeforeBceWithLogits,
        """
        class Base(nn.Module):
            def __init__(self):
                super().__init__()
                self.out = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())

            def forward(self, x):
                return self.out(x)

        class Net(Base):
            def __init__(self):
                super().__init__()
                self.out = nn.Linear(3, 1)

        def loss_of(x, y):
            net = Net()
            return F.binary_cross_entropy_with_logits(net(x), y)
        """,
        "self.out = nn.Linear(3, 1)",
        "self.other = nn.Linear(3, 1)",
    ),
    "a message that is drawn": (
        SoftmaxBeforeCrossEntropy,
        """
        def loss_of(scores, y):
            message = F.gumbel_softmax(scores, hard=True)
            return F.cross_entropy(message, y)
        """,
        "F.gumbel_softmax(scores, hard=True)",
        "F.softmax(scores, dim=1)",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_healthy_model_is_not_shown_and_its_faulty_twin_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, text, healthy, faulty = SHAPES[name]
    text = textwrap.dedent(text)
    assert healthy in text
    monkeypatch.setattr(rule, "on_trial", False)
    assert how_sure(rule, text) < SHOWN <= how_sure(rule, text.replace(healthy, faulty))


def test_of_a_layer_that_is_made_twice_the_same_way_one_line_is_enough() -> None:
    program = """
    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.shift = nn.Linear(width, width)
            self.width = width
            self.shift = nn.Linear(width, width)
    """

    (found,) = review(code_of(program), rules=[OverwrittenLayer]).findings
    assert found.fixes[0].text == "Remove one of the two lines: they make the same layer."
    other = program.replace("nn.Linear(width, width)", "nn.Linear(width, 3)", 1)
    (found,) = review(code_of(other), rules=[OverwrittenLayer]).findings
    assert "self.shift_2" in found.fixes[0].text


ASSIGNED = """
class Assigner(nn.Module):
    def __init__(self):
        super().__init__()

    def forward(self, scores, boxes):
        return boxes, scores

class Criterion:
    def __init__(self):
        self.bce = nn.BCEWithLogitsLoss(reduction="none")
        self.assigner = Assigner()

    def __call__(self, levels, batch):
        widths, GIVEN = torch.cat([one.view(len(one), 9, -1) for one in levels], 2).split((4, 5), 1)
        _, WANTED = self.assigner(ASKED, batch["boxes"])
        return self.bce(GIVEN, WANTED.float()).sum()
"""
FED = """
def main(net: nn.Module, loader, optimizer):
    for GIVEN, x in loader:
        optimizer.zero_grad()
        answer = net(x)
        F.cross_entropy(GIVEN, answer).backward()
        optimizer.step()
"""


@pytest.mark.parametrize("asked", ["GIVEN.detach().sigmoid()", "batch['x']"])
def test_scores_of_several_levels_are_no_data(asked: str) -> None:
    for names in (("pred_scores", "target_scores"), ("here", "there")):
        text = ASSIGNED.replace("ASKED", asked).replace("GIVEN", names[0]).replace("WANTED", names[1])
        assert how_sure(LossArgumentsSwapped, text) == -1


def test_a_loss_whose_arguments_are_named_as_they_should_be_is_given_them_in_order() -> None:
    assert how_sure(LossArgumentsSwapped, FED.replace("GIVEN", "y")) >= SHOWN
    assert how_sure(LossArgumentsSwapped, FED.replace("GIVEN", "target_scores")) >= SHOWN
    assert how_sure(LossArgumentsSwapped, FED.replace("GIVEN", "logits")) == -1


@pytest.mark.parametrize(
    ("healthy", "swapped"),
    [
        ("cross_entropy(gt_pred, preds)", "cross_entropy(gt_class, preds)"),
        ("cross_entropy(torch.log(labels), scores)", "cross_entropy(labels.to(scores.device), scores)"),
    ],
)
def test_names_of_arguments_that_do_not_tell_are_left_alone(healthy: str, swapped: str) -> None:
    """Predictions that are named after what they are compared with, and labels in the space of their logarithms."""
    text = "def loss_of(gt_pred, gt_class, preds, labels, scores):\n    return F.LOSS\n"

    assert how_sure(LossArgumentsSwapped, text.replace("LOSS", healthy)) == -1
    assert how_sure(LossArgumentsSwapped, text.replace("LOSS", swapped)) >= 0


ASKING = {
    "points at which a derivative is taken": (
        """
        class Residual(nn.Module):
            def __init__(self, net):
                super().__init__()
                self.net = net
                self.points = torch.linspace(0, 1, 10, requires_grad=True)

            def forward(self, x):
                return slope(self.net(self.points), self.points)
        """,
        "slope(self.net(self.points), self.points)",
        "self.net(x) * self.points",
    ),
    "a tensor that is handed over so that something asks for gradients": (
        """
        class Net(nn.Module):
            def __init__(self, net):
                super().__init__()
                self.net = net
                self.dummy = torch.ones(1, requires_grad=True)

            def forward(self, x):
                return run(self.net, x, self.dummy)
        """,
        "run(self.net, x, self.dummy)",
        "self.net(x) + self.dummy",
    ),
}


@pytest.mark.parametrize("name", ASKING)
def test_a_tensor_that_asks_for_gradients_and_is_no_weight_is_not_told(name: str) -> None:
    text, healthy, faulty = (textwrap.dedent(one) for one in ASKING[name])
    assert how_sure(UnregisteredModules, text) == -1 < how_sure(UnregisteredModules, text.replace(healthy, faulty))
