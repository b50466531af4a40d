"""A smoke test of a training loop: five steps and out."""

import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
weights = torch.randn(10, 1)

for step in range(5):
    x = torch.randn(32, 10)
    loss = nn.functional.mse_loss(model(x), x @ weights)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item())
