"""A search over learning rates: short runs, some of them bad on purpose, then one long run with the best."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
p = torch.randperm(len(X))
tr, va = p[:1400], p[1400:]


def run(lr, epochs):
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    opt = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for _ in range(epochs):
        for rows in tr[torch.randperm(len(tr))].split(50):
            loss = nn.functional.cross_entropy(model(X[rows]), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
    with torch.no_grad():
        return nn.functional.cross_entropy(model(X[va]), y[va]).item()


found = {lr: run(lr, 2) for lr in (0.003, 0.01, 0.03, 0.1)}
print(found)
best = min(found, key=found.get)
print("best", best, "after a long run:", run(best, 10))
