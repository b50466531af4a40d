"""Sparse by design: a linear model with a proximal L1 step; most weights end at exactly zero."""

import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
n, d = 400, 60
truth = torch.zeros(d)
truth[:5] = torch.tensor([2.0, -1.5, 1.0, 3.0, -2.0])
X = torch.randn(n, d)
y = (X @ truth + 0.3 * torch.randn(n)).unsqueeze(1)
model = nn.Linear(d, 1)
lr, strength = 0.02, 0.15
opt = torch.optim.SGD(model.parameters(), lr=lr)
for epoch in range(30):
    for rows in torch.randperm(n).split(20):
        loss = nn.functional.mse_loss(model(X[rows]), y[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            w = model.weight
            w.copy_(w.sign() * (w.abs() - lr * strength).clamp_min(0))
    if epoch % 10 == 9:
        print(epoch + 1, loss.item(), "weights in use:", int((model.weight != 0).sum()))
