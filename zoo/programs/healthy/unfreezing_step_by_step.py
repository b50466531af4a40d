"""Gradual unfreezing: the head first, then one more layer every few epochs, each with a lower rate."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
d = load_digits()
X = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16
y = torch.tensor(d.target)
p = torch.randperm(len(X))
net = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 16, 3, stride=2),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(144, 10),
)
stages = [net[5], net[2], net[0]]
net.requires_grad_(False)
for stage, layer in enumerate(stages):
    layer.requires_grad_(True)
    groups = [{"params": each.parameters(), "lr": 2e-3 / 2**depth} for depth, each in enumerate(stages[: stage + 1])]
    optimizer = torch.optim.Adam(groups)
    for epoch in range(4):
        for rows in p[:1400][torch.randperm(1400)].split(40):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(X[rows]), y[rows])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        acc = (net(X[p[1400:]]).argmax(1) == y[p[1400:]]).float().mean().item()
    print(f"stage {stage}: loss {loss.item():.3f} accuracy {acc:.3f}")
