"""What a loop does through methods that another file defines."""

from __future__ import annotations

from code_programs import code_of
from stethoscope.facts.events import events_of

HEIR = """
# file: trainer.py
import torch
from torch import nn

class Trainer:
    def __init__(self, net):
        first, second, third, fourth = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
        self.net = net
        self.parts = [first, second, third, fourth]

    def step(self, x):
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)
        self.optimizer.zero_grad()
        self.net(x).sum().backward()
        self.optimizer.step()

    def run(self, x):
        for _ in range(9):
            self.step(x)

# file: heir.py
from trainer import Trainer

class Heir(Trainer):
    def fit(self, x):
        self.run(x)

    def refit(self, x):
        self.fit(x)
"""


def test_an_attribute_that_is_handed_on_through_two_methods_belongs_to_the_file_that_names_it() -> None:
    code = code_of(HEIR)

    events = [event for event in events_of(code, 2) if event.kind == "step"]

    assert [event.thing.kind for event in events] == ["optimizer"]
