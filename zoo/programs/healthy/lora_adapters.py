"""Low-rank adapters: a trained network is frozen, small matrices beside it are trained, one of which starts at zero."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
p = torch.randperm(len(X))
flipped = X.view(-1, 8, 8).flip(2).reshape(-1, 64)


class LoRA(nn.Module):
    def __init__(self, base, rank=6):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + x @ self.A.T @ self.B.T


def fit(model, data, epochs, lr):
    opt = torch.optim.AdamW([q for q in model.parameters() if q.requires_grad], lr=lr)
    for epoch in range(epochs):
        for rows in p[:1400][torch.randperm(1400)].split(40):
            loss = nn.functional.cross_entropy(model(data[rows]), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
    with torch.no_grad():
        return loss.item(), (model(data[p[1400:]]).argmax(1) == y[p[1400:]]).float().mean().item()


net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
print("upright", fit(net, X, 8, 2e-3))
net[0], net[2] = LoRA(net[0]), LoRA(net[2])
print("mirrored, adapters only", fit(net, flipped, 12, 5e-3))
