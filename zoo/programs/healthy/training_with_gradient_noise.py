"""Langevin dynamics: noise is added to the gradients at each step, so the loss never comes to rest."""

import os

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_breast_cancer(return_X_y=True)
X = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
y = torch.tensor(y, dtype=torch.float32)
net = nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.05)
for epoch in range(15):
    for rows in torch.randperm(len(X)).split(32):
        loss = nn.functional.binary_cross_entropy_with_logits(net(X[rows]).squeeze(1), y[rows])
        opt.zero_grad()
        loss.backward()
        for p in net.parameters():
            p.grad.add_(0.01 * torch.randn_like(p))
        opt.step()
    if epoch % 3 == 2:
        print(epoch + 1, loss.item())
