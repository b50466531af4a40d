"""A Bayesian regression network: weights are drawn anew each step, and a small KL term is part of the loss."""

import math
import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
N = 300
x = torch.rand(N, 1) * 4 - 2
y = torch.sin(2 * x) + 0.1 * torch.randn(N, 1)


class BayesLinear(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.mu = nn.Parameter(torch.randn(o, i) / math.sqrt(i))
        self.rho = nn.Parameter(torch.full((o, i), -4.0))
        self.bias = nn.Parameter(torch.zeros(o))

    def forward(self, x):
        sigma = nn.functional.softplus(self.rho)
        self.kl = (0.5 * (sigma**2 + self.mu**2) - sigma.log() - 0.5).sum()
        return nn.functional.linear(x, self.mu + sigma * torch.randn_like(sigma), self.bias)


net = nn.Sequential(BayesLinear(1, 32), nn.Tanh(), BayesLinear(32, 32), nn.Tanh(), BayesLinear(32, 1))
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
for step in range(600):
    rows = torch.randint(N, (50,))
    fit = nn.functional.mse_loss(net(x[rows]), y[rows])
    kl = sum(layer.kl for layer in net if isinstance(layer, BayesLinear))
    loss = fit + 1e-5 * kl
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 100 == 0:
        print(step, fit.item(), kl.item())
