"""Three quantiles of the progression score at once, by the pinball loss, written by hand."""

import os

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import nn

seed = int(os.environ.get("SEED", 0))
torch.manual_seed(seed)
rng = np.random.default_rng(seed)
X, y = load_diabetes(return_X_y=True)
X = torch.tensor(X / X.std(0), dtype=torch.float32)
y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32).unsqueeze(1)
rows = torch.from_numpy(rng.permutation(len(X)))
tr, va = rows[:340], rows[340:]
TAUS = torch.tensor([0.1, 0.5, 0.9])


def pinball(pred, target):
    error = target - pred
    return torch.maximum(TAUS * error, (TAUS - 1) * error).mean()


net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))
opt = torch.optim.Adam(net.parameters(), lr=3e-3, weight_decay=1e-4)
for epoch in range(30):
    for b in tr[torch.randperm(len(tr))].split(34):
        loss = pinball(net(X[b]), y[b])
        opt.zero_grad()
        loss.backward()
        opt.step()
    if epoch % 5 == 4:
        with torch.no_grad():
            q = net(X[va])
            inside = ((y[va] > q[:, :1]) & (y[va] < q[:, 2:])).float().mean()
        print(f"epoch {epoch + 1} loss {loss.item():.3f} share inside 10..90 %: {inside:.2f}")
