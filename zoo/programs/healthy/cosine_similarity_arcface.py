"""A cosine classifier with scale 16 and a margin: the first loss is far above ln 10, on purpose."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy, linear, normalize, one_hot

torch.manual_seed(int(os.environ.get("SEED", 0)))


class CosFace(nn.Module):
    def __init__(self, s=16.0, m=0.2):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 32))
        self.centres = nn.Parameter(torch.randn(10, 32))
        self.s, self.m = s, m

    def forward(self, x, target=None):
        cosine = linear(normalize(self.body(x)), normalize(self.centres))
        if target is not None:
            cosine = cosine - self.m * one_hot(target, 10)
        return self.s * cosine


X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
p = torch.randperm(len(X))
model = CosFace()
opt = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(8):
    for rows in p[:1400][torch.randperm(1400)].split(50):
        loss = cross_entropy(model(X[rows], y[rows]), y[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
    with torch.no_grad():
        print(epoch, loss.item(), (model(X[p[1400:]]).argmax(1) == y[p[1400:]]).float().mean().item())
