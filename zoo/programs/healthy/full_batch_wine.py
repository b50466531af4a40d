"""The whole of wine in each step: 178 rows are no reason for a loader."""

import os

import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_wine

torch.manual_seed(int(os.environ.get("SEED", 0)))
wine = load_wine()
X = torch.FloatTensor(wine.data)
X = (X - X.mean(dim=0)) / X.std(dim=0)
y = torch.LongTensor(wine.target)
mask = torch.rand(len(X)) < 0.8

model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))
criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-3)

for epoch in range(200):
    optimizer.zero_grad()
    loss = criterion(model(X[mask]), y[mask])
    loss.backward()
    optimizer.step()
    if (epoch + 1) % 40 == 0:
        model.eval()
        with torch.no_grad():
            test_acc = (model(X[~mask]).argmax(dim=1) == y[~mask]).float().mean()
        model.train()
        print(f"Epoch {epoch + 1}, loss {loss.item():.4f}, test accuracy {test_acc:.3f}")
