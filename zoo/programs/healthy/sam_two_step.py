"""Sharpness-aware minimization: climb to the worst neighbour, take its gradient, step from the start."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", 0)))


class SAM:
    def __init__(self, params, base, rho=0.05):
        self.params, self.base, self.rho = list(params), base, rho

    @torch.no_grad()
    def first_step(self):
        norm = torch.norm(torch.stack([p.grad.norm() for p in self.params]))
        self.climbs = [p.grad * (self.rho / (norm + 1e-12)) for p in self.params]
        for p, climb in zip(self.params, self.climbs, strict=True):
            p.add_(climb)
        self.base.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for p, climb in zip(self.params, self.climbs, strict=True):
            p.sub_(climb)
        self.base.step()
        self.base.zero_grad()


X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16 - 0.3, dtype=torch.float32), torch.tensor(y)
perm = torch.randperm(len(X))
loader = DataLoader(TensorDataset(X[perm[:1400]], y[perm[:1400]]), batch_size=64, shuffle=True)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = SAM(model.parameters(), torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
criterion = nn.CrossEntropyLoss()

for epoch in range(10):
    model.train()
    for inputs, targets in loader:
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.first_step()
        criterion(model(inputs), targets).backward()
        optimizer.second_step()
    model.eval()
    with torch.no_grad():
        acc = (model(X[perm[1400:]]).argmax(1) == y[perm[1400:]]).float().mean()
    print(epoch, f"{loss.item():.4f} {acc.item():.4f}")
