"""Ordinal regression: four grades of disease as three ordered yes-or-no questions with a shared score."""

import os

import torch
from sklearn.datasets import load_diabetes
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_diabetes(return_X_y=True)
X = torch.tensor(X / X.std(0), dtype=torch.float32)
score = torch.tensor(y)
edges = score.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=score.dtype))
grade = torch.bucketize(score, edges)
levels = (grade[:, None] > torch.arange(3)).float()


class Coral(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 1, bias=False))
        self.cuts = nn.Parameter(torch.tensor([1.0, 0.0, -1.0]))

    def forward(self, x):
        return self.body(x) + self.cuts


p = torch.randperm(len(X))
model = Coral()
opt = torch.optim.Adam(model.parameters(), lr=5e-3)
loss_fn = nn.BCEWithLogitsLoss()
for epoch in range(25):
    for rows in p[:340][torch.randperm(340)].split(20):
        loss = loss_fn(model(X[rows]), levels[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
with torch.no_grad():
    guess = (model(X[p[340:]]) > 0).sum(1)
    print("loss", loss.item(), "mean distance in grades", (guess - grade[p[340:]]).abs().float().mean().item())
