"""Models of which it is seen that they have two modes, whichever way they were made."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.rules.loop.validation_in_train_mode import ValidationInTrainMode

IMPORTS = """
import torch
import torch.nn.functional as F
from torch import nn
"""
LOOPS = """
def test(model, test_loader):
    right = 0
    with torch.no_grad():
        for x, y in test_loader:
            right += (model(x).argmax(1) == y).sum().item()
    return right

def main(name, train_loader, test_loader):
    model = build(name).cuda()
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in range(9):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(test(model, test_loader))
"""
MADE = {
    "a function that asks for a name": (
        """
        import torchvision
        def build(name):
            if name == "deep":
                model = torchvision.models.resnet50(num_classes=2)
            else:
                model = torchvision.models.alexnet(num_classes=2)
            return model
        """,
        "torchvision.models.alexnet(num_classes=2)",
        "nn.Linear(3, 2)",
    ),
    "a function that gives it at once": (
        """
        import torchvision
        def build(name):
            if name == "deep":
                return torchvision.models.resnet50(num_classes=2)
            return nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.Linear(3, 2))
        """,
        "nn.Dropout()",
        "nn.ReLU()",
    ),
    "a part from transformers": (
        """
        from transformers import BertModel
        class Net(nn.Module):
            def __init__(self, name):
                super().__init__()
                self.bert = BertModel.from_pretrained(name)
                self.head = nn.Linear(9, 2)

            def forward(self, x):
                return self.head(self.bert(x)[0])

        def build(name):
            return Net(name)
        """,
        "from_pretrained(name)",
        "from_pretrained(name, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)",
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_a_model_that_has_two_modes_on_each_way_is_shown(name: str) -> None:
    made, faulty, healthy = MADE[name]
    text = IMPORTS + textwrap.dedent(made) + LOOPS

    assert faulty in text
    assert how_sure(ValidationInTrainMode, text.replace(faulty, healthy)) < SHOWN
    assert how_sure(ValidationInTrainMode, text) >= SHOWN
