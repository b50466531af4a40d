"""Adversarial training: each batch is moved a little in the direction that hurts most before the step."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
p = torch.randperm(len(X))
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss()


def attack(x, t, eps=0.08):
    x = x.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(criterion(model(x), t), x)
    return (x + eps * grad.sign()).clamp(0, 1).detach()


for epoch in range(8):
    model.train()
    for rows in p[:1400][torch.randperm(1400)].split(50):
        loss = criterion(model(attack(X[rows], y[rows])), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    clean = (model(X[p[1400:]]).argmax(1) == y[p[1400:]]).float().mean().item()
    hard = (model(attack(X[p[1400:]], y[p[1400:]])).argmax(1) == y[p[1400:]]).float().mean().item()
    print(epoch, f"loss {loss.item():.3f} clean {clean:.3f} attacked {hard:.3f}")
