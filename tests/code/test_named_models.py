"""Models told by how they are used, where nothing says what they are: `requires_grad` has no effect on them."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import how_sure
from stethoscope.core.finding import Sureness
from stethoscope.rules.parameters.attribute_without_effect import AttributeWithoutEffect

FAULTS = {
    "an attribute that gives its parameters in another method": (
        """
        import torch

        class Agent:
            def setup(self, parts):
                self.pi, self.q = parts
                self.optimizer = torch.optim.Adam(self.q.parameters())

            def learn(self):
                self.q.requires_grad = False
        """,
        ".parameters()",
        ".values()",
    ),
    "an attribute that is called": (
        """
        import torch

        class Second(torch.nn.Module):
            def __init__(self, FIRST):
                super().__init__()
                self.FIRST = FIRST
                self.FIRST.requires_grad = False

            def forward(self, x):
                return self.FIRST(x)
        """,
        "self.FIRST(x)",
        "self.FIRST * x",
    ),
    "an attribute that is run by a method": (
        """
        import torch
        from nets import small

        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.context = small()
                self.context.requires_grad = False

            def forward(self, x):
                return self.context.forward_features(x)
        """,
        ".forward_features(x)",
        ".sub(x)",
    ),
    "a model that is loaded by its name": (
        """
        import torch
        from old_library import SmallModel

        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.small = SmallModel.from_pretrained("small").to("cpu")
                self.small.requires_grad = False
        """,
        '.from_pretrained("small").to("cpu")',
        ".scale",
    ),
    "an attribute by its name": (
        """
        import torch

        class Agent:
            def setup(self, parts):
                self.actor, self.critic_targ = parts
                self.critic_targ.requires_grad = False
        """,
        "critic_targ",
        "noise",
    ),
    "a part of a part": (
        """
        import torch

        class Training:
            def freeze(self):
                self.model.model.fc.requires_grad = False
        """,
        "fc",
        "scale",
    ),
    "a part of a model that may be wrapped": (
        """
        import torch

        def freeze(model):
            inner = model.module if isinstance(model, torch.nn.DataParallel) else model
            inner_model = inner
            inner_model.temporal_conv.requires_grad = False
        """,
        "temporal_conv",
        "temporal_scale",
    ),
    "layers of a library's network, by any name": (
        """
        import torch
        import torchvision

        def main(run):
            layers = torchvision.models.vgg16().features
            layers.requires_grad = False
            run(layers)
        """,
        ".features",
        ".scale",
    ),
    "what a function gets": (
        """
        import torch

        def freeze(m):
            m.requires_grad = False

        def main(model):
            model.eval()
            freeze(model.backbone)
            freeze(model.neck)
        """,
        "model.neck",
        "model.weight",
    ),
    "what is applied to all modules": (
        """
        from torch import nn

        def make(net):
            def freeze(m):
                m.requires_grad = False
            net.apply(lambda m: freeze(m) if isinstance(m, nn.BatchNorm2d) else None)
        """,
        "net.apply(lambda m: freeze(m) if isinstance(m, nn.BatchNorm2d) else None)",
        "[freeze(m) for m in net.values()]",
    ),
    "a module with weights of its own": (
        """
        import torch
        from torch import nn

        class Bank(nn.Module):
            def __init__(self, freeze):
                super().__init__()
                self.weights = nn.Parameter(torch.rand(3, 3))
                if freeze:
                    self.requires_grad = False

            def forward(self, x):
                return x @ self.weights
        """,
        "self.requires_grad",
        "self.weights.requires_grad",
    ),
    "a module with a model of which nothing else is known": (
        """
        import clip
        from torch import nn

        class Words(nn.Module):
            def __init__(self):
                super().__init__()
                self.model, _ = clip.load("small")

            def freeze(self):
                self.model = self.model.eval()
                self.requires_grad = False

            def forward(self, text):
                return self.model.encode_text(text)
        """,
        "self.requires_grad = False",
        "self.requires_grad_(False)",
    ),
    "a module of a library's own kind of modules": (
        """
        import torch
        from mmcv.runner import BaseModule

        class Patches(BaseModule):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(3, 3)

        class Net(BaseModule):
            def __init__(self):
                super().__init__()
                self.patches = Patches()

            def freeze(self):
                self.patches.requires_grad = False

            def forward(self, x):
                return self.patches.layer(x)
        """,
        "self.patches.requires_grad",
        "self.patches.layer.weight.requires_grad",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_it_is_possible_and_its_twin_is_nothing(name: str) -> None:
    """A tensor may stand in the healthy twin, or the parameters are switched as they should be."""
    text, faulty, healthy = FAULTS[name]
    assert faulty in text
    assert how_sure(AttributeWithoutEffect, textwrap.dedent(text)) == Sureness.POSSIBLE.strength
    assert how_sure(AttributeWithoutEffect, textwrap.dedent(text.replace(faulty, healthy))) == -1
