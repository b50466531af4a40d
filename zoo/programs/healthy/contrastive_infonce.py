"""Contrastive learning (InfoNCE): two noisy views of each digit must find each other within the batch."""

import os

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

torch.manual_seed(int(os.environ.get("SEED", 0)))
x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
x = (x - x.mean()) / x.std()
y = torch.tensor(load_digits().target)
perm = torch.randperm(len(x))
x, y = x[perm], y[perm]


def augment(batch):
    shifted = torch.roll(batch.view(-1, 8, 8), shifts=int(torch.randint(-1, 2, ())), dims=2).flatten(1)
    return shifted + 0.2 * torch.randn_like(batch)


class SimCLR(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
        self.projector = nn.Sequential(nn.ReLU(), nn.Linear(64, 32))

    def forward(self, x):
        return F.normalize(self.projector(self.encoder(x)), dim=-1)


def info_nce(z1, z2, temperature=0.2):
    logits = z1 @ z2.T / temperature
    targets = torch.arange(len(z1))
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


model = SimCLR()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(12):
    model.train()
    for batch in DataLoader(x[:1408], batch_size=64, shuffle=True):
        loss = info_nce(model(augment(batch)), model(augment(batch)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        bank, query = model(x[:1408]), model(x[1408:])
        hits = (y[:1408][(query @ bank.T).argmax(1)] == y[1408:]).float().mean()
    print(f"epoch {epoch:2d} loss {loss.item():.3f} nearest neighbour {hits.item():.3f}")
