"""A physics-informed network: solves u'' = -u with u(0) = 0, u'(0) = 1, so u = sin."""

import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
u = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(u.parameters(), lr=3e-3)
start = torch.zeros(1, 1, requires_grad=True)


def derivative(y, x):
    return torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True)[0]


for step in range(600):
    x = (3 * torch.rand(64, 1)).requires_grad_()
    value = u(x)
    residual = derivative(derivative(value, x), x) + value
    at_start = u(start)
    boundary = at_start.square().mean() + (derivative(at_start, start) - 1).square().mean()
    loss = residual.square().mean() + boundary
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 99:
        with torch.no_grad():
            grid = torch.linspace(0, 3, 50).unsqueeze(1)
            error = (u(grid) - torch.sin(grid)).abs().max()
        print(f"step {step + 1} loss {loss.item():.5f} largest error {error.item():.4f}")
