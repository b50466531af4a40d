"""Focal loss for a rare class: easy samples hardly count, so the loss is small from the first step."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
X = torch.tensor(X / 16, dtype=torch.float32)
t = torch.tensor(y == 3).float()
p = torch.randperm(len(X))


def focal(logit, target, gamma=2.0, alpha=0.75):
    ce = nn.functional.binary_cross_entropy_with_logits(logit, target, reduction="none")
    right = torch.exp(-ce)
    weight = torch.where(target == 1, alpha, 1 - alpha)
    return (weight * (1 - right) ** gamma * ce).mean()


net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(10):
    for rows in p[:1400][torch.randperm(1400)].split(50):
        loss = focal(net(X[rows]).squeeze(1), t[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
    with torch.no_grad():
        said = net(X[p[1400:]]).squeeze(1) > 0
        recall = said[t[p[1400:]] == 1].float().mean()
    print(epoch, loss.item(), "recall", recall.item())
