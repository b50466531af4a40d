"""A denoising diffusion model of a spiral: the loss is noisy and stays near its floor for long."""

import math
import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
T = 50
betas = torch.linspace(1e-3, 0.15, T)
keep = torch.cumprod(1 - betas, 0)


def spiral(n):
    r = torch.rand(n)
    angle = r * 3 * math.pi
    return torch.stack([r * angle.cos(), r * angle.sin()], 1) * 2


class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.time = nn.Embedding(T, 32)
        self.net = nn.Sequential(nn.Linear(34, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2))

    def forward(self, x, t):
        return self.net(torch.cat([x, self.time(t)], 1))


model = Denoiser()
opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
for step in range(600):
    x = spiral(128)
    t = torch.randint(0, T, (128,))
    noise = torch.randn_like(x)
    noisy = keep[t, None].sqrt() * x + (1 - keep[t, None]).sqrt() * noise
    loss = nn.functional.mse_loss(model(noisy, t), noise)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 100 == 0:
        print(step, loss.item())
