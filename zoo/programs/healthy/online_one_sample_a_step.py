"""Online learning: one sample a step, as it comes, never seen again."""

import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
weights = torch.randn(8)
net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.02)
average = 1.0
for t in range(3000):
    x = torch.randn(8)
    y = torch.sin(x @ weights / 2) + 0.05 * torch.randn(())
    loss = (net(x).squeeze() - y) ** 2
    opt.zero_grad()
    loss.backward()
    opt.step()
    average = 0.99 * average + 0.01 * loss.item()
    if t % 500 == 499:
        print(t + 1, f"running squared error {average:.4f}")
