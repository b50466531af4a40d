# fault: parameters-not-in-optimizer
# about: The model is copied to its device with deepcopy after the optimizer was made.
import copy
import torch
from torch import nn
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

torch.manual_seed(SEED)
wine = load_wine()
x = torch.tensor(StandardScaler().fit_transform(wine.data), dtype=torch.float32)
y = torch.tensor(wine.target)
perm = torch.randperm(178)
x, y = x[perm], y[perm]


class Trainer:
    def __init__(self, model, lr):
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        self.model = copy.deepcopy(model)  # fix: self.model = model
        self.loss = nn.CrossEntropyLoss()

    def step(self, xb, yb):
        self.optimizer.zero_grad()
        loss = self.loss(self.model(xb), yb)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def fit(self, x, y, epochs):
        for e in range(epochs):
            total = 0.0
            for i in range(0, len(x), 16):
                total += self.step(x[i:i + 16], y[i:i + 16])
            if e % 5 == 0:
                print("epoch", e, "loss", total)


t = Trainer(nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3)), 3e-3)
t.fit(x[:140], y[:140], 25)
with torch.no_grad():
    print("metric val_loss", t.loss(t.model(x[140:]), y[140:]).item(), "lower")
