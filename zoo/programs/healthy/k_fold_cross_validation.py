"""Five folds, each with a network and an optimizer of its own."""

import os

import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from torch import nn

seed = int(os.environ.get("SEED", 0))
torch.manual_seed(seed)
X, y = load_wine(return_X_y=True)
scores = []
for fold, (train, test) in enumerate(StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y)):
    mean, std = X[train].mean(0), X[train].std(0)
    xt, xv = (torch.tensor((X[rows] - mean) / std, dtype=torch.float32) for rows in (train, test))
    yt, yv = torch.tensor(y[train]), torch.tensor(y[test])
    model = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(15):
        model.train()
        for rows in torch.randperm(len(xt)).split(16):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(xt[rows]), yt[rows])
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        scores.append((model(xv).argmax(1) == yv).float().mean().item())
    print(f"fold {fold}: last loss {loss.item():.3f}, accuracy {scores[-1]:.3f}")
print("mean accuracy", np.mean(scores))
