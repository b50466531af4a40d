"""Faults put into fresh packages that nothing was said of: weights kept or frozen, clipping, layers of equal weights,
heads of Keras models; each beside a healthy twin.
"""

from __future__ import annotations

import textwrap

import pytest

from code_programs import how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.loop.checkpoint_aliased import CheckpointAliased
from stethoscope.rules.loop.gradient_clipping_misplaced import GradientClippingMisplaced
from stethoscope.rules.loss.cross_entropy_without_softmax import CrossEntropyWithoutSoftmax
from stethoscope.rules.parameters.attribute_without_effect import AttributeWithoutEffect
from stethoscope.rules.parameters.symmetric_initialization import SymmetricInitialization

EPOCHS = """
        import copy

        def train(model, loader, optimizer, score, patience):
            best, state, waited = None, None, 0
            for epoch in range(10):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                now = score(model)
"""
SAME = "copy.deepcopy(model.state_dict())", "model.state_dict()"
CLIP = "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)"
TWINS: dict[str, tuple[type[Rule], str, str, str]] = {
    "the best weights, where another branch stops the training": (
        CheckpointAliased,
        EPOCHS
        + """
                if best is None or now > best:
                    best, waited = now, 0
                    state = copy.deepcopy(model.state_dict())
                else:
                    waited += 1
                    if waited > patience:
                        break
            model.load_state_dict(state)
        """,
        *SAME,
    ),
    "the first weights, which are the best until others are": (
        CheckpointAliased,
        EPOCHS
        + """
                if best is None:
                    best = now
                    state = copy.deepcopy(model.state_dict())
                else:
                    if now > best:
                        best = now
                        save(model)
            model.load_state_dict(state)
        """,
        *SAME,
    ),
    "weights behind which nothing more is trained": (
        CheckpointAliased,
        EPOCHS
        + """
                if best is None or now > best:
                    state = model.state_dict()
                    break
                else:
                    waited += 1
            model.load_state_dict(state)
        """,
        "break",
        "print(now)",
    ),
    "clipping with a step now and then": (
        GradientClippingMisplaced,
        f"""
        def train(model, loader, optimizer):
            optimizer.zero_grad()
            for i, (x, y) in enumerate(loader):
                F.cross_entropy(model(x), y).backward()
                if i % 4 == 3:
                    {CLIP}; optimizer.step()
                    optimizer.zero_grad()
        """,
        f"{CLIP}; optimizer.step()",
        f"optimizer.step(); {CLIP}",
    ),
    "clipping where a function trains or evaluates": (
        GradientClippingMisplaced,
        f"""
        def go_through(model, loader, optimizer, train):
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                if train:
                    optimizer.zero_grad()
                    loss.backward()
                    {CLIP}; optimizer.step()
        """,
        f"{CLIP}; optimizer.step()",
        f"optimizer.step(); {CLIP}",
    ),
    "clipping with a second backward pass under a condition": (
        GradientClippingMisplaced,
        f"""
        def train(model, loader, optimizer, both):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                if both:
                    model(x).norm().backward()
                {CLIP}; optimizer.step()
        """,
        f"{CLIP}; optimizer.step()",
        f"optimizer.step(); {CLIP}",
    ),
    "clipping for the step that follows, where nothing is cleared in between": (
        GradientClippingMisplaced,
        f"""
        def train(model, loader, optimizer, last):
            for x, y in loader:
                F.cross_entropy(model(x), y).backward()
                if last:
                    optimizer.step()
                    {CLIP}
                optimizer.step()
                optimizer.zero_grad()
        """,
        "optimizer.step()\n        optimizer.zero_grad()",
        "optimizer.zero_grad()",
    ),
    "convolutions, transposed ones among them": (
        SymmetricInitialization,
        """
        class Init:
            def __call__(self, module):
                if isinstance(module, nn.Conv3d) or isinstance(module, nn.ConvTranspose3d):
                    nn.init.kaiming_normal_(module.weight)
        """,
        "kaiming_normal_(module.weight)",
        "constant_(module.weight, 0.01)",
    ),
    "layers by their type, before a training": (
        SymmetricInitialization,
        """
        def train(net, loader, optimizer):
            def init(m):
                if type(m) is nn.Linear or type(m) is nn.Conv2d:
                    nn.init.xavier_uniform_(m.weight)

            net.apply(init)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
        """,
        "xavier_uniform_(m.weight)",
        "constant_(m.weight, 0.01)",
    ),
    "a head among the layers of a model's own class": (
        CrossEntropyWithoutSoftmax,
        """
        from tensorflow import keras, losses

        class Net(keras.Model):
            def __init__(self):
                super().__init__()
                self.hidden = keras.layers.Dense(32, activation="relu")
                self.last = keras.layers.Dense(10)

            def call(self, x):
                x = self.hidden(x)
                return self.last(x)

        model = Net()
        model.compile("adam", loss=losses.SparseCategoricalCrossentropy(from_logits=True))
        """,
        "from_logits=True",
        "",
    ),
    "a product with weights of the model's own": (
        CrossEntropyWithoutSoftmax,
        """
        import tensorflow as tf

        class Net(tf.keras.Model):
            def build(self, shape):
                self.w = self.add_weight(shape=(3, 10))

            def call(self, x):
                x = tf.einsum("bt,ti->bi", x, self.w)
                return x

        model = Net()
        model.compile("adam", loss=tf.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1))
        """,
        "from_logits=True, ",
        "",
    ),
    "a model that a function is handed": (
        AttributeWithoutEffect,
        """
        import torch

        def freeze(model):
            for param in model.parameters():
                param.requires_grad = False
        """,
        "for param in model.parameters():\n        param.requires_grad",
        "model.requires_grad",
    ),
    "the layers of two lists": (
        AttributeWithoutEffect,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList()
                self.norms = nn.ModuleList()

            def freeze(self):
                for layers in [self.layers, self.norms]:
                    for layer in layers:
                        for param in layer.parameters():
                            param.requires_grad = False

            def forward(self, x):
                return self.norms[0](self.layers[0](x))
        """,
        "for param in layer.parameters():\n                    param.requires_grad",
        "layer.requires_grad",
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_fault_is_seen_and_its_twin_is_silent(name: str) -> None:
    rule, text, healthy, faulty = TWINS[name]
    text = textwrap.dedent(text)
    assert healthy in text
    assert how_sure(rule, text) < 0 <= how_sure(rule, text.replace(healthy, faulty))
