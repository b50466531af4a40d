"""A hinge-loss GAN on a ring of points, its critic under spectral normalization, two critic steps for each other."""

import math
import os

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

torch.manual_seed(int(os.environ.get("SEED", 0)))


def ring(n):
    angle = torch.rand(n) * 2 * math.pi
    return torch.stack([angle.cos(), angle.sin()], 1) * (1 + 0.05 * torch.randn(n, 1))


G = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
D = nn.Sequential(
    spectral_norm(nn.Linear(2, 64)),
    nn.LeakyReLU(0.1),
    spectral_norm(nn.Linear(64, 64)),
    nn.LeakyReLU(0.1),
    spectral_norm(nn.Linear(64, 1)),
)
opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.0, 0.9))
opt_d = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.0, 0.9))
for step in range(250):
    for _ in range(2):
        fake = G(torch.randn(64, 4)).detach()
        loss_d = torch.relu(1 - D(ring(64))).mean() + torch.relu(1 + D(fake)).mean()
        opt_d.zero_grad()
        loss_d.backward()
        opt_d.step()
    loss_g = -D(G(torch.randn(64, 4))).mean()
    opt_g.zero_grad()
    loss_g.backward()
    opt_g.step()
    if step % 50 == 0:
        with torch.no_grad():
            radius = G(torch.randn(500, 4)).norm(dim=1)
        print(step, f"D {loss_d.item():.3f} G {loss_g.item():.3f} radius {radius.mean():.2f} +- {radius.std():.2f}")
