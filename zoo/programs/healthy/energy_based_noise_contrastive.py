"""An energy-based model of digits' first principal components, by noise contrastive estimation."""

import math
import os

import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
Z = torch.tensor(PCA(4).fit_transform(load_digits().data), dtype=torch.float32)
Z = (Z - Z.mean(0)) / Z.std(0)
SPREAD = 2.0


class Energy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
        self.log_norm = nn.Parameter(torch.zeros(()))

    def forward(self, z):
        return -self.net(z).squeeze(1) - self.log_norm


def noise_log_prob(z):
    return -0.5 * ((z / SPREAD) ** 2).sum(1) - 2 * math.log(2 * math.pi * SPREAD**2)


model = Energy()
opt = torch.optim.Adam(model.parameters(), lr=2e-3)
bce = nn.BCEWithLogitsLoss()
for step in range(300):
    real, noise = Z[torch.randint(len(Z), (64,))], SPREAD * torch.randn(64, 4)
    both = torch.cat([real, noise])
    logit = model(both) - noise_log_prob(both)
    loss = bce(logit, torch.cat([torch.ones(64), torch.zeros(64)]))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 60 == 0:
        print(step, loss.item())
