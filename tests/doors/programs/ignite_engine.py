# needs: ignite
"""Ignite: an engine runs one's own update function; an evaluator runs after each epoch."""

import os

import torch
import torch.nn.functional as F
from ignite.engine import Engine, Events, create_supervised_evaluator
from ignite.metrics import Accuracy, Loss
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", 0)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        # plant softmax-before-cross-entropy: return self.head(self.body(x)).softmax(dim=1)
        return self.head(self.body(x))


raw = load_digits()
images = torch.tensor((raw.data - raw.data.mean()) / raw.data.std(), dtype=torch.float32)
labels = torch.tensor(raw.target)
order = torch.randperm(len(labels))
train = DataLoader(TensorDataset(images[order[:1400]], labels[order[:1400]]), batch_size=32, shuffle=True)
val = DataLoader(TensorDataset(images[order[1400:]], labels[order[1400:]]), batch_size=100)
model = Net()
# plant learning-rate-too-high: optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def update(engine, batch):
    model.train()
    # plant missing-zero-grad: pass
    optimizer.zero_grad()
    x, y = batch
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


trainer = Engine(update)
evaluator = create_supervised_evaluator(model, metrics={"accuracy": Accuracy(), "loss": Loss(F.cross_entropy)})


@trainer.on(Events.EPOCH_COMPLETED)
def evaluate(engine):
    evaluator.run(val)
    print(f"epoch {engine.state.epoch} loss {engine.state.output:.4f} {evaluator.state.metrics}")


trainer.run(train, max_epochs=8)
