"""A curriculum: clean pictures first, then noisier ones each epoch, so the training loss may rise between epochs."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16).float(), torch.tensor(y)
p = torch.randperm(len(X))
tr, va = p[:1400], p[1400:]
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss()
for stage, sigma in enumerate([0.0, 0.1, 0.2, 0.3, 0.4]):
    for _ in range(3):
        total = 0.0
        for rows in tr[torch.randperm(len(tr))].split(40):
            noisy = X[rows] + sigma * torch.randn(len(rows), 64)
            loss = criterion(model(noisy), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
    with torch.no_grad():
        acc = (model(X[va]).argmax(1) == y[va]).float().mean().item()
    print(f"stage {stage} noise {sigma} loss {total / 35:.3f} clean accuracy {acc:.3f}")
